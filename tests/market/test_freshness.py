"""Old data stops trading: each pair's newest real candle counts, filled ones do not, and every stale pair is named."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from trading_dagster.domain.error import DataTooOld, NaiveDatetimeRequired
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket, to_aware
from trading_dagster.market.availability import CandleAvailability
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.exchange import centralised_exchange, centralised_pair
from trading_dagster.market.freshness import check_data_age, check_lag
from trading_dagster.market.universe import TradingStrategyUniverse

START = datetime(2024, 1, 1)
HOUR = timedelta(hours=1)
BTC, ETH = (centralised_pair("memory", base, "USD", internal_id=i, fee=0.0) for i, base in ((1, "BTC"), (2, "ETH")))
NOON = START + 12 * HOUR
ETH_NAME = (ChainId.centralised_exchange, "memory", "ETH", "USD")


def frame(bars, pair_id, bucket=TimeBucket.h1):
    prices = dict.fromkeys(("open", "high", "low", "close"), 100.0)
    times = pd.DatetimeIndex([START + bucket.to_timedelta() * bar for bar in bars])
    return pd.DataFrame({"timestamp": times, "pair_id": pair_id, **prices, "volume": 1.0})


def universe(btc, eth, *, bucket=TimeBucket.h1, tvl=None, fill_until=None):
    dataset = Dataset(
        time_bucket=bucket,
        exchanges=[centralised_exchange("memory")],
        pairs=[BTC, ETH],
        candles=pd.concat([frame(btc, 1, bucket), frame(eth, 2, bucket)]),
        liquidity=None if tvl is None else pd.concat([frame(tvl, 1, bucket), frame(btc, 2, bucket)]),
    )
    return TradingStrategyUniverse.create_from_dataset(
        dataset, forward_fill=fill_until is not None, forward_fill_until=fill_until
    )


def test_candles_that_closed_just_now_are_fresh():
    ages = check_lag(NOON, universe(range(12), range(12)))
    assert [(age.pair.get_ticker(), age.newest_at, age.age) for age in ages] == [
        ("BTC-USD", NOON - HOUR, HOUR),
        ("ETH-USD", NOON - HOUR, HOUR),
    ]


def test_one_missing_candle_blocks_the_cycle_and_names_its_pair():
    with pytest.raises(
        DataTooOld, match=r"1 of 2 .* 1:30:00\. ETH-USD \(memory\): newest candle .*10:00.*, 2:00:00 old"
    ):
        check_lag(NOON, universe(range(12), range(11)))


def test_candle_in_progress_does_not_stand_in_for_the_one_that_should_have_closed():
    with pytest.raises(DataTooOld, match="ETH-USD"):
        check_lag(NOON, universe(range(13), [*range(11), 12]))


def test_filled_candles_are_not_counted():
    filled = universe(range(12), range(9), fill_until=NOON)
    assert filled.candles.exists[1, 11]
    with pytest.raises(DataTooOld, match=r"ETH-USD .*08:00:00, 4:00:00 old"):
        check_lag(NOON, filled)
    with pytest.raises(DataTooOld, match=r"ETH-USD .*08:00:00, 4:00:00 old"):
        check_data_age(NOON, filled, 3 * HOUR)


def test_bars_known_to_have_had_no_trades_do_not_block():
    quiet = CandleAvailability(ETH_NAME, TimeBucket.h1, START + 8 * HOUR, START + 11 * HOUR)
    check_lag(NOON, universe(range(12), range(9)), availability=[quiet])
    late = CandleAvailability(ETH_NAME, TimeBucket.h1, START + 8 * HOUR, START + 9 * HOUR)
    with pytest.raises(DataTooOld, match=r"ETH-USD .*09:00:00, 3:00:00 old"):
        check_lag(NOON, universe(range(12), range(9)), availability=[late])


def test_only_the_pairs_in_use_are_looked_at():
    stale = universe(range(12), range(5))
    assert len(check_lag(NOON, stale, pairs=[BTC])) == 1
    assert len(check_data_age(NOON, stale, HOUR, pairs=[BTC])) == 1
    with pytest.raises(DataTooOld):
        check_lag(NOON, stale, pairs=[BTC, ETH])


@pytest.mark.parametrize(("minutes", "is_fresh"), [(0, True), (30, True), (31, False)])
def test_half_an_hour_beyond_the_bucket_is_allowed(minutes, is_fresh):
    fives = universe(range(12), range(12), bucket=TimeBucket.m5)  # the last one opens at 00:55
    at = START + HOUR + timedelta(minutes=minutes)
    if is_fresh:
        check_lag(at, fives)
    else:
        with pytest.raises(DataTooOld, match="2 of 2"):
            check_lag(at, fives)


def test_data_age_counts_from_the_newest_open():
    fresh = universe(range(12), range(12))
    check_data_age(NOON + 5 * HOUR, fresh, 6 * HOUR)
    with pytest.raises(DataTooOld, match=r"2 of 2 .*BTC-USD.*ETH-USD"):
        check_data_age(NOON + 5 * HOUR + timedelta(seconds=1), fresh, 6 * HOUR)


def test_what_opens_after_the_time_is_not_seen():
    later = universe([0, *range(20, 30)], range(30))
    with pytest.raises(DataTooOld, match=r"1 of 2 .*BTC-USD .*00:00:00, 12:00:00 old"):
        check_data_age(NOON, later, HOUR)


def test_old_tvl_is_too_old_whatever_the_candles_are():
    check_data_age(NOON, universe(range(12), range(12), tvl=range(11)), 2 * HOUR)
    with pytest.raises(DataTooOld, match=r"1 of 4 .*BTC-USD.*newest TVL .*05:00:00, 7:00:00 old"):
        check_data_age(NOON, universe(range(12), range(12), tvl=range(6)), 2 * HOUR)


def test_pair_without_any_candle_is_too_old():
    with pytest.raises(DataTooOld, match=r"ETH-USD .*: no candle at all"):
        check_data_age(NOON, universe(range(12), []), timedelta(days=9))
    with pytest.raises(DataTooOld, match="no candle at all"):
        check_lag(START, universe(range(12), range(12)))


def test_aware_times_are_refused():
    for check in (
        lambda at: check_lag(at, universe([0], [0])),
        lambda at: check_data_age(at, universe([0], [0]), HOUR),
    ):
        with pytest.raises(NaiveDatetimeRequired):
            check(to_aware(NOON))


def test_age_does_not_depend_on_where_the_panel_begins():
    clipped = universe(range(3, 12), range(5, 12))
    assert np.asarray([age.age for age in check_lag(NOON, clipped)]).tolist() == [HOUR, HOUR]
