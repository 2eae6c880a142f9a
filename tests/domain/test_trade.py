"""The status and value of a trade follow from the events applied to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from ledger import Ledger, day
from tape import USDC, WETH_USDC

from trading_dagster.domain.event import (
    PositionOpened,
    TradeBroadcasted,
    TradeDiscarded,
    TradeExecuted,
    TradeFailed,
    TradePlanned,
    TradeStarted,
)
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradePlan, TradePricing, TradeStatus, TradeType

AT = datetime(2022, 1, 2, tzinfo=UTC)


def plan_trade(quantity: str, *, reserve: str = "200", **fields) -> tuple[Ledger, TradeExecution]:
    """Plan trade #1 of position #1 at 100 a token."""
    ledger = Ledger(cash=1000)
    amount = Decimal(quantity)
    plan = TradePlan(
        trade_id=1,
        position_id=1,
        pair=WETH_USDC,
        trade_type=fields.pop("trade_type", TradeType.rebalance),
        quantity=amount,
        reserve=Decimal(reserve),
        pricing=TradePricing(100.0, 99.0, 1.0, 0.01, amount > 0, day(1)),
        reserve_currency=USDC,
        **fields,
    )
    ledger.state.record(PositionOpened(AT, 1, WETH_USDC, 1000.0))
    ledger.state.record(TradePlanned(AT, plan))
    return ledger, ledger.state.portfolio.open_positions[1].trades[1]


STARTED = TradeStarted(AT, 1, 1)
SENT = TradeBroadcasted(AT + timedelta(seconds=1), 1, 1)
FILLED = TradeExecuted(AT + timedelta(seconds=2), 1, 1, Decimal("2.5"), Decimal(190), 76.0, 0.5)
FAILED = TradeFailed(AT + timedelta(seconds=2), 1, 1, "reverted")
DROPPED = TradeDiscarded(AT, 1, 1, "not returned")


@pytest.mark.parametrize(
    ("events", "status", "value", "cash"),
    [
        ([], TradeStatus.planned, 0.0, 1000),
        ([STARTED], TradeStatus.started, 200.0, 800),
        ([STARTED, SENT], TradeStatus.broadcasted, 200.0, 800),
        ([STARTED, SENT, FILLED], TradeStatus.success, 190.0, 810),
        ([STARTED, SENT, FAILED], TradeStatus.failed, 200.0, 1000),
        ([DROPPED], TradeStatus.discarded, 0.0, 1000),
        ([STARTED, DROPPED], TradeStatus.discarded, 0.0, 1000),
    ],
    ids=lambda value: value.value if isinstance(value, TradeStatus) else None,
)
def test_status_value_and_cash_follow_from_events(events, status, value, cash):
    ledger, trade = plan_trade("2")
    for event in events:
        ledger.state.record(event)
    assert trade.get_status() is status
    assert trade.get_value() == value
    assert ledger.state.portfolio.reserve.quantity == cash
    assert trade.is_success() == (status is TradeStatus.success)
    assert trade.is_failed() == (status is TradeStatus.failed)
    assert trade.is_planned() == (status is TradeStatus.planned)


def test_reserve_is_allocated_while_the_trade_runs_and_counts_in_equity():
    ledger, trade = plan_trade("2")
    portfolio = ledger.state.portfolio
    allocated = [trade.reserve_currency_allocated]
    equity = [portfolio.calculate_total_equity()]
    ledger.marks.prices[WETH_USDC] = 80.0
    for event in (STARTED, SENT, FILLED):
        ledger.state.record(event)
        allocated.append(trade.reserve_currency_allocated)
        equity.append(portfolio.calculate_total_equity())
    assert allocated == [0, 200, 200, 0]
    assert equity == [1000, 1000, 1000, 810 + 2.5 * 80]


@pytest.mark.parametrize("end", [FILLED, FAILED, DROPPED], ids=lambda event: type(event).__name__)
def test_money_of_more_digits_than_are_counted_is_released_to_the_last(end):
    ledger, trade = plan_trade("2", reserve="200.0999999999999943156581139191985130310058593750")  # a float, exactly
    position = ledger.state.portfolio.open_positions[1]
    ledger.state.record(STARTED)
    assert position.allocated == +trade.allocated != trade.allocated
    ledger.state.record(end)
    assert position.allocated == 0


def test_trade_that_was_begun_and_never_sent_leaves_nothing_behind():
    ledger, trade = plan_trade("2")
    for event in (STARTED, DROPPED):
        ledger.state.record(event)
    portfolio = ledger.state.portfolio
    assert trade.reserve_currency_allocated == 0
    assert portfolio.calculate_total_equity() == 1000
    assert not portfolio.open_positions
    assert portfolio.expired_positions[1].get_value() == 0


def test_fill_on_a_chain_keeps_where_it_is_and_what_it_cost():
    ledger, trade = plan_trade("2")
    for event in (STARTED, replace(FILLED, tx_hash="0xab", block_number=7, gas_cost=Decimal("0.01"))):
        ledger.state.record(event)
    assert (trade.fill.tx_hash, trade.fill.block_number, trade.fill.gas_cost) == ("0xab", 7, Decimal("0.01"))


def test_executed_trade_tells_what_the_venue_did_and_what_was_planned():
    ledger, trade = plan_trade("2")
    assert (trade.executed_quantity, trade.executed_price, trade.lp_fees_paid) == (None, None, None)
    for event in (STARTED, FILLED):
        ledger.state.record(event)
    assert (trade.executed_quantity, trade.executed_reserve, trade.executed_price) == (Decimal("2.5"), 190, 76.0)
    assert (trade.planned_quantity, trade.planned_reserve, trade.planned_price) == (2, 200, 100.0)
    assert (trade.planned_mid_price, trade.fee_tier, trade.lp_fees_estimated, trade.lp_fees_paid) == (99, 0.01, 1, 0.5)
    assert trade.executed_at == datetime(2022, 1, 2, 0, 0, 2)


def test_side_follows_from_the_sign_of_the_quantity():
    _, buy = plan_trade("2")
    _, sell = plan_trade("-2")
    _, close = plan_trade("-2", closing=True)
    assert (buy.is_buy(), buy.is_sell(), buy.is_reduce()) == (True, False, False)
    assert (sell.is_buy(), sell.is_sell(), sell.is_reduce()) == (False, True, True)
    assert not close.is_reduce()
    assert sell.get_planned_value() == 200.0
    assert "sell 2 WETH @ 100.0 planned" in repr(sell)


def test_type_and_flags_answer_what_made_the_trade():
    _, stop = plan_trade("-2", trade_type=TradeType.stop_loss, flags=frozenset({TradeFlag.test_trade}))
    assert (stop.is_stop_loss(), stop.is_take_profit(), stop.is_rebalance(), stop.is_test()) == (
        True,
        False,
        False,
        True,
    )
    _, plain = plan_trade("-2")
    assert (plain.is_stop_loss(), plain.is_rebalance(), plain.is_test()) == (False, True, False)
