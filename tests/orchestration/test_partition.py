"""Partitions come from the strategy's own range: whole calendar pieces, clipped at both ends, without gaps."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput, ParameterTypeInvalid
from trading_dagster.domain.time import CycleDuration
from trading_dagster.orchestration.partition import Grain, choose_grain, cut_windows, define_partitions
from trading_dagster.strategy.parameters import StrategyParameters
from trading_dagster.strategy.routing import TradeRouting

pytestmark = pytest.mark.dagster
MOMENTS = st.datetimes(datetime(2015, 1, 1), datetime(2024, 1, 1))


def parameters(start: datetime, end: datetime, **more: object) -> StrategyParameters:
    values = {
        "cycle_duration": CycleDuration.cycle_1h,
        "routing": TradeRouting.default,
        "initial_cash": 1000,
        "backtest_start": start,
        "backtest_end": end,
    }
    return StrategyParameters({**values, **more})


@pytest.mark.parametrize(
    ("grain", "keys"),
    [
        (Grain.month, ["2018-01", "2018-02", "2018-03"]),
        (Grain.week, ["2018-01-29", "2018-02-05", "2018-02-12", "2018-02-19", "2018-02-26"]),
    ],
)
def test_first_and_last_window_are_clipped(grain: Grain, keys: list[str]) -> None:
    start, end = datetime(2018, 1, 30, 5), datetime(2018, 3, 2, 7)

    windows = cut_windows(parameters(start, end), grain)

    assert [window.key for window in windows] == keys
    assert (windows[0].start, windows[-1].end) == (start, end)


@given(MOMENTS, st.timedeltas(timedelta(hours=1), timedelta(days=200)), st.sampled_from(Grain))
def test_windows_cover_the_range_without_gaps(start: datetime, length: timedelta, grain: Grain) -> None:
    end = start + length

    windows = cut_windows(parameters(start, end), grain)

    assert (windows[0].start, windows[-1].end) == (start, end)
    assert all(before.end == after.start for before, after in zip(windows, windows[1:], strict=False))
    assert all(window.start < window.end for window in windows)


@given(MOMENTS, st.timedeltas(timedelta(hours=1), timedelta(days=200)), st.sampled_from(Grain))
def test_windows_are_named_as_dagster_names_the_partitions(start: datetime, length: timedelta, grain: Grain) -> None:
    given = parameters(start, start + length)

    names = [window.key for window in cut_windows(given, grain)]

    assert names == define_partitions(given, grain).get_partition_keys()


@given(MOMENTS, st.sampled_from(Grain))
def test_floor_and_ceil_enclose_a_moment(moment: datetime, grain: Grain) -> None:
    first, end = grain.floor(moment), grain.ceil(moment)

    assert first <= moment <= end
    assert grain.floor(first) == first
    assert grain.ceil(end) == end


def test_a_range_may_reach_into_the_present_partition() -> None:
    today = datetime.now(UTC).replace(tzinfo=None, minute=0, second=0, microsecond=0)

    windows = cut_windows(parameters(today - timedelta(days=70), today), Grain.month)

    assert windows[-1].end == today


def test_weeks_begin_on_monday() -> None:
    windows = cut_windows(parameters(datetime(2018, 1, 3), datetime(2018, 2, 1)), Grain.week)

    assert {datetime.fromisoformat(window.key).weekday() for window in windows} == {0}


def test_the_strategy_chooses_its_partitions() -> None:
    chosen = parameters(datetime(2018, 1, 1), datetime(2018, 2, 1), backtest_partition="week")

    assert choose_grain(chosen) is Grain.week
    assert choose_grain(chosen, "day") is Grain.day
    assert choose_grain(parameters(datetime(2018, 1, 1), datetime(2018, 2, 1))) is Grain.month


def test_a_partition_must_not_be_shorter_than_a_cycle() -> None:
    weekly = parameters(datetime(2018, 1, 1), datetime(2018, 2, 1), cycle_duration=CycleDuration.cycle_7d)

    with pytest.raises(ParameterTypeInvalid, match=r"backtest_partition is 'day', shorter than cycle_duration 7d"):
        choose_grain(weekly, "day")


def test_an_unknown_partition_is_refused() -> None:
    chosen = parameters(datetime(2018, 1, 1), datetime(2018, 2, 1), backtest_partition="year")

    with pytest.raises(ParameterTypeInvalid, match=r"backtest_partition is 'year': use one of month, week, day"):
        choose_grain(chosen)


def test_start_after_end_is_refused() -> None:
    with pytest.raises(BadInput, match="the end must be later"):
        cut_windows(parameters(datetime(2018, 2, 1), datetime(2018, 1, 1)), Grain.month)
