"""Reduce long curves and candles to what a screen can show, without losing their extremes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.domain.error import BadInput

Curve: TypeAlias = "pd.Series[float]"
"""Values by naive UTC time."""

Benchmarks: TypeAlias = "Mapping[str, Curve] | Curve | None"
"""Curves to compare with: several by name, one (named "Buy and hold" or by its own name), or none."""

MAX_POINTS = 4_000
MAX_BARS = 5_000
_MINUTE_NS = 60_000_000_000
STEPS_MIN = (1, 2, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1_440, 2_880, 4_320, 10_080, 20_160, 40_320)
"""Widths of a displayed bar in minutes; wider ones are whole multiples of the last."""


def clean_curve(curve: Curve) -> Curve:
    """Return the finite values of a curve in order of time; of equal times the last counts.

    Raises:
        BadInput: the index is not made of naive times
    """
    if curve.empty:
        return pd.Series(dtype="float64", index=pd.DatetimeIndex([], name="timestamp"), name=curve.name)
    if not isinstance(curve.index, pd.DatetimeIndex) or curve.index.tz is not None:
        msg = f"a curve needs a naive UTC DatetimeIndex, got {curve.index.dtype}: drop the zone after converting to UTC"
        raise BadInput(msg)
    values = curve.astype("float64")
    is_finite = np.isfinite(values.to_numpy())
    if not is_finite.all():
        values = values[is_finite]
    if not values.index.is_monotonic_increasing:
        values = values.sort_index(kind="stable")
    times = values.index.to_numpy()
    is_last = np.append(times[1:] != times[:-1], True)[: len(times)]
    return values if is_last.all() else values[is_last]


def name_benchmarks(benchmarks: Benchmarks) -> dict[str, Curve]:
    """Return cleaned benchmark curves by name; empty ones are left out."""
    if benchmarks is None:
        return {}
    if isinstance(benchmarks, pd.Series):
        name = str(benchmarks.name) if benchmarks.name not in {None, "", "equity", "close"} else "Buy and hold"
        benchmarks = {name: benchmarks}
    cleaned = {str(name): clean_curve(curve) for name, curve in benchmarks.items()}
    return {name: curve for name, curve in cleaned.items() if not curve.empty}


def thin_positions(values: npt.NDArray[np.float64], max_points: int = MAX_POINTS) -> npt.NDArray[np.int64]:
    """Return positions to draw: first, last, lowest and highest value of each of equally many samples.

    Args:
        values: finite values, shape (samples,)
        max_points: at most this many positions; at least 8

    Returns:
        Ascending positions, shape (at most max_points,).
    """
    count = len(values)
    if count <= max_points:
        return np.arange(count, dtype=np.int64)
    width = -(-count // (max(max_points, 8) // 4))
    whole = count // width * width
    body = values[:whole].reshape(-1, width)
    starts = np.arange(len(body), dtype=np.int64) * width
    kept = [starts, starts + width - 1, starts + body.argmin(axis=1), starts + body.argmax(axis=1)]
    rest = values[whole:]
    if len(rest) > 0:
        kept.append(whole + np.array([0, len(rest) - 1, rest.argmin(), rest.argmax()], dtype=np.int64))
    return np.unique(np.concatenate(kept))


def thin_curve(curve: Curve, max_points: int = MAX_POINTS) -> Curve:
    """Return a cleaned curve of at most `max_points` samples that keeps its local extremes."""
    cleaned = clean_curve(curve)
    return cleaned.iloc[thin_positions(np.asarray(cleaned, dtype=np.float64), max_points)]


def resample_candles(candles: pd.DataFrame, max_bars: int = MAX_BARS) -> pd.DataFrame:
    """Merge candles into wider ones until there are at most `max_bars`.

    A merged candle is labelled by its open time and has the first open, highest high, lowest low, last close and summed
    volume of the candles in it. Its width is a round one (5 minutes, 4 hours, 1 day ...). Stretches without candles
    stay empty.

    Args:
        candles: columns open, high, low, close and perhaps volume; naive UTC open times, ascending
        max_bars: at least 2

    Raises:
        BadInput: a price column is missing or the times are not naive and ascending
    """
    missing = {"open", "high", "low", "close"} - set(candles.columns)
    if missing:
        msg = f"candles need the columns open, high, low and close; missing: {', '.join(sorted(missing))}"
        raise BadInput(msg)
    if candles.empty:
        return candles
    index = candles.index
    if not isinstance(index, pd.DatetimeIndex) or index.tz is not None or not index.is_monotonic_increasing:
        msg = (
            f"candles need an ascending naive UTC DatetimeIndex, got {index.dtype}: convert to UTC, drop the zone, sort"
        )
        raise BadInput(msg)
    kept = candles[candles["close"].notna().to_numpy()]
    if len(kept) <= max_bars:
        return kept
    times = kept.index.to_numpy().astype("datetime64[ns]").astype(np.int64)
    step = _step_ns((int(times[-1]) - int(times[0])) // (max_bars - 1))
    bins = times // step
    first = np.concatenate([[0], np.flatnonzero(np.diff(bins)) + 1])
    last = np.append(first[1:], len(times)) - 1
    merged = {
        "open": kept["open"].to_numpy()[first],
        "high": np.fmax.reduceat(kept["high"].to_numpy(), first),
        "low": np.fmin.reduceat(kept["low"].to_numpy(), first),
        "close": kept["close"].to_numpy()[last],
    }
    if "volume" in kept.columns:
        merged["volume"] = np.add.reduceat(kept["volume"].to_numpy(), first)
    labels = pd.DatetimeIndex((bins[first] * step).astype("datetime64[ns]"), name=index.name)
    return pd.DataFrame(merged, index=labels)


def bar_width(candles: pd.DataFrame) -> pd.Timedelta | None:
    """Return the most common distance of two candles, None if there are fewer than two."""
    if len(candles) < 2:
        return None
    steps = np.diff(candles.index.to_numpy())
    widths, counts = np.unique(steps, return_counts=True)
    return pd.Timedelta(widths[counts.argmax()])


def plot_times(times: pd.Index | pd.Series[pd.Timestamp] | npt.NDArray[np.datetime64]) -> npt.NDArray[np.datetime64]:
    """Return times for a plotly axis: to the second, to the millisecond where that would lose something."""
    exact = np.asarray(times, dtype="datetime64[ns]")
    seconds = exact.astype("datetime64[s]")
    return seconds if bool(np.all((exact == seconds) | np.isnat(exact))) else exact.astype("datetime64[ms]")


def _step_ns(at_least_ns: int) -> int:
    for minutes in STEPS_MIN:
        if minutes * _MINUTE_NS >= at_least_ns:
            return minutes * _MINUTE_NS
    widest = STEPS_MIN[-1] * _MINUTE_NS
    return -(-at_least_ns // widest) * widest
