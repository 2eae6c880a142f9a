"""The previous-bar rule against a slow reading of its text."""

# ruff: noqa: DTZ901 - naive datetimes mean UTC at the strategy surface

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import (
    BadInput,
    IndicatorDataNotFoundWithinDataTolerance,
    LookaheadRefused,
    NaiveDatetimeRequired,
)
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us
from trading_dagster.strategy.indicator_rule import (
    Outcome,
    PreviousBarRule,
    instant_us,
    latest_rows,
    to_us,
    visible_rows,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MONDAY = datetime(2024, 1, 1)
US = timedelta(microseconds=1)


def read_slowly(series: pd.Series, width, ts, index=-1, clock_shift=timedelta(0), tolerance="auto"):
    """Follow the text of the rule, one sentence after the other."""
    if width is None:
        if len(series) < 3:
            return None
        width = (series.index[-1] - series.index[-2]).to_pytimedelta()
    if not len(series):
        return None
    if tolerance == "auto":
        t = datetime.min + (ts - datetime.min) // width * width
        tolerance = timedelta(days=14) if width == timedelta(days=7) else width
    else:
        t = ts
    target = t + width * index + clock_shift
    if target + width > ts:
        raise LookaheadRefused("the bar ends after the decision")
    if target in series.index:
        return series[target]
    before = series[series.index < target]
    if not len(before):
        return None
    if target - before.index[-1] > tolerance:
        if target > series.index[-1]:
            return None
        raise IndicatorDataNotFoundWithinDataTolerance("too old")
    return before.iloc[-1]


def outcome_slowly(series, width, ts, index, clock_shift, tolerance):
    try:
        value = read_slowly(series, width, ts, index, clock_shift, tolerance)
    except LookaheadRefused:
        return Outcome.refused, None
    except IndicatorDataNotFoundWithinDataTolerance:
        return Outcome.too_old, None
    return (Outcome.absent, None) if value is None else (Outcome.found, value)


BUCKETS = [b for b in TimeBucket if b not in (TimeBucket.not_applicable, TimeBucket.m1, TimeBucket.d360)]


@st.composite
def looked_up(draw):
    bucket = draw(st.sampled_from(BUCKETS))
    width = bucket.to_timedelta()
    first = bucket.ceil(MONDAY)
    present = draw(st.lists(st.booleans(), min_size=0, max_size=25))
    times = [first + i * width for i, there in enumerate(present) if there]
    cycle = draw(st.sampled_from([width / 24, width / 2, width, 2 * width, 7 * width, timedelta(minutes=7)]))
    start = first + draw(st.integers(-3, 20)) * width / 2 + draw(st.sampled_from([timedelta(0), 3 * US, width / 3]))
    grid = [start + i * cycle for i in range(draw(st.integers(1, 30)))]
    index = draw(st.integers(-4, 2))
    shift = draw(st.sampled_from([timedelta(0), width, -width, -3 * width, width / 2, -width / 2, HOUR, -US, US]))
    tolerance = draw(st.sampled_from(["auto", timedelta(0), width / 2, width, 5 * width, 365 * DAY]))
    knows_width = draw(st.booleans())
    index_times = pd.DatetimeIndex(np.array(times, dtype="datetime64[us]"))
    series = pd.Series(np.arange(float(len(times))), index=index_times)
    return series, (width if knows_width else None), grid, index, shift, tolerance


@given(looked_up())
def test_every_decision_time_reads_the_row_that_the_text_names(case):
    series, width, grid, index, shift, tolerance = case
    times_us = series.index.asi8
    inferred = int(times_us[-1] - times_us[-2]) if len(times_us) >= 3 else None
    rule = PreviousBarRule(index, shift // US, None if tolerance == "auto" else tolerance // US)
    grid_us = np.array([to_unix_us(ts) for ts in grid])

    rows = rule.find(times_us, width // US if width else inferred, grid_us)

    values = rows.take(series.to_numpy())
    for i, ts in enumerate(grid):
        expected, value = outcome_slowly(series, width, ts, index, shift, tolerance)
        assert rows.outcome[i] == expected
        assert np.isnan(values[i]) if value is None else values[i] == value


@given(looked_up())
def test_no_row_that_is_found_closes_after_the_decision(case):
    series, width, grid, index, shift, tolerance = case
    if width is None:
        width = timedelta(microseconds=int(np.diff(series.index.asi8).max())) if len(series) > 1 else DAY
    rule = PreviousBarRule(index, shift // US, None if tolerance == "auto" else tolerance // US)
    grid_us = np.array([to_unix_us(ts) for ts in grid])
    rows = rule.find(series.index.asi8, width // US, grid_us)
    for i in np.flatnonzero(rows.outcome == Outcome.found):
        assert series.index.asi8[rows.row[i]] + width // US <= grid_us[i]


@given(looked_up())
def test_later_rows_change_no_value_only_what_a_missing_one_is_called(case):
    series, width, grid, index, shift, tolerance = case
    if width is None:
        return
    rule = PreviousBarRule(index, shift // US, None if tolerance == "auto" else tolerance // US)
    for ts in grid:
        now = np.array([to_unix_us(ts)])
        whole = rule.find(series.index.asi8, width // US, now)
        known = series[series.index + width <= ts]
        cut = rule.find(known.index.asi8, width // US, now)
        if cut.outcome[0] == whole.outcome[0]:
            assert whole.outcome[0] != Outcome.found or whole.row[0] == cut.row[0]
        else:
            assert cut.outcome[0] == Outcome.absent
            assert whole.outcome[0] == (Outcome.too_old if len(known) else Outcome.refused)


@pytest.mark.parametrize(
    ("hour", "expected"),
    [(0, "2024-01-09"), (1, "2024-01-09"), (23, "2024-01-09"), (24, "2024-01-10")],
)
def test_hourly_cycles_on_daily_bars_read_yesterday_all_day(hour, expected):
    times_us = pd.date_range("2024-01-01", periods=30, freq="D", unit="us").asi8
    now = np.array([to_unix_us(datetime(2024, 1, 10) + hour * HOUR)])
    rows = PreviousBarRule(-1, 0, None).find(times_us, DAY // US, now)
    assert from_unix_us(int(times_us[rows.row[0]])) == datetime.fromisoformat(expected)


@pytest.mark.parametrize("day", range(8, 15))
def test_weekly_bars_read_the_last_completed_week_from_monday(day):
    times_us = pd.date_range(MONDAY, periods=5, freq="7D", unit="us").asi8
    now = np.array([to_unix_us(datetime(2024, 1, day))])  # the 8th and the 15th are Mondays
    rows = PreviousBarRule(-1, 0, None).find(times_us, 7 * DAY // US, now)
    assert from_unix_us(int(times_us[rows.row[0]])) == MONDAY


@pytest.mark.parametrize(("weeks_missing", "outcome"), [(2, Outcome.found), (3, Outcome.too_old)])
def test_weekly_bars_are_tolerated_for_fourteen_days(weeks_missing, outcome):
    present = [0, 1, 2 + weeks_missing, 3 + weeks_missing]
    times_us = np.array([to_unix_us(MONDAY + 7 * DAY * week) for week in present])
    now = np.array([to_unix_us(MONDAY + 7 * DAY * (2 + weeks_missing))])
    rows = PreviousBarRule(-1, 0, None).find(times_us, 7 * DAY // US, now)
    assert rows.outcome[0] == outcome


def test_index_zero_is_refused_in_a_decision_only():
    times_us = pd.date_range("2024-01-01", periods=30, freq="D", unit="us").asi8
    now = np.array([to_unix_us(datetime(2024, 1, 10))])
    deciding = PreviousBarRule(0, 0, None).find(times_us, DAY // US, now)
    looking_back = PreviousBarRule(0, 0, None, is_deciding=False).find(times_us, DAY // US, now)
    assert deciding.outcome[0] == Outcome.refused
    assert (looking_back.outcome[0], looking_back.row[0]) == (Outcome.found, 9)


@pytest.mark.parametrize(("shift", "outcome"), [(0, Outcome.found), (1, Outcome.refused)])
def test_a_microsecond_into_the_future_is_refused(shift, outcome):
    times_us = pd.date_range("2024-01-01", periods=30, freq="D", unit="us").asi8
    now = np.array([to_unix_us(datetime(2024, 1, 10))])
    assert PreviousBarRule(-1, shift, None).find(times_us, DAY // US, now).outcome[0] == outcome


@given(
    st.lists(st.integers(0, 200), unique=True, min_size=1, max_size=20).map(sorted),
    st.lists(st.integers(-50, 250), max_size=20),
)
def test_latest_rows_are_found_in_regular_and_irregular_series(times, targets):
    rows = latest_rows(np.array(times, dtype=np.int64), np.array(targets, dtype=np.int64))
    assert rows.tolist() == [sum(t <= target for t in times) - 1 for target in targets]


@given(st.lists(st.integers(0, 200), unique=True, max_size=20).map(sorted), st.integers(1, 50), st.integers(0, 300))
def test_rows_are_visible_from_the_close_of_their_bar(times, width, now):
    assert visible_rows(np.array(times, dtype=np.int64), width, now) == sum(t + width <= now for t in times)


@pytest.mark.parametrize(
    "duration", [HOUR, pd.Timedelta("1h"), np.timedelta64(1, "h"), TimeBucket.h1], ids=lambda d: type(d).__name__
)
def test_durations_of_every_kind_are_microseconds(duration):
    assert to_us(duration, "clock_shift") == 3_600_000_000


def test_a_number_without_unit_is_no_duration():
    assert to_us(0, "clock_shift") == 0
    with pytest.raises(BadInput, match="clock_shift=1 has no unit"):
        to_us(1, "clock_shift")


def test_zone_aware_instants_are_refused():
    assert instant_us(pd.Timestamp("2024-01-01")) == to_unix_us(MONDAY)
    with pytest.raises(NaiveDatetimeRequired):
        instant_us(pd.Timestamp("2024-01-01", tz="UTC"))
