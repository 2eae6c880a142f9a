"""Prepare returns for a measure, so that no measure ever raises, warns or answers with infinity."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Literal, ParamSpec, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.statistics.returns import ROUNDING, FloatArray, Returns, ReturnsLike, as_floats

DAYS_PER_YEAR = 365.0

_P = ParamSpec("_P")
_DAY = pd.Timedelta(days=1)

CalendarFrequency: TypeAlias = Literal["D", "ME", "QE", "YE"]
_CALENDAR = {"D": ("D", 1), "ME": ("M", 1), "QE": ("M", 3), "YE": ("Y", 1)}


def never_infinite(function: Callable[_P, float]) -> Callable[_P, float]:
    """Make a measure answer NaN where its arithmetic overflows or has no value."""

    @functools.wraps(function)
    def measured(*args: _P.args, **kwargs: _P.kwargs) -> float:
        try:
            with np.errstate(all="ignore"):
                value = float(function(*args, **kwargs))
        except (OverflowError, ZeroDivisionError):
            return math.nan
        return value if math.isfinite(value) else math.nan

    return measured


def observe(returns: ReturnsLike) -> FloatArray:
    """Return the defined values: NaN is left out; with an infinity among them nothing can be said, so none are left."""
    values = as_floats(returns) if isinstance(returns, pd.Series) else np.asarray(returns, dtype=np.float64)
    if bool(np.isfinite(values).all()):
        return values
    kept = values[~np.isnan(values)]
    return kept if bool(np.isfinite(kept).all()) else kept[:0]


def observe_series(returns: Returns) -> Returns:
    """Do as `observe`, but keep the times.

    Raises:
        BadInput: the samples have no times, or are not in order of time
    """
    values = as_floats(returns)
    are_all_kept = bool(np.isfinite(values).all())
    kept = ~np.isnan(values)
    if not are_all_kept and np.isinf(values).any():
        kept[:] = False
    if not kept.any():
        return pd.Series(index=pd.DatetimeIndex([]), dtype=np.float64)
    index = returns.index
    if not isinstance(index, pd.DatetimeIndex):
        msg = f"returns need a DatetimeIndex, got {type(index).__name__}; index them by sample time"
        raise BadInput(msg)
    if not index.is_monotonic_increasing:
        msg = "the returns are not in order of time; call sort_index() first"
        raise BadInput(msg)
    if are_all_kept and returns.dtype == np.float64:
        return returns  # a table asks fifty times for what is observed already
    return pd.Series(values[kept], index=index[kept], dtype=np.float64)


def compound_by_calendar(returns: Returns, freq: CalendarFrequency) -> FloatArray:
    """Return the compounded returns of every calendar day, month, quarter or year from the first sample to the last.

    It equals `resample_returns`, without the cost of a frame index: a table needs it twenty times.
    """
    observed = observe_series(returns)
    if observed.empty:
        return np.empty(0)
    unit, length = _CALENDAR[freq]
    times = observed.index
    assert isinstance(times, pd.DatetimeIndex)
    naive = times if times.tz is None else times.tz_localize(None)
    period = naive.to_numpy().astype(f"datetime64[{unit}]").astype(np.int64) // length
    starts = np.flatnonzero(np.concatenate(([True], period[1:] != period[:-1])))
    compounded = np.zeros(int(period[-1] - period[0]) + 1)
    with np.errstate(all="ignore"):
        compounded[period[starts] - period[0]] = np.multiply.reduceat(1.0 + as_floats(observed), starts) - 1.0
    return compounded


def ratio(numerator: float, denominator: float) -> float:
    """Divide, or answer NaN where the denominator is undefined, infinite or no more than rounding."""
    if not ROUNDING < abs(denominator) < math.inf:
        return math.nan
    return numerator / denominator


def deviation(values: FloatArray) -> float:
    """Return the sample standard deviation (ddof 1), exactly 0 where the values differ by rounding only."""
    if len(values) < 2:
        return math.nan
    spread = float(values.std(ddof=1))
    if not math.isfinite(spread):
        return math.nan
    return spread if spread > ROUNDING * max(1.0, float(np.abs(values).max())) else 0.0


def mean(values: FloatArray) -> float:
    """Return the arithmetic mean, NaN of nothing."""
    return float(values.mean()) if len(values) else math.nan


def median_step(index: pd.Index) -> pd.Timedelta | None:
    """Return the usual time between samples, None where there are not two."""
    if not isinstance(index, pd.DatetimeIndex) or len(index) < 2:
        return None
    return pd.Timedelta(_median_of(np.diff(index.asi8)), unit=index.unit)


def _median_of(steps: npt.NDArray[np.int64]) -> int:
    """Return the median of steps, found at once where all are the same."""
    first = int(steps[0])
    return first if bool((steps == first).all()) else int(np.median(steps))


def periods_per_year(index: pd.Index) -> float:
    """Return how many samples a year of 365 days has: 365 for daily, 8760 for hourly ones.

    It follows the median step, so that holes in the data do not change it. Months, quarters and years of the calendar,
    known by their uneven lengths, count as 12, 4 and 1. NaN where there are not two different times.
    """
    if not isinstance(index, pd.DatetimeIndex) or len(index) < 2:
        return math.nan
    steps = np.diff(index.asi8)
    usual = _median_of(steps)
    if usual <= 0:
        return math.nan
    days = pd.Timedelta(usual, unit=index.unit) / _DAY
    is_even = bool((steps == usual).all())
    for shortest, longest, count in ((28, 31, 12.0), (90, 92, 4.0), (365, 366, 1.0)):
        if not is_even and shortest <= days <= longest:
            return count
    return DAYS_PER_YEAR / days


def annualisation(returns: Returns, periods: float | None) -> float:
    """Return the periods per year that were asked for, else those of the times of the defined returns."""
    return periods_per_year(observe_series(returns).index) if periods is None else float(periods)
