"""The quality report counts exactly what is wrong with real and made-up candles."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import find_defects, find_gaps
from trading_dagster.market.quality import drop_broken_candles, judge_quality, quality_report
from trading_dagster.market.row_check import OUTLIER_RULES

COUNTS = ["duplicates", "not_finite", "impossible", "non_positive", "negative_volume", "off_grid", "missing_bars"]


def make_candles(closes, bucket=TimeBucket.d1):
    times = pd.date_range("2024-01-01", periods=len(closes), freq=bucket.to_pandas_timedelta(), unit="us")
    close = np.asarray(closes, dtype=float)
    opening = np.r_[close[0], close[:-1]]
    return pd.DataFrame(
        {
            "timestamp": times,
            "pair": "BTC/USD",
            "open": opening,
            "high": np.maximum(opening, close) * 1.01,
            "low": np.minimum(opening, close) * 0.99,
            "close": close,
            "volume": 1.0,
        }
    )


def test_dirty_file_has_the_known_defects(shared_data):
    candles = pd.read_parquet(shared_data / "dirty_daily_12exchanges.parquet")
    report = quality_report(candles, TimeBucket.d1)
    assert len(report) == 32
    assert report["rows"].sum() == 29_214
    assert report[COUNTS].sum().to_dict() == {
        "duplicates": 25,
        "not_finite": 0,
        "impossible": 462,
        "non_positive": 215,
        "negative_volume": 0,
        "off_grid": 0,
        "missing_bars": 483,
    }
    mexbt = report.set_index("pair").loc["BTC/USD@mexbt"]
    assert mexbt["stale"] == pd.Timestamp("2020-12-08") - pd.Timestamp("2016-11-09")
    assert mexbt["longest_gap"] == timedelta(days=34)


def test_dirty_file_is_good_once_its_broken_rows_are_dropped(shared_data):
    candles = pd.read_parquet(shared_data / "dirty_daily_12exchanges.parquet")
    good = drop_broken_candles(candles, TimeBucket.d1)
    assert find_defects(good, TimeBucket.d1, "dirty") == []
    report = quality_report(good, TimeBucket.d1)
    assert report[COUNTS[:-1]].to_numpy().sum() == 0
    broken = (candles[["open", "high", "low", "close"]] <= 0).any(axis=1) | (
        (candles["high"] < candles[["open", "close", "low"]].max(axis=1))
        | (candles["low"] > candles[["open", "close", "high"]].min(axis=1))
    )
    assert len(good) == len(candles[~broken].drop_duplicates(["pair", "timestamp"]))


def test_bitfinex_holes_are_found_one_by_one(shared_data):
    candles = pd.read_parquet(shared_data / "bitfinex_7pairs_1h.parquet")
    report = quality_report(candles, TimeBucket.h1).set_index("pair")
    for pair, own in candles.groupby("pair"):
        steps = own["timestamp"].diff().dropna()
        row = report.loc[pair]
        assert row["missing_bars"] == sum(step // timedelta(hours=1) - 1 for step in steps)
        assert row["longest_gap"] == max(steps.max() - timedelta(hours=1), timedelta(0))
        assert row["rows"] == len(own)
    assert report[COUNTS[:-1]].to_numpy().sum() == 0
    assert report.loc["LTC/USD", "longest_gap"] > timedelta(days=61)


def test_bitfinex_has_three_long_holes_and_its_flash_crashes(shared_data):
    candles = pd.read_parquet(shared_data / "bitfinex_7pairs_1h.parquet")
    btc = candles[candles["pair"] == "BTC/USD"]
    holes = find_gaps(btc, TimeBucket.h1, "bitfinex", timedelta(days=30))
    assert [(hole.start.date().isoformat(), round(hole.length / timedelta(days=1))) for hole in holes] == [
        ("2014-11-22", 40),
        ("2015-05-01", 31),
        ("2016-04-01", 61),
    ]
    report = quality_report(candles, TimeBucket.h1).set_index("pair")
    assert report["spikes"].to_dict() == {
        "BTC/USD": 8,  # among them the low of 0.01 on 2013-04-16
        "EOS/USD": 1,
        "ETH/USD": 0,
        "IOT/USD": 1,
        "LTC/USD": 3,
        "NEO/USD": 2,
        "XRP/USD": 1,
    }
    wicks = btc[(btc[["open", "close"]].min(axis=1) / btc["low"]) > 2]
    assert len(wicks) == report.loc["BTC/USD", "spikes"]
    assert wicks["low"].min() == 0.01
    alarms = judge_quality(report.reset_index())
    assert alarms[alarms["check"] == "gaps"]["pair"].tolist() == ["BTC/USD", "ETH/USD", "LTC/USD"]
    assert set(alarms["severity"]) == {"warning"}


@pytest.mark.parametrize(
    ("name", "bucket"),
    [
        ("binance_12pairs_1h", TimeBucket.h1),
        ("binance_136pairs_1h", TimeBucket.h1),
        ("binance_136pairs_1d", TimeBucket.d1),
    ],
)
def test_clean_file_raises_fewer_than_one_alarm_in_ten_thousand_candles(shared_data, name, bucket):
    report = quality_report(pd.read_parquet(shared_data / f"{name}.parquet"), bucket)
    assert report[COUNTS].to_numpy().sum() == 0
    alarms = judge_quality(report)
    assert set(alarms["check"]) <= {"jumps", "spikes"}
    assert alarms["count"].sum() == report[list(OUTLIER_RULES)].to_numpy().sum() < report["rows"].sum() / 10_000


def test_verdict_on_the_dirty_file_has_exact_counts(shared_data):
    report = quality_report(pd.read_parquet(shared_data / "dirty_daily_12exchanges.parquet"), TimeBucket.d1)
    alarms = judge_quality(report)
    blocking = alarms[alarms["severity"] == "blocking"].groupby("check")["count"].sum().to_dict()
    assert blocking == {"duplicates": 25, "impossible": 462, "non_positive": 215}
    assert alarms[alarms["check"] == "delisted"]["pair"].tolist() == [
        "BTC/USD@hitbtc",
        "BTC/USD@mexbt",
        "ETH/USD@hitbtc",
        "LTC/USD@hitbtc",
    ]
    assert alarms["severity"].tolist() == sorted(alarms["severity"])


def test_outliers_stand_out_from_what_is_usual_for_the_pair():
    steady = np.full(200, 100.0)
    noise = np.exp(np.random.default_rng(1).normal(0, 0.001, 200)).cumprod()
    wild = np.exp(np.random.default_rng(1).normal(0, 0.2, 200)).cumprod()
    for closes, expected in ((steady * noise, 1), (steady * wild, 0)):
        candles = make_candles(closes)
        candles.loc[100, "low"] = candles.loc[100, ["open", "close"]].min() / 3
        assert quality_report(candles, TimeBucket.d1)["spikes"].tolist() == [expected]


def test_feed_that_stands_still_and_impossible_volumes_are_counted():
    candles = make_candles(100 + np.arange(200.0))
    candles["volume"] = 10.0 + np.arange(200) % 7
    candles.loc[51, ["open", "high", "low", "close", "volume"]] = candles.loc[
        50, ["open", "high", "low", "close", "volume"]
    ]
    candles.loc[80, "volume"] = 5_000.0
    candles.loc[120, "volume"] = 0.0
    report = quality_report(candles, TimeBucket.d1)
    assert report[["frozen", "volume_spikes", "moves_without_volume"]].to_numpy().tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("factor", [1e6, 1e-6])
@pytest.mark.parametrize("at", [120, 149, 150, 151, 200])
def test_volume_in_other_decimals_from_some_time_on_is_one_change(factor, at):
    candles = make_candles(100 + np.sin(np.arange(400.0)))
    candles["volume"] = 10.0 + np.random.default_rng(1).exponential(40.0, 400)
    assert quality_report(candles, TimeBucket.d1)["volume_levels"].tolist() == [0]
    candles.loc[at:, "volume"] *= factor
    assert quality_report(candles, TimeBucket.d1)["volume_levels"].tolist() == [1]
    alarms = judge_quality(quality_report(candles, TimeBucket.d1))
    assert ("warning", "volume_levels") in alarms[["severity", "check"]].itertuples(index=False, name=None)
    other = candles.assign(pair="OTHER/USD", volume=candles["volume"] * 1e9)
    both = pd.concat([candles.assign(pair="BTC/USD"), other], ignore_index=True)
    assert quality_report(both, TimeBucket.d1)["volume_levels"].tolist() == [1, 1]  # none where pairs meet


def test_duplicates_are_rows_beyond_the_first_of_a_time():
    candles = make_candles([100, 101, 102])
    report = quality_report(pd.concat([candles, candles[1:2], candles[1:2]]), TimeBucket.d1)
    assert report["duplicates"].tolist() == [2]
    assert report["missing_bars"].tolist() == [0]


def test_jump_spike_and_redenomination_are_told_apart():
    jump = make_candles([100, 100, 160, 160])
    report = quality_report(jump, TimeBucket.d1)
    assert report[["jumps", "spikes", "redenominations"]].to_numpy().tolist() == [[1, 0, 0]]
    crash = make_candles([100, 100, 100, 100])
    crash.loc[2, "low"] = 0.01
    report = quality_report(crash, TimeBucket.d1)
    assert report[["jumps", "spikes", "redenominations"]].to_numpy().tolist() == [[0, 1, 0]]
    split = make_candles([100, 100, 1, 1])
    split.loc[2, ["open", "high"]] = [1.0, 1.01]
    report = quality_report(split, TimeBucket.d1)
    assert report[["jumps", "spikes", "redenominations"]].to_numpy().tolist() == [[1, 0, 1]]


def test_jump_between_two_pairs_is_none():
    both = pd.concat([make_candles([100, 100]), make_candles([1, 1]).assign(pair="DOGE/USD")])
    assert quality_report(both, TimeBucket.d1)["jumps"].tolist() == [0, 0]


def test_stale_end_counts_from_the_expected_end():
    both = pd.concat([make_candles([1, 1, 1]), make_candles([1]).assign(pair="DOGE/USD")])
    assert quality_report(both, TimeBucket.d1)["stale"].tolist() == [timedelta(0), timedelta(days=2)]
    report = quality_report(both, TimeBucket.d1, expected_end=datetime(2024, 1, 11))
    assert report["stale"].tolist() == [timedelta(days=7), timedelta(days=9)]


def test_dropping_keeps_the_good_one_of_two_duplicates():
    candles = make_candles([100, 101, 102])
    bad = candles[1:2].assign(low=-1.0)
    good = drop_broken_candles(pd.concat([bad, candles]), TimeBucket.d1)
    assert good.equals(candles)


def test_report_of_nothing_is_empty():
    report = quality_report(make_candles([1.0])[:0], TimeBucket.d1)
    assert len(report) == 0
    assert set(COUNTS) < set(report.columns)
