"""Long data is reduced for display without losing what matters."""

import time

import numpy as np
import pandas as pd
import pytest

from trading_dagster.charts.sampling import (
    bar_width,
    clean_curve,
    name_benchmarks,
    plot_times,
    resample_candles,
    thin_curve,
    thin_positions,
)
from trading_dagster.domain.error import BadInput


def test_thinning_keeps_first_last_lowest_and_highest(equity):
    drawn = thin_curve(equity, 500)
    assert len(drawn) <= 500
    assert drawn.index[0] == equity.index[0]
    assert drawn.index[-1] == equity.index[-1]
    assert drawn.min() == equity.min()
    assert drawn.max() == equity.max()
    assert drawn.equals(equity.loc[drawn.index])


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100, 999, 1000, 1001, 12_345])
@pytest.mark.parametrize("most", [8, 50, 1000])
def test_thinning_never_exceeds_the_limit(count, most):
    values = np.random.default_rng(count).normal(size=count)
    positions = thin_positions(values, most)
    assert len(positions) == count if count <= most else len(positions) <= most
    assert (np.diff(positions) > 0).all()


def test_short_curve_is_left_alone(equity):
    short = equity.iloc[:100]
    assert thin_curve(short, 500).equals(short)


def test_cleaning_drops_nan_and_infinity_and_keeps_the_last_of_equal_times():
    times = pd.to_datetime(["2024-01-02", "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"])
    curve = pd.Series([1.0, 2.0, 3.0, np.nan, np.inf], index=times)
    assert clean_curve(curve).to_list() == [2.0, 3.0]


def test_zone_aware_curve_is_refused(equity):
    with pytest.raises(BadInput, match="naive UTC"):
        clean_curve(equity.tz_localize("UTC"))


def test_single_benchmark_gets_a_name(equity):
    assert list(name_benchmarks(equity)) == ["Buy and hold"]
    assert list(name_benchmarks(equity.rename("BTC"))) == ["BTC"]
    assert name_benchmarks({"empty": equity.iloc[:0]}) == {}
    assert name_benchmarks(None) == {}


def test_merged_candles_equal_pandas_resampling(candles):
    merged = resample_candles(candles, 2_000)
    expected = candles.resample("12h").agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    assert bar_width(merged) == pd.Timedelta(hours=12)
    pd.testing.assert_frame_equal(merged, expected, check_freq=False, check_index_type=False)


def test_merging_leaves_gaps_empty(make_candles):
    candles = make_candles(4_000)
    holed = pd.concat([candles.iloc[:1_000], candles.iloc[3_000:]])
    merged = resample_candles(holed, 400)
    assert len(merged) <= 400
    assert not ((merged.index > candles.index[1_010]) & (merged.index < candles.index[2_980])).any()


def test_bars_without_a_close_are_left_out(make_candles):
    candles = make_candles(50)
    candles.iloc[10:20] = np.nan
    assert len(resample_candles(candles)) == 40


@pytest.mark.parametrize("most", [2, 3, 100, 4_999])
def test_half_a_million_bars_are_merged_quickly(make_candles, most):
    candles = make_candles(500_000, "min")
    started = time.perf_counter()
    merged = resample_candles(candles, most)
    assert time.perf_counter() - started < 2
    assert 1 <= len(merged) <= most
    assert merged["high"].max() == candles["high"].max()
    assert merged["low"].min() == candles["low"].min()
    assert merged["volume"].sum() == pytest.approx(candles["volume"].sum())


def test_candles_in_disorder_are_refused(candles):
    with pytest.raises(BadInput, match="ascending"):
        resample_candles(candles.iloc[::-1])
    with pytest.raises(BadInput, match="missing: high"):
        resample_candles(candles.drop(columns="high"))


def test_times_keep_milliseconds_only_where_there_are_some():
    assert plot_times(pd.to_datetime(["2024-01-01 10:00"])).dtype == "datetime64[s]"
    assert plot_times(pd.to_datetime(["2024-01-01 10:00:00.250"])).dtype == "datetime64[ms]"
