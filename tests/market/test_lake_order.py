"""Candles of the lake come in a fixed order, whatever the markets asked for and however they came in."""

from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_dagster.domain.time import TimeBucket, to_unix_us
from trading_dagster.market import lake as lake_module
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.market_key import market_key
from trading_dagster.market.memory_source import MemorySource

H1, D7 = TimeBucket.h1, TimeBucket.d7
PAIRS = ("ETH/USD", "BTC/USD", "AAVE/USD", "BTC/USDT", "BT/USD")
NAMES = ["AAVE/USD", "BT/USD", "BTC/USD", "BTC/USDT", "ETH/USD"]
START, END = datetime(2024, 1, 20), datetime(2024, 5, 3)


def make_candles(bucket, seed=1):
    """Make candles with holes in every pair, of which one begins late, in a random order."""
    draw = np.random.default_rng(seed)
    frames = []
    for place, pair in enumerate(PAIRS):
        times = pd.date_range(START, END, freq=bucket.to_timedelta(), inclusive="left", unit="us")
        times = pd.DatetimeIndex([bucket.floor(time.to_pydatetime()) for time in times]).as_unit("us").unique()
        times = times[(draw.random(len(times)) < 0.8) & (times >= START + pd.Timedelta(days=30 * place))]
        close = draw.uniform(1, 2, len(times))
        prices = {"open": close, "high": close + 1, "low": close / 2, "close": close, "volume": close}
        frames.append(pd.DataFrame({"timestamp": times, "pair": pair, **prices}))
    return pd.concat(frames, ignore_index=True).sample(frac=1, random_state=seed, ignore_index=True)


@pytest.fixture(scope="module", params=[H1, D7], ids=["runs", "single rows"])
def filled(request, tmp_path_factory):
    candles = make_candles(request.param)
    lake = Lake(tmp_path_factory.mktemp("lake"))
    import_candles(lake, MemorySource({request.param: candles}, exchange="kraken"), name="mine", workers=3)
    return lake, candles


@settings(max_examples=25)
@given(st.permutations(NAMES), st.integers(0, 5), st.integers(0, 110), st.integers(0, 110), st.integers(1, 400))
def test_rows_come_by_pair_and_time(filled, names, count, first, last, at_once):
    lake, candles = filled
    source = lake.source("mine")
    by_name = {market.pair: market for market in source.list_markets()}
    asked = [by_name[name] for name in names[:count] if name in by_name]
    start, end = START + pd.Timedelta(days=min(first, last)), START + pd.Timedelta(days=max(first, last))
    inside = candles["pair"].isin([market.pair for market in asked])
    wanted = candles[inside & (candles["timestamp"] >= start) & (candles["timestamp"] < end)]
    wanted = wanted.sort_values(["pair", "timestamp"], ignore_index=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lake_module, "ROWS_AT_ONCE", at_once * 10)
        patched.setattr(lake_module, "BATCH_ROWS", at_once)
        ordered = [*source.load_candles(asked, start, end)]
        unordered = [*source.load_unordered(asked, start, end)]
    assert all(len(frame) <= at_once for frame in [*ordered, *unordered])
    for found, is_ordered in ((ordered, True), (unordered, False)):
        frame = pd.concat(found, ignore_index=True) if found else wanted[:0]
        frame = frame.assign(pair=frame["pair"].astype("str"))
        if not is_ordered:
            months = frame["timestamp"].dt.to_period("M")
            assert months.is_monotonic_increasing
            frame = frame.sort_values(["pair", "timestamp"], kind="stable", ignore_index=True)
        pd.testing.assert_frame_equal(frame, wanted)


def test_markets_of_one_pair_at_two_venues_are_told_apart(tmp_path):
    lake, frames = Lake(tmp_path), {}
    for seed, venue in enumerate(("kraken", "coinbase")):
        frames[venue] = make_candles(H1, seed)
        import_candles(lake, MemorySource({H1: frames[venue]}, exchange=venue), name="mine")
    source = lake.source("mine")
    for market in source.list_markets():
        (found,) = source.load_candles([market], START, END)
        own = frames[market.exchange_slug]
        own = own[own["pair"] == market.pair].sort_values("timestamp")
        assert found["close"].tolist() == own["close"].tolist()
    assert [market_key(market) for market in source.list_markets()] == sorted(map(market_key, source.list_markets()))


def test_month_that_is_not_sorted_is_read_in_order(tmp_path):
    candles = make_candles(H1)
    lake = Lake(tmp_path)
    import_candles(lake, MemorySource({H1: candles}, exchange="kraken"), name="mine")
    for path, _ in lake.read_contents("mine"):  # as version 1 did not promise
        table = pq.read_table(path)
        order = np.random.default_rng(3).permutation(len(table))
        pq.write_table(table.take(order), path)
    source = lake.source("mine")
    frame = pd.concat(source.load_candles(source.list_markets(), START, END), ignore_index=True)
    wanted = candles.sort_values(["pair", "timestamp"], ignore_index=True)
    pd.testing.assert_frame_equal(frame.assign(pair=frame["pair"].astype("str")), wanted)
    assert to_unix_us(START) <= frame["timestamp"].astype("int64").min()
