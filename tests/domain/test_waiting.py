"""Trades that wait for a trigger: what the ledger's events do to positions and trades."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from ledger import Ledger, day
from scenario import USDC, WETH_USDC

from trading_dagster.domain.error import LedgerError
from trading_dagster.domain.event import (
    PairIntroduced,
    PositionOpened,
    TradeDiscarded,
    TradeExecuted,
    TradeExpired,
    TradePlanned,
    TradeStarted,
    TradeTriggered,
    TradeWaits,
)
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeFlag, TradePlan, TradePricing, TradeStatus, TradeType
from trading_dagster.domain.trigger import Trigger, TriggerCondition, TriggerType
from trading_dagster.storage.event_codec import EventDecoder, encode_event

DAY = timedelta(days=1)
LIMIT = Trigger(TriggerType.market_limit, TriggerCondition.cross_above, price=110.0, expires_at=day(9))
PROFIT = Trigger(TriggerType.take_profit_partial, TriggerCondition.cross_above, price=120.0)


def at(number: float) -> datetime:
    return day(number).replace(tzinfo=UTC)


def plan_of(trade: int, position: int, value: float, price: float, **fields) -> TradePlan:
    pricing = TradePricing(price, price, 0.0, 0.0, value > 0, day(0))
    quantity, reserve = Decimal(value) / Decimal(price), Decimal(abs(value))
    return TradePlan(trade, position, WETH_USDC, TradeType.rebalance, quantity, reserve, pricing, USDC, **fields)


def wait_for_entry(ledger: Ledger, number: float = 1, *, position: int = 1, trade: int = 1) -> None:
    """Open a position at 100 USD that waits for 110 USD."""
    record = ledger.state.record
    record(PositionOpened(at(number), position, WETH_USDC, 10_000.0))
    record(TradePlanned(at(number), plan_of(trade, position, 1000, 100, flags=frozenset({TradeFlag.open}))))
    record(TradeWaits(at(number), trade, position, (LIMIT,)))


def wait_for_profit(ledger: Ledger, number: float, *, position: int = 1, trade: int = 2) -> None:
    flags = frozenset({TradeFlag.reduce, TradeFlag.partial_take_profit})
    ledger.state.record(TradePlanned(at(number), plan_of(trade, position, -500, 100, flags=flags)))
    ledger.state.record(TradeWaits(at(number), trade, position, (PROFIT,)))


def fire(ledger: Ledger, number: float, plan: TradePlan, trigger: Trigger) -> None:
    record = ledger.state.record
    record(TradeTriggered(at(number), plan, trigger))
    record(TradeStarted(at(number), plan.trade_id, plan.position_id))
    record(
        TradeExecuted(at(number), plan.trade_id, plan.position_id, plan.quantity, plan.reserve, plan.pricing.price, 0.0)
    )


def describe(state: State) -> list:
    portfolio = state.portfolio
    groups = (
        portfolio.open_positions,
        portfolio.pending_positions,
        portfolio.closed_positions,
        portfolio.expired_positions,
    )
    return [
        portfolio.reserve.quantity,
        *([(repr(p), p.opened_at, p.pending_since_at, p.expired_at) for p in group.values()] for group in groups),
        *(
            (repr(t), t.plan, t.triggers, t.activated_trigger, t.expired_triggers, t.expired_at)
            for group in groups
            for p in group.values()
            for trades in (p.trades, p.pending_trades, p.expired_trades)
            for t in trades.values()
        ),
    ]


def test_position_whose_first_trade_waits_is_pending_and_costs_nothing():
    ledger = Ledger()
    wait_for_entry(ledger)
    portfolio = ledger.state.portfolio
    (position,) = portfolio.pending_positions.values()
    (trade,) = position.pending_trades.values()
    assert not portfolio.open_positions
    assert not position.trades
    assert (portfolio.get_cash(), portfolio.calculate_total_equity()) == (10_000, 10_000)
    assert (position.is_pending(), position.is_open(), position.pending_since_at) == (True, False, day(1))
    assert (position.get_quantity(), position.get_pending_quantity(), position.get_value()) == (0, 10, 0)
    assert (trade.get_status(), trade.trade_type, trade.triggers) == (
        TradeStatus.planned,
        TradeType.market_limit,
        (LIMIT,),
    )
    assert TradeFlag.triggered in trade.flags
    assert trade.is_waiting()
    assert position.has_trigger()
    assert portfolio.get_open_position_for_pair(WETH_USDC) is None
    assert [p.position_id for p in portfolio.get_all_positions(pending=True)] == [1]
    ledger.state.perform_integrity_check()


def test_pending_position_opens_when_its_trade_fires_and_keeps_the_price_of_that_instant():
    ledger = Ledger()
    wait_for_entry(ledger)
    plan = replace(plan_of(1, 1, 1000, 125), trade_type=TradeType.market_limit)
    fire(ledger, 3, plan, LIMIT)
    portfolio = ledger.state.portfolio
    (position,) = portfolio.open_positions.values()
    (trade,) = position.trades.values()
    assert not portfolio.pending_positions
    assert (position.opened_at, position.pending_since_at, position.is_pending()) == (day(3), day(1), False)
    assert (position.get_quantity(), portfolio.get_cash()) == (8, 9000)
    assert (trade.opened_at, trade.decided_at, trade.executed_price) == (day(1), day(3), 125)
    assert (trade.triggers, trade.activated_trigger, trade.expired_triggers) == (
        (),
        replace(LIMIT, triggered_at=day(3)),
        (),
    )
    assert portfolio.get_open_position_for_pair(WETH_USDC) is position


def test_entry_that_expires_takes_its_position_and_its_take_profits_with_it():
    ledger = Ledger()
    wait_for_entry(ledger)
    wait_for_profit(ledger, 1)
    ledger.state.record(TradeExpired(at(9), 1, 1, "too late"))
    portfolio = ledger.state.portfolio
    (position,) = portfolio.expired_positions.values()
    assert not portfolio.pending_positions
    assert (position.is_expired(), position.is_open(), position.expired_at) == (True, False, day(9))
    assert not position.pending_trades
    entry, profit = position.expired_trades.values()
    assert (entry.get_status(), entry.expired_at, entry.failure) == (TradeStatus.expired, day(9), "too late")
    assert entry.expired_triggers == (replace(LIMIT, expired_at=day(9)),)
    assert (profit.get_status(), profit.failure) == (TradeStatus.expired, "its position never opened")
    ledger.state.perform_integrity_check()


def test_take_profit_of_an_open_position_waits_beside_it_and_leaves_all_available():
    ledger = Ledger()
    ledger.buy(1, 1000, 100)
    wait_for_profit(ledger, 1)
    (position,) = ledger.state.portfolio.open_positions.values()
    assert list(position.pending_trades) == [2]
    assert (position.unfinished_trade_count, position.get_available_trading_quantity()) == (0, 10)
    fire(ledger, 2, plan_of(2, 1, -600, 120), PROFIT)
    assert (position.get_quantity(), ledger.state.portfolio.get_cash()) == (5, 9600)
    assert list(position.trades) == [1, 2]


def test_position_that_closes_expires_what_still_waits():
    ledger = Ledger()
    ledger.buy(1, 1000, 100)
    wait_for_profit(ledger, 1)
    ledger.sell(2, 1, 90, trade_type=TradeType.stop_loss)
    (position,) = ledger.state.portfolio.closed_positions.values()
    assert (list(position.trades), list(position.pending_trades), list(position.expired_trades)) == ([1, 3], [], [2])
    assert position.expired_trades[2].expired_at == day(2)
    assert position.is_stop_loss()
    ledger.state.perform_integrity_check()


def test_trade_that_fired_and_never_began_waits_again():
    ledger = Ledger()
    wait_for_entry(ledger)
    ledger.state.record(TradeTriggered(at(3), plan_of(1, 1, 1000, 125), LIMIT))
    (position,) = ledger.state.portfolio.open_positions.values()
    trade = position.trades[1]
    ledger.state.record(TradeWaits(at(4), 1, 1, (trade.activated_trigger,)))
    assert list(ledger.state.portfolio.pending_positions) == [1]
    assert (trade.triggers, trade.activated_trigger, position.is_pending()) == ((LIMIT,), None, True)
    fire(ledger, 5, plan_of(1, 1, 1000, 125), LIMIT)
    assert position.opened_at == day(5)


def test_position_whose_entry_is_refused_after_it_fired_expires():
    ledger = Ledger()
    wait_for_entry(ledger)
    ledger.state.record(TradeTriggered(at(3), plan_of(1, 1, 1000, 125), LIMIT))
    ledger.state.record(TradeDiscarded(at(3), 1, 1, "a limit"))
    assert list(ledger.state.portfolio.expired_positions) == [1]
    assert ledger.state.portfolio.get_cash() == 10_000


def test_trade_fires_once_and_only_while_it_waits():
    ledger = Ledger()
    wait_for_entry(ledger)
    fire(ledger, 3, plan_of(1, 1, 1000, 125), LIMIT)
    with pytest.raises(LedgerError, match="does not wait for a trigger"):
        ledger.state.record(TradeTriggered(at(4), plan_of(1, 1, 1000, 125), LIMIT))
    with pytest.raises(LedgerError, match="does not wait for a trigger"):
        ledger.state.record(TradeExpired(at(4), 1, 1, "again"))
    with pytest.raises(LedgerError, match="only a planned trade can"):
        ledger.state.record(TradeWaits(at(4), 1, 1, (LIMIT,)))


def test_waiting_trades_survive_json_and_replay():
    ledger = Ledger()
    ledger.state.record(PairIntroduced(at(0), WETH_USDC))
    wait_for_entry(ledger)
    wait_for_profit(ledger, 1)
    wait_for_entry(ledger, 2, position=2, trade=3)
    fire(ledger, 3, plan_of(1, 1, 1000, 125), LIMIT)
    ledger.state.record(TradeExpired(at(4), 3, 2, "too late"))
    wait_for_entry(ledger, 5, position=3, trade=4)
    state = ledger.state
    events = state.take_events()
    lines = [encode_event(event) for event in events]
    assert EventDecoder([WETH_USDC]).decode_all(lines) == events
    assert describe(State.replay(events)) == describe(state)


@pytest.mark.parametrize(
    ("trigger", "instant", "mid", "hit"),
    [
        (PROFIT, 1, 119.9, False),
        (PROFIT, 1, 120.0, True),
        (replace(PROFIT, condition=TriggerCondition.cross_below), 1, 120.0, True),
        (replace(PROFIT, condition=TriggerCondition.cross_below), 1, 120.1, False),
        (Trigger(PROFIT.type, TriggerCondition.timed_absolute, triggering_at=day(3)), 3, 0.0, False),
        (Trigger(PROFIT.type, TriggerCondition.timed_absolute, triggering_at=day(3)), 3.01, 0.0, True),
        (Trigger(PROFIT.type, TriggerCondition.timed_relative_to_open, triggering_at_delta=DAY), 2, 0.0, False),
        (Trigger(PROFIT.type, TriggerCondition.timed_relative_to_open, triggering_at_delta=DAY), 2.01, 0.0, True),
    ],
)
def test_condition_of_a_trigger(trigger, instant, mid, hit):
    assert trigger.is_hit(at=day(instant), mid=mid, opened_at=day(1)) == hit


def test_trigger_expires_after_its_time_not_at_it():
    assert not LIMIT.is_expired(day(9))
    assert LIMIT.is_expired(day(9.01))
    assert not PROFIT.is_expired(day(1000))
