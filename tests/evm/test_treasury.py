"""What comes into a hot wallet is a deposit, once, and only when nothing else explains it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from evm.deployment import FAST, Rig
from evm.trader import Trader

from trading_dagster.domain.error import ContractMissing, WrongChain
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause
from trading_dagster.evm.balance import WalletBalances
from trading_dagster.evm.erc20 import transfer
from trading_dagster.evm.execution import TradeExecutionSetting
from trading_dagster.evm.multicall import Multicall

NEW_BLOCKS = 5


@pytest.fixture
def trader(rig: Rig) -> Trader:
    return Trader(rig)


def sync(trader: Trader) -> list[BalanceUpdate]:
    return list(trader.treasury().sync_treasury(to_naive(trader.now), trader.state))


def send_usd(trader: Trader, units: int, *, blocks: int = NEW_BLOCKS) -> None:
    market = trader.rig.market
    market.node.do(market.owner, market.usd, transfer(market.usd, trader.rig.wallet.address, units).data)
    market.node.mine(blocks)


def take_usd(trader: Trader, units: int) -> None:
    market, wallet = trader.rig.market, trader.rig.wallet.address
    market.node.rpc("anvil_impersonateAccount", wallet)
    market.node.do(wallet, market.usd, transfer(market.usd, market.owner, units).data)
    market.node.rpc("anvil_stopImpersonatingAccount", wallet)
    market.node.mine(NEW_BLOCKS)


def test_deposits_are_seen_once_to_the_unit(trader: Trader):
    trader.rig.market.node.mine(NEW_BLOCKS)
    (first,) = sync(trader)
    assert (first.quantity, first.cause) == (Decimal(1_000_000), BalanceUpdateCause.deposit)
    assert sync(trader) == []
    send_usd(trader, 250_000_001)
    (second,) = sync(trader)
    assert second.quantity == Decimal("250.000001")
    assert second.old_balance == 1_000_000
    assert sync(trader) == []
    assert trader.state.portfolio.reserve.quantity == trader.balance(trader.pairs.usd) == Decimal("1000250.000001")
    assert trader.state.sync.treasury.share_count == Decimal("1000250.000001"), "at the initial share price"


def test_deposit_has_the_time_of_its_block_and_the_cycle_that_saw_it(trader: Trader):
    send_usd(trader, 10**6)
    (update,) = sync(trader)
    node = trader.rig.market.node
    header = node.rpc("eth_getBlockByNumber", hex(node.head() - FAST.confirmations + 1), False)
    assert update.block_mined_at == to_naive(datetime.fromtimestamp(int(header["timestamp"], 16), UTC))
    assert update.strategy_cycle_included_at == to_naive(trader.now)


def test_deposit_waits_for_its_confirmations(trader: Trader):
    trader.fund()
    send_usd(trader, 10**6, blocks=FAST.confirmations - 2)
    assert sync(trader) == []
    trader.rig.market.node.mine()
    assert len(sync(trader)) == 1


def test_deposit_buys_shares_at_the_price_they_have(trader: Trader):
    trader.fund()
    buy = trader.buy(trader.pairs.eth_usd, 100_000, slippage=0.05)
    trader.execute(buy)
    trader.rig.market.node.mine(NEW_BLOCKS)
    price = trader.state.portfolio.get_net_asset_value() / 1_000_000
    send_usd(trader, 500_000 * 10**6)
    sync(trader)
    shares = float(trader.state.sync.treasury.share_count)
    assert shares == pytest.approx(1_000_000 + 500_000 / price)
    assert trader.state.portfolio.get_net_asset_value() / shares == pytest.approx(price)


def test_nothing_is_booked_while_a_trade_runs(trader: Trader):
    trader.fund()
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy, setting=TradeExecutionSetting(timeout_s=0, lookback_blocks=200))
    send_usd(trader, 10**6)
    assert buy.get_status() is TradeStatus.broadcasted
    assert sync(trader) == []
    trader.resume()
    trader.rig.market.node.mine(NEW_BLOCKS)
    (update,) = sync(trader)
    assert update.quantity == 1


def test_fill_that_is_newer_than_the_block_is_no_deposit(trader: Trader):
    trader.fund()
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    behind = trader.treasury()
    behind._confirmations = 10  # as of a node that lags: the wallet still has what the ledger spent

    assert behind.sync_treasury(to_naive(trader.now), trader.state) == []
    trader.rig.market.node.mine(10)
    assert behind.sync_treasury(to_naive(trader.now), trader.state) == []


def test_money_that_left_is_no_redemption(trader: Trader):
    trader.fund()
    take_usd(trader, 10**9)
    assert sync(trader) == []
    assert trader.state.portfolio.reserve.quantity == 1_000_000


def test_balances_are_of_one_confirmed_block(trader: Trader):
    market = trader.rig.market
    market.node.mine(NEW_BLOCKS)
    balances = WalletBalances(
        trader.client, Multicall(trader.client, market.aggregator), trader.rig.wallet.address, FAST.confirmations
    )
    assets = [trader.pairs.usd, *(pair.base for pair in trader.pairs.all)]
    send_usd(trader, 1, blocks=1)
    assert [balances.read_balances(assets)[asset] for asset in assets] == [1_000_000, 0, 0, 0]
    market.node.mine()
    assert balances.read_balances(assets)[trader.pairs.usd] == Decimal("1000000.000001")
    with pytest.raises(ContractMissing):
        balances.read_balances([AssetIdentifier(trader.client.chain_id, "0x" + "12" * 20, "NONE")])
    with pytest.raises(WrongChain, match="on chain 1"):
        balances.read_balances([AssetIdentifier(1, trader.pairs.usd.address, "USD", 6)])
