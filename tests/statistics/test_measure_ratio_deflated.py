"""The deflated Sharpe ratio: how much of the best of many tries is luck."""

import math

import numpy as np
import pytest

from trading_dagster.statistics.measure_ratio import (
    deflated_sharpe_ratio,
    probabilistic_sharpe_ratio,
    sharpe_ratio_per_period,
)


def test_one_try_is_the_probabilistic_sharpe_ratio():
    returns = np.random.default_rng(1).normal(0.001, 0.01, 500)
    assert deflated_sharpe_ratio(returns, [0.1]) == probabilistic_sharpe_ratio(returns)
    assert deflated_sharpe_ratio(returns, [0.1, math.nan]) == probabilistic_sharpe_ratio(returns)


def test_the_example_of_the_paper():
    """Bailey and Lopez de Prado: 5 years of daily returns, 100 tries of variance 1/2 a year, Sharpe ratio 2.5."""
    random = np.random.default_rng(0)
    returns = random.normal(0, 1, 1250)
    returns = (returns - returns.mean()) / returns.std(ddof=1) * 0.01 + 0.01 * 2.5 / math.sqrt(250)
    tries = random.normal(0, 1, 100)
    tries = (tries - tries.mean()) / tries.std(ddof=1) * math.sqrt(0.5 / 250)
    # The paper has skewness -3 and kurtosis 10, which bring 0.9004; with those of a normal distribution it is:
    expected = 0.1132  # the paper's expected maximum
    s = sharpe_ratio_per_period(returns)
    plain = (s - expected) * math.sqrt(1249) / math.sqrt(1 + s**2 / 2)
    assert deflated_sharpe_ratio(returns, tries) == pytest.approx(0.5 * (1 + math.erf(plain / math.sqrt(2))), abs=2e-3)


def test_the_best_of_many_that_are_luck_is_no_skill():
    tries = np.random.default_rng(2).normal(0, 0.01, (200, 365))
    sharpes = [sharpe_ratio_per_period(each) for each in tries]
    best = tries[int(np.argmax(sharpes))]
    assert probabilistic_sharpe_ratio(best) > 0.98
    assert deflated_sharpe_ratio(best, sharpes) < 0.8


def test_returns_that_never_vary_have_none():
    assert math.isnan(deflated_sharpe_ratio([0.0] * 10, [0.1, 0.2]))
