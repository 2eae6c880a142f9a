"""Measures that weigh mean return against deviation: the Sharpe and Sortino families."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from trading_dagster.statistics.measure_risk import autocorrelation_penalty, kurtosis, skewness
from trading_dagster.statistics.measure_sample import (
    annualisation,
    deviation,
    mean,
    never_infinite,
    observe,
    ratio,
)
from trading_dagster.statistics.returns import FloatArray, Returns, ReturnsLike

SORTINO_SHOWN_MAX = 99.0
"""What users are shown at most: a handful of small losses makes the ratio arbitrarily large."""


@never_infinite
def sharpe_ratio_per_period(returns: ReturnsLike) -> float:
    """Return mean / std (ddof 1) of the samples as they are, not annualised; risk-free rate 0."""
    values = observe(returns)
    return ratio(mean(values), deviation(values))


@never_infinite
def sharpe_ratio(returns: Returns, periods: float | None = None) -> float:
    """Return mean / std (ddof 1) x sqrt(periods per year); risk-free rate 0.

    Args:
        returns: fractions by time
        periods: periods per year; by default those of the index

    Source: Sharpe, "The Sharpe Ratio" (1994).
    """
    return sharpe_ratio_per_period(returns) * math.sqrt(annualisation(returns, periods))


@never_infinite
def smart_sharpe_ratio(returns: Returns, periods: float | None = None) -> float:
    """Return the Sharpe ratio divided by the autocorrelation penalty."""
    return sharpe_ratio(returns, periods) / autocorrelation_penalty(returns)


@never_infinite
def probabilistic_sharpe_ratio(returns: ReturnsLike) -> float:
    """Return the probability that the true Sharpe ratio is above 0, from 0 to 1.

    Phi(S x sqrt(n - 1) / sqrt(1 - skew x S + (kurtosis - 1) / 4 x S^2)) with S per period and plain kurtosis.
    Source: Bailey and Lopez de Prado, "The Sharpe Ratio Efficient Frontier" (2012).
    """
    return _probability_above(observe(returns), 0.0)


@never_infinite
def deflated_sharpe_ratio(returns: ReturnsLike, tried: Sequence[float]) -> float:
    """Return the probability that the true Sharpe ratio is above what the best of so many tries has by luck alone.

    The probabilistic Sharpe ratio against sqrt(V) x ((1 - g) x Z(1 - 1 / N) + g x Z(1 - 1 / (N x e))): V is the
    variance of the tries' Sharpe ratios, N their number, g Euler's constant and Z the normal quantile.
    Source: Bailey and Lopez de Prado, "The Deflated Sharpe Ratio" (2014).

    Args:
        returns: of the try that was chosen
        tried: Sharpe ratios per period of all tries, the chosen one included; NaN is left out
    """
    known = np.asarray(tried, dtype=np.float64)
    known = known[np.isfinite(known)]
    expected = 0.0
    if len(known) > 1:
        quantile = NormalDist().inv_cdf
        count = len(known)
        luck = (1 - np.euler_gamma) * quantile(1 - 1 / count) + np.euler_gamma * quantile(1 - 1 / (count * math.e))
        expected = float(known.std(ddof=1)) * luck
    return _probability_above(observe(returns), expected)


def _probability_above(values: FloatArray, threshold: float) -> float:
    s = sharpe_ratio_per_period(values)
    variance = 1.0 - skewness(values) * s + (kurtosis(values) - 1.0) / 4.0 * s**2
    if not variance > 0:
        return math.nan
    return NormalDist().cdf((s - threshold) * math.sqrt(len(values) - 1) / math.sqrt(variance))


@never_infinite
def downside_deviation(returns: ReturnsLike) -> float:
    """Return sqrt(sum of min(r, 0)^2 / n), n counting all samples; per sample, not annualised."""
    values = observe(returns)
    return math.sqrt(float(np.mean(np.minimum(values, 0.0) ** 2))) if len(values) else math.nan


@never_infinite
def sortino_ratio(returns: Returns, periods: float | None = None) -> float:
    """Return mean / downside deviation x sqrt(periods per year), without the cap that users see; NaN without a loss.

    Args:
        returns: fractions by time
        periods: periods per year; by default those of the index

    Source: Sortino and Price, "Performance Measurement in a Downside Risk Framework" (1994), target 0.
    """
    values = observe(returns)
    return ratio(mean(values), downside_deviation(values)) * math.sqrt(annualisation(returns, periods))


@never_infinite
def smart_sortino_ratio(returns: Returns, periods: float | None = None) -> float:
    """Return the Sortino ratio divided by the autocorrelation penalty."""
    return sortino_ratio(returns, periods) / autocorrelation_penalty(returns)


@never_infinite
def adjusted_sortino_ratio(returns: Returns, periods: float | None = None) -> float:
    """Return the Sortino ratio / sqrt(2), Schwager's version, comparable to a Sharpe ratio."""
    return sortino_ratio(returns, periods) / math.sqrt(2.0)


@never_infinite
def smart_adjusted_sortino_ratio(returns: Returns, periods: float | None = None) -> float:
    """Return the smart Sortino ratio / sqrt(2)."""
    return smart_sortino_ratio(returns, periods) / math.sqrt(2.0)


def cap_sortino(value: float) -> float:
    """Return the Sortino ratio as users are shown it: at most 99."""
    return min(value, SORTINO_SHOWN_MAX) if not math.isnan(value) else math.nan
