from __future__ import annotations

import math

import empyrical
import numpy as np
import pandas as pd
import pytest
import quantstats.stats as qs
import scipy.stats

from trading_dagster.statistics import measure_risk as risk


def test_volatility_equals_empyrical_and_quantstats(daily: pd.Series[float]) -> None:
    assert risk.volatility(daily) == pytest.approx(empyrical.annual_volatility(daily, annualization=365), rel=1e-10)
    assert risk.volatility(daily) == pytest.approx(qs.volatility(daily, periods=365), rel=1e-10)


def test_volatility_of_hours_is_annualised_by_hours(hourly: pd.Series[float]) -> None:
    oracle = empyrical.annual_volatility(hourly, annualization=8760)
    assert risk.volatility(hourly) == pytest.approx(oracle, rel=1e-10)
    assert risk.volatility(hourly, periods=1) == pytest.approx(float(np.std(hourly, ddof=1)), rel=1e-10)


def test_skewness_and_kurtosis_equal_scipy_without_bias(daily: pd.Series[float]) -> None:
    assert risk.skewness(daily) == pytest.approx(scipy.stats.skew(daily, bias=False), rel=1e-9)
    assert risk.kurtosis(daily) == pytest.approx(scipy.stats.kurtosis(daily, bias=False, fisher=False), rel=1e-9)


def test_value_at_risk_equals_quantstats(daily: pd.Series[float]) -> None:
    assert risk.value_at_risk(daily) == pytest.approx(qs.value_at_risk(daily, confidence=0.95), rel=1e-9)


def test_conditional_value_at_risk_is_the_mean_below_the_value_at_risk(daily: pd.Series[float]) -> None:
    # quantstats 0.0.86 has the normal tail or the empirical quantile; the mean below the normal quantile is neither
    quantile = scipy.stats.norm.ppf(0.05, daily.mean(), daily.std())
    below = [value for value in daily if value < quantile]
    assert risk.conditional_value_at_risk(daily) == pytest.approx(math.fsum(below) / len(below), rel=1e-10)
    assert risk.conditional_value_at_risk(daily) < risk.value_at_risk(daily)


def test_no_return_below_the_value_at_risk_gives_no_value() -> None:
    assert math.isnan(risk.conditional_value_at_risk(np.array([0.01, -0.01, 0.01, -0.01])))
    assert risk.value_at_risk(np.array([0.01, -0.01, 0.01, -0.01])) < -0.01


def test_autocorrelation_penalty_equals_quantstats_and_the_sum(daily: pd.Series[float]) -> None:
    assert risk.autocorrelation_penalty(daily) == pytest.approx(qs.autocorr_penalty(daily), rel=1e-10)
    rho = abs(scipy.stats.pearsonr(daily[:-1], daily[1:]).statistic)
    n = len(daily)
    total = math.fsum((n - k) / n * rho**k for k in range(1, n))
    assert risk.autocorrelation_penalty(daily) == pytest.approx(math.sqrt(1 + 2 * total), rel=1e-10)
    assert risk.autocorrelation_penalty(daily) > 1


@pytest.mark.parametrize(("function", "needed"), [(risk.skewness, 3), (risk.kurtosis, 4), (risk.value_at_risk, 2)])
def test_too_few_values_have_no_shape(function: object, needed: int) -> None:
    values = np.array([0.01, -0.02, 0.03, 0.05])
    assert math.isnan(function(values[: needed - 1]))  # type: ignore[operator]
    assert math.isfinite(function(values[:needed]))  # type: ignore[operator]
