"""Tokens of which the wallet has a little less than the ledger, as they rebase or round: they can still be sold."""

from __future__ import annotations

from decimal import Decimal

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from evm.deployment import Rig
from evm.trader import Trader

from trading_dagster.domain.trade import TradeStatus
from trading_dagster.evm.erc20 import read_balance
from trading_dagster.evm.execution import TradeExecutionSetting
from trading_dagster.evm.swap_intent import SwapLimits

BALANCES_SLOT = 3


@pytest.fixture
def trader(rig: Rig) -> Trader:
    trader = Trader(rig)
    trader.fund()
    return trader


def lose(trader: Trader, units: int, token: str = "") -> int:
    """Take units of ETH, or another token, out of the wallet without a transfer, as rebasing does; return the rest."""
    token, wallet = token or trader.rig.market.eth, trader.rig.wallet.address
    left = read_balance(trader.client, token, wallet, "latest") - units
    slot = keccak(encode(["address", "uint256"], [wallet, BALANCES_SLOT])).hex()
    trader.rig.market.node.rpc("anvil_setStorageAt", token, f"0x{slot}", "0x" + left.to_bytes(32).hex())
    assert read_balance(trader.client, token, wallet, "latest") == left
    return left


@pytest.mark.parametrize("units", [1, 7, 10**13])
def test_position_is_sold_when_a_little_less_is_there(trader: Trader, units: int):
    buy = trader.buy(trader.pairs.eth_usd, 1_000)
    trader.execute(buy)
    position = trader.state.portfolio.open_positions[1]
    left = lose(trader, units)
    sell = trader.sell(position)

    trader.execute(sell)

    assert sell.get_status() is TradeStatus.success
    assert sell.executed_quantity == -Decimal(left) / 10**18
    assert trader.balance(trader.pairs.eth_usd.base) == 0
    assert position.is_closed() is (units < 10**8)
    assert trader.state.portfolio.reserve.quantity == trader.balance(trader.pairs.usd)


def test_two_sales_of_one_token_give_what_is_there(trader: Trader):
    trader.execute(trader.buy(trader.pairs.eth_usd, 1_000), trader.buy(trader.pairs.eth_usd, 2_000))
    positions = list(trader.state.portfolio.open_positions.values())
    lose(trader, 3)
    sells = [trader.sell(position) for position in positions]
    trader.execute(*sells)
    assert [trade.get_status() for trade in sells] == [TradeStatus.success] * 2
    assert trader.balance(trader.pairs.eth_usd.base) == 0


def test_position_of_which_much_is_missing_is_not_sold_as_if_it_were_whole(trader: Trader):
    trader.execute(trader.buy(trader.pairs.eth_usd, 1_000))
    position = trader.state.portfolio.open_positions[1]
    lose(trader, 10**16)
    sell = trader.sell(position)
    trader.execute(sell)
    assert sell.get_status() is TradeStatus.failed
    assert position.position_id in trader.state.portfolio.frozen_positions


def test_buy_with_all_cash_gives_what_is_there(trader: Trader):
    left = lose(trader, 5, trader.rig.market.usd)
    cash = trader.state.portfolio.reserve.quantity
    buy = trader.buy(trader.pairs.eth_usd, cash)
    setting = TradeExecutionSetting(SwapLimits(max_price_impact=0.9), timeout_s=20, lookback_blocks=200)
    trader.execute(buy, setting=setting)
    assert buy.get_status() is TradeStatus.success
    assert buy.executed_reserve == Decimal(left) / 10**6
    assert trader.state.portfolio.reserve.quantity == Decimal("0.000005")
