"""Time buckets, cycle durations and the one grid both snap to.

All grids count whole durations from 0001-01-01 00:00, a Monday, so 7 d falls on Mondays.
Strategies and exported state use naive datetimes that mean UTC; events, storage and interfaces use aware UTC.
The two functions at the end are the only place that converts between them.
"""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import total_ordering
from typing import TYPE_CHECKING, Any

from trading_dagster.domain.error import BadInput, NaiveDatetimeRequired, UtcDatetimeRequired

if TYPE_CHECKING:
    import pandas as pd

GRID_ORIGIN = datetime.min  # noqa: DTZ901 - naive on purpose: the origin of the naive UTC grid
UNIX_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive means UTC here
AWARE_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _parse_duration(text: str) -> timedelta:
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})


def snap_down(timestamp: datetime, duration: timedelta, offset: timedelta = timedelta(0)) -> datetime:
    """Return the last grid instant at or before a naive UTC timestamp, plus the offset."""
    require_naive_utc(timestamp)
    return timestamp - (timestamp - GRID_ORIGIN) % duration + offset


def snap_up(timestamp: datetime, duration: timedelta, offset: timedelta = timedelta(0)) -> datetime:
    """Return the first grid instant at or after a naive UTC timestamp, plus the offset."""
    require_naive_utc(timestamp)
    return timestamp + (GRID_ORIGIN - timestamp) % duration + offset


class TimeBucket(Enum):
    """The width of a candle."""

    m1 = "1m"
    m5 = "5m"
    m15 = "15m"
    m30 = "30m"
    h1 = "1h"
    h2 = "2h"
    h4 = "4h"
    h6 = "6h"
    h8 = "8h"
    h12 = "12h"
    d1 = "1d"
    d7 = "7d"
    d30 = "30d"
    d360 = "360d"
    not_applicable = "not_applicable"

    def to_timedelta(self) -> timedelta:
        """Return the width; raises BadInput for ``not_applicable``."""
        if self is TimeBucket.not_applicable:
            raise BadInput("TimeBucket.not_applicable has no width: choose a bucket such as TimeBucket.h1")
        return _parse_duration(self.value)

    def to_pandas_timedelta(self) -> pd.Timedelta:
        """Return the width as a pandas Timedelta."""
        pandas: Any = importlib.import_module("pandas")  # the domain itself stays free of pandas
        width: pd.Timedelta = pandas.Timedelta(self.to_timedelta())
        return width

    def floor(self, timestamp: datetime) -> datetime:
        """Return the open time of the candle that contains a naive UTC timestamp."""
        return snap_down(timestamp, self.to_timedelta())

    def ceil(self, timestamp: datetime) -> datetime:
        """Return the first candle open time at or after a naive UTC timestamp."""
        return snap_up(timestamp, self.to_timedelta())

    @classmethod
    def from_timedelta(cls, width: timedelta) -> TimeBucket:
        """Return the bucket of that width; raises BadInput when there is none."""
        for bucket in cls:
            if bucket is not cls.not_applicable and bucket.to_timedelta() == width:
                return bucket
        choices = ", ".join(b.name for b in cls if b is not cls.not_applicable)
        raise BadInput(f"No time bucket is {width} wide: use one of {choices}")


@total_ordering
class CycleDuration(Enum):
    """How often a strategy decides, independent of the candle bucket."""

    cycle_1s = "1s"
    cycle_1m = "1m"
    cycle_5m = "5m"
    cycle_15m = "15m"
    cycle_30m = "30m"
    cycle_1h = "1h"
    cycle_2h = "2h"
    cycle_4h = "4h"
    cycle_6h = "6h"
    cycle_8h = "8h"
    cycle_10h = "10h"
    cycle_12h = "12h"
    cycle_16h = "16h"
    cycle_1d = "1d"
    cycle_2d = "2d"
    cycle_3d = "3d"
    cycle_4d = "4d"
    cycle_7d = "7d"
    cycle_10d = "10d"
    cycle_14d = "14d"
    cycle_30d = "30d"
    cycle_unknown = "0s"

    s1 = "1s"
    m1 = "1m"
    m5 = "5m"
    m15 = "15m"
    m30 = "30m"
    h1 = "1h"
    h2 = "2h"
    h4 = "4h"
    h6 = "6h"
    h8 = "8h"
    h10 = "10h"
    h12 = "12h"
    h16 = "16h"
    d1 = "1d"
    d2 = "2d"
    d3 = "3d"
    d4 = "4d"
    d7 = "7d"
    d10 = "10d"
    d14 = "14d"
    d30 = "30d"
    unknown = "0s"

    def __lt__(self, other: object) -> bool:
        """Order by length."""
        if not isinstance(other, CycleDuration):
            return NotImplemented
        return self.to_timedelta() < other.to_timedelta()

    def to_timedelta(self) -> timedelta:
        """Return the length; zero for ``unknown``."""
        return _parse_duration(self.value)

    def to_pandas_timedelta(self) -> pd.Timedelta:
        """Return the length as a pandas Timedelta."""
        pandas: Any = importlib.import_module("pandas")  # the domain itself stays free of pandas
        length: pd.Timedelta = pandas.Timedelta(self.to_timedelta())
        return length

    def to_timebucket(self) -> TimeBucket | None:
        """Return the candle bucket of equal length, or None."""
        return next((b for b in TimeBucket if b.value == self.value), None)

    @classmethod
    def from_timebucket(cls, bucket: TimeBucket) -> CycleDuration:
        """Return the cycle as long as a bucket; raises BadInput when there is none."""
        for duration in cls:
            if duration.value == bucket.value:
                return duration
        raise BadInput(f"No cycle duration equals {bucket}: use one of {', '.join(d.name for d in cls)}")

    def get_yearly_periods(self) -> float:
        """Return how many cycles fit in 365 days."""
        if self is CycleDuration.cycle_unknown:
            raise BadInput("CycleDuration.unknown has no yearly periods: set a real cycle duration")
        return YEAR / self.to_timedelta()

    def round_down(self, timestamp: datetime, offset: timedelta = timedelta(0)) -> datetime:
        """Return the last grid instant at or before a naive UTC timestamp, plus the offset."""
        return self._snap(snap_down, timestamp, offset)

    def round_up(self, timestamp: datetime, offset: timedelta = timedelta(0)) -> datetime:
        """Return the first grid instant at or after a naive UTC timestamp, plus the offset."""
        return self._snap(snap_up, timestamp, offset)

    def _snap(self, snap: Any, timestamp: datetime, offset: timedelta) -> datetime:
        if self is CycleDuration.cycle_unknown:
            return require_naive_utc(timestamp)
        snapped: datetime = snap(timestamp, self.to_timedelta(), offset)
        return snapped


def require_naive_utc(timestamp: datetime, what: str = "Got") -> datetime:
    """Return a naive datetime unchanged; raises NaiveDatetimeRequired for a zone-aware one, saying ``what`` it is."""
    if timestamp.tzinfo is not None:
        raise NaiveDatetimeRequired(
            f"{what} the zone-aware datetime {timestamp.isoformat()}: strategies use naive datetimes that mean UTC; "
            "convert with timestamp.astimezone(timezone.utc).replace(tzinfo=None)"
        )
    return timestamp


def to_aware(timestamp: datetime) -> datetime:
    """Turn a naive datetime that means UTC into an aware one."""
    return (require_naive_utc(timestamp) - UNIX_EPOCH) + AWARE_EPOCH  # replace() takes ten times as long


def to_naive(timestamp: datetime) -> datetime:
    """Turn an aware UTC datetime into a naive one; raises UtcDatetimeRequired for anything else."""
    if timestamp.tzinfo is not UTC and timestamp.utcoffset() != timedelta(0):
        raise UtcDatetimeRequired(f"Got {timestamp.isoformat()}, which is not UTC: convert with .astimezone(UTC)")
    return (timestamp - AWARE_EPOCH) + UNIX_EPOCH


def to_unix_us(timestamp: datetime) -> int:
    """Return microseconds since 1970 of a naive UTC datetime, exactly."""
    since = timestamp - UNIX_EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_unix_us(microseconds: int) -> datetime:
    """Return the naive UTC datetime of microseconds since 1970."""
    return UNIX_EPOCH + timedelta(0, 0, microseconds)
