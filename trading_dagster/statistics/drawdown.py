"""How far wealth stood below its highest: the drawdown series, its episodes and the measures made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.statistics.measure_return import cagr, cumulative_return
from trading_dagster.statistics.measure_risk import conditional_value_at_risk
from trading_dagster.statistics.measure_sample import (
    deviation,
    mean,
    median_step,
    never_infinite,
    observe,
    observe_series,
    ratio,
)
from trading_dagster.statistics.returns import ROUNDING, FloatArray, Returns, ReturnsLike, as_floats

Positions: TypeAlias = npt.NDArray[np.intp]

_DAY = pd.Timedelta(days=1)


def calculate_drawdown_series(returns: Returns) -> Returns:
    """Return wealth / running maximum - 1 at each defined sample: 0 at a peak, else negative.

    Wealth starts at 1 before the first return, so that a loss in the first sample is a drawdown.
    """
    observed = observe_series(returns)
    drawdown = _drawdowns(as_floats(observed))
    drawdown[~np.isfinite(drawdown)] = np.nan
    return pd.Series(drawdown, index=observed.index, dtype=np.float64)


def find_drawdown_episodes(returns: Returns) -> pd.DataFrame:
    """List the stretches during which wealth stood below its maximum, in order of time.

    Returns:
        A row per episode: `peak_at` (the sample at the maximum before it), `valley_at`, `end_at` (the last sample
        below), `days` from peak to end, `depth` (negative fraction), `is_recovered` (False where it lasts to the
        end of the data). An episode that begins with the first return has its peak one usual step before.
    """
    found = _find_episodes(returns)
    times, drawdown, first = found.times, found.drawdown, found.first
    valleys = np.array(
        [begin + drawdown[begin:end].argmin() for begin, end in zip(first, found.stop, strict=True)], dtype=np.int64
    )
    return pd.DataFrame(
        {
            "peak_at": found.peaks,
            "valley_at": times[valleys],
            "end_at": times[found.stop - 1],
            "days": found.days,
            "depth": drawdown[valleys],
            "is_recovered": found.stop < len(drawdown),
        }
    )


def find_deepest_episode(returns: Returns) -> tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp] | None:
    """Return peak, valley and end of the deepest episode, the first of equals; None where there is none."""
    found = _find_episodes(returns)
    if not len(found.first):
        return None
    number = int(found.depths.argmin())
    begin, stop = int(found.first[number]), int(found.stop[number])
    valley = begin + int(found.drawdown[begin:stop].argmin())
    return found.peaks[number], found.times[valley], found.times[stop - 1]


@never_infinite
def max_drawdown(returns: ReturnsLike) -> float:
    """Return the minimum of the drawdown series: a negative fraction, 0 where wealth never fell."""
    drawdown = _drawdowns(observe(returns))
    return float(drawdown.min()) if len(drawdown) else math.nan


@never_infinite
def max_runup(returns: ReturnsLike) -> float:
    """Return the maximum of wealth / running minimum - 1: the best gain from any low, until wealth is gone."""
    values = observe(returns)
    if not len(values):
        return math.nan
    wealth = _wealth(values)
    lowest = np.minimum.accumulate(wealth)
    return float((wealth[lowest > 0] / lowest[lowest > 0]).max()) - 1.0


@never_infinite
def average_drawdown(returns: Returns) -> float:
    """Return the mean depth of the drawdown episodes, a negative fraction; NaN where there are none."""
    return mean(_find_episodes(returns).depths)


@never_infinite
def average_drawdown_days(returns: Returns) -> float:
    """Return the mean length of the drawdown episodes in days; NaN where there are none."""
    return mean(_find_episodes(returns).days)


@never_infinite
def longest_drawdown_days(returns: Returns) -> float:
    """Return the length of the longest drawdown episode in days, 0 where there are none; NaN without returns."""
    if not len(observe(returns)):
        return math.nan
    days = _find_episodes(returns).days
    return float(days.max()) if len(days) else 0.0


@never_infinite
def ulcer_index(returns: ReturnsLike) -> float:
    """Return sqrt(mean of drawdown^2), a fraction.

    Source: Martin and McCann, "The Investor's Guide to Fidelity Funds" (1989).
    """
    drawdown = _drawdowns(observe(returns))
    return math.sqrt(float(np.mean(drawdown**2))) if len(drawdown) else math.nan


@never_infinite
def ulcer_performance_index(returns: Returns) -> float:
    """Return CAGR / Ulcer index (the Martin ratio, risk-free rate 0)."""
    return ratio(cagr(returns), ulcer_index(returns))


@never_infinite
def calmar_ratio(returns: Returns) -> float:
    """Return CAGR / |max drawdown| of the whole history.

    Source: Young, "Calmar Ratio: A Smoother Tool" (1991), there over 36 months.
    """
    return ratio(cagr(returns), abs(max_drawdown(returns)))


@never_infinite
def recovery_factor(returns: ReturnsLike) -> float:
    """Return |cumulative return| / |max drawdown|."""
    return ratio(abs(cumulative_return(returns)), abs(max_drawdown(returns)))


@never_infinite
def pitfall_indicator(returns: ReturnsLike) -> float:
    """Return -cVaR of the drawdown series / std (ddof 1) of the returns.

    Source: KeyQuant's white paper on the Serenity Ratio.
    """
    values = observe(returns)
    return ratio(-conditional_value_at_risk(_drawdowns(values)), deviation(values))


@never_infinite
def serenity_index(returns: ReturnsLike) -> float:
    """Return sum of returns / (Ulcer index x pitfall indicator). Source: KeyQuant's white paper."""
    values = observe(returns)
    return ratio(float(values.sum()), ulcer_index(values) * pitfall_indicator(values))


def _wealth(values: FloatArray) -> FloatArray:
    return np.concatenate(([1.0], np.cumprod(1.0 + values)))


def _drawdowns(values: FloatArray) -> FloatArray:
    with np.errstate(all="ignore"):
        wealth = _wealth(values)
        return (wealth / np.maximum.accumulate(wealth) - 1.0)[1:]


@dataclass(frozen=True, slots=True)
class _Episodes:
    """Stretches below the maximum: the positions of their first sample and of the first one after them."""

    times: pd.DatetimeIndex
    drawdown: FloatArray
    first: Positions
    stop: Positions

    @property
    def peaks(self) -> pd.DatetimeIndex:
        peaks = self.times[self.first - 1]
        if not len(self.first) or self.first[0]:
            return peaks
        before_all = self.times[:1] - (median_step(self.times) or pd.Timedelta(0))
        return pd.DatetimeIndex(before_all.append(peaks[1:]))

    @property
    def days(self) -> FloatArray:
        unit = self.times.unit
        lengths = self.times.asi8[self.stop - 1] - self.peaks.as_unit(unit).asi8
        return np.asarray(lengths / (_DAY // pd.Timedelta(1, unit=unit)), dtype=np.float64)

    @property
    def depths(self) -> FloatArray:
        bounds = np.column_stack([self.first, self.stop]).ravel()
        padded = np.append(self.drawdown, 0.0)  # the last stretch may end with the data
        return np.minimum.reduceat(padded, bounds)[::2] if len(bounds) else np.empty(0)


def _find_episodes(returns: Returns) -> _Episodes:
    series = calculate_drawdown_series(returns)
    drawdown = as_floats(series)
    edges = np.diff(np.concatenate(([0], (drawdown < -ROUNDING).astype(np.int8), [0])))
    first, stop = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return _Episodes(pd.DatetimeIndex(series.index), drawdown, first, stop)
