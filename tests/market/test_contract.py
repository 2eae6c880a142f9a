"""Broken candles are refused with the source, the field, the count, the first rows and what to do."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from trading_dagster.domain.error import CandleContractBroken
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import check_candles, find_defects, find_gaps, floor_to_bucket, timestamps_us
from trading_dagster.market.synthetic import generate_ohlcv_candles

START = datetime(2024, 1, 1)


def make_candles(rows=48, pairs=("BTC/USD",), bucket=TimeBucket.h1):
    times = pd.date_range(START, periods=rows, freq=bucket.to_pandas_timedelta(), unit="us")
    price = np.linspace(100, 200, rows)
    one = pd.DataFrame(
        {"timestamp": times, "open": price, "high": price + 2, "low": price - 2, "close": price + 1, "volume": 5.0}
    )
    return pd.concat([one.assign(pair=pair) for pair in pairs], ignore_index=True)


def test_good_candles_have_no_defects():
    candles = make_candles(pairs=("BTC/USD", "ETH/USD"))
    assert find_defects(candles, TimeBucket.h1, "test") == []
    check_candles(candles, TimeBucket.h1, "test", max_gap=timedelta(0))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("close", np.nan, r"close: is not a finite number in 1 row, first: BTC/USD 2024-01-01 05:00:00 = nan"),
        ("volume", np.inf, r"volume: is not a finite number in 1 row"),
        ("low", 0.0, r"low: is not above zero in 1 row, first: BTC/USD 2024-01-01 05:00:00 = 0\.0"),
        ("open", -3.0, r"open: is not above zero in 1 row"),
        ("volume", -1.0, r"volume: is negative in 1 row"),
        ("high", 50.0, r"high: is below low in 1 row"),
        ("close", 500.0, r"close: is outside \[low, high\] in 1 row"),
        ("open", 1.0, r"open: is outside \[low, high\] in 1 row"),
    ],
)
def test_impossible_value_is_named_with_field_row_and_value(column, value, message):
    candles = make_candles()
    candles.loc[5, column] = value
    with pytest.raises(CandleContractBroken, match=message) as caught:
        check_candles(candles, TimeBucket.h1, "my file")
    assert str(caught.value).startswith("my file: ")
    assert "Drop or repair" in str(caught.value)


def test_synthetic_candles_may_close_outside_their_range():
    candles = make_candles()
    candles.loc[5, "close"] = 500.0
    check_candles(candles, TimeBucket.h1, "test", close_may_leave_range=True)
    candles.loc[5, "high"] = 1.0
    with pytest.raises(CandleContractBroken, match="high: is below low"):
        check_candles(candles, TimeBucket.h1, "test", close_may_leave_range=True)


def test_duplicated_time_is_counted():
    candles = make_candles(pairs=("BTC/USD", "ETH/USD"))
    doubled = pd.concat([candles, candles[50:52]]).sort_values(["pair", "timestamp"])
    with pytest.raises(CandleContractBroken, match="is duplicated in 2 rows, first: ETH/USD 2024-01-01 02:00:00"):
        check_candles(doubled, TimeBucket.h1, "test")


def test_one_pair_at_two_venues_is_no_duplicate():
    candles = make_candles().assign(exchange="a")
    both = pd.concat([candles, candles.assign(exchange="b")])
    assert find_defects(both, TimeBucket.h1, "test") == []
    broken = pd.concat([both, both[-1:]])
    with pytest.raises(CandleContractBroken, match="BTC/USD@b"):
        check_candles(broken, TimeBucket.h1, "test")


def test_unsorted_rows_are_refused_unless_any_order_is_fine():
    candles = make_candles()[::-1]
    with pytest.raises(CandleContractBroken, match=r"goes backwards in 47 rows.*Sort by pair and timestamp"):
        check_candles(candles, TimeBucket.h1, "test")
    check_candles(candles, TimeBucket.h1, "test", any_order=True)


def test_duplicates_are_found_in_any_order():
    candles = make_candles()[::-1]
    with pytest.raises(CandleContractBroken, match="is duplicated in 1 row"):
        check_candles(pd.concat([candles, candles[:1]]), TimeBucket.h1, "test", any_order=True)


def test_time_off_the_grid_is_refused():
    candles = make_candles()
    candles.loc[7, "timestamp"] += pd.Timedelta(minutes=1)
    with pytest.raises(CandleContractBroken, match="off the 1h grid in 1 row, first: BTC/USD 2024-01-01 07:01:00"):
        check_candles(candles, TimeBucket.h1, "test")


def test_every_broken_rule_is_named_at_once():
    candles = make_candles()
    candles.loc[5, "low"] = 0.0
    candles.loc[6, "volume"] = -1.0
    with pytest.raises(CandleContractBroken, match=r"(?s)low: is not above zero.*volume: is negative"):
        check_candles(candles, TimeBucket.h1, "test")


def test_gap_longer_than_tolerated_is_refused():
    candles = make_candles().drop(index=range(10, 15)).reset_index(drop=True)
    check_candles(candles, TimeBucket.h1, "test", max_gap=timedelta(hours=5))
    with pytest.raises(CandleContractBroken, match="follows a gap over 4:00:00 in 1 row, first: BTC/USD 2024-01-01 15"):
        check_candles(candles, TimeBucket.h1, "test", max_gap=timedelta(hours=4))


def test_gap_is_found_in_rows_sorted_by_time():
    candles = make_candles(pairs=("BTC/USD", "ETH/USD")).drop(index=range(60, 65))
    by_time = candles.sort_values(["timestamp", "pair"])
    check_candles(by_time, TimeBucket.h1, "test")
    with pytest.raises(CandleContractBroken, match="follows a gap over 4:00:00 in 1 row, first: ETH/USD 2024-01-01 17"):
        check_candles(by_time, TimeBucket.h1, "test", max_gap=timedelta(hours=4))


def test_gaps_are_listed_by_pair():
    candles = make_candles(pairs=("ETH/USD", "BTC/USD")).drop(index=[10, 11, 12, 60])
    gaps = find_gaps(candles, TimeBucket.h1, "test")
    assert [(gap.pair, gap.start.hour, gap.length) for gap in gaps] == [
        ("BTC/USD", 12, timedelta(hours=1)),
        ("ETH/USD", 10, timedelta(hours=3)),
    ]
    assert len(find_gaps(candles, TimeBucket.h1, "test", timedelta(hours=1))) == 1


def test_missing_column_is_named():
    with pytest.raises(CandleContractBroken, match="column volume is missing"):
        check_candles(make_candles().drop(columns="volume"), TimeBucket.h1, "test")
    with pytest.raises(CandleContractBroken, match="column timestamp is missing"):
        check_candles(make_candles().drop(columns="timestamp"), TimeBucket.h1, "test")


@pytest.mark.parametrize("column", ["close", "volume"])
def test_text_column_is_refused(column):
    candles = make_candles()
    candles[column] = candles[column].astype("str")
    with pytest.raises(CandleContractBroken, match=f"column {column} has dtype"):
        check_candles(candles, TimeBucket.h1, "test")


def test_text_timestamps_are_refused():
    candles = make_candles()
    candles["timestamp"] = candles["timestamp"].astype("str")
    with pytest.raises(CandleContractBroken, match=r"timestamp has dtype.*to_datetime"):
        check_candles(candles, TimeBucket.h1, "test")


def test_utc_is_accepted_and_another_zone_refused():
    candles = make_candles()
    utc = candles.assign(timestamp=candles["timestamp"].dt.tz_localize("UTC"))
    check_candles(utc, TimeBucket.h1, "test")
    local = candles.assign(timestamp=candles["timestamp"].dt.tz_localize("Europe/Helsinki"))
    with pytest.raises(CandleContractBroken, match="time zone Europe/Helsinki"):
        check_candles(local, TimeBucket.h1, "test")


def test_missing_timestamp_is_refused():
    candles = make_candles()
    candles.loc[3, "timestamp"] = pd.NaT
    with pytest.raises(CandleContractBroken, match="missing in 1 rows, first row 3"):
        check_candles(candles, TimeBucket.h1, "test")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_resolution_of_time_reads_the_same(unit):
    candles = make_candles()
    expected = timestamps_us(candles, "test")
    candles["timestamp"] = candles["timestamp"].astype(f"datetime64[{unit}]")
    assert timestamps_us(candles, "test").tolist() == expected.tolist()


def test_nanoseconds_off_the_grid_are_not_rounded_away():
    candles = make_candles()
    candles["timestamp"] = candles["timestamp"].astype("datetime64[ns]") + pd.Timedelta(1, "ns")
    with pytest.raises(CandleContractBroken, match="finer than a microsecond"):
        timestamps_us(candles, "test")


def test_times_may_be_the_index():
    candles = make_candles().set_index("timestamp")
    check_candles(candles, TimeBucket.h1, "test")


@pytest.mark.parametrize("bucket", [TimeBucket.m1, TimeBucket.h8, TimeBucket.d1, TimeBucket.d7, TimeBucket.d30])
def test_grid_is_that_of_the_time_bucket(bucket):
    candles = generate_ohlcv_candles(TimeBucket.m15, datetime(1969, 12, 20), datetime(1970, 1, 20))
    floored = floor_to_bucket(timestamps_us(candles, "test"), bucket)
    expected = [bucket.floor(moment.to_pydatetime()) for moment in candles["timestamp"]]
    assert floored.view("datetime64[us]").tolist() == expected
