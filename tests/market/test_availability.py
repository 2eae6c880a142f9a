"""Stored candles are closed by the clock and by their own end; a source says no more than it knows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from trading_dagster.domain.error import BadInput, UnknownPair
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket, to_aware
from trading_dagster.market.availability import AvailabilitySource, CandleAvailability, read_stored_availability
from trading_dagster.market.file_source import EmbeddedSample, FileSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.memory_source import MemorySource

CEX = ChainId.centralised_exchange
START = datetime(2024, 1, 1)
HOUR = timedelta(hours=1)
BTC, ETH = (CEX, "memory", "BTC", "USD"), (CEX, "memory", "ETH", "USD")


def candles(hours, pair="BTC/USD"):
    prices = {name: np.full(len(hours), 100.0) for name in ("open", "high", "low", "close")}
    return pd.DataFrame({"timestamp": [START + HOUR * hour for hour in hours], "pair": pair, **prices, "volume": 1.0})


def memory(*frames, now=None):
    clock = {} if now is None else {"now": lambda: to_aware(now)}
    return MemorySource({TimeBucket.h1: pd.concat(frames, ignore_index=True)}, **clock)


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        (START + 4.99 * HOUR, 3),  # a later candle is there, but its bar is not over
        (START + 5 * HOUR, 4),
        (START + 9 * HOUR, 8),
        (START + 20 * HOUR, 9),  # the data ends there
    ],
)
def test_candle_counts_when_its_bar_is_over(now, newest):
    (item,) = memory(candles(range(10)), now=now).read_availability([BTC], TimeBucket.h1)
    assert item == CandleAvailability(BTC, TimeBucket.h1, START + newest * HOUR)


def test_every_pair_is_told_in_the_order_asked_for():
    source = memory(candles(range(300)), candles([0, 1, 299], "ETH/USD"), now=START + 299 * HOUR)
    eth, btc = source.read_availability([ETH, BTC], TimeBucket.h1)
    assert (eth.pair, eth.last_candle_at) == (ETH, START + HOUR)
    assert (btc.pair, btc.last_candle_at) == (BTC, START + 298 * HOUR)
    assert btc.is_ready(START + 299 * HOUR)
    assert not eth.is_ready(START + 299 * HOUR)


def test_day_counts_once_its_hours_reach_midnight():
    (short,) = memory(candles(range(47))).read_availability([BTC], TimeBucket.d1)
    (whole,) = memory(candles(range(48))).read_availability([BTC], TimeBucket.d1)
    assert short.last_candle_at == START
    assert whole.last_candle_at == START + timedelta(days=1)
    assert memory(candles([23])).read_availability([BTC], TimeBucket.d1)[0].last_candle_at == START


def test_nothing_is_closed_before_the_first_bar_is_over():
    (item,) = memory(candles(range(3)), now=START + 0.5 * HOUR).read_availability([BTC], TimeBucket.h1)
    assert item.newest_at is None
    assert not item.is_ready(START)


def test_bar_known_to_be_empty_makes_a_pair_ready():
    item = CandleAvailability(BTC, TimeBucket.h1, START, START + 3 * HOUR)
    assert item.newest_at == START + 3 * HOUR
    assert item.is_ready(START + 4 * HOUR)
    assert not item.is_ready(START + 5 * HOUR)


def test_unknown_pairs_and_buckets_are_refused():
    source = memory(candles(range(3)))
    with pytest.raises(UnknownPair, match="DOGE"):
        source.read_availability([(CEX, "memory", "DOGE", "USD")], TimeBucket.h1)
    with pytest.raises(BadInput, match="m5"):
        source.read_availability([BTC], TimeBucket.m5)
    with pytest.raises(BadInput, match="UTC"):
        read_stored_availability(source, [BTC], TimeBucket.h1, START)


def test_files_and_lake_tell_what_was_written_since(tmp_path):
    folder, lake = tmp_path / "candles", Lake(tmp_path / "lake")
    folder.mkdir()
    path = folder / "BTC-USD.csv"
    pair = (CEX, "file", "BTC", "USD")
    candles(range(5)).to_csv(path, index=False)
    files = FileSource(folder, now=lambda: to_aware(START + 7 * HOUR))
    import_candles(lake, files, name="mine")
    stored = lake.source("mine", now=lambda: to_aware(START + 7 * HOUR))
    for source in (files, stored):
        assert isinstance(source, AvailabilitySource)
        assert source.read_availability([pair], TimeBucket.h1)[0].last_candle_at == START + 4 * HOUR

    candles(range(9)).to_csv(path, index=False)
    candles(range(6), "ETH/USD").to_csv(folder / "ETH-USD.csv", index=False)

    both = [pair, (CEX, "file", "ETH", "USD")]
    assert [item.last_candle_at for item in files.read_availability(both, TimeBucket.h1)] == [
        START + 6 * HOUR,
        START + 5 * HOUR,
    ]
    assert stored.read_availability([pair], TimeBucket.h1)[0].last_candle_at == START + 4 * HOUR
    import_candles(lake, files, name="mine")
    assert stored.read_availability([pair], TimeBucket.h1)[0].last_candle_at == START + 6 * HOUR


def test_sample_ends_where_it_ends():
    sample = EmbeddedSample()
    assert isinstance(sample, AvailabilitySource)
    assert isinstance(memory(candles([0])), AvailabilitySource)
    (hour,) = sample.read_availability([(CEX, "coinbase", "BTC", "USD")], TimeBucket.h1)
    assert hour.last_candle_at == datetime(2019, 10, 17, 9)
    then = EmbeddedSample(now=lambda: datetime(2018, 5, 1, tzinfo=UTC))
    (day,) = then.read_availability([(CEX, "bitstamp", "LTC", "USD")], TimeBucket.d1)
    assert day.last_candle_at == datetime(2018, 4, 30)
