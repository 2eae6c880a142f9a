"""Checks of a decision before any of its trades runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trading_dagster.domain.error import DoubleOpenPosition, DuplicateTrade, StrategyFailed, TradesNotReturned
from trading_dagster.domain.event import TradeDiscarded
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution, TradeFlag

NOT_RETURNED = "planned in the cycle but not returned by decide_trades"


def check_returned(returned: Any, cycle: int) -> list[TradeExecution]:
    """Return what decide_trades gave as a list; raises StrategyFailed when it is not a list of trades."""
    if not isinstance(returned, list | tuple):
        raise StrategyFailed(
            f"decide_trades returned {type(returned).__name__} at cycle {cycle}: return a list of trades, [] for none"
        )
    for item in returned:
        if not isinstance(item, TradeExecution):
            raise StrategyFailed(
                f"decide_trades returned a list that holds {item!r} at cycle {cycle}: "
                "add lists of trades with +=, do not append a list to a list"
            )
    return list(returned)


def review_decision(state: State, trades: Sequence[TradeExecution], first_planned_id: int, cycle: int) -> None:
    """Check the trades of a decision against what was planned in the cycle.

    Trades planned but dropped by the strategy are discarded by an event, so that no position waits for ever. Those that
    wait for a trigger are not executed now, so they are not returned.

    Raises:
        DuplicateTrade: a trade is in the list twice.
        TradesNotReturned: something was planned and the list is empty.
        DoubleOpenPosition: two open positions on one pair.
    """
    returned = {trade.plan.trade_id for trade in trades}
    if len(returned) != len(trades):
        twice = [t for i, t in enumerate(trades) if t.trade_id in {o.trade_id for o in trades[:i]}]
        raise DuplicateTrade(f"decide_trades returned a trade twice at cycle {cycle}: {twice}")
    waiting = [trade for trade in trades if trade.triggers]
    if waiting:
        raise StrategyFailed(
            f"decide_trades returned {waiting} at cycle {cycle}: they wait for a trigger and are not executed now; "
            "return only the trades to be made at once"
        )
    planned = set(range(first_planned_id, state.portfolio.next_trade_id))
    if returned != planned:
        unknown = returned - planned
        if unknown:
            raise StrategyFailed(
                f"decide_trades returned trades {sorted(unknown)} that were not planned at cycle {cycle}"
            )
        dropped = (planned - returned) & _planned_for_now(state, first_planned_id)
        if dropped and not trades:
            raise TradesNotReturned(
                f"decide_trades planned {len(dropped)} trades at cycle {cycle} but returned none: "
                "return the trades that the position manager gave you"
            )
        _discard(state, dropped)
    _check_single_positions(state, trades)


def _planned_for_now(state: State, first_planned_id: int) -> set[int]:
    """Return the ids of trades planned in this cycle that neither wait for a trigger nor were cancelled."""
    ids: set[int] = set()
    for position in state.portfolio.open_positions.values():
        for trade_id in reversed(position.trades):
            if trade_id < first_planned_id:
                break
            ids.add(trade_id)
    return ids


def _discard(state: State, trade_ids: set[int]) -> None:
    at = state.clock_at()
    for position in list(state.portfolio.open_positions.values()):
        for trade_id in sorted(trade_ids & position.trades.keys()):
            state.record(TradeDiscarded(at, trade_id, position.position_id, NOT_RETURNED))


def _check_single_positions(state: State, trades: Sequence[TradeExecution]) -> None:
    portfolio = state.portfolio
    for trade in trades:
        plan = trade.plan
        if TradeFlag.open not in plan.flags or TradeFlag.ignore_open in plan.flags:
            continue
        if portfolio.count_open_positions(plan.pair) == 1:
            continue
        others = [
            p
            for p in portfolio.open_positions.values()
            if p.pair == trade.pair and p.position_id != trade.position_id and p.get_available_trading_quantity() != 0
        ]
        if others:
            raise DoubleOpenPosition(
                f"{trade} opens a second position on {trade.pair.get_ticker()} beside {others[0]}: "
                "close the first, adjust it, or pass the flag ignore_open"
            )
