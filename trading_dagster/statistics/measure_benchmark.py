"""Measures of returns relative to a benchmark's, on the samples that both have."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.statistics.measure_return import cumulative_return
from trading_dagster.statistics.measure_risk import correlation_of
from trading_dagster.statistics.measure_sample import (
    annualisation,
    deviation,
    mean,
    never_infinite,
    observe_series,
    ratio,
)
from trading_dagster.statistics.returns import FloatArray, Returns, as_floats


@never_infinite
def beta(returns: Returns, benchmark: Returns) -> float:
    """Return cov(r, b) / var(b). Source: Sharpe, "Capital Asset Prices" (1964)."""
    return _beta(*pair_samples(returns, benchmark))


@never_infinite
def alpha(returns: Returns, benchmark: Returns, periods: float | None = None) -> float:
    """Return Jensen's alpha a year, (mean(r) - beta x mean(b)) x periods per year, a fraction; risk-free rate 0.

    Args:
        returns: fractions by time
        benchmark: fractions by time
        periods: periods per year; by default those of the returns' index

    Source: Jensen, "The Performance of Mutual Funds in the Period 1945-1964" (1968).
    """
    own, other = pair_samples(returns, benchmark)
    return (mean(own) - _beta(own, other) * mean(other)) * annualisation(returns, periods)


@never_infinite
def correlation(returns: Returns, benchmark: Returns) -> float:
    """Return Pearson's correlation with the benchmark, from -1 to 1."""
    return correlation_of(*pair_samples(returns, benchmark))


@never_infinite
def r_squared(returns: Returns, benchmark: Returns) -> float:
    """Return the squared correlation: the share of variance that the benchmark explains, from 0 to 1."""
    return correlation(returns, benchmark) ** 2


@never_infinite
def information_ratio(returns: Returns, benchmark: Returns) -> float:
    """Return mean(r - b) / std(r - b) (ddof 1) per sample, not annualised.

    Source: Goodwin, "The Information Ratio" (1998).
    """
    own, other = pair_samples(returns, benchmark)
    active = own - other
    return ratio(mean(active), deviation(active))


@never_infinite
def treynor_ratio(returns: Returns, benchmark: Returns) -> float:
    """Return the cumulative return / beta, both on the common samples; risk-free rate 0.

    Source: Treynor, "How to Rate Management of Investment Funds" (1965).
    """
    own, other = pair_samples(returns, benchmark)
    return ratio(cumulative_return(own), _beta(own, other))


def pair_samples(returns: Returns, benchmark: Returns) -> tuple[FloatArray, FloatArray]:
    """Return both returns at the times at which both are defined; equal times are compounded into one sample.

    Raises:
        BadInput: one of them has zone-aware times, the other naive ones
    """
    own, other = _merge_equal_times(observe_series(returns)), _merge_equal_times(observe_series(benchmark))
    if own.empty or other.empty:
        return np.empty(0), np.empty(0)
    zone, other_zone = pd.DatetimeIndex(own.index).tz, pd.DatetimeIndex(other.index).tz
    if (zone is None) != (other_zone is None):
        msg = f"returns (time zone {zone}) and benchmark (time zone {other_zone}) must both be naive UTC or both aware"
        raise BadInput(msg)
    if own.index.equals(other.index):
        return as_floats(own), as_floats(other)
    times = own.index.intersection(other.index)
    return as_floats(own.loc[times]), as_floats(other.loc[times])


def _merge_equal_times(returns: Returns) -> Returns:
    return returns if returns.index.is_unique else (returns + 1.0).groupby(level=0).prod() - 1.0


def _beta(own: FloatArray, other: FloatArray) -> float:
    spread = deviation(other)
    if not spread > 0:
        return math.nan
    covariance = float(np.sum((own - own.mean()) * (other - other.mean()))) / (len(own) - 1)
    return covariance / spread / spread
