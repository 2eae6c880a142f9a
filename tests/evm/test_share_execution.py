"""Shares of a vault are bought and sold exactly once, at the price that was decided on, on a real node, to the unit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from evm.share_trader import OPEN, SET_CAPS, SET_CLOSED, SET_FEE, SET_SLIP, SHARE, USD, ShareTrader
from evm.test_execution import SHORT, trade_id_of
from evm.test_transaction import kinds

from trading_dagster.domain.trade import TradeExecution, TradeStatus
from trading_dagster.domain.transaction import Finished, InFlight, OutcomeStatus
from trading_dagster.evm.alarm import AlarmKind
from trading_dagster.evm.erc20 import read_allowance
from trading_dagster.evm.execution import TradeExecutionSetting
from trading_dagster.evm.first_buy import FirstBuyCheck
from trading_dagster.evm.swap_intent import SwapLimits
from trading_dagster.evm.trade_route import RouteTable


def read_leave(trader: ShareTrader, token: str) -> int:
    head = trader.client.read_head()
    return read_allowance(trader.client, token, trader.rig.wallet.address, trader.vault.address, head)


def make_guard(trader: ShareTrader) -> FirstBuyCheck:
    return FirstBuyCheck(trader.client, trader.rig.wallet.address, aggregator=trader.rig.market.aggregator)


def held_position(trader: ShareTrader, reserve: int = 1_000):
    buy = trader.buy(trader.shares, reserve)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.success, buy.failure
    return trader.state.portfolio.open_positions[buy.position_id]


def test_buy_and_sell_are_filled_as_previewed_to_the_unit(share_trader: ShareTrader):
    trader, vault = share_trader, share_trader.vault
    vault.earn(333_333 * USD)
    buy = trader.buy(trader.shares, Decimal("5000.123456"))
    trader.execute(buy, first_buy=make_guard(trader))
    assert buy.get_status() is TradeStatus.success, buy.failure
    units = 5_000_123_456 * 10**18 * 1_000_000 // (1_333_333 * USD)
    assert (buy.executed_quantity * 10**18, buy.executed_reserve) == (units, Decimal("5000.123456"))
    assert read_leave(trader, trader.rig.market.usd) == 0, "the leave was for this deposit alone"
    vault.earn(100_000 * USD)

    position = trader.state.portfolio.open_positions[buy.position_id]
    sell = trader.sell(position)
    trader.execute(sell)
    assert sell.get_status() is TradeStatus.success, sell.failure
    assert position.is_closed()
    assert sell.executed_reserve > buy.executed_reserve
    assert trader.rig.journal.find(f"{trade_id_of(sell)}/approve") is None, "shares are burned without leave"
    record = trader.rig.journal.find(trade_id_of(sell))
    assert record.intent.expires_at == 0
    assert sell.fill.tx_hash == record.outcome.tx_hash
    assert trader.rig.alarms == []
    trader.require_books_equal_chain()


def test_spot_and_shares_are_bought_together(share_trader: ShareTrader):
    trader = share_trader
    spot, shares = trader.buy(trader.pairs.eth_usd, 1_000), trader.buy(trader.shares, 2_000)
    trader.execute(spot, shares)
    assert [spot.get_status(), shares.get_status()] == [TradeStatus.success] * 2
    trader.require_books_equal_chain()


def test_shares_that_became_dearer_than_decided_are_not_bought(share_trader: ShareTrader):
    trader = share_trader
    cash = trader.state.portfolio.reserve.quantity
    buy = trader.buy(trader.shares, 1_000, slippage=0.01)
    trader.vault.earn(20_000 * USD)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.failed
    assert "it would bring" in buy.failure
    assert trader.rig.journal.find(trade_id_of(buy)).attempts == ()
    assert buy.position_id in trader.state.portfolio.frozen_positions
    assert trader.state.portfolio.reserve.quantity == cash
    trader.require_books_equal_chain()


def test_shares_within_the_tolerance_are_bought_at_what_they_cost_now(share_trader: ShareTrader):
    trader = share_trader
    buy = trader.buy(trader.shares, 1_000, slippage=0.03)
    trader.vault.earn(20_000 * USD)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.success
    assert buy.executed_price == pytest.approx(1.02, rel=1e-9)
    trader.require_books_equal_chain()


def test_vault_that_gives_less_than_it_said_is_told_and_booked_as_it_came(share_trader: ShareTrader):
    trader = share_trader
    trader.vault.do(SET_SLIP, 500)
    buy = trader.buy(trader.shares, 1_000)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.success
    assert buy.executed_quantity == pytest.approx(Decimal(950), rel=Decimal("1e-9"))
    assert AlarmKind.fill_below_least in kinds(trader.rig)
    trader.require_books_equal_chain()


def test_first_deposit_is_not_made_where_the_way_back_is_dear(share_trader: ShareTrader):
    trader = share_trader
    trader.vault.do(SET_SLIP, 500)
    buy = trader.buy(trader.shares, 1_000)
    trader.execute(buy, first_buy=make_guard(trader))
    assert buy.get_status() is TradeStatus.discarded
    assert "may not be bought" in buy.failure


def test_first_deposit_needs_no_way_back_where_shares_are_locked(share_trader: ShareTrader):
    trader, vault = share_trader, share_trader.vault
    vault.do(SET_CAPS, OPEN, 0)
    refused = trader.buy(trader.shares, 1_000)
    trader.execute(refused, first_buy=make_guard(trader))
    assert refused.get_status() is TradeStatus.discarded
    assert "a sale fails: above the cap" in refused.failure
    locked = replace(trader.vault_dex, locks_shares=True)
    trader.routes = RouteTable(trader.dex, trader.pairs.usd, trader.pairs.all, {vault.address: locked})
    buy = trader.buy(trader.shares, 1_000)
    trader.execute(buy, first_buy=make_guard(trader))
    assert buy.get_status() is TradeStatus.success
    vault.do(SET_SLIP, 500)
    trader.state.other_data.save(0, f"token probe of {vault.address}", None)
    again = trader.buy(trader.shares, 1_000)
    trader.execute(again, first_buy=make_guard(trader))
    assert again.get_status() is TradeStatus.discarded
    assert "a buy loses 5.00% to a tax" in again.failure


def test_fee_of_a_vault_is_held_to_the_price_impact_that_is_allowed(share_trader: ShareTrader):
    trader = share_trader
    trader.vault.do(SET_FEE, 600)
    buy = trader.buy(trader.shares, 1_000)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.discarded
    assert "has a price impact of 6.0000%, allowed are 5.0000%" in buy.failure


def test_limit_reached_before_it_began_drops_the_trade_and_leaves_the_position(share_trader: ShareTrader):
    trader = share_trader
    position = held_position(trader)
    sell = trader.sell(position)
    buy = trader.buy(trader.shares, 1_000)
    trader.vault.do(SET_CAPS, 999 * USD, 10 * SHARE)
    trader.execute(sell, buy)
    assert [sell.get_status(), buy.get_status()] == [TradeStatus.discarded] * 2
    assert "gives redemptions of at most" in sell.failure
    assert "takes deposits of at most" in buy.failure
    assert trader.state.portfolio.frozen_positions == {}
    trader.require_books_equal_chain()
    trader.vault.do(SET_CAPS, OPEN, OPEN)
    sell = trader.sell(position)
    trader.execute(sell)
    assert sell.get_status() is TradeStatus.success


@pytest.mark.parametrize("is_buy", [True, False])
def test_vault_that_is_closed_without_saying_so_fails_the_trade_and_keeps_what_is_there(
    share_trader: ShareTrader, is_buy: bool
):
    trader = share_trader
    position = held_position(trader)
    before = (trader.state.portfolio.reserve.quantity, position.quantity)
    trader.vault.do(SET_CLOSED, True)
    trade = trader.buy(trader.shares, 1_000) if is_buy else trader.sell(position)
    trader.execute(trade)
    assert trade.get_status() is TradeStatus.failed
    assert trade.failure == "refused: the simulation reverted: closed"
    assert trade.position_id in trader.state.portfolio.frozen_positions
    assert (trader.state.portfolio.reserve.quantity, position.quantity) == before
    trader.require_books_equal_chain()


def stuck_then(trader: ShareTrader, trade: TradeExecution, what) -> None:
    """Execute a trade whose first transaction the node forgets; ``what`` happens then."""
    node = trader.rig.market.node

    def wait(seconds: float) -> None:
        record = trader.rig.journal.find(trade_id_of(trade))
        if isinstance(record, InFlight) and len(record.attempts) == 1:
            node.rpc("anvil_dropTransaction", record.attempts[0].tx_hash)
            what()
        node.mine()

    trader.mine = wait
    trader.execute(trade)


def test_deposit_that_waited_too_long_is_taken_back(share_trader: ShareTrader):
    trader, node = share_trader, share_trader.rig.market.node
    cash = trader.state.portfolio.reserve.quantity
    buy = trader.buy(trader.shares, 1_000)
    stuck_then(trader, buy, lambda: node.mine(SwapLimits().deadline_s + 1))
    assert buy.get_status() is TradeStatus.failed
    assert "cancelled: it became too old, or would have brought too little, before it was mined" in buy.failure
    assert trader.state.portfolio.reserve.quantity == cash
    trader.require_books_equal_chain()


def test_deposit_that_is_late_at_a_good_price_is_sent_with_a_higher_fee(share_trader: ShareTrader):
    trader, node = share_trader, share_trader.rig.market.node
    buy = trader.buy(trader.shares, 1_000)
    stuck_then(trader, buy, lambda: node.mine(5))
    assert buy.get_status() is TradeStatus.success
    trader.require_books_equal_chain()


def test_unsigned_deposit_is_not_signed_when_it_became_old(share_trader: ShareTrader):
    """A kill switch that goes on between approval and deposit leaves the intent planned; off again it is too late."""
    trader, node = share_trader, share_trader.rig.market.node
    buy = trader.buy(trader.shares, 1_000)

    def forbid(intent) -> str:
        return "" if intent.function.startswith("approve") else "the switch is on"

    trader.execute(buy, setting=TradeExecutionSetting(timeout_s=1, lookback_blocks=200), forbid_signing=forbid)
    assert trader.rig.journal.find(trade_id_of(buy)).intent.function == "deposit(uint256,address)"
    node.mine(SwapLimits().deadline_s + 1)
    trader.resume()
    assert buy.get_status() is TradeStatus.failed
    assert "it was to be signed until" in buy.failure
    trader.require_books_equal_chain()


def test_failed_deposit_is_past_once_what_took_its_nonce_is_final(share_trader: ShareTrader):
    trader, node = share_trader, share_trader.rig.market.node
    buy = trader.buy(trader.shares, 1_000)
    stuck_then(trader, buy, lambda: node.mine(SwapLimits().deadline_s + 1))
    name, executor = trade_id_of(buy), trader.rig.executor()
    assert not executor.may_replan(name), "its call data knows no deadline"
    assert not executor.is_final(name)
    node.mine(10)
    assert not executor.may_replan(name)
    assert executor.is_final(name)


def test_reorg_that_undoes_a_deposit_is_corrected(share_trader: ShareTrader):
    trader, node = share_trader, share_trader.rig.market.node
    node.mine(10)
    cash = trader.state.portfolio.reserve.quantity
    buy = trader.buy(trader.shares, 1_000, slippage=0.02)
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.success
    node.rpc("anvil_reorg", 8, [])
    assert trader.resume(setting=SHORT) == [buy]
    node.rpc("anvil_dropTransaction", trader.rig.journal.find(trade_id_of(buy)).newest.tx_hash)
    trader.vault.do(SET_CLOSED, True)
    node.mine(SwapLimits().deadline_s + 1)

    assert trader.resume() == []

    record = trader.rig.journal.find(trade_id_of(buy))
    assert isinstance(record, Finished)
    assert record.outcome.status is not OutcomeStatus.confirmed
    assert trader.state.portfolio.reserve.quantity == cash
    assert trader.state.portfolio.open_positions[buy.position_id].get_quantity() == 0
    assert AlarmKind.settlement_changed in kinds(trader.rig)
    trader.require_books_equal_chain()


def test_reorg_that_changes_the_shares_is_corrected(share_trader: ShareTrader):
    trader, node = share_trader, share_trader.rig.market.node
    node.mine(10)
    buy = trader.buy(trader.shares, 1_000, slippage=0.02)
    trader.execute(buy)
    node.rpc("anvil_reorg", 8, [])
    trader.vault.earn(10_000 * USD)
    assert trader.resume() == []
    position = trader.state.portfolio.open_positions[buy.position_id]
    assert AlarmKind.reorganised in kinds(trader.rig)
    assert position.quantity <= buy.executed_quantity
    trader.require_books_equal_chain()


def test_old_decision_is_dropped_before_it_is_sent(share_trader: ShareTrader):
    trader = share_trader
    buy = trader.buy(trader.shares, 1_000)
    trader.wait(timedelta(hours=2))
    trader.execute(buy)
    assert buy.get_status() is TradeStatus.discarded
    trader.require_books_equal_chain()
