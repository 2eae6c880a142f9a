"""Turn equity curves and prices into returns, and returns into other returns."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.domain.error import BadInput, CandleContractBroken

FloatArray: TypeAlias = npt.NDArray[np.float64]

EquityCurve: TypeAlias = "pd.Series[float]"
"""Total equity in the reserve currency by sample time: float64, DatetimeIndex in ascending order."""

Returns: TypeAlias = "pd.Series[float]"
"""Fractions gained by each sample (0.01 = 1 %), NaN = undefined: float64, DatetimeIndex in ascending order."""

ReturnsLike: TypeAlias = "pd.Series[float] | npt.NDArray[np.float64]"
"""Returns whose times do not matter: a series, or an array in order of time."""

ROUNDING = 1e-12
"""Wealth is float64: differences and risks of this size are rounding, not economics."""

_DAY = pd.Timedelta(days=1)

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def calculate_returns(equity: EquityCurve) -> Returns:
    """Return the change from each sample to the next, as a fraction; the first value is 0.

    After an equity of zero or less a change has no meaning: NaN.

    Example:
        ``calculate_returns(pd.Series([100.0, 110.0, 99.0], index=...))`` has the values 0, 0.1 and -0.1.
    """
    returns = _fractional_change(equity)
    if len(returns) > 0:
        returns.iloc[0] = 0.0
    return returns


def calculate_aggregate_returns(curve: EquityCurve, freq: str = "D") -> Returns:
    """Sample the curve at a frequency, each point holding the last value known by then, and return the changes.

    The grid begins at the first sample of the curve (for anchored frequencies at the first anchor after it) and ends
    at or before the last; of samples with equal times the last counts. The first change is undefined: NaN.

    Args:
        curve: equity by time, ascending
        freq: a pandas frequency: "h", "D", "W", "ME" ...
    """
    _check_times(curve)
    if curve.empty:
        return _empty_like(curve)
    times = pd.DatetimeIndex(curve.index)
    grid = pd.date_range(times[0], times[-1], freq=freq, unit=times.unit, name=times.name)
    known = as_floats(curve)[times.searchsorted(grid, side="right") - 1]  # of equal times that is the last
    return _fractional_change(pd.Series(known, index=grid, name=curve.name))


def calculate_daily_returns_from_curve(curve: EquityCurve, end: datetime | None = None) -> Returns:
    """Return the daily changes of a curve that is held at its last value until `end`.

    The first value is undefined (NaN) and dropped by every measure. Days begin at the time of day of the first sample;
    where `end` is in the midst of one, the curve is held until that day is over, so that what happened in it counts.

    Args:
        curve: equity by time, ascending
        end: end of the strategy's range; ignored where the curve goes further

    Raises:
        BadInput: `end` is zone-aware and the curve is not, or the other way round
    """
    _check_times(curve)
    if end is not None and not curve.empty:
        last = curve.index[-1]
        extension = pd.Timestamp(end)
        if (last.tzinfo is None) != (extension.tzinfo is None):
            msg = f"end {end!r} and the curve's times ({last!r}) must both be naive UTC or both zone-aware"
            raise BadInput(msg)
        until = curve.index[0] + -(-(max(extension, last) - curve.index[0]) // _DAY) * _DAY
        if until > last:
            held = pd.Series([float(curve.iloc[-1])], index=pd.DatetimeIndex([until]))
            curve = pd.concat([curve.astype(np.float64), held])
    return calculate_aggregate_returns(curve, "D")


def resample_returns(returns: Returns, freq: str) -> Returns:
    """Compound returns per bin: product of (1 + r), less 1.

    Undefined returns are skipped; a bin without any holds the empty product, 0.

    Args:
        returns: fractions by time, ascending
        freq: a pandas frequency: "D", "W", "ME", "QE", "YE" ...
    """
    _check_times(returns)
    if returns.empty:
        return _empty_like(returns)
    with np.errstate(all="ignore"):
        return (returns.astype(np.float64) + 1.0).resample(freq).prod() - 1.0


def calculate_rolling_returns(returns: Returns, freq: str = "D", periods: int = 90) -> Returns:
    """Compound the last `periods` bins at each bin; NaN until there are that many."""
    _check_window(periods)
    binned = resample_returns(returns, freq)
    rolling = np.full(len(binned), np.nan)
    if len(binned) >= periods:
        growth = np.lib.stride_tricks.sliding_window_view(1.0 + as_floats(binned), periods)
        with np.errstate(all="ignore"):
            rolling[periods - 1 :] = growth.prod(axis=1) - 1.0
    return _finite_series(rolling, binned)


def calculate_rolling_sharpe(returns: Returns, freq: str = "D", periods: int = 90) -> Returns:
    """Return sqrt(periods) x mean / standard deviation (ddof 1) of the last `periods` bins.

    It is scaled to the window, not to a year. NaN until there are `periods` bins and where nothing varies.
    """
    _check_window(periods)
    binned = resample_returns(returns, freq)
    window = binned.rolling(periods)
    mean = as_floats(window.mean())
    deviation = as_floats(window.std(ddof=1))
    with np.errstate(all="ignore"):
        sharpe = math.sqrt(periods) * mean / np.where(deviation > ROUNDING, deviation, np.nan)
    return _finite_series(sharpe, binned)


def calculate_buy_and_hold_returns(close: pd.Series[float]) -> Returns:
    """Return the change of each close on the one before; the first value is undefined (NaN)."""
    return _fractional_change(close)


def calculate_benchmark_curve(close: pd.Series[float], initial_cash: float) -> EquityCurve:
    """Return the equity of holding the asset from its first close: close / first close x initial cash.

    Raises:
        CandleContractBroken: the first close is not a positive number
    """
    if close.empty:
        return _empty_like(close)
    first = float(close.iloc[0])
    if not (math.isfinite(first) and first > 0):
        msg = (
            f"the first close must be a positive price, got {first} at {close.index[0]}; start at the first real candle"
        )
        raise CandleContractBroken(msg)
    return close.astype(np.float64) / first * initial_cash


def calculate_share_price_returns(share_price: pd.Series[float]) -> Returns:
    """Return share price / initial share price - 1: performance that deposits and redemptions do not move."""
    return calculate_benchmark_curve(share_price, 1.0) - 1.0


def calculate_deposit_adjusted_returns(curve: EquityCurve, flows: pd.Series[float], freq: str = "ME") -> Returns:
    """Return (last - first equity sample) - sum of flows per period, in the currency of the curve.

    Args:
        curve: equity by time, ascending
        flows: deposits (positive) and redemptions (negative) by time; those outside the curve's bins are ignored
        freq: length of a period
    """
    _check_times(curve)
    if curve.empty:
        return _empty_like(curve)
    bins = curve.astype(np.float64).resample(freq)
    gain = bins.last() - bins.first()
    if flows.empty:
        return gain
    _check_times(flows)
    start = pd.Series([0.0], index=curve.index[:1])  # bins are counted from the first time: let it be the curve's
    counted = pd.concat([start, flows.astype(np.float64)[flows.index >= curve.index[0]]])
    adjusted: Returns = gain - counted.resample(freq).sum().reindex(gain.index, fill_value=0.0)
    return adjusted


def calculate_monthly_returns_table(returns: Returns) -> pd.DataFrame:
    """Return compounded returns as a table: a row per year, columns Jan to Dec and Year; NaN where there are none."""
    observed = returns.dropna()
    _check_times(observed)
    columns = [*MONTHS, "Year"]
    if observed.empty:
        return pd.DataFrame(index=pd.Index([], name="Year", dtype="int64"), columns=columns, dtype=np.float64)
    times = pd.DatetimeIndex(observed.index)
    growth = observed.astype(np.float64) + 1.0
    month = growth.groupby([times.year, times.month]).prod() - 1.0
    table = month.unstack().reindex(columns=range(1, 13))
    table.columns = pd.Index(MONTHS)
    table["Year"] = growth.groupby(times.year).prod() - 1.0
    table.index.name = "Year"
    return table


def as_floats(series: pd.Series[float]) -> FloatArray:
    """Return the values as float64, missing ones as NaN."""
    if series.dtype == np.float64:
        return np.asarray(series.to_numpy(), dtype=np.float64)
    return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _fractional_change(series: pd.Series[float]) -> Returns:
    values = as_floats(series)
    change = np.full(len(values), np.nan)
    before = values[:-1]
    with np.errstate(all="ignore"):
        change[1:] = np.where(before > 0, values[1:] / before - 1.0, np.nan)
    return _finite_series(change, series)


def _finite_series(values: FloatArray, like: pd.Series[float]) -> Returns:
    values[np.isinf(values)] = np.nan
    return pd.Series(values, index=like.index, name=like.name, dtype=np.float64)


def _empty_like(series: pd.Series[float]) -> Returns:
    index = series.index if isinstance(series.index, pd.DatetimeIndex) else pd.DatetimeIndex([])
    return pd.Series(index=index, name=series.name, dtype=np.float64)


def _check_times(series: pd.Series[float]) -> None:
    if series.empty:
        return
    if not isinstance(series.index, pd.DatetimeIndex):
        msg = f"a DatetimeIndex is needed, got {type(series.index).__name__}; index the series by sample time"
        raise BadInput(msg)
    if not series.index.is_monotonic_increasing:
        msg = "the samples are not in order of time; call sort_index() first"
        raise BadInput(msg)


def _check_window(periods: int) -> None:
    if periods < 1:
        msg = f"periods must be at least 1, got {periods}"
        raise BadInput(msg)
