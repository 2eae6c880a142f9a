from __future__ import annotations

import math

import empyrical
import numpy as np
import pandas as pd
import pytest
import quantstats.stats as qs
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput
from trading_dagster.statistics import measure_return as performance
from trading_dagster.statistics.measure_sample import compound_by_calendar, periods_per_year
from trading_dagster.statistics.returns import resample_returns


def series(values: list[float], start: str = "2021-01-01", freq: str = "D") -> pd.Series[float]:
    return pd.Series(values, index=pd.date_range(start, periods=len(values), freq=freq), dtype="float64")


def test_cumulative_return_equals_empyrical_and_quantstats(daily: pd.Series[float]) -> None:
    assert performance.cumulative_return(daily) == pytest.approx(empyrical.cum_returns_final(daily), rel=1e-10)
    assert performance.cumulative_return(daily) == pytest.approx(qs.comp(daily), rel=1e-10)


def test_cagr_counts_days_from_first_to_last_sample(daily: pd.Series[float]) -> None:
    days = (daily.index[-1] - daily.index[0]).days
    assert performance.cagr(daily) == pytest.approx((1 + qs.comp(daily)) ** (365 / days) - 1, rel=1e-10)
    # Both libraries count n periods over 365 instead: the same with one sample more, of no return, before the first.
    anchored = pd.concat([pd.Series([0.0], index=[daily.index[0] - pd.Timedelta(days=1)]), daily])
    assert performance.cagr(anchored) == pytest.approx(qs.cagr(daily, periods=365), rel=1e-10)
    assert performance.cagr(anchored) == pytest.approx(empyrical.cagr(daily, annualization=365), rel=1e-10)


def test_cagr_of_doubling_in_two_years() -> None:
    returns = pd.Series([0.0, 1.0], index=pd.to_datetime(["2021-01-01", "2023-01-01"]))
    assert performance.cagr(returns) == pytest.approx(math.sqrt(2) - 1)


def test_cagr_counts_fractions_of_a_day() -> None:
    returns = pd.Series([0.0, 0.001], index=pd.to_datetime(["2021-01-01 00:00", "2021-01-02 12:00"]))
    assert performance.cagr(returns) == pytest.approx(1.001 ** (365 / 1.5) - 1)


def test_cagr_after_losing_everything_or_more() -> None:
    assert performance.cagr(series([0.0, -1.0, 0.5])) == -1.0
    assert math.isnan(performance.cagr(series([0.0, -1.5, 0.0])))


def test_periods_per_year_follow_the_index(bitcoin_closes: pd.Series[float], hourly: pd.Series[float]) -> None:
    assert periods_per_year(bitcoin_closes.index) == 365  # with a hole of 12 days in it
    assert periods_per_year(hourly.index) == 8760
    assert periods_per_year(pd.date_range("2021", periods=9, freq="5min")) == 365 * 288
    assert periods_per_year(pd.date_range("2021", periods=9, freq="7D")) == pytest.approx(365 / 7)
    assert periods_per_year(pd.date_range("2021", periods=9, freq="30D")) == pytest.approx(365 / 30)
    assert math.isnan(periods_per_year(pd.DatetimeIndex(["2021-01-01"])))
    assert math.isnan(periods_per_year(pd.DatetimeIndex(["2021-01-01", "2021-01-01"])))


@pytest.mark.parametrize(
    ("dates", "count"),
    [
        (pd.date_range("2021-01-31", periods=9, freq="ME"), 12),
        (["2021-01-31", "2021-02-28", "2021-03-28", "2021-04-29"], 12),  # 28, 28, 32 days
        (["2021-01-01", "2021-02-01", "2021-03-04", "2021-03-31"], 12),  # 31, 31, 27 days
        (pd.date_range("2021", periods=9, freq="QE"), 4),
        (["2021-01-01", "2021-04-01", "2021-06-30", "2021-09-30"], 4),  # 90, 90, 92 days
        (["2021-04-01", "2021-07-02", "2021-10-02", "2021-12-31"], 4),  # 92, 92, 90 days
        (pd.date_range("2021", periods=9, freq="YE"), 1),
        (["2020-01-01", "2021-01-01", "2022-01-02", "2023-01-02"], 1),  # 366, 366, 365 days
        (["2021-01-01", "2021-01-28", "2021-02-24", "2021-03-25"], 365 / 27),  # 27, 27, 29 days
        (["2021-01-01", "2021-02-02", "2021-03-06", "2021-04-06"], 365 / 32),  # 32, 32, 31 days
    ],
)
def test_uneven_calendar_periods_are_counted_by_the_calendar(dates: list[str], count: float) -> None:
    assert periods_per_year(pd.DatetimeIndex(dates)) == pytest.approx(count)


def test_expected_return_after_losing_everything_or_more() -> None:
    assert performance.expected_return(series([0.1, -1.0, 0.1]), "D") == -1
    assert math.isnan(performance.expected_return(series([0.1, -1.5, 0.1]), "D"))


@pytest.mark.parametrize("freq", ["D", "ME", "YE"])
def test_expected_best_and_worst_equal_quantstats(daily: pd.Series[float], freq: str) -> None:
    expected = performance.expected_return(daily, freq)
    assert expected == pytest.approx(qs.expected_return(daily, aggregate=freq), rel=1e-10)
    assert performance.best_return(daily, freq) == pytest.approx(qs.best(daily, aggregate=freq), rel=1e-10)
    assert performance.worst_return(daily, freq) == pytest.approx(qs.worst(daily, aggregate=freq), rel=1e-10)


@pytest.mark.parametrize("freq", ["D", "ME", "QE", "YE"])
def test_period_win_rate_equals_quantstats(daily: pd.Series[float], freq: str) -> None:
    assert performance.win_rate_of_periods(daily, freq) == pytest.approx(qs.win_rate(daily, aggregate=freq))


@pytest.mark.parametrize("freq", ["D", "ME", "QE", "YE"])
def test_average_period_equals_the_mean_of_resampled_returns(hourly: pd.Series[float], freq: str) -> None:
    oracle = float(np.mean(resample_returns(hourly, freq)))
    assert performance.average_return(hourly, freq) == pytest.approx(oracle, rel=1e-10)


def test_hourly_returns_are_compounded_before_a_day_is_judged(hourly: pd.Series[float]) -> None:
    days = [float(np.prod(1 + hours)) - 1 for _, hours in hourly.groupby(hourly.index.date)]
    assert performance.best_return(hourly, "D") == pytest.approx(max(days), rel=1e-10)
    assert performance.worst_return(hourly, "D") == pytest.approx(min(days), rel=1e-10)
    assert performance.expected_return(hourly, "D") == pytest.approx(
        (1 + qs.comp(hourly)) ** (1 / len(days)) - 1, rel=1e-10
    )


@given(
    st.lists(st.tuples(st.integers(1, 40_000), st.integers(-9_000, 9_000)), min_size=1, max_size=50),
    st.sampled_from(["D", "ME", "QE", "YE"]),
    st.sampled_from([None, "UTC"]),
)
def test_compounding_by_calendar_equals_pandas(steps: list[tuple[int, int]], freq: str, zone: str | None) -> None:
    minutes = np.cumsum([step for step, _ in steps])
    index = pd.Timestamp("1969-11-17 05:00", tz=zone) + pd.to_timedelta(minutes, unit="min")
    returns = pd.Series([value / 10_000 for _, value in steps], index=index)
    assert compound_by_calendar(returns, freq) == pytest.approx(
        resample_returns(returns, freq).to_numpy(), rel=1e-9, abs=1e-12
    )


def test_time_in_market_rounds_up_to_a_percent(daily: pd.Series[float]) -> None:
    assert performance.time_in_market(daily) == pytest.approx(qs.exposure(daily))
    assert performance.time_in_market(series([0.0] * 999 + [0.01])) == 0.01
    assert performance.time_in_market(series([0.01] * 29 + [0.0] * 71)) == 0.29
    assert performance.time_in_market(series([0.0, 0.0])) == 0.0


def test_to_date_and_trailing_windows_end_at_the_last_sample(bitcoin: pd.Series[float]) -> None:
    def since(first_day: str) -> float:
        growth = 1.0
        for value in bitcoin[first_day:]:
            growth *= 1 + value
        return growth - 1

    assert bitcoin.index[-1] == pd.Timestamp("2019-03-19")
    assert performance.month_to_date(bitcoin) == pytest.approx(since("2019-03-01"))
    assert performance.year_to_date(bitcoin) == pytest.approx(since("2019-01-01"))
    # the return of 19 December tells of the day before the window of three months begins
    assert performance.trailing_return(bitcoin, 3) == pytest.approx(since("2018-12-20"))
    assert performance.trailing_return(bitcoin, 6) == pytest.approx(since("2018-09-20"))
    assert performance.trailing_return(bitcoin, 12) == pytest.approx(since("2018-03-20"))
    assert performance.trailing_annual_return(bitcoin, 36) == pytest.approx(
        (1 + since("2016-03-20")) ** (365 / 1095) - 1
    )


def test_window_longer_than_the_history_has_no_value(bitcoin: pd.Series[float]) -> None:
    assert math.isnan(performance.trailing_annual_return(bitcoin, 60))
    year = series([0.001] * 365, start="2018-01-01")
    assert performance.trailing_return(year, 12) == pytest.approx(1.001**365 - 1)
    assert math.isnan(performance.trailing_return(year.iloc[1:], 12))


def test_month_to_date_of_hourly_samples_begins_at_midnight() -> None:
    returns = series([0.1, 0.2, 0.3], start="2021-01-31 23:00", freq="h")
    assert performance.month_to_date(returns) == pytest.approx(1.2 * 1.3 - 1)


def test_unordered_returns_are_refused() -> None:
    with pytest.raises(BadInput, match="sort_index"):
        performance.cagr(series([0.1, 0.2]).iloc[::-1])
    with pytest.raises(BadInput, match="DatetimeIndex"):
        performance.cagr(pd.Series([0.1, 0.2]))


@given(st.lists(st.integers(-9_999, 20_000), min_size=2, max_size=60), st.randoms())
def test_order_does_not_change_the_total(basis_points: list[int], random: object) -> None:
    values = [value / 10_000 for value in basis_points]
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    total = performance.cumulative_return(np.array(values))
    assert performance.cumulative_return(np.array(shuffled)) == pytest.approx(total, rel=1e-9, abs=1e-12)
