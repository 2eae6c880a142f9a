"""Measures of how widely returns are spread: deviation, shape of the distribution, value at risk."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from trading_dagster.statistics.measure_sample import (
    annualisation,
    deviation,
    mean,
    never_infinite,
    observe,
)
from trading_dagster.statistics.returns import FloatArray, Returns, ReturnsLike

_NORMAL_5_PERCENT = NormalDist().inv_cdf(0.05)


@never_infinite
def volatility(returns: Returns, periods: float | None = None) -> float:
    """Return the annual standard deviation: std (ddof 1) x sqrt(periods per year), a fraction.

    Args:
        returns: fractions by time
        periods: periods per year; by default those of the index
    """
    return deviation(observe(returns)) * math.sqrt(annualisation(returns, periods))


@never_infinite
def skewness(returns: ReturnsLike) -> float:
    """Return the sample skewness without bias, n / ((n - 1)(n - 2)) x sum of z^3; NaN under 3 values.

    Source: Joanes and Gill, "Comparing measures of sample skewness and kurtosis" (1998), G1.
    """
    z = _standardise(observe(returns))
    n = len(z)
    return float(np.sum(z**3)) * n / ((n - 1) * (n - 2)) if n > 2 else math.nan


@never_infinite
def kurtosis(returns: ReturnsLike) -> float:
    """Return the plain sample kurtosis (3 for a normal distribution) without bias; NaN under 4 values.

    Source: Joanes and Gill (1998), G2, plus 3.
    """
    z = _standardise(observe(returns))
    n = len(z)
    if n < 4:
        return math.nan
    fourth = float(np.sum(z**4)) * n * (n + 1) / ((n - 1) * (n - 2) * (n - 3))
    return fourth - 3.0 * (n - 1) ** 2 / ((n - 2) * (n - 3)) + 3.0


@never_infinite
def value_at_risk(returns: ReturnsLike) -> float:
    """Return the 5 % quantile of the normal distribution with the returns' mean and deviation, per sample.

    A loss is negative. Source: variance-covariance VaR, J.P. Morgan, "RiskMetrics Technical Document" (1996).
    """
    values = observe(returns)
    spread = deviation(values)
    return mean(values) + _NORMAL_5_PERCENT * spread if spread > 0 else math.nan


@never_infinite
def conditional_value_at_risk(returns: ReturnsLike) -> float:
    """Return the mean of the returns below the value at risk, per sample; NaN where none is.

    Source: Rockafellar and Uryasev, "Optimization of conditional value-at-risk" (2000).
    """
    values = observe(returns)
    return mean(values[values < value_at_risk(values)])


@never_infinite
def autocorrelation_penalty(returns: ReturnsLike) -> float:
    """Return sqrt(1 + 2 x sum over k = 1 .. n - 1 of (n - k) / n x |rho|^k), rho the lag-1 autocorrelation.

    Returns that follow one another hide risk; the "smart" ratios are divided by this.
    After Lo, "The Statistics of Sharpe Ratios" (2002), with an autocorrelation that decays geometrically.
    """
    values = observe(returns)
    n = len(values)
    rho = abs(correlation_of(values[:-1], values[1:]))
    if math.isnan(rho):
        return math.nan
    k = np.arange(1, n)
    return math.sqrt(1.0 + 2.0 * float(np.sum((n - k) / n * rho**k)))


def correlation_of(first: FloatArray, second: FloatArray) -> float:
    """Return Pearson's correlation of two samples of equal length; NaN where one of them does not vary."""
    z, other = _standardise(first), _standardise(second)
    if not (len(z) and len(other)):
        return math.nan
    return min(1.0, max(-1.0, float(np.sum(z * other)) / (len(z) - 1)))


def _standardise(values: FloatArray) -> FloatArray:
    spread = deviation(values)
    return (values - values.mean()) / spread if spread > 0 else values[:0]
