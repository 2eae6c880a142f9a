"""Runs of strategies whose orders wait, live on paper: as a backtest does it, interrupted, and half done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from live.world import DAY, START, Crash, CrashingStore, events, fills, load, set_time

from trading_dagster.backtest import run_backtest
from trading_dagster.domain.state import State
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.step import open_step
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.live.universe import load_universe
from trading_dagster.strategy.waiting_order import find_firing

DAYS = 25


def run_on_paper(
    live: LiveStrategy, days: int = DAYS, again: Callable[[Callable[[], Any]], Any] = lambda action: action()
) -> None:
    """Decide each day at midnight, with a trigger check before and after, as a backtest on daily candles does."""
    for number in range(days):
        set_time(live, START + number * DAY)
        again(lambda: run_cycle(live))
        again(lambda: check_triggers(live))
        set_time(live, START + (number + 1) * DAY)
        again(lambda: check_triggers(live))


def require_same_as_backtest(live: LiveStrategy, *more: str) -> State:
    """Fail unless a backtest of the days has the same fills, positions and cash; returns its state.

    ``more`` names portfolio fields of positions that are compared, beside open, pending, closed and expired ones.
    """
    module = live.strategy.with_parameters({"backtest_start": START, "backtest_end": START + DAYS * DAY})
    state = run_backtest(module, progress=False).state
    assert fills(live) == [
        (t.trade_id, t.pair.get_ticker(), t.executed_quantity, t.executed_reserve, t.executed_price, t.executed_at)
        for t in state.portfolio.get_all_trades()
        if t.is_success()
    ]
    ours, tested = load(live).portfolio, state.portfolio
    for name in ("open_positions", "pending_positions", "closed_positions", "expired_positions", *more):
        assert list(getattr(ours, name)) == list(getattr(tested, name)), name
    assert ours.reserve.quantity == tested.reserve.quantity
    return state


def crash_at_every_save(make: Callable[..., LiveStrategy], days: int, is_after: Callable[[int], bool]) -> int:
    """Fail unless days that crash at one save, whichever it is, come to the same in the end; returns how many saves.

    Args:
        make: Makes the strategy on the store that is given as ``store``, else on a new one.
        days: How many.
        is_after: Tells of the number of a save whether the crash comes after it, or before.
    """
    whole = make()
    run_on_paper(whole, days)
    crash_at, crashed = 0, True
    while crashed:
        crash_at, crashed = crash_at + 1, False
        store = CrashingStore()
        live = make(store=store)
        store.count, store.crash_at, store.after = 0, crash_at, is_after(crash_at)

        def again(action: Callable[[], Any]) -> Any:
            nonlocal crashed
            while True:
                try:
                    return action()
                except Crash:
                    crashed = True

        run_on_paper(live, days, again)
        assert (fills(live), events(live)) == (fills(whole), events(whole)), crash_at
    return crash_at


def fire_without_beginning(live: LiveStrategy) -> None:
    """Decide, and let the order fire as a check does that is killed before the trade begins."""
    run_cycle(live)
    universe = load_universe(live, START)
    with open_step(live, universe, START) as step:
        (position,) = step.state.portfolio.pending_positions.values()
        manager = step.make_position_manager(universe)
        mid = step.desk.pricing.get_mid_price(START, position.pair)
        assert manager.fire_waiting_trade(position, find_firing(position, START, mid))
        step.session.save()
