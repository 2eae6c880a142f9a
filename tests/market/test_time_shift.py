"""A feed with a wrong clock is found by another source of the same pair, on real candles."""

from datetime import timedelta

import pandas as pd
import pytest

from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.time_shift import find_time_shift


@pytest.fixture(scope="module")
def venues(shared_data):
    """Return hourly BTC/USD of Bitfinex and Coinbase over the same months."""
    both = pd.read_parquet(shared_data / "bitfinex_7pairs_1h.parquet")
    bitfinex = both[(both["pair"] == "BTC/USD") & (both["timestamp"] >= "2018-01-01")]
    return bitfinex, pd.read_parquet(shared_data / "sample_btc_1h.parquet")


def moved(frame, hours):
    return frame.assign(timestamp=frame["timestamp"] + timedelta(hours=hours))


def test_two_venues_on_utc_agree(venues):
    found = find_time_shift(*venues, TimeBucket.h1)
    assert found.shift == timedelta(0)
    assert not found.is_shifted
    assert found.correlation > 0.9
    assert found.bars > 15_000


@pytest.mark.parametrize("hours", [1, -1, 8, -5, 14])
def test_shifted_venue_is_found_to_the_hour(venues, hours):
    bitfinex, coinbase = venues
    found = find_time_shift(moved(bitfinex, hours), coinbase, TimeBucket.h1)
    assert found.shift == timedelta(hours=hours)
    assert found.is_shifted
    assert found.unshifted < 0.2


def test_daily_venues_of_the_dirty_file_agree(shared_data):
    candles = pd.read_parquet(shared_data / "dirty_daily_12exchanges.parquet")
    reference = candles[candles["exchange"] == "bitstamp"]
    checked = 0
    for (venue, pair), own in candles.groupby(["exchange", "pair"]):
        other = reference[reference["pair"].str.startswith(pair.partition("@")[0])]
        found = find_time_shift(own, other, TimeBucket.d1)
        if venue != "bitstamp" and found is not None:
            checked += 1
            assert not found.is_shifted, (venue, pair, found)
    assert checked > 15


def test_different_coins_give_no_alarm(shared_data):
    both = pd.read_parquet(shared_data / "bitfinex_7pairs_1h.parquet")
    neo, coinbase = both[both["pair"] == "NEO/USD"], pd.read_parquet(shared_data / "sample_btc_1h.parquet")
    assert not find_time_shift(neo, coinbase, TimeBucket.h1).is_shifted


def test_too_few_bars_say_nothing(venues):
    bitfinex, coinbase = venues
    assert find_time_shift(bitfinex[:100], coinbase, TimeBucket.h1) is None
    assert find_time_shift(bitfinex[:0], coinbase, TimeBucket.h1) is None
