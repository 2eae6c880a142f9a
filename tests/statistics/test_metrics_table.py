from __future__ import annotations

import math

import empyrical
import numpy as np
import pandas as pd
import pytest
import quantstats.stats as qs

from trading_dagster.domain.error import BadInput
from trading_dagster.statistics.measure import Measure, RelativeMeasure
from trading_dagster.statistics.metrics_table import (
    calculate_advanced_metrics,
    calculate_metrics,
    format_metrics,
    get_metric,
)
from trading_dagster.statistics.returns import resample_returns


def test_basic_table_has_forty_rows_and_full_seventy_five(bitcoin: pd.Series[float], ether: pd.Series[float]) -> None:
    basic, full = calculate_advanced_metrics(bitcoin), calculate_advanced_metrics(bitcoin, "full")
    assert (len(basic), len(full)) == (40, 75)
    assert set(basic.index) < set(full.index)
    assert full.index.is_unique
    assert basic.index[-1] == full.index[-1] == "Annualised return (raw)"
    beside = calculate_advanced_metrics(bitcoin, "full", benchmark=ether)
    assert len(beside) == 75 + len(RelativeMeasure)
    assert beside.index[-1] == "Annualised return (raw)"


BASIC_ROWS = (
    "Start Period, End Period, Risk-Free Rate, Time in Market, Cumulative, CAGR, Sharpe, Prob. Sharpe, "
    "Sortino, Sortino/√2, Omega, Max Drawdown, Longest Drawdown Days, Gain/Pain, Gain/Pain (1M), Payoff, "
    "Profit Factor, Common Sense, CPC, Tail, Outlier Win, Outlier Loss, MTD, 3M, 6M, YTD, 1Y, 3Y (ann.), 5Y "
    "(ann.), 10Y (ann.), All-time (ann.), Average Drawdown, Average Drawdown Days, Recovery, Ulcer, Serenity, "
    "Annualised return (raw)"
)
FULL_ROWS = (
    "Volatility (ann.), Smart Sharpe, Smart Sortino, Smart Sortino/√2, Max Run-up, UPI, Calmar, Pitfall, Win "
    "Rate, Kelly, Risk of Ruin, VaR, cVaR, Skew, Kurtosis, Expected Day, Expected Month, Expected Year, Best "
    "Day, Worst Day, Average Day, Best Month, Worst Month, Average Month, Best Year, Worst Year, Average Year, "
    "Win Days, Win Months, Win Quarters, Win Years"
)
BENCHMARK_ROWS = "Beta, Alpha, Correlation, R², Information Ratio, Treynor"


def test_every_promised_row_is_in_its_table(bitcoin: pd.Series[float], ether: pd.Series[float]) -> None:
    basic = set(calculate_advanced_metrics(bitcoin).index)
    full = set(calculate_advanced_metrics(bitcoin, mode="full", benchmark=ether).index)
    rows, more, beside = (set(text.split(", ")) for text in (BASIC_ROWS, FULL_ROWS, BENCHMARK_ROWS))
    assert rows <= basic
    assert rows | more | beside <= full
    assert not basic & (more | beside)


def test_rows_hold_what_the_measures_say(bitcoin: pd.Series[float]) -> None:
    table = calculate_advanced_metrics(bitcoin, "full")
    assert table.columns.tolist() == ["Strategy"]
    for measure in Measure:
        assert table.loc[measure.label, "Strategy"] == pytest.approx(measure.calculate(bitcoin), nan_ok=True)
    assert table.loc["Sharpe", "Strategy"] == pytest.approx(qs.sharpe(bitcoin, periods=365))
    assert table.loc["Start Period", "Strategy"] == bitcoin.index[0]
    assert table.loc["End Period", "Strategy"] == bitcoin.index[-1]
    assert table.loc["Risk-Free Rate", "Strategy"] == 0
    assert table.loc["Annualised return (raw)", "Strategy"] == table.loc["CAGR", "Strategy"]


def test_metrics_are_the_strategy_column_of_the_full_table(bitcoin: pd.Series[float], ether: pd.Series[float]) -> None:
    column = calculate_advanced_metrics(bitcoin, "full", benchmark=ether)["Strategy"]
    metrics = calculate_metrics(bitcoin, ether)
    assert list(metrics) == column.index.tolist()
    pd.testing.assert_series_equal(pd.Series(metrics, dtype="object"), column, check_names=False)


def test_deepest_drawdown_is_dated(bitcoin: pd.Series[float]) -> None:
    table = calculate_advanced_metrics(bitcoin)["Strategy"]
    oracle = qs.drawdown_details(qs.to_drawdown_series(bitcoin)).sort_values("max drawdown").iloc[0]
    assert f"{table['Max Drawdown Date']:%Y-%m-%d}" == oracle["valley"]
    assert f"{table['Max Drawdown Start'] + pd.Timedelta(days=1):%Y-%m-%d}" == oracle["start"]
    assert f"{table['Max Drawdown End']:%Y-%m-%d}" == oracle["end"]


def test_hourly_returns_are_converted_to_daily_on_request(hourly: pd.Series[float]) -> None:
    converted = calculate_advanced_metrics(hourly, convert_to_daily=True)
    by_hand = calculate_advanced_metrics(resample_returns(hourly, "D"))
    pd.testing.assert_frame_equal(converted, by_hand)
    assert converted.loc["Sharpe", "Strategy"] != calculate_advanced_metrics(hourly).loc["Sharpe", "Strategy"]


def test_benchmark_is_measured_over_the_time_of_the_strategy(
    bitcoin: pd.Series[float], ether: pd.Series[float]
) -> None:
    table = calculate_advanced_metrics(ether, "full", benchmark=bitcoin)
    assert table.columns.tolist() == ["Strategy", "Benchmark"]
    alone = calculate_advanced_metrics(bitcoin[ether.index], "full")["Strategy"]
    shown = table["Benchmark"].drop([relative.label for relative in RelativeMeasure])
    pd.testing.assert_series_equal(shown, alone, check_names=False)
    for relative in RelativeMeasure:
        assert table.loc[relative.label, "Strategy"] == pytest.approx(relative.calculate(ether, bitcoin))
        assert math.isnan(table.loc[relative.label, "Benchmark"])


def test_strategy_column_does_not_depend_on_the_benchmark(bitcoin: pd.Series[float], ether: pd.Series[float]) -> None:
    beside = calculate_advanced_metrics(bitcoin, benchmark=ether)["Strategy"]
    pd.testing.assert_series_equal(beside, calculate_advanced_metrics(bitcoin)["Strategy"])


@pytest.mark.parametrize("mode", ["basic", "full"])
@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [0.01], [0.0] * 5, [0.01] * 5, [-1.0, 0.0]])
def test_degenerate_returns_make_a_table_without_infinities(values: list[float], mode: str) -> None:
    returns = pd.Series(values, index=pd.date_range("2021", periods=len(values)), dtype="float64")
    table = calculate_advanced_metrics(returns, mode, convert_to_daily=True, benchmark=returns)  # type: ignore[arg-type]
    numbers = [value for value in table["Strategy"] if isinstance(value, float)]
    assert not any(map(math.isinf, numbers))
    assert not format_metrics(table).isin(["nan%", "nan", "inf", "NaT"]).any().any()


def test_percent_signs_are_display_only(bitcoin: pd.Series[float]) -> None:
    table = calculate_advanced_metrics(bitcoin, "full")
    shown = format_metrics(table)["Strategy"]
    assert table.loc["Max Drawdown", "Strategy"] == pytest.approx(empyrical.max_drawdown(bitcoin))
    assert shown["Max Drawdown"] == f"{100 * table.loc['Max Drawdown', 'Strategy']:.2f}%"
    assert shown["Sharpe"] == f"{table.loc['Sharpe', 'Strategy']:.2f}"
    assert shown["Longest Drawdown Days"] == str(int(table.loc["Longest Drawdown Days", "Strategy"]))
    assert shown["10Y (ann.)"] == "-"
    assert shown["Start Period"] == "2014-11-29"
    assert shown["Risk-Free Rate"] == "0.00%"


def test_metric_is_found_in_any_case_and_by_its_quantstats_name(bitcoin: pd.Series[float]) -> None:
    table = calculate_advanced_metrics(bitcoin)
    for name in ("CAGR", "cagr", "CAGR﹪"):
        assert get_metric(table, name) == table.loc["CAGR", "Strategy"]
    assert get_metric(table, "Recovery Factor") == table.loc["Recovery", "Strategy"]
    assert get_metric(table, "Longest DD Days") == table.loc["Longest Drawdown Days", "Strategy"]


def test_unknown_metric_is_refused_with_a_hint(bitcoin: pd.Series[float]) -> None:
    table = calculate_advanced_metrics(bitcoin)
    with pytest.raises(BadInput, match="did you mean Sharpe"):
        get_metric(table, "Sharp")
    with pytest.raises(BadInput, match="mode='full' has more rows"):
        get_metric(table, "Kelly Criterion")


def test_bad_input_is_refused(bitcoin: pd.Series[float]) -> None:
    with pytest.raises(BadInput, match="'basic' or 'full', got 'all'"):
        calculate_advanced_metrics(bitcoin, "all")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="naive UTC or both zone-aware"):
        calculate_advanced_metrics(bitcoin, benchmark=bitcoin.tz_localize("UTC"))


def test_zone_aware_returns_give_the_same_numbers(bitcoin: pd.Series[float]) -> None:
    naive = calculate_advanced_metrics(bitcoin, "full")["Strategy"].drop(["Start Period", "End Period"])
    aware = calculate_advanced_metrics(bitcoin.tz_localize("UTC"), "full")["Strategy"].drop(
        ["Start Period", "End Period"]
    )
    dates = ["Max Drawdown Date", "Max Drawdown Start", "Max Drawdown End"]
    pd.testing.assert_series_equal(naive.drop(dates), aware.drop(dates))
