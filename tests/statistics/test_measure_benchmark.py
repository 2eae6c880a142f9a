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
from trading_dagster.statistics import measure_benchmark as relative


@pytest.fixture
def pair(ether: pd.Series[float], bitcoin: pd.Series[float]) -> tuple[pd.Series[float], pd.Series[float]]:
    return ether, bitcoin[ether.index]


def test_beta_equals_empyrical_quantstats_and_regression(pair: tuple[pd.Series[float], pd.Series[float]]) -> None:
    beta = relative.beta(*pair)
    assert beta == pytest.approx(empyrical.beta(*pair), rel=1e-9)
    assert beta == pytest.approx(qs.greeks(*pair, periods=365)["beta"], rel=1e-9)
    assert beta == pytest.approx(scipy.stats.linregress(pair[1], pair[0]).slope, rel=1e-9)


def test_alpha_is_annualised_linearly_as_in_quantstats(pair: tuple[pd.Series[float], pd.Series[float]]) -> None:
    # empyrical compounds the daily alpha; linear is the definition here
    assert relative.alpha(*pair) == pytest.approx(qs.greeks(*pair, periods=365)["alpha"], rel=1e-9)
    intercept = scipy.stats.linregress(pair[1], pair[0]).intercept
    assert relative.alpha(*pair) == pytest.approx(intercept * 365, rel=1e-9)
    assert relative.alpha(*pair, periods=1) == pytest.approx(intercept, rel=1e-9)


def test_correlation_and_r_squared(pair: tuple[pd.Series[float], pd.Series[float]]) -> None:
    assert relative.correlation(*pair) == pytest.approx(scipy.stats.pearsonr(*pair).statistic, rel=1e-10)
    assert relative.r_squared(*pair) == pytest.approx(qs.r_squared(*pair), rel=1e-9)


def test_information_and_treynor_ratio_equal_quantstats(pair: tuple[pd.Series[float], pd.Series[float]]) -> None:
    assert relative.information_ratio(*pair) == pytest.approx(qs.information_ratio(*pair), rel=1e-9)
    assert relative.treynor_ratio(*pair) == pytest.approx(qs.treynor_ratio(*pair, periods=365), rel=1e-9)


def test_only_common_samples_count(ether: pd.Series[float], bitcoin: pd.Series[float]) -> None:
    holed = ether.copy()
    holed.iloc[3] = np.nan
    kept = ether.drop(ether.index[3])
    assert relative.beta(holed, bitcoin) == pytest.approx(empyrical.beta(kept, bitcoin[kept.index]), rel=1e-9)
    assert relative.treynor_ratio(bitcoin, ether) == pytest.approx(
        qs.treynor_ratio(bitcoin[ether.index], ether, periods=365), rel=1e-9
    )


def test_samples_at_equal_times_are_compounded() -> None:
    times = pd.to_datetime(["2021-01-01", "2021-01-02", "2021-01-02", "2021-01-03"])
    split = pd.Series([0.1, 0.1, 0.2, -0.1], index=times)
    own, other = relative.pair_samples(split, pd.Series([1.0, 2.0, 3.0], index=pd.date_range("2021-01-01", periods=3)))
    assert own.tolist() == pytest.approx([0.1, 0.32, -0.1])
    assert other.tolist() == [1, 2, 3]


def test_series_against_itself(bitcoin: pd.Series[float]) -> None:
    assert relative.beta(bitcoin, bitcoin) == pytest.approx(1)
    assert relative.alpha(bitcoin, bitcoin) == pytest.approx(0, abs=1e-12)
    assert relative.correlation(bitcoin, bitcoin) == pytest.approx(1)
    assert math.isnan(relative.information_ratio(bitcoin, bitcoin))


def test_nothing_in_common_or_a_flat_benchmark_gives_no_value(bitcoin: pd.Series[float]) -> None:
    later = bitcoin.shift(freq=pd.Timedelta(hours=1))
    flat = bitcoin * 0
    for function in (relative.beta, relative.alpha, relative.correlation, relative.r_squared, relative.treynor_ratio):
        assert math.isnan(function(bitcoin, later))
        assert math.isnan(function(bitcoin, flat))
    assert math.isnan(relative.information_ratio(bitcoin, later))


def test_mixing_naive_and_aware_times_is_refused(bitcoin: pd.Series[float]) -> None:
    with pytest.raises(BadInput, match="both be naive UTC or both aware"):
        relative.beta(bitcoin, bitcoin.tz_localize("UTC"))


@given(st.lists(st.tuples(st.integers(-900, 900), st.integers(-900, 900)), min_size=3, max_size=40))
def test_benchmark_scaled_by_k_has_beta_divided_by_k(points: list[tuple[int, int]]) -> None:
    index = pd.date_range("2021", periods=len(points))
    own = pd.Series([a / 10_000 for a, _ in points], index=index)
    other = pd.Series([b / 10_000 for _, b in points], index=index)
    beta = relative.beta(own, other)
    assert math.isnan(beta) == (other.nunique() == 1)
    assert relative.beta(own, other * 2) == pytest.approx(beta / 2, rel=1e-9, abs=1e-12, nan_ok=True)
    assert relative.correlation(own, other * 2) == pytest.approx(
        relative.correlation(own, other), rel=1e-9, abs=1e-9, nan_ok=True
    )
    assert not abs(relative.correlation(own, other)) > 1
