"""Loading gives the pairs, buckets, spans and fees asked for, or says what cannot be had."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from trading_dagster.domain.error import BadInput, CandleContractBroken, MarketDataMissing, UnknownPair
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.dataset import UniverseOptions
from trading_dagster.market.exchange import centralised_pair
from trading_dagster.market.file_source import EmbeddedSample, FileSource
from trading_dagster.market.loader import load_partial_data
from trading_dagster.market.memory_source import MemorySource
from trading_dagster.market.synthetic import generate_fixed_price_candles, generate_tvl_candles
from trading_dagster.market.universe import TradingStrategyUniverse

CEX = ChainId.centralised_exchange
BTC_HOURLY = (CEX, "coinbase", "BTC", "USD")
BTC, ETH = (
    centralised_pair("memory", "BTC", "USD", internal_id=1),
    centralised_pair("memory", "ETH", "USD", internal_id=2),
)
START, END = datetime(2024, 1, 1), datetime(2024, 1, 11)


def flat(bucket, start=START, end=END, prices=None):
    frame = generate_fixed_price_candles(bucket, start, end, prices or {BTC: 100.0, ETH: 10.0})
    return frame.assign(pair=frame.pop("pair_id").map({1: "BTC/USD", 2: "ETH/USD"}))


def load(source=None, **changes):
    return TradingStrategyUniverse.create_from_dataset(load_partial_data(source, **changes))


def test_sample_loads_without_a_client():
    universe = load(time_bucket=TimeBucket.h1, pairs=[BTC_HOURLY], trading_fee=0.001)
    pair = universe.get_single_pair()
    assert (pair.get_ticker(), pair.fee, pair.internal_id, pair.chain_id) == ("BTC-USD", 0.001, 1, CEX)
    assert universe.get_reserve_asset().token_symbol == "USD"
    assert universe.get_pair_by_human_description(BTC_HOURLY) is pair
    assert universe.candles.exists.shape == (1, 15_706)
    assert universe.candles.exists.all()
    assert not universe.has_stop_loss_data()


def test_loading_twice_gives_the_same_content_and_addresses():
    first, second = (load(time_bucket=TimeBucket.d1) for _ in range(2))
    assert first.get_cache_key() == second.get_cache_key()
    assert [pair.pool_address for pair in first.pairs] == [pair.pool_address for pair in second.pairs]
    assert len({pair.pool_address for pair in first.pairs}) == 3
    assert all(len(pair.base.address) == 42 for pair in first.pairs)


def test_span_holds_warm_up_and_both_ends():
    universe = load(
        time_bucket=TimeBucket.h1,
        pairs=[BTC_HOURLY],
        start_at=datetime(2018, 3, 1),
        end_at=datetime(2018, 4, 1),
        required_history_period=timedelta(days=10),
    )
    assert universe.candles.start_at == datetime(2018, 2, 19)
    assert universe.candles.index[-1] == datetime(2018, 4, 1)
    assert universe.start_at == datetime(2018, 3, 1)
    assert universe.required_history_period == timedelta(days=10)


def test_history_alone_loads_the_newest_candles():
    universe = load(time_bucket=TimeBucket.h1, pairs=[BTC_HOURLY], required_history_period=timedelta(days=2))
    assert universe.candles.end_at == datetime(2019, 10, 17, 10)
    assert universe.candles.bar_count == 48


def test_warm_up_may_begin_before_the_data():
    universe = load(
        time_bucket=TimeBucket.h1,
        pairs=[BTC_HOURLY],
        start_at=datetime(2018, 1, 2),
        required_history_period=timedelta(days=90),
    )
    assert universe.candles.start_at == datetime(2018, 1, 1)


def test_options_win_over_arguments():
    options = UniverseOptions(
        candle_time_bucket_override=TimeBucket.h4,
        stop_loss_time_bucket_override=TimeBucket.h1,
        start_at=datetime(2018, 6, 1),
        end_at=datetime(2018, 7, 1),
        history_period=timedelta(days=1),
    )
    universe = load(
        time_bucket=TimeBucket.d1,
        pairs=[BTC_HOURLY],
        universe_options=options,
        start_at=datetime(2019, 1, 1),
        end_at=datetime(2019, 2, 1),
    )
    assert universe.time_bucket is TimeBucket.h4
    assert universe.stop_loss_time_bucket is TimeBucket.h1
    assert universe.candles.start_at == datetime(2018, 5, 31)


def test_coarser_bucket_is_resampled_and_agrees_with_the_finer():
    hourly = load(time_bucket=TimeBucket.h1, pairs=[BTC_HOURLY])
    daily = load(time_bucket=TimeBucket.d1, pairs=[BTC_HOURLY], stop_loss_time_bucket=TimeBucket.h1)
    assert daily.stop_loss_candles.content_hash(1) == hourly.candles.content_hash(1)
    hours = hourly.candles.columns["high"][0, : 654 * 24].reshape(654, 24)
    assert daily.candles.columns["high"][0, :654].tolist() == hours.max(axis=1).tolist()


def test_all_pairs_are_those_in_the_coarsest_usable_bucket():
    assert [pair.get_ticker() for pair in load(time_bucket=TimeBucket.d7).pairs] == ["BTC-USD", "ETH-USD", "LTC-USD"]
    assert [pair.get_ticker() for pair in load(time_bucket=TimeBucket.h4).pairs] == ["BTC-USD"]


def test_same_stop_loss_bucket_shares_the_candles():
    universe = load(time_bucket=TimeBucket.d1, stop_loss_time_bucket=TimeBucket.d1)
    assert universe.stop_loss_candles is universe.candles


def test_finer_bucket_than_there_is_is_refused():
    with pytest.raises(BadInput, match="time_bucket m5 of BTC/USD cannot be made from h1 candles"):
        load_partial_data(time_bucket=TimeBucket.m5, pairs=[BTC_HOURLY])
    with pytest.raises(BadInput, match="m5 cannot be made from d1, h1 candles"):
        load_partial_data(time_bucket=TimeBucket.m5)
    with pytest.raises(BadInput, match="m15 of BTC/USD cannot be made"):
        load_partial_data(time_bucket=TimeBucket.h1, pairs=[BTC_HOURLY], stop_loss_time_bucket=TimeBucket.m15)


def test_stop_loss_bucket_coarser_than_the_candles_is_refused():
    with pytest.raises(BadInput, match="stop_loss_time_bucket d1 is coarser than time_bucket h1"):
        load_partial_data(time_bucket=TimeBucket.h1, stop_loss_time_bucket=TimeBucket.d1)


def test_unknown_pair_names_the_closest():
    with pytest.raises(UnknownPair, match=r"did you mean \(ChainId.centralised_exchange, 'bitstamp', 'ETH', 'USD'\)"):
        load_partial_data(time_bucket=TimeBucket.d1, pairs=[(CEX, "bitstamp", "ETHH", "USD")])
    with pytest.raises(UnknownPair, match="'coinbase', 'BTC', 'USD'"):
        load_partial_data(time_bucket=TimeBucket.d1, pairs=[(CEX, "binance", "BTC", "USD")])


@pytest.mark.parametrize("pairs", [[], ["BTC/USD"], [5], [BTC_HOURLY, BTC_HOURLY], [(CEX, "BTC", "USD")]])
def test_unusable_pairs_are_refused(pairs):
    with pytest.raises(BadInput, match="pairs"):
        load_partial_data(time_bucket=TimeBucket.h1, pairs=pairs)


def test_missing_time_bucket_is_refused():
    with pytest.raises(BadInput, match="time_bucket is missing"):
        load_partial_data()


@pytest.mark.parametrize(
    "span",
    [
        {"start_at": datetime(2010, 1, 1)},
        {"end_at": datetime(2030, 1, 1)},
        {"start_at": datetime(2025, 1, 1)},
        {"end_at": datetime(2010, 1, 1)},
    ],
)
def test_span_outside_the_data_is_refused(span):
    with pytest.raises(MarketDataMissing, match=rf"{next(iter(span))} .* reach from 2018-01-01.* to 2019-10-17"):
        load_partial_data(time_bucket=TimeBucket.h1, pairs=[BTC_HOURLY], **span)


def test_span_in_the_wrong_order_or_zone_is_refused():
    with pytest.raises(BadInput, match="is not before end_at"):
        load_partial_data(time_bucket=TimeBucket.h1, start_at=datetime(2019, 1, 1), end_at=datetime(2018, 6, 1))
    with pytest.raises(BadInput, match="zone-aware"):
        load_partial_data(time_bucket=TimeBucket.h1, start_at=pd.Timestamp("2018-06-01", tz="UTC").to_pydatetime())


def test_named_pair_without_candles_in_the_span_is_refused_and_else_left_out():
    span = {"time_bucket": TimeBucket.d1, "start_at": datetime(2015, 1, 1), "end_at": datetime(2016, 1, 1)}
    pairs = [(CEX, "bitstamp", base, "USD") for base in ("BTC", "ETH")]
    with pytest.raises(MarketDataMissing, match="'ETH', 'USD'\\) has candles from 2017-11-09"):
        load_partial_data(pairs=pairs, **span)
    assert [pair.get_ticker() for pair in load(**span).pairs] == ["BTC-USD"]


def test_fee_comes_from_source_then_description_then_argument():
    candles = {TimeBucket.d1: flat(TimeBucket.d1)}
    pairs = [(CEX, "memory", "BTC", "USD", 0.0005), (CEX, "memory", "ETH", "USD")]
    universe = load(MemorySource(candles), time_bucket=TimeBucket.d1, pairs=pairs, trading_fee=0.003)
    assert [pair.fee for pair in universe.pairs] == [0.0005, 0.003]
    known = load(MemorySource(candles, fee=0.001), time_bucket=TimeBucket.d1, pairs=pairs[1:], trading_fee=0.003)
    assert known.get_single_pair().fee == 0.001
    assert load(MemorySource(candles), time_bucket=TimeBucket.d1).pairs[0].fee is None


def test_pairs_keep_the_order_they_were_named_in():
    pairs = [(CEX, None, "LTC", "USD"), (CEX, None, "BTC", "USD")]
    universe = load(EmbeddedSample(), time_bucket=TimeBucket.d1, pairs=pairs)
    assert [(pair.get_ticker(), pair.internal_id) for pair in universe.pairs] == [("LTC-USD", 1), ("BTC-USD", 2)]
    assert universe.candles.exists.sum(axis=1).tolist() == [925, 1865]


def test_pairs_with_different_buckets_join():
    hourly = flat(TimeBucket.h1, prices={BTC: 100.0})
    daily = flat(TimeBucket.d1, start=datetime(2023, 12, 25), prices={ETH: 10.0})
    universe = load(
        MemorySource({TimeBucket.h1: hourly, TimeBucket.d1: daily}),
        time_bucket=TimeBucket.d1,
        pairs=[(CEX, None, "BTC", "USD"), (CEX, None, "ETH", "USD")],
    )
    assert universe.candles.start_at == datetime(2023, 12, 25)
    assert universe.candles.exists.sum(axis=1).tolist() == [10, 17]


def test_tvl_is_loaded_in_its_own_bucket():
    tvl = generate_tvl_candles(TimeBucket.d1, START, END, pair_id=1).drop(columns="pair_id").assign(pair="BTC/USD")
    source = MemorySource({TimeBucket.h1: flat(TimeBucket.h1, prices={BTC: 100.0})}, liquidity={TimeBucket.d1: tvl})
    universe = load(source, time_bucket=TimeBucket.h1, liquidity=True, liquidity_time_bucket=TimeBucket.d1)
    assert universe.liquidity.columns["close"][0].tolist() == tvl["close"].tolist()
    with pytest.raises(BadInput, match="embedded sample has no TVL"):
        load_partial_data(time_bucket=TimeBucket.h1, pairs=[BTC_HOURLY], liquidity=True)


def test_dirty_candles_are_refused_with_file_and_field(shared_data):
    source = FileSource(shared_data / "dirty_daily_12exchanges.parquet")
    with pytest.raises(CandleContractBroken, match=r"dirty_daily_12exchanges\.parquet: open: is not above zero"):
        load_partial_data(source, time_bucket=TimeBucket.d1, pairs=[(CEX, "bitstamp", "BTC", "USD")])


def test_unsorted_file_loads_like_a_sorted_one(tmp_path):
    candles = flat(TimeBucket.h1)
    candles["close"] = candles["close"] * 1.0
    candles[::-1].to_parquet(tmp_path / "down.parquet", index=False)
    candles.to_parquet(tmp_path / "up.parquet", index=False)
    keys = {
        load(FileSource(tmp_path / f"{name}.parquet"), time_bucket=TimeBucket.h1).get_cache_key()
        for name in ("up", "down")
    }
    assert len(keys) == 1


def test_real_hourly_file_loads_like_pandas_reads_it(shared_data):
    path = shared_data / "binance_136pairs_1h.parquet"
    universe = load(FileSource(path, exchange="binance"), time_bucket=TimeBucket.h1)
    expected = pd.read_parquet(path)
    assert int(universe.candles.exists.sum()) == len(expected) == 755_566
    assert universe.get_pair_count() == 136
    for base in ("BTC", "1000SATS", "ZRO"):
        pair = universe.get_pair_by_human_description((CEX, "binance", base, "USDT"))
        own = expected[expected["pair"] == f"{base}/USDT"]
        frame = universe.data_universe.candles.get_candles_by_pair(pair)
        np.testing.assert_array_equal(frame.to_numpy(), own[["open", "high", "low", "close", "volume"]].to_numpy())
        assert (frame.index == own["timestamp"].dt.tz_localize(None)).all()


def test_gaps_of_a_real_file_stay_gaps_unless_filled(shared_data):
    source = FileSource(shared_data / "bitfinex_7pairs_1h.parquet", exchange="bitfinex")
    dataset = load_partial_data(source, time_bucket=TimeBucket.h1, pairs=[(CEX, "bitfinex", "BTC", "USD")])
    bare = TradingStrategyUniverse.create_from_dataset(dataset)
    filled = TradingStrategyUniverse.create_from_dataset(dataset, forward_fill=True)
    missing = int((~bare.candles.exists).sum())
    assert missing == 3_487
    still_missing = int((~filled.candles.exists).sum())
    assert int(filled.candles.forward_filled.sum()) == missing - still_missing > 0
    runs = np.diff(np.flatnonzero(filled.candles.exists[0])) - 1
    assert runs[runs > 0].min() > 48
    assert replace(bare, name="x").get_cache_key() == bare.get_cache_key() != filled.get_cache_key()
