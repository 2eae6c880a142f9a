from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.statistics.measure import Family, Measure, RelativeMeasure, Unit
from trading_dagster.statistics.returns import resample_returns

DAYS = pd.date_range("2021-01-01", periods=400)

DEGENERATE = {
    "empty": pd.Series(dtype="float64"),
    "empty with times": pd.Series(index=pd.DatetimeIndex([]), dtype="float64"),
    "all NaN": pd.Series([np.nan] * 5, index=DAYS[:5]),
    "objects that are None": pd.Series([None] * 5, index=DAYS[:5], dtype="object"),
    "one value": pd.Series([0.01], index=DAYS[:1]),
    "one loss": pd.Series([-0.01], index=DAYS[:1]),
    "one zero": pd.Series([0.0], index=DAYS[:1]),
    "two values at one time": pd.Series([0.01, -0.02], index=DAYS[[0, 0]]),
    "zeros": pd.Series([0.0] * 400, index=DAYS),
    "constant gain": pd.Series([0.1] * 400, index=DAYS),
    "constant loss": pd.Series([-0.1] * 400, index=DAYS),
    "only gains": pd.Series([0.1, 0.2] * 200, index=DAYS),
    "only losses": pd.Series([-0.1, -0.2] * 200, index=DAYS),
    "total loss": pd.Series([0.1, -1.0, 0.1, 0.2], index=DAYS[:4]),
    "more than total loss": pd.Series([0.1, -2.5, 0.1, 0.2], index=DAYS[:4]),
    "an infinity": pd.Series([0.1, np.inf, -0.1, 0.2], index=DAYS[:4]),
    "overflow": pd.Series([1e308, -1e308, 1e308, 1e300], index=DAYS[:4]),
    "a minute": pd.Series([0.1, -0.1, 0.3, 0.5], index=pd.date_range("2021", periods=4, freq="15s")),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_returns_give_a_number_or_nan(case: str) -> None:
    for measure in Measure:
        value = measure.calculate(DEGENERATE[case])
        assert type(value) is float, measure
        assert not math.isinf(value), measure


@pytest.mark.parametrize("case", ["empty", "empty with times", "all NaN", "objects that are None", "an infinity"])
def test_no_returns_have_no_measure(case: str) -> None:
    for measure in Measure:
        assert math.isnan(measure.calculate(DEGENERATE[case])), measure


@pytest.mark.parametrize("case", ["zeros", "constant gain", "one value"])
def test_returns_without_variance_have_no_ratio(case: str) -> None:
    for measure in Measure:
        assert measure.family is not Family.ratio or math.isnan(measure.calculate(DEGENERATE[case])), measure


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_benchmarks_give_a_number_or_nan(case: str) -> None:
    ordinary = pd.Series(np.resize([0.01, -0.02, 0.03], 400), index=DAYS)
    for measure in RelativeMeasure:
        for returns, benchmark in ((ordinary, DEGENERATE[case]), (DEGENERATE[case], ordinary)):
            value = measure.calculate(returns, benchmark)
            assert type(value) is float, measure
            assert not math.isinf(value), measure


def test_every_measure_has_a_value_on_real_returns(bitcoin: pd.Series[float]) -> None:
    too_long = {Measure.five_years, Measure.ten_years}
    assert {measure for measure in Measure if math.isnan(measure.calculate(bitcoin))} == too_long
    counts = [measure.calculate(bitcoin) for measure in Measure if measure.unit is Unit.count]
    assert [value == int(value) > 1 for value in counts] == [True, True]


def test_windows_and_periods_of_measures_are_what_their_labels_say(bitcoin: pd.Series[float]) -> None:
    months = {"3M": 3, "6M": 6, "1Y": 12}
    years = {"3Y (ann.)": 3, "5Y (ann.)": 5, "10Y (ann.)": 10}
    decade = pd.Series(np.resize([0.01, -0.02, 0.03, -0.015], 4000), index=pd.date_range("2010-01-01", periods=4000))
    assert decade.index[-1] == pd.Timestamp("2020-12-13")
    for label, count in months.items():
        window = decade[decade.index > pd.Timestamp("2020-12-13") - pd.DateOffset(months=count)]
        assert Measure(label).calculate(decade) == pytest.approx(float(np.prod(1 + window)) - 1, rel=1e-9), label
    for label, count in years.items():
        begin = pd.Timestamp(f"{2020 - count}-12-13")
        growth = float(np.prod(1 + decade[decade.index > begin]))
        oracle = growth ** (365 / (pd.Timestamp("2020-12-13") - begin).days) - 1
        assert Measure(label).calculate(decade) == pytest.approx(oracle, rel=1e-9), label
    for period, freq in {"Day": "D", "Month": "ME", "Year": "YE"}.items():
        bins = resample_returns(bitcoin, freq).to_numpy()
        geometric = float(np.prod(1 + bins)) ** (1 / len(bins)) - 1
        assert Measure(f"Expected {period}").calculate(bitcoin) == pytest.approx(geometric, rel=1e-9)
        assert Measure(f"Best {period}").calculate(bitcoin) == pytest.approx(bins.max(), rel=1e-9)
        assert Measure(f"Worst {period}").calculate(bitcoin) == pytest.approx(bins.min(), rel=1e-9)
        assert Measure(f"Average {period}").calculate(bitcoin) == pytest.approx(bins.mean(), rel=1e-9)
    for label, freq in {"Win Days": "D", "Win Months": "ME", "Win Quarters": "QE", "Win Years": "YE"}.items():
        bins = resample_returns(bitcoin, freq).to_numpy()
        assert Measure(label).calculate(bitcoin) == pytest.approx((bins > 0).sum() / (bins != 0).sum()), label


finite = st.floats(allow_nan=True, allow_infinity=False)
moderate = st.integers(-15_000, 15_000).map(lambda basis_points: basis_points / 10_000)


@given(
    st.one_of(st.lists(finite, max_size=40), st.lists(moderate, max_size=40)),
    st.sampled_from(["5min", "h", "D", "7D", "ME", "YE"]),
)
def test_no_measure_of_finite_returns_raises_warns_or_is_infinite(values: list[float], freq: str) -> None:
    returns = pd.Series(values, index=pd.date_range("2021-01-01", periods=len(values), freq=freq), dtype="float64")
    for measure in Measure:
        assert not math.isinf(measure.calculate(returns)), measure
    for relative in RelativeMeasure:
        assert not math.isinf(relative.calculate(returns, returns.shift(1))), relative


def test_measures_do_not_change_their_input(bitcoin: pd.Series[float]) -> None:
    before = bitcoin.copy(deep=True)
    for measure in Measure:
        measure.calculate(bitcoin)
    pd.testing.assert_series_equal(bitcoin, before)


def test_measure_is_found_by_its_label() -> None:
    assert Measure("Sharpe") is Measure.sharpe
    assert Measure("Sortino/√2") is Measure.adjusted_sortino
    assert RelativeMeasure("R²").family is Family.benchmark


def test_sortino_is_capped_where_users_see_it() -> None:
    returns = pd.Series([0.01, 0.02, -1e-9, 0.01], index=DAYS[:4])
    assert Measure.sortino.calculate(returns) == 99
    assert Measure.smart_adjusted_sortino.calculate(returns) <= 99


def test_import_is_light() -> None:
    heavy = ("plotly", "dagster", "scipy", "matplotlib", "duckdb", "pyarrow.parquet", "web3", "quantstats", "empyrical")
    code = (
        "import sys, trading_dagster.statistics.measure, trading_dagster.statistics.metrics_table;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
