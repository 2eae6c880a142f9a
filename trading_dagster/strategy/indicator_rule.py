"""Which row of a time series a decision may read: the previous-bar rule, for all decision times at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import GRID_ORIGIN, TimeBucket, require_naive_utc, to_unix_us
from trading_dagster.market.panel import ONE_US, CandlePanel, Floats, Integers

Duration: TypeAlias = timedelta | np.timedelta64 | TimeBucket | int
"""A length of time; the only integer allowed is 0."""

ORIGIN_US = to_unix_us(GRID_ORIGIN)
WEEK_US = timedelta(days=7) // ONE_US


class Outcome(IntEnum):
    """What the rule says of a decision time."""

    found = 0
    absent = 1
    too_old = 2
    refused = 3


Outcomes: TypeAlias = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Rows:
    """For each decision time the row to read.

    Attributes:
        row: Row number, valid where the outcome is found or too_old, clipped to 0 elsewhere.
        outcome: One Outcome for each decision time.
        target_us: The bar that was asked for, microseconds since 1970.
    """

    row: Integers
    outcome: Outcomes
    target_us: Integers

    def take(self, values: Floats) -> Floats:
        """Return the value of each decision time, NaN where none was found."""
        if not len(values):
            return np.full(len(self.row), np.nan)
        taken: Floats = np.where(self.outcome == Outcome.found, values[self.row], np.nan)
        return taken


@dataclass(frozen=True, slots=True)
class PreviousBarRule:
    """How ``get_indicator_value`` finds its bar.

    w = bar width; t = floor(decision time, w) on the grid counted from Monday 0001-01-01, unless a tolerance was given,
    then the decision time itself; target = t + w * index + clock_shift. The bar at the target, else the latest bar
    before it if not older than the tolerance (w; 14 days for weekly bars). Beyond the tolerance a target after the last
    row is absent, one in a hole too old. Within it the two are alike: that the series never goes on is not known at the
    time, in live trading every hole begins as an end. A target whose bar would end after the decision time is refused.

    Args:
        index: Bars from the one being formed at the decision time: -1 is the last completed one.
        clock_shift_us: Added to the target.
        tolerance_us: Oldest allowed age of a row against the target, None for "auto".
        is_deciding: False refuses nothing.
    """

    index: int
    clock_shift_us: int
    tolerance_us: int | None
    is_deciding: bool = True

    def find(self, times_us: Integers, width_us: int | None, grid_us: Integers) -> Rows:
        """Return which row each decision time reads of a series with ascending open times."""
        if width_us is None or not len(times_us):
            nothing = np.zeros(len(grid_us), dtype=np.int64)
            return Rows(nothing, np.full(len(grid_us), Outcome.absent, dtype=np.int8), grid_us)
        if self.tolerance_us is None:
            tolerance_us = 2 * WEEK_US if width_us == WEEK_US else width_us
            start = grid_us - (grid_us - ORIGIN_US) % width_us
        else:
            tolerance_us = self.tolerance_us
            start = grid_us
        target = start + (width_us * self.index + self.clock_shift_us)
        row = latest_rows(times_us, target)
        age = target - times_us[np.maximum(row, 0)]
        outcome = np.full(len(grid_us), Outcome.found, dtype=np.int8)
        outcome[age > tolerance_us] = Outcome.too_old
        outcome[(row < 0) | ((target > times_us[-1]) & (age > tolerance_us))] = Outcome.absent
        if self.is_deciding:
            outcome[target + width_us > grid_us] = Outcome.refused
        return Rows(np.maximum(row, 0), outcome, target)


@dataclass(frozen=True, slots=True)
class PriceRule:
    """How ``get_price`` finds its candle.

    The candle that contains decision time + bucket * index, else the latest one before it that opened at most the
    tolerance before that instant. A candle that closes after the decision time is refused.

    Args:
        index: Bars from the decision time: -1 is the candle that closed last.
        tolerance_us: Oldest allowed age of a candle's open.
        is_deciding: False refuses nothing.
    """

    index: int
    tolerance_us: int
    is_deciding: bool = True

    def find(self, panel: CandlePanel, latest: Integers, grid_us: Integers, target_us: Integers | None = None) -> Rows:
        """Return which bar of the panel each decision time reads.

        Args:
            panel: The candles.
            latest: For each bar the latest existing one at or before it, as ``CandlePanel.latest_bar`` gives it.
            grid_us: Decision times.
            target_us: Instants asked for instead of decision time + bucket * index.
        """
        target = grid_us + panel.width_us * self.index if target_us is None else target_us
        bar = (target - panel.start_us) // panel.width_us
        inside = np.clip(bar, 0, max(panel.bar_count - 1, 0))
        row = latest[inside] if panel.bar_count else np.full(len(grid_us), -1, dtype=np.int64)
        age = target - (panel.start_us + row * panel.width_us)
        outcome = np.full(len(grid_us), Outcome.found, dtype=np.int8)
        outcome[(bar < 0) | (row < 0) | (age > self.tolerance_us)] = Outcome.absent
        if self.is_deciding:
            outcome[panel.start_us + (bar + 1) * panel.width_us > grid_us] = Outcome.refused
        return Rows(np.maximum(row, 0), outcome, target)


def latest_rows(times_us: Integers, target_us: Integers) -> Integers:
    """Return for each target the last row at or before it, -1 if none."""
    count = len(times_us)
    step = int(times_us[1] - times_us[0]) if count > 1 else 0
    if step and int(times_us[-1] - times_us[0]) == step * (count - 1) and _is_regular(times_us, step):
        rows: Integers = np.clip((target_us - times_us[0]) // step, -1, count - 1)
        return rows
    found: Integers = np.searchsorted(times_us, target_us, side="right") - 1
    return found


def _is_regular(times_us: Integers, step: int) -> bool:
    return bool((np.diff(times_us) == step).all())


def visible_rows(times_us: Integers, width_us: int, timestamp_us: int) -> int:
    """Return how many rows have a bar that closed at or before a time; rows are the first so many."""
    return int(np.searchsorted(times_us, timestamp_us - width_us, side="right"))


def to_us(duration: Duration, what: str) -> int:
    """Return microseconds of a duration; raises BadInput for a number other than 0."""
    if isinstance(duration, TimeBucket):
        return duration.to_timedelta() // ONE_US
    if isinstance(duration, timedelta):
        return duration // ONE_US
    if isinstance(duration, np.timedelta64):
        return pd.Timedelta(duration) // ONE_US
    if isinstance(duration, int) and duration == 0:
        return 0
    raise BadInput(f"{what}={duration!r} has no unit: give a timedelta, such as timedelta(hours=1)")


def instant_us(timestamp: datetime) -> int:
    """Return microseconds since 1970 of a naive UTC datetime or Timestamp; raises NaiveDatetimeRequired."""
    plain = timestamp.to_pydatetime() if isinstance(timestamp, pd.Timestamp) else timestamp
    return to_unix_us(require_naive_utc(plain))
