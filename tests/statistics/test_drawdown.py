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

from trading_dagster.statistics import drawdown as dd


def series(values: list[float], start: str = "2021-01-01", freq: str = "D") -> pd.Series[float]:
    return pd.Series(values, index=pd.date_range(start, periods=len(values), freq=freq), dtype="float64")


def wealth_of(returns: pd.Series[float]) -> list[float]:
    wealth = [1.0]
    for value in returns:
        wealth.append(wealth[-1] * (1 + value))
    return wealth


def test_drawdown_series_equals_quantstats(daily: pd.Series[float]) -> None:
    ours = dd.calculate_drawdown_series(daily)
    assert ours.to_numpy() == pytest.approx(qs.to_drawdown_series(daily).to_numpy(), rel=1e-9, abs=1e-12)
    assert ours.index.equals(daily.index)


def test_max_drawdown_equals_empyrical_and_quantstats(daily: pd.Series[float]) -> None:
    assert dd.max_drawdown(daily) == pytest.approx(empyrical.max_drawdown(daily), rel=1e-10)
    assert dd.max_drawdown(daily) == pytest.approx(qs.max_drawdown(daily), rel=1e-10)
    assert dd.max_drawdown(daily) < -0.8


def test_loss_in_the_first_sample_is_a_drawdown() -> None:
    assert dd.max_drawdown(series([-0.2, 0.1])) == pytest.approx(-0.2)
    assert dd.calculate_drawdown_series(series([-0.2, 0.1])).tolist() == pytest.approx([-0.2, -0.12])
    assert dd.max_drawdown(series([0.2, 0.1])) == 0


def test_max_runup_is_the_best_gain_from_any_low(daily: pd.Series[float]) -> None:
    wealth = wealth_of(daily.iloc[-400:])
    best = max(later / low - 1 for i, low in enumerate(wealth) for later in wealth[i:])
    assert dd.max_runup(daily.iloc[-400:]) == pytest.approx(best, rel=1e-10)


def test_runup_stops_where_wealth_is_gone() -> None:
    assert dd.max_runup(series([1.0, -1.0, 0.5])) == pytest.approx(1.0)
    assert dd.max_runup(series([-0.5, -0.2])) == 0


def test_episodes_equal_quantstats(daily: pd.Series[float]) -> None:
    ours = dd.find_drawdown_episodes(daily)
    oracle = qs.drawdown_details(qs.to_drawdown_series(daily))
    assert len(ours) == len(oracle) > 3
    assert ours["days"].tolist() == oracle["days"].tolist()
    assert (ours["depth"] * 100).to_numpy() == pytest.approx(oracle["max drawdown"].to_numpy(), rel=1e-8)
    assert ours["valley_at"].dt.strftime("%Y-%m-%d").tolist() == oracle["valley"].tolist()
    assert ours["end_at"].dt.strftime("%Y-%m-%d").tolist() == oracle["end"].tolist()
    first_below = ours["peak_at"] + pd.Timedelta(days=1)
    assert first_below.dt.strftime("%Y-%m-%d").tolist() == oracle["start"].tolist()
    assert dd.longest_drawdown_days(daily) == oracle["days"].max()
    assert dd.average_drawdown_days(daily) == pytest.approx(oracle["days"].mean())
    assert dd.average_drawdown(daily) * 100 == pytest.approx(oracle["max drawdown"].mean(), rel=1e-8)


def test_episode_table_of_a_small_example() -> None:
    returns = series([-0.1, 0.2, -0.5, 0.5, 1.0, 0.1, -0.01])
    episodes = dd.find_drawdown_episodes(returns)
    assert episodes["peak_at"].dt.strftime("%m-%d").tolist() == ["12-31", "01-02", "01-06"]
    assert episodes["valley_at"].dt.strftime("%m-%d").tolist() == ["01-01", "01-03", "01-07"]
    assert episodes["end_at"].dt.strftime("%m-%d").tolist() == ["01-01", "01-04", "01-07"]
    assert episodes["days"].tolist() == [1, 2, 1]
    assert episodes["depth"].tolist() == pytest.approx([-0.1, -0.5, -0.01])
    assert episodes["is_recovered"].tolist() == [True, True, False]


def test_days_of_hourly_episodes_are_fractions() -> None:
    assert dd.longest_drawdown_days(series([0.1, -0.1, 0.01, 0.01, 1.0], freq="h")) == pytest.approx(3 / 24)


def test_single_loss_has_no_known_length() -> None:
    assert dd.find_drawdown_episodes(series([-0.1]))["days"].tolist() == [0]


def test_returning_to_the_peak_ends_an_episode_in_spite_of_rounding() -> None:
    equity = np.array([100.0, 99.0, 100.0, 100.0, 100.0, 93.0, 100.0, 100.0])
    returns = series(list(equity[1:] / equity[:-1] - 1))
    assert dd.find_drawdown_episodes(returns)["days"].tolist() == [1, 1]


def test_wealth_that_never_falls_has_no_episode() -> None:
    returns = series([0.01, 0.0, 0.02])
    assert dd.find_drawdown_episodes(returns).empty
    assert dd.longest_drawdown_days(returns) == 0
    assert math.isnan(dd.average_drawdown(returns))
    assert math.isnan(dd.calmar_ratio(returns))
    assert math.isnan(dd.recovery_factor(returns))
    assert math.isnan(dd.ulcer_performance_index(returns))
    assert math.isnan(dd.serenity_index(returns))


def test_ulcer_and_the_ratios_of_it_follow_their_definitions(daily: pd.Series[float]) -> None:
    # quantstats divides Ulcer's sum by n - 1, takes the cumulative return for CAGR in UPI, the sum of returns in the
    # recovery factor, and the normal tail for cVaR: hence definitions written out
    drawdowns = qs.to_drawdown_series(daily)
    days = (daily.index[-1] - daily.index[0]).days
    growth = (1 + qs.comp(daily)) ** (365 / days) - 1
    ulcer = math.sqrt(math.fsum(value**2 for value in drawdowns) / len(daily))
    assert dd.ulcer_index(daily) == pytest.approx(ulcer, rel=1e-9)
    assert dd.ulcer_index(daily) == pytest.approx(qs.ulcer_index(daily) * math.sqrt(1 - 1 / len(daily)), rel=1e-9)
    assert dd.ulcer_performance_index(daily) == pytest.approx(growth / ulcer, rel=1e-9)
    assert dd.calmar_ratio(daily) == pytest.approx(growth / abs(empyrical.max_drawdown(daily)), rel=1e-9)
    assert dd.recovery_factor(daily) == pytest.approx(abs(qs.comp(daily)) / abs(qs.max_drawdown(daily)), rel=1e-9)


def test_pitfall_and_serenity_follow_their_definitions(bitcoin: pd.Series[float]) -> None:
    drawdowns = qs.to_drawdown_series(bitcoin)
    quantile = scipy.stats.norm.ppf(0.05, drawdowns.mean(), drawdowns.std())
    tail = [value for value in drawdowns if value < quantile]
    pitfall = -(math.fsum(tail) / len(tail)) / bitcoin.std()
    assert dd.pitfall_indicator(bitcoin) == pytest.approx(pitfall, rel=1e-9)
    ulcer = math.sqrt(math.fsum(value**2 for value in drawdowns) / len(bitcoin))
    assert dd.serenity_index(bitcoin) == pytest.approx(math.fsum(bitcoin) / (ulcer * pitfall), rel=1e-9)


@given(st.lists(st.integers(-9_999, 9_999), min_size=1, max_size=40))
def test_drawdown_is_the_worst_fall_from_any_earlier_wealth(basis_points: list[int]) -> None:
    returns = series([value / 10_000 for value in basis_points])
    wealth = wealth_of(returns)
    worst = min(later / high - 1 for i, high in enumerate(wealth) for later in wealth[i:])
    assert dd.max_drawdown(returns) == pytest.approx(worst, rel=1e-9, abs=1e-12)
    assert -1 <= dd.max_drawdown(returns) <= 0
    episodes = dd.find_drawdown_episodes(returns)
    assert (episodes["peak_at"] < episodes["valley_at"]).all() or len(returns) == 1
    assert (episodes["valley_at"] <= episodes["end_at"]).all()
    assert episodes["depth"].min() == pytest.approx(worst, rel=1e-9) or (episodes.empty and worst > -1e-12)
    assert episodes["is_recovered"].iloc[:-1].all()
