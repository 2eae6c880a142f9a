"""The decision cycle: its grid, the order of its steps, and what ends it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tape import START, WETH_USDC, run_on, universe_of

from trading_dagster.backtest import BacktestRun, plan_backtest, run_backtest
from trading_dagster.backtest.plan import decision_grid
from trading_dagster.backtest.plan_hash import hash_plan
from trading_dagster.domain.error import (
    BadInput,
    CandleSampleUnavailable,
    NaiveDatetimeRequired,
    NotEnoughHistory,
    StrategyFailed,
    TradesNotReturned,
)
from trading_dagster.domain.event import CycleCompleted, StateCreated
from trading_dagster.domain.time import CycleDuration, TimeBucket, from_unix_us, snap_down
from trading_dagster.strategy.input import StrategyTickHookInput
from trading_dagster.strategy.routing import TradeRouting

HOUR = timedelta(hours=1)
DURATIONS = [d for d in CycleDuration if timedelta(minutes=5) <= d.to_timedelta() <= timedelta(days=14)]


def universe(bars: int = 12, **arguments):
    return universe_of({WETH_USDC: [100.0] * bars}, **arguments)


def do_nothing(_input):
    return []


def grid(start: datetime, end: datetime, duration: CycleDuration = CycleDuration.cycle_1h) -> list[datetime]:
    return [from_unix_us(int(us)) for us in decision_grid(start, end, duration)]


def run_between(start, end, *, decide=do_nothing, cycle=CycleDuration.cycle_1h, bars=12, **parameters):
    return run_backtest(
        decide_trades=decide,
        universe=universe(bars),
        parameters={
            "cycle_duration": cycle,
            "routing": TradeRouting.default,
            "initial_cash": 100,
            "backtest_start": start,
            "backtest_end": end,
            **parameters,
        },
        progress=False,
    )


# -- grid -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 3, [0, 1, 2]),
        (0.5, 3, [0, 1, 2]),
        (0, 3.5, [0, 1, 2, 3]),
        (0.5, 0.75, [0]),
        (2, 2.25, [2]),
    ],
)
def test_grid_begins_snapped_down_and_ends_before_the_end(start, end, expected):
    assert grid(START + start * HOUR, START + end * HOUR) == [START + n * HOUR for n in expected]


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),
    st.timedeltas(timedelta(microseconds=1), timedelta(days=40)),
    st.sampled_from(DURATIONS),
)
def test_grid_is_every_grid_point_from_the_snapped_start_to_before_the_end(start, length, duration):
    end, width = start + length, duration.to_timedelta()
    expected, instant = [], snap_down(start, width)
    while instant < end:
        expected.append(instant)
        instant += width
    assert grid(start, end, duration) == expected


def test_weekly_decisions_fall_on_mondays():
    found = grid(datetime(2022, 1, 5), datetime(2022, 1, 25), CycleDuration.cycle_7d)
    assert found == [datetime(2022, 1, 3), datetime(2022, 1, 10), datetime(2022, 1, 17), datetime(2022, 1, 24)]


@pytest.mark.parametrize("length", [timedelta(0), -HOUR])
def test_start_at_or_after_the_end_is_refused(length):
    with pytest.raises(BadInput) as error:
        run_between(START + HOUR, START + HOUR + length)
    for part in (str(START + HOUR), str(START + HOUR + length), "end must be later"):
        assert part in str(error.value)


def test_unknown_cycle_duration_is_refused():
    with pytest.raises(BadInput, match=r"cycle_duration is unknown: choose one such as CycleDuration\.cycle_1h"):
        run_between(START, START + HOUR, cycle=CycleDuration.unknown)


def test_zone_aware_range_is_refused():
    with pytest.raises(NaiveDatetimeRequired):
        plan_backtest(
            decide_trades=do_nothing,
            universe=universe(),
            parameters={"cycle_duration": CycleDuration.cycle_1h, "routing": TradeRouting.default, "initial_cash": 1},
            start=START.replace(tzinfo=UTC),
            end=START + HOUR,
        )


def test_start_off_the_grid_warns_with_the_first_decision(caplog):
    with caplog.at_level(logging.WARNING):
        run_between(START + 1.5 * HOUR, START + 4 * HOUR)
    assert "2022-01-03 01:30:00 is not on the grid of 1h cycles" in caplog.text
    assert "first decision is at 2022-01-03 01:00:00" in caplog.text


def test_start_on_the_grid_does_not_warn(caplog):
    with caplog.at_level(logging.WARNING):
        run_between(START + HOUR, START + 4 * HOUR)
    assert caplog.text == ""


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (0, 13), (20, 30)])
def test_range_outside_the_data_is_refused_with_both_ranges(start, end):
    with pytest.raises(BadInput) as error:
        run_between(START + start * HOUR, START + end * HOUR)
    for part in (START + start * HOUR, START + end * HOUR, START, START + 12 * HOUR, "load more data"):
        assert str(part) in str(error.value)


def test_range_of_all_the_data_is_taken():
    assert len(run_between(START, START + 12 * HOUR).decisions) == 12


def test_too_short_history_is_refused_with_the_first_possible_start():
    with pytest.raises(NotEnoughHistory) as error:
        run_between(START + 2 * HOUR, START + 4 * HOUR, required_history_period=3 * HOUR)
    for part in ("3:00:00", f"start at {START + 3 * HOUR} or later", "required_history_period"):
        assert part in str(error.value)
    assert len(run_between(START + 3 * HOUR, START + 4 * HOUR, required_history_period=3 * HOUR).decisions) == 1


# -- decisions --------------------------------------------------------------------------------------------------------


def test_decision_is_told_its_cycle_and_time():
    seen = []

    def decide(input):
        seen.append((input.cycle, input.timestamp, input.get_position_manager().timestamp))
        return []

    run_on(universe(), decide, cycles=3)
    assert seen == [(n + 1, START + n * HOUR, START + n * HOUR) for n in range(3)]


def test_initial_cash_is_a_deposit_of_the_first_cycle():
    seen = []

    def decide(input):
        seen.append(input.get_position_manager().get_current_cash())
        return []

    result = run_on(universe(), decide, cycles=2, cash=123.5)
    (update,) = result.state.portfolio.reserve.balance_updates.values()
    assert seen == [123.5, 123.5]
    assert (update.strategy_cycle_included_at, update.quantity) == (START, 123.5)
    assert result.state.portfolio.get_initial_cash() == 123.5


def test_failure_of_a_decision_names_cycle_time_error_and_line():
    def decide(input):
        if input.cycle == 3:
            return [1 / 0]
        return []

    with pytest.raises(StrategyFailed) as error:
        run_on(universe(), decide, cycles=5)
    for part in (
        "cycle 3",
        "2022-01-03 02:00:00",
        "ZeroDivisionError: division by zero",
        "Traceback",
        "return [1 / 0]",
    ):
        assert part in str(error.value)
    assert isinstance(error.value.__cause__, ZeroDivisionError)


def test_failure_of_the_engine_inside_a_decision_keeps_its_message_and_cause():
    def decide(input):
        return input.get_position_manager().open_spot(WETH_USDC, 10) if input.cycle == 50 else []

    with pytest.raises(StrategyFailed, match=r"cycle 50.*No candle of WETH-USDC") as error:
        run_on(universe_of({WETH_USDC: [100.0, *[None] * 60, 100.0]}), decide, cycles=60)
    assert isinstance(error.value.__cause__, CandleSampleUnavailable)


def test_protocol_error_raised_by_a_decision_keeps_its_class():
    def decide(input):
        raise TradesNotReturned("own")

    with pytest.raises(TradesNotReturned, match="cycle 1"):
        run_on(universe(), decide, cycles=1)


@pytest.mark.parametrize(("cash", "decisions"), [(0.15, 3), (0.1499, 0), (0.16, 3)])
def test_decision_is_skipped_while_equity_is_below_15_cents(cash, decisions):
    seen = []

    def decide(input):
        seen.append(input.cycle)
        return []

    result = run_on(universe(), decide, cycles=3, cash=cash)
    assert len(seen) == decisions
    assert len(result.samples) == 3


def test_equity_in_positions_counts_for_the_minimum():
    seen = []

    def decide(input):
        seen.append(input.cycle)
        return input.get_position_manager().open_spot(WETH_USDC, 100) if input.cycle == 1 else []

    run_on(universe_of({WETH_USDC: [100.0, 100.0, 0.1, 0.2, 0.2]}), decide, cycles=4, cash=100)
    assert seen == [1, 2, 4]  # worth 0.10 in cycle 3


def test_skipped_decision_still_runs_the_hooks_around_it():
    calls = []
    run_on(
        universe(),
        lambda _: calls.append("decide") or [],
        cycles=2,
        cash=0.1,
        before_strategy_tick=lambda _: calls.append("before"),
        after_strategy_tick=lambda _: calls.append("after"),
    )
    assert calls == ["before", "after"] * 2


# -- hooks ------------------------------------------------------------------------------------------------------------


def test_hooks_are_called_in_order_around_each_decision():
    calls = []

    def tick(name):
        return lambda hook: calls.append((name, hook.cycle, hook.timestamp))

    def decide(input):
        calls.append(("decide", input.cycle, input.timestamp))
        return []

    run_on(
        universe(),
        decide,
        cycles=2,
        execution_test_hook=lambda cycle, timestamp, state, sync: calls.append(("test", cycle, timestamp)),
        before_strategy_tick=tick("before"),
        after_strategy_tick=tick("after"),
    )
    names = ("test", "before", "decide", "after")
    assert calls == [(name, n + 1, START + n * HOUR) for n in range(2) for name in names]


def test_hooks_of_a_cycle_run_before_its_deposits_and_after_its_trades():
    seen = []

    def watch(hook):
        seen.append((hook.state.portfolio.get_cash(), len(hook.state.portfolio.open_positions)))

    def decide(input):
        return input.get_position_manager().open_spot(WETH_USDC, 40) if input.cycle == 1 else []

    run_on(universe(), decide, cycles=1, cash=100, before_strategy_tick=watch, after_strategy_tick=watch)
    assert seen == [(0, 0), (60, 1)]


def test_hook_is_given_the_views_of_the_strategy():
    seen = []
    traded = universe()
    result = run_on(traded, do_nothing, cycles=1, before_strategy_tick=seen.append)
    (view,) = seen
    assert isinstance(view, StrategyTickHookInput)
    assert view.state is result.state
    assert view.universe.pairs == traded.pairs
    assert view.pricing_model.get_mid_price(START, WETH_USDC) == 100
    assert view.execution_context.mode.is_backtesting()


def test_test_hook_may_be_an_object():
    calls = []
    hook = SimpleNamespace(on_before_cycle=lambda *arguments: calls.append(arguments[:2]))
    run_on(universe(), do_nothing, cycles=2, execution_test_hook=hook)
    assert calls == [(1, START), (2, START + HOUR)]


def test_deposit_queued_by_the_hook_is_there_in_the_decision_of_the_same_cycle():
    seen = []

    def fund(cycle, timestamp, state, sync_model):
        if cycle == 2:
            sync_model.simulate_funding(timestamp, 50)
        if cycle == 3:
            sync_model.simulate_funding(timestamp + HOUR, -30)

    def decide(input):
        seen.append(input.get_position_manager().get_current_cash())
        return []

    run_on(universe(), decide, cycles=4, cash=100, execution_test_hook=fund)
    assert seen == [100, 150, 150, 120]


def test_failure_of_a_strategy_hook_names_hook_cycle_and_time():
    def broken(hook):
        raise ValueError("hook is broken")

    with pytest.raises(StrategyFailed, match=r"before_strategy_tick failed at cycle 1, 2022-01-03 00:00:00.*broken"):
        run_on(universe(), do_nothing, cycles=1, before_strategy_tick=broken)


# -- ledger -----------------------------------------------------------------------------------------------------------


def test_quiet_cycles_leave_no_event_but_the_last():
    plan = plan_backtest(
        decide_trades=do_nothing,
        universe=universe(),
        parameters={"cycle_duration": CycleDuration.cycle_1h, "routing": TradeRouting.default, "initial_cash": 1},
        start=START,
        end=START + 10 * HOUR,
    )
    run = BacktestRun(plan)
    run.advance(plan.cycle_count)
    events, samples = run.take_segment()
    assert isinstance(events[0], StateCreated)
    assert [e.cycle for e in events if isinstance(e, CycleCompleted)] == [1, 10]
    assert len(events) == 4
    assert len(samples) == 10


def test_same_run_gives_the_same_samples():
    def decide(input):
        manager = input.get_position_manager()
        return manager.close_all() if manager.is_any_open() else manager.open_spot(WETH_USDC, 10, stop_loss_pct=0.9)

    opens = {WETH_USDC: [100.0, 85.0, 110.0, 90.0, 70.0, 120.0]}
    runs = [run_on(universe_of(opens, feed=opens), decide, cycles=5) for _ in range(2)]
    assert runs[0].samples.equals(runs[1].samples)
    assert runs[0].trades.equals(runs[1].trades)


def test_finer_cycles_than_candles_are_priced_at_the_open_of_the_running_bar():
    seen = []

    def decide(input):
        seen.append(input.pricing_model.get_mid_price(input.timestamp, WETH_USDC))
        return []

    days = universe_of({WETH_USDC: [100.0, 200.0]}, TimeBucket.d1)
    run_on(days, decide, cycle=CycleDuration.cycle_12h, cycles=4)
    assert seen == [100, 100, 200, 200]


def test_plans_of_different_functions_have_different_hashes():
    """Partitions that were run with another decide_trades must be recognised as outdated."""

    def plan(decide_trades):
        return plan_backtest(
            decide_trades=decide_trades,
            universe=universe(),
            parameters={"cycle_duration": CycleDuration.cycle_1h, "routing": TradeRouting.default, "initial_cash": 1},
            start=START,
            end=START + HOUR,
        )

    assert hash_plan(plan(do_nothing)) != hash_plan(plan(lambda i: i.get_position_manager().close_all()))
