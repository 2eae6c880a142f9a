"""Grids, snapping and the UTC rules."""

from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput, NaiveDatetimeRequired, UtcDatetimeRequired
from trading_dagster.domain.time import (
    GRID_ORIGIN,
    CycleDuration,
    TimeBucket,
    from_unix_us,
    snap_down,
    snap_up,
    to_aware,
    to_naive,
    to_unix_us,
)

MOMENTS = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2050, 1, 1))
DURATIONS = st.sampled_from([d for d in CycleDuration if d is not CycleDuration.cycle_unknown])


def test_eight_hour_cycle_snaps_as_the_reference_says():
    cycle, offset = CycleDuration.cycle_8h, timedelta(minutes=10)
    assert cycle.round_up(datetime(2021, 1, 1, 8)) == datetime(2021, 1, 1, 8)
    assert cycle.round_up(datetime(2021, 1, 1, 8), offset) == datetime(2021, 1, 1, 8, 10)
    assert cycle.round_down(datetime(2021, 1, 1, 3), offset) == datetime(2021, 1, 1, 0, 10)


@given(MOMENTS)
def test_seven_day_cycle_falls_on_mondays(moment):
    snapped = CycleDuration.cycle_7d.round_down(moment)
    assert snapped.weekday() == 0
    assert snapped.time() == datetime(2000, 1, 1).time()
    assert timedelta(0) <= moment - snapped < timedelta(days=7)


@given(MOMENTS, DURATIONS)
def test_snapping_brackets_the_moment_and_an_exact_hit_stays(moment, duration):
    width = duration.to_timedelta()
    down, up = snap_down(moment, width), snap_up(moment, width)
    assert down <= moment <= up
    assert up - down in (timedelta(0), width)
    assert (down - GRID_ORIGIN) % width == timedelta(0)
    assert snap_up(down, width) == down == snap_down(down, width)


def test_unknown_cycle_does_not_snap():
    moment = datetime(2021, 1, 1, 3, 7, 11)
    assert CycleDuration.unknown.round_down(moment) == moment
    with pytest.raises(BadInput, match="no yearly periods"):
        CycleDuration.unknown.get_yearly_periods()


def test_durations_order_by_length_and_have_short_names():
    assert CycleDuration.d1 is CycleDuration.cycle_1d
    assert max(CycleDuration) is CycleDuration.cycle_30d
    assert min(CycleDuration) is CycleDuration.cycle_unknown
    assert len(list(CycleDuration)) == 22


def test_durations_and_buckets_convert_where_equal():
    assert CycleDuration.cycle_1h.to_timebucket() is TimeBucket.h1
    assert CycleDuration.cycle_16h.to_timebucket() is None
    assert CycleDuration.from_timebucket(TimeBucket.m15) is CycleDuration.cycle_15m
    with pytest.raises(BadInput, match="No cycle duration equals"):
        CycleDuration.from_timebucket(TimeBucket.d360)
    assert CycleDuration.cycle_1d.get_yearly_periods() == 365
    assert TimeBucket.d7.floor(datetime(2026, 11, 22, 5)) == datetime(2026, 11, 16)
    assert TimeBucket.h1.ceil(datetime(2026, 11, 22, 5, 1)) == datetime(2026, 11, 22, 6)
    assert TimeBucket.h4.to_pandas_timedelta().total_seconds() == 4 * 3600


@given(MOMENTS)
def test_microseconds_round_trip(moment):
    assert from_unix_us(to_unix_us(moment)) == moment


@given(st.datetimes())
def test_utc_zone_is_put_on_and_taken_off_without_moving_the_time(moment):
    aware = to_aware(moment)
    assert (aware, aware.tzinfo) == (moment.replace(tzinfo=UTC), UTC)
    assert to_naive(aware) == moment


def test_timestamps_of_pandas_stay_timestamps_to_the_nanosecond():
    moment = pd.Timestamp("2021-01-01 00:00:00.000000001")
    assert to_aware(moment) == moment.tz_localize("UTC")
    assert to_naive(to_aware(moment)) == moment


def test_aware_and_naive_are_never_mixed_silently():
    naive, aware = datetime(2021, 1, 1), datetime(2021, 1, 1, tzinfo=UTC)
    assert to_aware(naive) == aware
    assert to_naive(aware) == naive
    with pytest.raises(NaiveDatetimeRequired, match="zone-aware"):
        to_aware(aware)
    with pytest.raises(UtcDatetimeRequired, match="not UTC"):
        to_naive(datetime(2021, 1, 1, tzinfo=timezone(timedelta(hours=2))))
    with pytest.raises(UtcDatetimeRequired):
        to_naive(naive)
