from __future__ import annotations

import math

import empyrical
import numpy as np
import pandas as pd
import pytest
import quantstats.stats as qs
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput
from trading_dagster.statistics import measure_ratio as ratios


def test_sharpe_equals_empyrical_and_quantstats_on_365_days(daily: pd.Series[float]) -> None:
    assert ratios.sharpe_ratio(daily) == pytest.approx(empyrical.sharpe_ratio(daily, annualization=365), rel=1e-10)
    assert ratios.sharpe_ratio(daily) == pytest.approx(qs.sharpe(daily, periods=365), rel=1e-10)


def test_sharpe_of_hours_is_annualised_by_hours(hourly: pd.Series[float]) -> None:
    assert ratios.sharpe_ratio(hourly) == pytest.approx(empyrical.sharpe_ratio(hourly, annualization=8760), rel=1e-10)
    assert ratios.sharpe_ratio(hourly, periods=1) == pytest.approx(ratios.sharpe_ratio_per_period(hourly), rel=1e-12)


def test_smart_sharpe_equals_quantstats(daily: pd.Series[float]) -> None:
    assert ratios.smart_sharpe_ratio(daily) == pytest.approx(qs.smart_sharpe(daily, periods=365), rel=1e-10)


def test_probabilistic_sharpe_equals_quantstats_and_the_paper(daily: pd.Series[float]) -> None:
    assert ratios.probabilistic_sharpe_ratio(daily) == pytest.approx(qs.probabilistic_sharpe_ratio(daily), rel=1e-10)
    s = daily.mean() / daily.std()
    g3 = scipy.stats.skew(daily, bias=False)
    g4 = scipy.stats.kurtosis(daily, bias=False, fisher=False)
    z = s * math.sqrt(len(daily) - 1) / math.sqrt(1 - g3 * s + (g4 - 1) / 4 * s**2)
    assert ratios.probabilistic_sharpe_ratio(daily) == pytest.approx(scipy.stats.norm.cdf(z), rel=1e-10)


def test_sortino_equals_empyrical_and_quantstats_on_365_days(daily: pd.Series[float]) -> None:
    assert ratios.sortino_ratio(daily) == pytest.approx(empyrical.sortino_ratio(daily, annualization=365), rel=1e-10)
    assert ratios.sortino_ratio(daily) == pytest.approx(qs.sortino(daily, periods=365), rel=1e-10)
    assert ratios.smart_sortino_ratio(daily) == pytest.approx(qs.smart_sortino(daily, periods=365), rel=1e-10)
    assert ratios.adjusted_sortino_ratio(daily) == pytest.approx(qs.adjusted_sortino(daily, periods=365), rel=1e-10)
    assert ratios.smart_adjusted_sortino_ratio(daily) == pytest.approx(
        qs.smart_sortino(daily, periods=365) / math.sqrt(2), rel=1e-10
    )


def test_downside_deviation_counts_all_samples(daily: pd.Series[float]) -> None:
    squares = math.fsum(value**2 for value in daily if value < 0)
    assert ratios.downside_deviation(daily) == pytest.approx(math.sqrt(squares / len(daily)), rel=1e-10)
    oracle = empyrical.downside_risk(daily, annualization=1)
    assert ratios.downside_deviation(daily) == pytest.approx(oracle, rel=1e-10)


def test_undefined_returns_are_left_out(bitcoin: pd.Series[float]) -> None:
    holed = bitcoin.copy()
    holed.iloc[::5] = np.nan
    assert ratios.sharpe_ratio(holed) == pytest.approx(qs.sharpe(holed.dropna(), periods=365), rel=1e-10)
    assert ratios.sortino_ratio(holed) == pytest.approx(qs.sortino(holed.dropna(), periods=365), rel=1e-10)


def test_constant_returns_have_no_sharpe_even_when_rounding_makes_them_differ() -> None:
    equity = 100 * 1.001 ** np.arange(300)
    returns = pd.Series(equity[1:] / equity[:-1] - 1, index=pd.date_range("2021", periods=299))
    assert returns.nunique() > 1
    assert math.isnan(ratios.sharpe_ratio(returns))
    assert math.isnan(ratios.probabilistic_sharpe_ratio(returns))


def test_no_loss_gives_no_sortino_and_a_tiny_one_is_capped_for_users() -> None:
    index = pd.date_range("2021", periods=4)
    assert math.isnan(ratios.sortino_ratio(pd.Series([0.01, 0.02, 0.0, 0.01], index=index)))
    huge = ratios.sortino_ratio(pd.Series([0.01, 0.02, -1e-9, 0.01], index=index))
    assert huge > 99
    assert ratios.cap_sortino(huge) == 99
    assert ratios.cap_sortino(1.5) == 1.5
    assert ratios.cap_sortino(-3.0) == -3.0
    assert math.isnan(ratios.cap_sortino(math.nan))


def test_annualising_needs_times_unless_the_periods_are_given() -> None:
    returns = pd.Series([0.01, -0.02, 0.03])
    with pytest.raises(BadInput, match="DatetimeIndex"):
        ratios.sharpe_ratio(returns)
    assert ratios.sharpe_ratio(returns, periods=365) == pytest.approx(
        empyrical.sharpe_ratio(returns, annualization=365)
    )


returns_in_basis_points = st.lists(st.integers(-5_000, 5_000), min_size=4, max_size=60).filter(
    lambda x: len(set(x)) > 1
)


@given(returns_in_basis_points, st.floats(0.01, 1.0))
def test_ratios_do_not_depend_on_leverage(basis_points: list[int], leverage: float) -> None:
    values = np.array(basis_points) / 10_000
    once = pd.Series(values, index=pd.date_range("2021", periods=len(values)))
    for function in (ratios.sharpe_ratio, ratios.sortino_ratio, ratios.probabilistic_sharpe_ratio):
        assert function(once * leverage) == pytest.approx(function(once), rel=1e-6, abs=1e-9, nan_ok=True)


@given(returns_in_basis_points, st.randoms())
def test_order_does_not_change_sharpe_or_sortino(basis_points: list[int], random: object) -> None:
    index = pd.date_range("2021", periods=len(basis_points))
    shuffled = list(basis_points)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (pd.Series(np.array(points) / 10_000, index=index) for points in (basis_points, shuffled))
    for function in (ratios.sharpe_ratio, ratios.sortino_ratio):
        assert function(other) == pytest.approx(function(one), rel=1e-9, abs=1e-9, nan_ok=True)
