"""Measures of how much was gained, per sample, per calendar period or per year."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd

from trading_dagster.statistics.measure_sample import (
    DAYS_PER_YEAR,
    CalendarFrequency,
    compound_by_calendar,
    mean,
    median_step,
    never_infinite,
    observe,
    observe_series,
)
from trading_dagster.statistics.returns import FloatArray, Returns, ReturnsLike, as_floats

_DAY = pd.Timedelta(days=1)


@never_infinite
def cumulative_return(returns: ReturnsLike) -> float:
    """Return the product of (1 + r), less 1, as a fraction of the initial wealth."""
    values = observe(returns)
    return float(np.prod(1.0 + values)) - 1.0 if len(values) else math.nan


@never_infinite
def annualise(total: float, days: float) -> float:
    """Return (1 + total) ^ (365 / days) - 1; NaN over no time or after losing more than everything."""
    if not (days > 0 and total >= -1.0):
        return math.nan
    return float((1.0 + total) ** (DAYS_PER_YEAR / days)) - 1.0


def cagr(returns: Returns) -> float:
    """Return the compound annual growth rate: (1 + cumulative) ^ (365 / days) - 1.

    Days are counted, with their fractions, from the first to the last sample.
    """
    observed = observe_series(returns)
    if len(observed) < 2:
        return math.nan
    return annualise(cumulative_return(observed), (observed.index[-1] - observed.index[0]) / _DAY)


@never_infinite
def expected_return(returns: Returns, freq: CalendarFrequency) -> float:
    """Return the geometric mean per calendar period, (product of (1 + r)) ^ (1 / periods) - 1.

    Args:
        returns: fractions by time
        freq: "D", "ME", "QE" or "YE"
    """
    growth = 1.0 + _binned(returns, freq)
    total = float(np.prod(growth))
    return total ** (1.0 / len(growth)) - 1.0 if len(growth) and total >= 0 else math.nan


@never_infinite
def time_in_market(returns: ReturnsLike) -> float:
    """Return the share of samples with a non-zero return, rounded up to a whole percent (0.23 = 23 %)."""
    values = observe(returns)
    if not len(values):
        return math.nan
    return -(-100 * int(np.count_nonzero(values)) // len(values)) / 100


@never_infinite
def best_return(returns: Returns, freq: CalendarFrequency) -> float:
    """Return the largest compounded return of a calendar period ("D", "ME", "QE", "YE")."""
    binned = _binned(returns, freq)
    return float(binned.max()) if len(binned) else math.nan


@never_infinite
def worst_return(returns: Returns, freq: CalendarFrequency) -> float:
    """Return the smallest compounded return of a calendar period ("D", "ME", "QE", "YE")."""
    binned = _binned(returns, freq)
    return float(binned.min()) if len(binned) else math.nan


@never_infinite
def average_return(returns: Returns, freq: CalendarFrequency) -> float:
    """Return the arithmetic mean of the compounded returns of all calendar periods ("D", "ME", "QE", "YE")."""
    return mean(_binned(returns, freq))


@never_infinite
def win_rate_of_periods(returns: Returns, freq: CalendarFrequency) -> float:
    """Return the share of calendar periods with a gain, among those with a gain or a loss."""
    binned = _binned(returns, freq)
    moved = np.count_nonzero(binned)
    return np.count_nonzero(binned > 0) / moved if moved else math.nan


def month_to_date(returns: Returns) -> float:
    """Return the cumulative return of samples in the calendar month of the last one."""
    observed = observe_series(returns)
    if observed.empty:
        return math.nan
    last = observed.index[-1]
    return cumulative_return(_since(observed, last.normalize().replace(day=1), side="left"))


def year_to_date(returns: Returns) -> float:
    """Return the cumulative return of samples in the calendar year of the last one."""
    observed = observe_series(returns)
    if observed.empty:
        return math.nan
    last = observed.index[-1]
    return cumulative_return(_since(observed, last.normalize().replace(month=1, day=1), side="left"))


def trailing_return(returns: Returns, months: int) -> float:
    """Return the cumulative return of the last months, up to the last sample; NaN where the history is shorter."""
    total, _ = _trailing(returns, months)
    return total


def trailing_annual_return(returns: Returns, months: int) -> float:
    """Return the annualised return of the last months, up to the last sample; NaN where the history is shorter."""
    return annualise(*_trailing(returns, months))


def _trailing(returns: Returns, months: int) -> tuple[float, float]:
    """Return cumulative return and days of the window (last - months, last]."""
    observed = observe_series(returns)
    if observed.empty:
        return math.nan, math.nan
    last = observed.index[-1]
    begin = last - pd.DateOffset(months=months)
    # A return tells of the time since the sample before it, so the first one reaches back one step further.
    reach = observed.index[0] - (median_step(observed.index) or pd.Timedelta(0))
    if reach > begin:
        return math.nan, math.nan
    return cumulative_return(_since(observed, begin, side="right")), (last - begin) / _DAY


def _since(observed: Returns, time: pd.Timestamp, side: Literal["left", "right"]) -> FloatArray:
    """Return the values from a time on, with ``side`` "right" those after it."""
    return as_floats(observed)[observed.index.searchsorted(time, side) :]


def _binned(returns: Returns, freq: CalendarFrequency) -> FloatArray:
    return observe(compound_by_calendar(returns, freq))
