"""Technical indicators for strategies: the usual set, on the index of what is given.

All are causal: a value depends on its own bar and earlier ones only. Rows where an input is missing (NaN) are passed
over: the result is NaN there, and elsewhere as though the row did not exist. Before there are enough bars the value
is NaN.

Needs TA-Lib, which is loaded on first use.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.market.panel import Floats
from trading_dagster.strategy.technical_series import (
    contains_cross_over,
    contains_cross_under,
    is_monotonically_decreasing,
    is_monotonically_increasing,
    resample_candles,
    resample_price_series,
)

__all__ = [
    "adx",
    "atr",
    "bbands",
    "contains_cross_over",
    "contains_cross_under",
    "ema",
    "is_monotonically_decreasing",
    "is_monotonically_increasing",
    "macd",
    "mfi",
    "on_balance_volume",
    "resample_candles",
    "resample_price_series",
    "rsi",
    "sma",
    "stochrsi",
    "supertrend",
]


def ema(series: pd.Series, length: int) -> pd.Series | None:
    """Return the exponential moving average, None for fewer than ``length`` values.

    The mean of the first n values at position n, then e = a * x + (1 - a) * e with a = 2 / (n + 1).
    """
    _check_length(length=length)
    if int(series.notna().sum()) < length:
        return None
    return _one(lambda x: _talib("EMA", x, timeperiod=length), f"ema_{length}", series)


def sma(series: pd.Series, length: int) -> pd.Series:
    """Return the mean of the last ``length`` values."""
    _check_length(length=length)
    return _one(lambda x: _talib("SMA", x, timeperiod=length), f"sma_{length}", series)


def rsi(close: pd.Series, length: int = 14) -> pd.Series:
    """Return the relative strength index, 0 to 100, with Wilder's smoothing; NaN until the price has moved.

    J. W. Wilder, New Concepts in Technical Trading Systems, 1978.
    """
    _check_length(2, length=length)
    return _one(lambda x: _rsi(x, length), f"rsi_{length}", close)


def stochrsi(close: pd.Series, length: int = 14, rsi_length: int = 14, k: int = 3, d: int = 3) -> pd.DataFrame:
    """Return where the RSI stands in its range of the last ``length`` bars, 0 to 100, in columns k and d.

    k is the mean of the last ``k`` values, d the mean of the last ``d`` values of k; NaN where the range is zero.
    T. S. Chande, S. Kroll, The New Technical Trader, 1994.
    """
    _check_length(length=length, k=k, d=d)
    _check_length(2, rsi_length=rsi_length)

    def calculate(x: Floats) -> dict[str, Floats]:
        strength = pd.Series(_rsi(x, rsi_length))
        window = strength.rolling(length)
        low, high = window.min(), window.max()
        position = 100 * (strength - low) / (high - low).where(high > low)
        smoothed = _window_mean(position.to_numpy(), k)
        return {"k": smoothed, "d": _window_mean(smoothed, d)}

    return _frame(calculate, close)


def macd(close: pd.Series, fast: int = 12, slow: int = 26, signal: int = 9) -> pd.DataFrame:
    """Return the difference of two EMAs in column macd, its EMA in signal, and their difference in histogram.

    Both EMAs by the rule of ``ema``, each seeded by its own first values.
    """
    _check_length(fast=fast, slow=slow, signal=signal)
    if fast >= slow:
        raise BadInput(f"macd has fast={fast} and slow={slow}: fast must be the smaller one")

    def calculate(x: Floats) -> dict[str, Floats]:
        line = _talib("EMA", x, timeperiod=fast) - _talib("EMA", x, timeperiod=slow)
        smoothed = _talib("EMA", line, timeperiod=signal)
        return {"macd": line, "signal": smoothed, "histogram": line - smoothed}

    return _frame(calculate, close)


def bbands(close: pd.Series, length: int = 20, std: float = 2.0) -> pd.DataFrame:
    """Return Bollinger bands in columns lower, middle, upper, bandwidth and percent.

    middle is the mean of the last ``length`` closes, the bands lie ``std`` population standard deviations around it;
    bandwidth = (upper - lower) / middle, percent = (close - lower) / (upper - lower).
    """
    _check_length(length=length)

    def calculate(x: Floats) -> dict[str, Floats]:
        window = _windows(x, length)
        middle, deviation = window.mean(axis=1), window.std(axis=1)
        lower, upper = middle - std * deviation, middle + std * deviation
        with np.errstate(divide="ignore", invalid="ignore"):
            bandwidth, percent = (upper - lower) / middle, (x[length - 1 :] - lower) / (upper - lower)
        parts = {"lower": lower, "middle": middle, "upper": upper, "bandwidth": bandwidth, "percent": percent}
        return {name: _pad(part, len(x)) for name, part in parts.items()}

    return _frame(calculate, close)


def atr(high: pd.Series, low: pd.Series, close: pd.Series, length: int = 14) -> pd.Series:
    """Return the average true range with Wilder's smoothing, in units of price."""
    _check_length(length=length)
    return _one(lambda *prices: _talib("ATR", *prices, timeperiod=length), f"atr_{length}", high, low, close)


def adx(high: pd.Series, low: pd.Series, close: pd.Series, length: int = 14) -> pd.DataFrame:
    """Return Wilder's directional movement in columns adx, plus_di and minus_di, 0 to 100."""
    _check_length(2, length=length)

    def calculate(*prices: Floats) -> dict[str, Floats]:
        names = {"adx": "ADX", "plus_di": "PLUS_DI", "minus_di": "MINUS_DI"}
        return {name: _talib(function, *prices, timeperiod=length) for name, function in names.items()}

    return _frame(calculate, high, low, close)


def mfi(high: pd.Series, low: pd.Series, close: pd.Series, volume: pd.Series, length: int = 14) -> pd.Series:
    """Return the money flow index, 0 to 100: the share of rising bars in typical price * volume.

    NaN where no money flowed in a rising or falling bar of the last ``length``.
    """
    _check_length(length=length)

    def calculate(highs: Floats, lows: Floats, closes: Floats, volumes: Floats) -> Floats:
        typical = (highs + lows + closes) / 3
        change = np.diff(typical)
        flow = typical[1:] * volumes[1:]
        rising = _windows(np.where(change > 0, flow, 0.0), length).sum(axis=1)
        falling = _windows(np.where(change < 0, flow, 0.0), length).sum(axis=1)
        with np.errstate(invalid="ignore"):
            return _pad(100 * rising / (rising + falling), len(closes))

    return _one(calculate, f"mfi_{length}", high, low, close, volume)


def on_balance_volume(close: pd.Series, volume: pd.Series) -> pd.Series:
    """Return the running sum of volume, added in rising, subtracted in falling bars; begins with the first volume."""

    def calculate(c: Floats, v: Floats) -> Floats:
        signs = np.concatenate([np.ones(min(1, len(c))), np.sign(np.diff(c))])
        return np.asarray(np.cumsum(signs * v), dtype=np.float64)

    return _one(calculate, "on_balance_volume", close, volume)


def supertrend(
    high: pd.Series, low: pd.Series, close: pd.Series, length: int = 10, multiplier: float = 3.0
) -> pd.DataFrame:
    """Return the trailing band that price follows, in columns supertrend, direction, long and short.

    The bands are (high + low) / 2 -+ multiplier * ATR. The lower one only rises while closes stay above it, the
    upper one only falls while closes stay below it; a close beyond the band turns the direction. direction is 1 in an
    uptrend (supertrend = long = the lower band) and -1 in a downtrend (supertrend = short = the upper band); it begins
    with -1.
    """
    _check_length(length=length)

    def calculate(highs: Floats, lows: Floats, closes: Floats) -> dict[str, Floats]:
        width = multiplier * _talib("ATR", highs, lows, closes, timeperiod=length)
        middle = (highs + lows) / 2
        lower, upper, direction = _trail(middle - width, middle + width, closes)
        is_up, is_down = direction > 0, direction < 0
        return {
            "supertrend": np.where(is_up, lower, upper),
            "direction": direction,
            "long": np.where(is_up, lower, np.nan),
            "short": np.where(is_down, upper, np.nan),
        }

    return _frame(calculate, high, low, close)


def _trail(lowest: Floats, highest: Floats, closes: Floats) -> tuple[Floats, Floats, Floats]:
    count = len(closes)
    lower, upper, direction = np.full(count, np.nan), np.full(count, np.nan), np.full(count, np.nan)
    begun = np.flatnonzero(~np.isnan(lowest))
    if not len(begun):
        return lower, upper, direction
    first = int(begun[0])
    low, high, trend, before = float(lowest[first]), float(highest[first]), -1.0, float(closes[first])
    lows, highs, trends = [low], [high], [trend]
    following = zip(
        lowest[first + 1 :].tolist(), highest[first + 1 :].tolist(), closes[first + 1 :].tolist(), strict=True
    )
    for new_low, new_high, close in following:
        if new_low > low or before < low:
            low = new_low
        if new_high < high or before > high:
            high = new_high
        if trend < 0 and close > high:
            trend = 1.0
        elif trend > 0 and close < low:
            trend = -1.0
        before = close
        lows.append(low)
        highs.append(high)
        trends.append(trend)
    lower[first:], upper[first:], direction[first:] = lows, highs, trends
    return lower, upper, direction


def _rsi(closes: Floats, length: int) -> Floats:
    strength = _talib("RSI", closes, timeperiod=length)
    has_moved = np.zeros(len(closes), dtype=np.bool_)
    has_moved[1:] = np.logical_or.accumulate(np.diff(closes) != 0)
    return np.where(has_moved, strength, np.nan)


def _talib(function: str, *arrays: Floats, **options: int) -> Floats:
    talib: Any = importlib.import_module("talib")  # takes time to load, so only when it is needed
    values: Floats = getattr(talib, function)(*(np.ascontiguousarray(a, dtype=np.float64) for a in arrays), **options)
    return values


def _windows(values: Floats, length: int) -> Floats:
    if len(values) < length:
        return np.empty((0, length))
    windows: Floats = np.lib.stride_tricks.sliding_window_view(values, length)
    return windows


def _window_mean(values: Floats, length: int) -> Floats:
    return _pad(_windows(values, length).mean(axis=1), len(values))


def _pad(values: Floats, count: int) -> Floats:
    return np.concatenate([np.full(count - len(values), np.nan), values])


def _check_length(least: int = 1, **lengths: int) -> None:
    for name, length in lengths.items():
        if not isinstance(length, int | np.integer) or length < least:
            raise BadInput(f"{name}={length!r}: give a whole number of bars, at least {least}")


def _one(calculate: Callable[..., Floats], name: str, *inputs: pd.Series) -> pd.Series:
    return _frame(lambda *arrays: {name: calculate(*arrays)}, *inputs)[name]


def _frame(calculate: Callable[..., Mapping[str, Floats]], *inputs: pd.Series) -> pd.DataFrame:
    """Call a function with the rows where all inputs are known, and put its results on the index of the input."""
    index = inputs[0].index
    for series in inputs[1:]:
        if not (series.index is index or series.index.equals(index)):
            raise BadInput("The series have different indexes: take all of them from the same candles")
    arrays = [series.to_numpy(dtype=np.float64, na_value=np.nan) for series in inputs]
    is_known = ~np.logical_or.reduce([np.isnan(array) for array in arrays])
    if is_known.all():
        return pd.DataFrame(dict(calculate(*arrays)), index=index)
    results = calculate(*(array[is_known] for array in arrays))
    frame = pd.DataFrame(np.nan, index=index, columns=list(results))
    for name, values in results.items():
        frame.loc[is_known, name] = values
    return frame
