from __future__ import annotations

from datetime import UTC, datetime

import empyrical
import numpy as np
import pandas as pd
import pytest
import quantstats.stats as qs
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput, CandleContractBroken
from trading_dagster.statistics.returns import (
    calculate_aggregate_returns,
    calculate_benchmark_curve,
    calculate_buy_and_hold_returns,
    calculate_daily_returns_from_curve,
    calculate_deposit_adjusted_returns,
    calculate_monthly_returns_table,
    calculate_returns,
    calculate_rolling_returns,
    calculate_rolling_sharpe,
    calculate_share_price_returns,
    resample_returns,
)

EMPTY = pd.Series(index=pd.DatetimeIndex([]), dtype="float64")


def series(values: list[float], start: str = "2021-01-01", freq: str = "D") -> pd.Series[float]:
    return pd.Series(values, index=pd.date_range(start, periods=len(values), freq=freq), dtype="float64")


def test_first_return_is_zero_and_the_rest_are_changes() -> None:
    assert calculate_returns(series([100, 110, 99])).tolist() == pytest.approx([0, 0.1, -0.1])


def test_returns_compound_to_the_total_change(bitcoin_closes: pd.Series[float]) -> None:
    returns = calculate_returns(bitcoin_closes)
    assert empyrical.cum_returns_final(returns) == pytest.approx(
        bitcoin_closes.iloc[-1] / bitcoin_closes.iloc[0] - 1, rel=1e-11
    )
    assert len(returns) == len(bitcoin_closes)


def test_change_from_lost_equity_is_undefined_not_infinite() -> None:
    returns = calculate_returns(series([100, 0, 5, -5, 10]))
    assert returns.tolist()[:2] == [0, -1]
    assert returns.isna().tolist() == [False, False, True, False, True]


def test_aggregate_returns_hold_the_last_value_known_at_each_grid_point() -> None:
    curve = pd.Series(
        [100.0, 120.0, 90.0, 99.0],
        index=pd.to_datetime(["2021-01-01 00:00", "2021-01-01 18:00", "2021-01-02 06:00", "2021-01-04 12:00"]),
    )
    returns = calculate_aggregate_returns(curve, "D")
    # known at midnight of the 1st .. 4th: 100, 120, 90, 90; the last sample lies after the last grid point
    assert returns.index.tolist() == pd.date_range("2021-01-01", "2021-01-04").tolist()
    assert returns.tolist()[1:] == pytest.approx([0.2, -0.25, 0.0])
    assert np.isnan(returns.iloc[0])


def test_of_samples_with_equal_times_the_last_counts() -> None:
    curve = pd.Series([100.0, 50.0, 110.0], index=pd.to_datetime(["2021-01-01", "2021-01-02", "2021-01-02"]))
    assert calculate_aggregate_returns(curve, "D").iloc[1] == pytest.approx(0.1)


def test_aggregating_daily_closes_by_month_equals_resampling_their_returns(bitcoin_closes: pd.Series[float]) -> None:
    closes = bitcoin_closes["2014-12-31":"2018-12-31"]
    by_curve = calculate_aggregate_returns(closes, "ME").iloc[1:]
    by_returns = resample_returns(calculate_buy_and_hold_returns(closes).iloc[1:], "ME")
    assert by_curve.to_numpy() == pytest.approx(by_returns.to_numpy(), rel=1e-10)
    assert len(by_curve) == 48


def test_daily_returns_extend_the_curve_to_the_end() -> None:
    curve = series([100, 110])
    assert calculate_daily_returns_from_curve(curve).fillna(-9).tolist() == pytest.approx([-9, 0.1])
    extended = calculate_daily_returns_from_curve(curve, datetime(2021, 1, 4))
    assert extended.fillna(-9).tolist() == pytest.approx([-9, 0.1, 0, 0])
    assert extended.index[-1] == pd.Timestamp("2021-01-04")


def test_what_happens_in_the_midst_of_the_last_day_counts() -> None:
    hours = pd.date_range("2021-01-01 06:00", "2021-01-03 18:00", freq="6h")
    curve = pd.Series(100.0, index=hours)
    curve.iloc[-1] = 50.0
    daily = calculate_daily_returns_from_curve(curve, datetime(2021, 1, 3, 22))
    assert daily.fillna(-9).tolist() == [-9, 0, 0, -0.5]
    assert daily.index[-1] == pd.Timestamp("2021-01-04 06:00")
    assert calculate_daily_returns_from_curve(curve.iloc[:1], datetime(2021, 1, 1, 7)).fillna(-9).tolist() == [-9, 0]
    longer = calculate_daily_returns_from_curve(curve, datetime(2021, 1, 1, 7))
    assert longer.index[-1] == pd.Timestamp("2021-01-04 06:00")
    assert longer.iloc[-1] == -0.5


def test_end_before_the_last_sample_does_not_cut_the_curve() -> None:
    curve = series([100, 110, 121])
    early = calculate_daily_returns_from_curve(curve, datetime(2021, 1, 2))
    assert early.tolist()[1:] == pytest.approx([0.1, 0.1])


def test_aware_end_for_a_naive_curve_is_refused() -> None:
    with pytest.raises(BadInput, match="both be naive UTC or both zone-aware"):
        calculate_daily_returns_from_curve(series([100, 110]), datetime(2021, 1, 4, tzinfo=UTC))


def test_resampled_returns_equal_empyrical(daily: pd.Series[float]) -> None:
    monthly = resample_returns(daily, "ME")
    assert monthly.to_numpy() == pytest.approx(empyrical.aggregate_returns(daily, "monthly").to_numpy(), rel=1e-10)
    yearly = resample_returns(daily, "YE")
    assert yearly.to_numpy() == pytest.approx(empyrical.aggregate_returns(daily, "yearly").to_numpy(), rel=1e-10)


def test_resampling_keeps_the_total(hourly: pd.Series[float]) -> None:
    for freq in ("D", "W", "ME", "YE"):
        assert (1 + resample_returns(hourly, freq)).prod() == pytest.approx((1 + hourly).prod(), rel=1e-9)


def test_bin_without_returns_is_zero_and_undefined_returns_are_skipped() -> None:
    returns = pd.Series([np.nan, 0.1, 0.2], index=pd.to_datetime(["2021-01-01", "2021-01-01", "2021-01-03"]))
    assert resample_returns(returns, "D").tolist() == pytest.approx([0.1, 0.0, 0.2])


def test_rolling_returns_equal_a_loop(bitcoin: pd.Series[float]) -> None:
    rolling = calculate_rolling_returns(bitcoin, periods=30)
    values = bitcoin.to_numpy()
    assert rolling.isna().sum() == 29
    for end in (29, 30, 500, len(values) - 1):
        growth = 1.0
        for value in values[end - 29 : end + 1]:
            growth *= 1 + value
        assert rolling.iloc[end] == pytest.approx(growth - 1, rel=1e-10)


def test_rolling_windows_of_one_bin_and_the_default_of_ninety_days(hourly: pd.Series[float]) -> None:
    days = resample_returns(hourly, "D")
    assert calculate_rolling_returns(hourly, periods=1).to_numpy() == pytest.approx(days.to_numpy(), abs=1e-12)
    for function in (calculate_rolling_returns, calculate_rolling_sharpe):
        pd.testing.assert_series_equal(function(hourly), function(days, "D", 90))
        assert function(hourly).isna().sum() == 89


def test_rolling_sharpe_is_scaled_to_its_window(bitcoin: pd.Series[float]) -> None:
    rolling = calculate_rolling_sharpe(bitcoin, periods=90)
    # quantstats annualises by the square root of periods_per_year, so that its rolling ratio with 90 is ours
    oracle = qs.rolling_sharpe(bitcoin, rolling_period=90, periods_per_year=90)
    assert rolling.iloc[89:].to_numpy() == pytest.approx(oracle.iloc[89:].to_numpy(), rel=1e-8)
    assert rolling.isna().sum() == 89


def test_rolling_sharpe_of_a_constant_is_undefined() -> None:
    assert calculate_rolling_sharpe(series([0.01] * 10), periods=3).isna().all()


@pytest.mark.parametrize("function", [calculate_rolling_returns, calculate_rolling_sharpe])
def test_rolling_over_more_than_there_is_gives_no_value(function: type) -> None:
    assert function(series([0.01, 0.02]), periods=3).isna().tolist() == [True, True]
    assert function(EMPTY, periods=3).empty
    with pytest.raises(BadInput, match="at least 1"):
        function(series([0.01, 0.02]), periods=0)


def test_buy_and_hold_equals_the_benchmark_curve(bitcoin_closes: pd.Series[float]) -> None:
    returns = calculate_buy_and_hold_returns(bitcoin_closes)
    curve = calculate_benchmark_curve(bitcoin_closes, 10_000)
    assert np.isnan(returns.iloc[0])
    assert curve.iloc[0] == 10_000
    assert 10_000 * (1 + returns.iloc[1:]).cumprod().to_numpy() == pytest.approx(curve.iloc[1:].to_numpy(), rel=1e-10)


def test_benchmark_without_a_first_price_is_refused() -> None:
    with pytest.raises(CandleContractBroken, match=r"positive price, got 0\.0"):
        calculate_benchmark_curve(series([0, 1]), 10_000)
    with pytest.raises(CandleContractBroken, match="got nan"):
        calculate_benchmark_curve(series([np.nan, 1]), 10_000)


def test_share_price_returns_are_relative_to_the_first() -> None:
    assert calculate_share_price_returns(series([0.2, 0.25, 0.1])).tolist() == pytest.approx([0, 0.25, -0.5])


def test_deposits_are_not_a_gain() -> None:
    curve = series([100, 110, 160, 150, 90, 99], freq="10D")
    flows = pd.Series([50.0, -60.0], index=pd.to_datetime(["2021-01-21", "2021-02-10"]))
    # January: 100, 110, 160, 150 (the 1st, 11th, 21st, 31st); February: 90, 99 (the 10th, 20th)
    adjusted = calculate_deposit_adjusted_returns(curve, flows, "ME")
    assert adjusted.tolist() == pytest.approx([150 - 100 - 50, 99 - 90 + 60])
    assert calculate_deposit_adjusted_returns(curve, EMPTY, "ME").tolist() == pytest.approx([50, 9])
    assert calculate_deposit_adjusted_returns(curve, flows.iloc[:1], "ME").tolist() == pytest.approx([0, 9])


def test_monthly_table_equals_quantstats(daily: pd.Series[float]) -> None:
    table = calculate_monthly_returns_table(daily)
    oracle = qs.monthly_returns(daily)
    assert table.index.tolist() == [int(year) for year in oracle.index]
    assert table["Year"].to_numpy() == pytest.approx(oracle["EOY"].to_numpy(), rel=1e-10)
    # quantstats writes 0 where there is no data; here it is NaN
    months = table.drop(columns="Year")
    assert months.fillna(0).to_numpy() == pytest.approx(oracle.drop(columns="EOY").to_numpy(), rel=1e-10)
    assert months.isna().sum().sum() == 12 * len(table) - daily.index.to_period("M").nunique()


def test_empty_input_gives_empty_output() -> None:
    for result in (
        calculate_returns(EMPTY),
        calculate_aggregate_returns(EMPTY),
        calculate_daily_returns_from_curve(EMPTY, datetime(2021, 1, 1)),
        resample_returns(pd.Series(dtype="float64"), "D"),
        calculate_benchmark_curve(EMPTY, 1),
        calculate_deposit_adjusted_returns(EMPTY, EMPTY),
        calculate_monthly_returns_table(EMPTY),
    ):
        assert len(result) == 0


def test_samples_out_of_order_or_without_times_are_refused() -> None:
    with pytest.raises(BadInput, match="sort_index"):
        resample_returns(series([0.1, 0.2]).iloc[::-1], "D")
    with pytest.raises(BadInput, match="DatetimeIndex is needed, got RangeIndex"):
        resample_returns(pd.Series([0.1, 0.2]), "D")


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30))
def test_no_curve_makes_an_infinite_return(values: list[float]) -> None:
    curve = series(values)
    for result in (
        calculate_returns(curve),
        calculate_aggregate_returns(curve, "D"),
        calculate_rolling_returns(calculate_returns(curve), periods=2),
        calculate_rolling_sharpe(calculate_returns(curve), periods=2),
    ):
        assert not np.isinf(result.to_numpy()).any()


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=60), st.integers(1, 10**6))
def test_returns_do_not_depend_on_the_currency(values: list[int], scale: int) -> None:
    small = calculate_returns(series([float(value) for value in values]))
    large = calculate_returns(series([float(value) * scale for value in values]))
    assert large.to_numpy() == pytest.approx(small.to_numpy(), rel=1e-9, abs=1e-12)


def test_deposit_adjusted_returns_bin_flows_on_the_grid_of_the_curve():
    index = pd.date_range("2022-01-01", periods=20)
    curve = pd.Series(100.0, index=index)
    curve.iloc[4:] += 50
    flows = pd.Series([50.0], index=[index[4]])
    assert calculate_deposit_adjusted_returns(curve, flows, "9D").tolist() == [0.0, 0.0, 0.0]
