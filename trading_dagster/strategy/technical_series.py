"""Questions about series that strategies ask in a decision, and wider bars made of narrower ones."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, overload

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.market.panel import Floats
from trading_dagster.strategy.indicator_rule import ORIGIN_US, Duration, to_us

_AGGREGATES = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}


@overload
def contains_cross_over(
    series1: pd.Series, series2: pd.Series | float, lookback_period: int = ..., must_return_index: Literal[False] = ...
) -> bool: ...
@overload
def contains_cross_over(
    series1: pd.Series, series2: pd.Series | float, lookback_period: int, must_return_index: Literal[True]
) -> tuple[bool, int | None]: ...
@overload
def contains_cross_over(
    series1: pd.Series, series2: pd.Series | float, lookback_period: int = ..., *, must_return_index: Literal[True]
) -> tuple[bool, int | None]: ...
def contains_cross_over(
    series1: pd.Series, series2: pd.Series | float, lookback_period: int = 2, must_return_index: bool = False
) -> bool | tuple[bool, int | None]:
    """Tell whether series1 has risen above series2 in the last bars.

    It has at a bar where it is above, when at the last bar before where the two differed it was below: touching is not
    crossing. Bars where a value is missing are passed over.

    Args:
        series1: The series that crosses.
        series2: The series, or the level, that is crossed.
        lookback_period: How many of the last bars to look at; 2 means that the crossing happened at the last bar.
        must_return_index: Return also where the latest crossing is: -1 at the last bar, -2 at the one before; None
            when there is none.
    """
    return _contains_crossing(series1, series2, lookback_period, must_return_index, 1)


@overload
def contains_cross_under(
    series1: pd.Series, series2: pd.Series | float, lookback_period: int = ..., must_return_index: Literal[False] = ...
) -> bool: ...
@overload
def contains_cross_under(
    series1: pd.Series, series2: pd.Series | float, lookback_period: int, must_return_index: Literal[True]
) -> tuple[bool, int | None]: ...
@overload
def contains_cross_under(
    series1: pd.Series, series2: pd.Series | float, lookback_period: int = ..., *, must_return_index: Literal[True]
) -> tuple[bool, int | None]: ...
def contains_cross_under(
    series1: pd.Series, series2: pd.Series | float, lookback_period: int = 2, must_return_index: bool = False
) -> bool | tuple[bool, int | None]:
    """Tell whether series1 has fallen below series2 in the last bars; as ``contains_cross_over``, mirrored."""
    return _contains_crossing(series1, series2, lookback_period, must_return_index, -1)


def is_monotonically_increasing(series: pd.Series) -> bool:
    """Tell whether no value is lower than the one before; False when a value is missing."""
    return bool(series.is_monotonic_increasing and not series.hasnans)


def is_monotonically_decreasing(series: pd.Series) -> bool:
    """Tell whether no value is higher than the one before; False when a value is missing."""
    return bool(series.is_monotonic_decreasing and not series.hasnans)


def resample_candles(candles: pd.DataFrame, resample_bucket: Duration, shift: Duration = 0) -> pd.DataFrame:
    """Make wider candles: first open, highest high, lowest low, last close, sum of volumes; other columns their last.

    A candle is labelled by its open; candles begin at whole multiples of the bucket counted from Monday 0001-01-01,
    moved by ``shift``, so weeks begin on Mondays. The last candle may still be forming. The result carries its bucket
    as an attribute, so that a decision sees a candle only when it is complete.

    Args:
        candles: Indexed by open time, naive UTC, ascending.
        resample_bucket: Width of the candles to make, a TimeBucket or timedelta.
        shift: Moves where candles begin; timedelta(hours=8) makes daily candles that open at 08:00.
    """
    labels, width = _bar_labels(candles.index, resample_bucket, shift)
    how = {name: _AGGREGATES.get(str(name), "last") for name in candles.columns}
    resampled = candles.groupby(labels, sort=False).agg(how)
    resampled.attrs["bucket"] = width
    return resampled


def resample_price_series(
    series: pd.Series,
    resample_bucket: Duration,
    shift: Duration = 0,
    price_series_type: Literal["open", "high", "low", "close"] = "close",
) -> pd.Series:
    """Make wider bars of one price column, by the rules of ``resample_candles``.

    Args:
        series: Indexed by open time, naive UTC, ascending.
        resample_bucket: Width of the bars to make.
        shift: Moves where bars begin.
        price_series_type: What the prices are, and so how they are joined: first, highest, lowest or last.
    """
    if price_series_type not in ("open", "high", "low", "close"):
        raise BadInput(f"price_series_type={price_series_type!r}: use open, high, low or close")
    labels, width = _bar_labels(series.index, resample_bucket, shift)
    resampled: pd.Series = series.groupby(labels, sort=False).agg(_AGGREGATES[price_series_type])
    resampled.attrs["bucket"] = width
    return resampled


def _bar_labels(index: pd.Index, bucket: Duration, shift: Duration) -> tuple[pd.DatetimeIndex, timedelta]:
    if not isinstance(index, pd.DatetimeIndex) or index.tz is not None or not index.is_monotonic_increasing:
        raise BadInput("Resample candles that are indexed by ascending naive times (UTC)")
    width_us = to_us(bucket, "resample_bucket")
    if width_us <= 0:
        raise BadInput(f"resample_bucket={bucket!r}: give a TimeBucket or a positive timedelta")
    origin_us = ORIGIN_US + to_us(shift, "shift")
    times_us = index.as_unit("us").asi8
    labels_us = times_us - (times_us - origin_us) % width_us
    return pd.DatetimeIndex(labels_us.view("datetime64[us]"), name=index.name), timedelta(microseconds=width_us)


def _contains_crossing(
    series1: pd.Series, series2: pd.Series | float, lookback_period: int, must_return_index: bool, side: int
) -> bool | tuple[bool, int | None]:
    if lookback_period < 2:
        raise BadInput(f"lookback_period={lookback_period}: a crossing needs at least 2 bars")
    first = series1.to_numpy(dtype=np.float64, na_value=np.nan)
    second: Floats | float = series2 if isinstance(series2, int | float) else series2.to_numpy(np.float64)
    if isinstance(second, np.ndarray) and len(first) != len(second):
        raise BadInput(f"The series have {len(first)} and {len(second)} values: take both from the same bars")
    with np.errstate(invalid="ignore"):
        signs = np.sign(first - second)
    differing = np.flatnonzero((signs == 1) | (signs == -1))
    turned = differing[1:][(signs[differing[1:]] == side) & (signs[differing[:-1]] == -side)]
    recent = turned[turned > len(first) - lookback_period]
    position = int(recent[-1]) - len(first) if len(recent) else None
    return (position is not None, position) if must_return_index else position is not None
