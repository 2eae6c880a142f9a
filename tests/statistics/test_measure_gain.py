from __future__ import annotations

import math
from collections.abc import Callable

import empyrical
import numpy as np
import pandas as pd
import pytest
import quantstats.stats as qs
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.statistics import measure_gain as gain


@pytest.mark.parametrize(
    ("function", "oracle"),
    [
        (gain.omega_ratio, qs.omega),
        (gain.profit_factor, qs.profit_factor),
        (gain.gain_to_pain_ratio, qs.gain_to_pain_ratio),
        (gain.average_win, qs.avg_win),
        (gain.average_loss, qs.avg_loss),
        (gain.payoff_ratio, qs.payoff_ratio),
        (gain.win_rate, qs.win_rate),
        (gain.kelly_criterion, qs.kelly_criterion),
        (gain.tail_ratio, qs.tail_ratio),
        (gain.common_sense_ratio, qs.common_sense_ratio),
        (gain.cpc_index, qs.cpc_index),
        (gain.outlier_loss_ratio, qs.outlier_loss_ratio),
        (gain.max_consecutive_wins, qs.consecutive_wins),
        (gain.max_consecutive_losses, qs.consecutive_losses),
    ],
)
def test_measure_equals_quantstats(daily: pd.Series[float], function: Callable, oracle: Callable) -> None:
    assert function(daily) == pytest.approx(float(oracle(daily)), rel=1e-9)


def test_omega_and_tail_equal_empyrical(daily: pd.Series[float]) -> None:
    assert gain.omega_ratio(daily) == pytest.approx(empyrical.omega_ratio(daily, annualization=365), rel=1e-10)
    assert gain.tail_ratio(daily) == pytest.approx(empyrical.tail_ratio(daily), rel=1e-10)


def test_outlier_win_compares_with_gains_only(daily: pd.Series[float]) -> None:
    # quantstats counts zero returns as gains; without them the definitions are the same
    moved = daily[daily != 0]
    assert gain.outlier_win_ratio(moved) == pytest.approx(qs.outlier_win_ratio(moved), rel=1e-10)
    gains = [value for value in daily if value > 0]
    quantile = sorted(daily)
    position = 0.99 * (len(quantile) - 1)
    low = int(position)
    q99 = quantile[low] + (position - low) * (quantile[low + 1] - quantile[low])
    assert gain.outlier_win_ratio(daily) == pytest.approx(q99 / (math.fsum(gains) / len(gains)), rel=1e-10)


def test_monthly_gain_to_pain_compounds_the_months(daily: pd.Series[float]) -> None:
    # quantstats adds the days of a month up; here a month's return is the compounded one
    months = empyrical.aggregate_returns(daily, "monthly").to_numpy()
    oracle = math.fsum(months) / abs(math.fsum(month for month in months if month < 0))
    assert gain.monthly_gain_to_pain_ratio(daily) == pytest.approx(oracle, rel=1e-10)


def test_risk_of_ruin_equals_quantstats(daily: pd.Series[float]) -> None:
    week = daily.iloc[:7]  # over the whole history it is 0 in both
    assert gain.risk_of_ruin(week) == pytest.approx(qs.risk_of_ruin(week), rel=1e-10)
    assert 0 < gain.risk_of_ruin(week) < 1


def test_hand_computed_example() -> None:
    values = np.array([0.02, -0.01, 0.0, 0.04, -0.03, 0.03])
    assert gain.profit_factor(values) == pytest.approx(0.09 / 0.04)
    assert gain.omega_ratio(values) == pytest.approx(0.09 / 0.04)
    assert gain.gain_to_pain_ratio(values) == pytest.approx(0.05 / 0.04)
    assert gain.win_rate(values) == pytest.approx(3 / 5)
    assert gain.payoff_ratio(values) == pytest.approx(0.03 / 0.02)
    assert gain.kelly_criterion(values) == pytest.approx((1.5 * 0.6 - 0.4) / 1.5)
    assert gain.risk_of_ruin(values) == pytest.approx((0.4 / 1.6) ** 6)
    assert gain.cpc_index(values) == pytest.approx(2.25 * 0.6 * 1.5)
    assert gain.max_consecutive_wins(values) == 1
    assert gain.max_consecutive_losses(values) == 1


def test_flat_sample_ends_a_run() -> None:
    values = np.array([0.1, 0.1, 0.0, 0.1, 0.1, 0.1, -0.1])
    assert gain.max_consecutive_wins(values) == 3
    assert gain.max_consecutive_losses(values) == 1
    assert gain.max_consecutive_losses(np.array([0.1, 0.1])) == 0


def test_without_losses_nothing_can_be_weighed() -> None:
    values = np.array([0.02, 0.01, 0.0])
    for function in (gain.omega_ratio, gain.profit_factor, gain.gain_to_pain_ratio, gain.payoff_ratio):
        assert math.isnan(function(values))
    assert math.isnan(gain.kelly_criterion(values))
    assert gain.win_rate(values) == 1
    assert gain.risk_of_ruin(values) == 0


@given(st.lists(st.integers(-5_000, 5_000), min_size=1, max_size=60))
def test_bounds(basis_points: list[int]) -> None:
    values = np.array(basis_points) / 10_000
    win, ruin = gain.win_rate(values), gain.risk_of_ruin(values)
    assert math.isnan(win) == (not any(basis_points))
    assert math.isnan(win) or (0 <= win <= 1 and 0 <= ruin <= 1)
    factor, pain = gain.profit_factor(values), gain.gain_to_pain_ratio(values)
    assert math.isnan(factor) == (min(basis_points) >= 0)
    # sum of returns = gains - losses, so gain to pain is the profit factor less one
    assert math.isnan(factor) or pain == pytest.approx(factor - 1, rel=1e-9, abs=1e-9)
