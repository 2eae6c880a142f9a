"""Measures that set gains against losses: profit factor, payoff, tails and bet sizing."""

from __future__ import annotations

import math

import numpy as np

from trading_dagster.statistics.measure_sample import compound_by_calendar, mean, never_infinite, observe, ratio
from trading_dagster.statistics.returns import FloatArray, Returns, ReturnsLike


@never_infinite
def omega_ratio(returns: ReturnsLike) -> float:
    """Return sum of max(r, 0) / sum of max(-r, 0): the Omega ratio at a threshold of 0.

    Source: Keating and Shadwick, "A Universal Performance Measure" (2002).
    """
    values = observe(returns)
    return ratio(float(np.sum(np.maximum(values, 0.0))), float(np.sum(np.maximum(-values, 0.0))))


@never_infinite
def profit_factor(returns: ReturnsLike) -> float:
    """Return sum of gains / |sum of losses|; NaN without a loss."""
    gains, losses = _split(returns)
    return ratio(float(gains.sum()), abs(float(losses.sum())))


@never_infinite
def gain_to_pain_ratio(returns: ReturnsLike) -> float:
    """Return sum of returns / |sum of losses|; NaN without a loss.

    Source: Schwager, "Hedge Fund Market Wizards" (2012).
    """
    values = observe(returns)
    return ratio(float(values.sum()), abs(float(values[values < 0].sum())))


@never_infinite
def monthly_gain_to_pain_ratio(returns: Returns) -> float:
    """Return the gain to pain ratio of the compounded returns of calendar months."""
    return gain_to_pain_ratio(compound_by_calendar(returns, "ME"))


@never_infinite
def average_win(returns: ReturnsLike) -> float:
    """Return the mean of the returns above 0, a fraction per sample."""
    return mean(_split(returns)[0])


@never_infinite
def average_loss(returns: ReturnsLike) -> float:
    """Return the mean of the returns below 0, a negative fraction per sample."""
    return mean(_split(returns)[1])


@never_infinite
def payoff_ratio(returns: ReturnsLike) -> float:
    """Return mean gain / |mean loss|; NaN without a gain or without a loss."""
    gains, losses = _split(returns)
    return ratio(mean(gains), abs(mean(losses)))


@never_infinite
def win_rate(returns: ReturnsLike) -> float:
    """Return the share of gains among the non-zero returns."""
    gains, losses = _split(returns)
    moved = len(gains) + len(losses)
    return len(gains) / moved if moved else math.nan


@never_infinite
def kelly_criterion(returns: ReturnsLike) -> float:
    """Return the fraction of capital to bet for the fastest growth: (payoff x win - (1 - win)) / payoff.

    Source: Kelly, "A New Interpretation of Information Rate" (1956).
    """
    payoff, win = payoff_ratio(returns), win_rate(returns)
    return ratio(payoff * win - (1.0 - win), payoff)


@never_infinite
def risk_of_ruin(returns: ReturnsLike) -> float:
    """Return ((1 - win) / (1 + win)) ^ n, from 0 to 1, n counting all samples."""
    win = win_rate(returns)
    if math.isnan(win):  # NaN ** 0 would be 1
        return math.nan
    return float(((1.0 - win) / (1.0 + win)) ** len(observe(returns)))


@never_infinite
def tail_ratio(returns: ReturnsLike) -> float:
    """Return |95 % quantile / 5 % quantile|; above 1 the good tail is the longer one."""
    values = observe(returns)
    if not len(values):
        return math.nan
    low, high = np.quantile(values, [0.05, 0.95])
    return abs(ratio(float(high), float(low)))


@never_infinite
def common_sense_ratio(returns: ReturnsLike) -> float:
    """Return profit factor x tail ratio, after Bernut: below 1 neither trend nor mean reversion pays."""
    return profit_factor(returns) * tail_ratio(returns)


@never_infinite
def cpc_index(returns: ReturnsLike) -> float:
    """Return profit factor x win rate x payoff ratio."""
    return profit_factor(returns) * win_rate(returns) * payoff_ratio(returns)


@never_infinite
def outlier_win_ratio(returns: ReturnsLike) -> float:
    """Return 99 % quantile / mean gain: how many ordinary gains an exceptional one is worth."""
    values = observe(returns)
    return ratio(float(np.quantile(values, 0.99)), average_win(values)) if len(values) else math.nan


@never_infinite
def outlier_loss_ratio(returns: ReturnsLike) -> float:
    """Return 1 % quantile / mean loss: how many ordinary losses an exceptional one is worth."""
    values = observe(returns)
    return ratio(float(np.quantile(values, 0.01)), average_loss(values)) if len(values) else math.nan


@never_infinite
def max_consecutive_wins(returns: ReturnsLike) -> float:
    """Return the length of the longest run of samples above 0."""
    return _longest_run(observe(returns), sign=1.0)


@never_infinite
def max_consecutive_losses(returns: ReturnsLike) -> float:
    """Return the length of the longest run of samples below 0."""
    return _longest_run(observe(returns), sign=-1.0)


def _longest_run(values: FloatArray, sign: float) -> float:
    if not len(values):
        return math.nan
    stops = np.flatnonzero(np.concatenate(([True], values * sign <= 0, [True])))
    return float(np.diff(stops).max()) - 1.0


def _split(returns: ReturnsLike) -> tuple[FloatArray, FloatArray]:
    values = observe(returns)
    return values[values > 0], values[values < 0]
