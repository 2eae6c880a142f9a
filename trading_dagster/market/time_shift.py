"""Find candles whose clock is wrong: returns that follow those of another source some bars earlier or later.

A source that labels candles by their close, or in local time, looks clean by itself. Two venues of one pair move
together within a bar, so the lag at which their returns correlate most is the difference of their clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import Candles, bucket_width_us, duplicated_rows, numeric_columns, timestamps_us
from trading_dagster.market.panel import Floats, Integers

LONGEST_SHIFT = timedelta(hours=26)
"""Time zones are up to 14 hours from UTC; a day more for those who mistake the date."""

LEAST_BARS = 200
LEAST_CORRELATION = 0.5
LEAST_GAIN = 0.2


@dataclass(frozen=True, slots=True)
class TimeShift:
    """How the clock of some candles compares with that of a reference.

    Args:
        shift: By how much the candles are late: subtract it from their times. Zero when the clocks agree.
        correlation: Of the returns once shifted.
        unshifted: Correlation of the returns as they are.
        bars: Number of bars compared.
    """

    shift: timedelta
    correlation: float
    unshifted: float
    bars: int

    @property
    def is_shifted(self) -> bool:
        """Tell whether the candles' times are wrong: shifted they agree clearly better."""
        agrees = self.correlation >= LEAST_CORRELATION and self.correlation >= self.unshifted + LEAST_GAIN
        return self.shift != timedelta(0) and agrees


def find_time_shift(
    frame: Candles, reference: Candles, bucket: TimeBucket, *, longest: timedelta = LONGEST_SHIFT
) -> TimeShift | None:
    """Return at which shift the returns of one pair agree most with those of another source; None with too few bars.

    Args:
        frame: Candles of one pair.
        reference: Candles of the same pair of another source.
        bucket: Width of both.
        longest: Largest shift looked for, at least one bar.

    Raises:
        CandleContractBroken: Columns or times cannot be read.
    """
    width = bucket_width_us(bucket)
    own, other = _bars(frame, width), _bars(reference, width)
    if not len(own[0]) or not len(other[0]):
        return None
    reach = max(1, longest // bucket.to_timedelta())
    first, last = max(own[0].min(), other[0].min()), min(own[0].max(), other[0].max())
    if last - first + 1 < LEAST_BARS:
        return None
    mine = _returns(*own, int(first), int(last))
    around = _returns(*other, int(first) - reach, int(last) + reach)
    found: list[tuple[float, int, int]] = []
    for lag in sorted(range(-reach, reach + 1), key=abs):
        theirs = around[reach - lag : reach - lag + len(mine)]
        both = np.isfinite(mine) & np.isfinite(theirs)
        if both.sum() >= LEAST_BARS:
            found.append((_correlation(mine[both], theirs[both]), lag, int(both.sum())))
    if not found:
        return None
    unshifted = next((value for value, lag, _ in found if lag == 0), 0.0)
    best = max(found, key=lambda item: item[0])
    return TimeShift(best[1] * bucket.to_timedelta(), best[0], unshifted, best[2])


def _bars(frame: Candles, width: int) -> tuple[Integers, Floats]:
    """Return the number of each bar since 1970 and its close; broken candles left out."""
    times = timestamps_us(frame, "candles")
    closes = numeric_columns(frame, ("close",), "candles")["close"]
    usable = np.isfinite(closes) & (closes > 0) & ~duplicated_rows(np.zeros_like(times), times)
    return times[usable] // width, closes[usable]


def _returns(bars: Integers, closes: Floats, first: int, last: int) -> Floats:
    """Return the log returns of bars from the first to the last, NaN where a close is missing."""
    dense: Floats = np.full(last - first + 2, np.nan)
    inside = (bars >= first - 1) & (bars <= last)
    dense[bars[inside] - first + 1] = np.log(closes[inside])
    returns: Floats = np.diff(dense)
    return returns


def _correlation(left: Floats, right: Floats) -> float:
    """Return the rank correlation, which single outliers do not decide; 0 where one side never moves."""
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(left), _ranks(right))[0, 1])


def _ranks(values: Floats) -> Floats:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)
