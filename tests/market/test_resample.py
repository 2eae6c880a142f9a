"""Resampling is exact to the bar, against a naive oracle and against a second file of the same market."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.panel_builder import ForwardFill, build_panel, fill_forward
from trading_dagster.market.resample import resample_candles, resample_panel
from trading_dagster.market.synthetic import generate_ohlcv_candles

PRICES = ["open", "high", "low", "close"]
COARSER = [TimeBucket.h1, TimeBucket.h2, TimeBucket.h4, TimeBucket.d1, TimeBucket.d7, TimeBucket.d30]


@st.composite
def hourly_candles(draw):
    """Make candles of up to three pairs with holes, in any order."""
    rows = draw(
        st.lists(
            st.tuples(st.integers(1, 3), st.integers(0, 24 * 40)),
            min_size=1,
            max_size=120,
            unique=True,
        )
    )
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    start = np.datetime64(draw(st.datetimes(datetime(1969, 11, 1), datetime(2030, 1, 1))), "h")
    prices = rng.uniform(1, 100, (len(rows), 4))
    return pd.DataFrame(
        {
            "pair_id": [pair for pair, _ in rows],
            "timestamp": pd.DatetimeIndex([start + hour for _, hour in rows]).as_unit("us"),
            "open": prices[:, 0],
            "high": prices.max(axis=1),
            "low": prices.min(axis=1),
            "close": prices[:, 1],
            "volume": rng.integers(0, 1000, len(rows)).astype(float),
        }
    )


def resample_naively(frame, bucket):
    bars = {}
    for row in frame.sort_values("timestamp").itertuples():
        key = (row.pair_id, bucket.floor(row.timestamp.to_pydatetime()))
        if key not in bars:
            bars[key] = [row.open, row.high, row.low, row.close, row.volume]
        else:
            bar = bars[key]
            bar[1:] = max(bar[1], row.high), min(bar[2], row.low), row.close, bar[4] + row.volume
    return {key: bars[key] for key in sorted(bars)}


def as_dict(frame):
    return {
        (row.pair_id, row.timestamp.to_pydatetime()): [row.open, row.high, row.low, row.close, row.volume]
        for row in frame.itertuples()
    }


@given(hourly_candles(), st.sampled_from(COARSER))
def test_rows_resample_like_the_oracle(frame, bucket):
    resampled = resample_candles(frame, bucket, TimeBucket.h1)
    expected = resample_naively(frame, bucket)
    assert as_dict(resampled) == expected
    assert list(as_dict(resampled)) == list(expected)


@given(hourly_candles(), st.sampled_from(COARSER))
def test_panel_resamples_like_the_oracle(frame, bucket):
    panel = resample_panel(build_panel(frame, TimeBucket.h1, pair_ids=[1, 2, 3]), bucket)
    assert panel.bucket is bucket
    found = {}
    for pair_id in (1, 2, 3):
        for row in panel.frame(pair_id).itertuples():
            found[pair_id, row.Index.to_pydatetime()] = [row.open, row.high, row.low, row.close, row.volume]
    assert found == resample_naively(frame, bucket)


def test_weekly_bars_begin_on_monday():
    candles = generate_ohlcv_candles(TimeBucket.d1, datetime(2021, 6, 1), datetime(2021, 7, 1))
    weekly = resample_candles(candles, TimeBucket.d7)
    assert set(weekly["timestamp"].dt.day_name()) == {"Monday"}
    assert weekly["timestamp"].iloc[0] == datetime(2021, 5, 31)


def test_hourly_binance_candles_make_the_daily_ones(shared_data):
    hourly = pd.read_parquet(shared_data / "binance_136pairs_1h.parquet")
    daily = pd.read_parquet(shared_data / "binance_136pairs_1d.parquet")
    daily["timestamp"] = daily["timestamp"].dt.tz_localize(None).astype("datetime64[us]")
    made = resample_candles(hourly, TimeBucket.d1, TimeBucket.h1)
    both = made.merge(daily, on=["pair", "timestamp"], suffixes=("", "_daily"), validate="one_to_one")
    assert len(both) == len(daily)
    whole_days = hourly.groupby(["pair", hourly["timestamp"].dt.tz_localize(None).dt.floor("D")], observed=True)
    whole_days = whole_days.size().rename("hours").reset_index()
    whole_days["timestamp"] = whole_days["timestamp"].astype("datetime64[us]")
    both = both.merge(whole_days, on=["pair", "timestamp"])
    both = both[both["hours"] == 24]
    assert len(both) > 30_000
    different = (both["close"] != both["close_daily"]) | (both["high"] != both["high_daily"])
    different |= (both["low"] != both["low_daily"]) | (both["open"] != both["open_daily"])
    assert different.sum() == 0


def test_filled_bars_are_not_resampled():
    frame = generate_ohlcv_candles(TimeBucket.h1, datetime(2021, 6, 1), datetime(2021, 6, 4)).drop(index=range(24, 48))
    panel = fill_forward(build_panel(frame, TimeBucket.h1), ForwardFill())
    daily = resample_panel(panel, TimeBucket.d1)
    assert daily.exists.tolist() == [[True, False, True]]


def test_bucket_that_is_no_multiple_is_refused():
    candles = generate_ohlcv_candles(TimeBucket.h4, datetime(2021, 6, 1), datetime(2021, 6, 4))
    for bucket in (TimeBucket.h1, TimeBucket.h6):
        with pytest.raises(BadInput, match=f"{bucket.name} cannot be made from h4"):
            resample_candles(candles, bucket, TimeBucket.h4)
        with pytest.raises(BadInput, match=f"{bucket.name} cannot be made from h4"):
            resample_panel(build_panel(candles, TimeBucket.h4), bucket)


def test_duplicated_candle_is_refused():
    candles = generate_ohlcv_candles(TimeBucket.h1, datetime(2021, 6, 1), datetime(2021, 6, 2))
    with pytest.raises(BadInput, match="1 candles are duplicated"):
        resample_candles(pd.concat([candles, candles[:1]]), TimeBucket.h4)


def test_nothing_resamples_to_nothing():
    candles = generate_ohlcv_candles(TimeBucket.h1, datetime(2021, 6, 1), datetime(2021, 6, 2))[:0]
    assert len(resample_candles(candles, TimeBucket.d1)) == 0
