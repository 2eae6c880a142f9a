"""Candles of a venue are traded as a pool's: either name finds them, and everything belongs to the pool."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from trading_dagster.domain.error import BadConfiguration, BadInput, MarketDataMissing, UnknownPair
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.availability import AvailabilitySource
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.identifier_json import pair_from_json, pair_to_json
from trading_dagster.market.loader import load_partial_data
from trading_dagster.market.mapped_source import MappedSource
from trading_dagster.market.memory_source import MemorySource
from trading_dagster.market.replay_source import ReplaySource
from trading_dagster.market.universe import TradingStrategyUniverse

CEX, CHAIN = ChainId.centralised_exchange, ChainId.anvil
COINBASE, BITSTAMP = (CEX, "coinbase", "BTC", "USD"), (CEX, "bitstamp", "BTC", "USD")
USDC = AssetIdentifier(CHAIN, "0x" + "a" * 40, "USDC", 6)
WBTC = AssetIdentifier(CHAIN, "0x" + "b" * 40, "WBTC", 8)
TBTC = AssetIdentifier(CHAIN, "0x" + "c" * 40, "TBTC", 18)


def pool_of(base, address="0x" + "1" * 40, **fields):
    return TradingPairIdentifier(
        base, USDC, address, "0x" + "9" * 40, **({"fee": 0.003, "exchange_name": "uniswap-v2"} | fields)
    )


WBTC_POOL, TBTC_POOL = pool_of(WBTC), pool_of(TBTC, "0x" + "2" * 40)
POOL_NAME = (CHAIN, "uniswap-v2", "WBTC", "USDC", 0.003)


def mapped(pools=None, inner=None):
    return MappedSource(inner or EmbeddedSample(), pools or {COINBASE: WBTC_POOL})


def load(source, pairs=None, bucket=TimeBucket.d1, **more):
    return TradingStrategyUniverse.create_from_dataset(
        load_partial_data(source, time_bucket=bucket, pairs=pairs, **more)
    )


@pytest.mark.parametrize(
    "name",
    [
        COINBASE,
        (CEX, None, "BTC", "USD"),
        (*COINBASE, 0.001),  # a fee where the data knows none; the pool's counts
        POOL_NAME,
        POOL_NAME[:4],
        (CHAIN, None, "WBTC", "USDC"),
    ],
)
def test_names_of_data_and_pool_find_the_pool(name):
    universe = load(mapped(), [name], trading_fee=0.01)
    pair = universe.get_single_pair()
    assert pair == WBTC_POOL
    assert (pair.pool_address, pair.fee, pair.exchange_name) == (WBTC_POOL.pool_address, 0.003, "uniswap-v2")
    assert (pair.base.decimals, pair.quote.decimals) == (8, 6)
    assert universe.get_pair_by_human_description(name) is pair
    assert universe.get_reserve_asset() == USDC
    assert universe.primary_chain is CHAIN
    (venue,) = universe.exchanges
    assert (venue.chain_id, venue.exchange_slug, venue.address) == (CHAIN, "uniswap-v2", WBTC_POOL.exchange_address)


def test_candles_are_those_of_the_data():
    pool, data = load(mapped()), load(EmbeddedSample(), [COINBASE])
    pd.testing.assert_frame_equal(pool.candles.frame(1), data.candles.frame(1))


def test_two_venues_with_one_name_become_two_pools():
    source = mapped({COINBASE: WBTC_POOL, BITSTAMP: TBTC_POOL})
    universe = load(source, [COINBASE, BITSTAMP])
    assert [pair.base.token_symbol for pair in universe.pairs] == ["WBTC", "TBTC"]
    for pair_id, name in ((1, COINBASE), (2, BITSTAMP)):
        data = load(EmbeddedSample(), [name]).candles.frame(1)
        own = universe.candles.frame(pair_id)
        pd.testing.assert_frame_equal(own.loc[data.index], data, check_freq=False)
        assert universe.get_pair_by_human_description(name).internal_id == pair_id


def test_markets_that_are_not_mapped_are_left_out():
    assert {market.pair for market in mapped().list_markets()} == {"WBTC/USDC"}
    with pytest.raises(UnknownPair, match="WBTC"):
        load(mapped(), [BITSTAMP])


def test_alias_survives_storage():
    pair = load(mapped()).get_single_pair()
    assert pair_from_json(pair_to_json(pair)).other_data == {"also_known_as": [[-1, "coinbase", "BTC", "USD", None]]}


def test_availability_is_that_of_the_data_in_either_order_of_wrapping():
    def now():
        return datetime(2018, 6, 1, 12, 30, tzinfo=UTC)

    for source in (ReplaySource(mapped(), now), mapped(inner=ReplaySource(EmbeddedSample(), now))):
        assert isinstance(source, AvailabilitySource)
        by_pool, by_data = source.read_availability([POOL_NAME, COINBASE], TimeBucket.h1)
        assert (by_pool.pair, by_data.pair) == (POOL_NAME, COINBASE)
        assert by_pool.last_candle_at == by_data.last_candle_at == datetime(2018, 6, 1, 11)
        universe = load(source, [COINBASE], TimeBucket.h1, required_history_period=timedelta(days=2))
        assert universe.get_single_pair() == WBTC_POOL
        assert universe.candles.index[-1] == datetime(2018, 6, 1, 12)


def test_source_that_does_not_know_what_is_closed_is_named():
    class Plain:
        name = "plain"
        list_markets = staticmethod(EmbeddedSample().list_markets)

    with pytest.raises(BadInput, match="plain does not know which candles are closed"):
        mapped(inner=Plain()).read_availability([COINBASE], TimeBucket.h1)


@pytest.mark.parametrize(
    ("pool", "problem"),
    [
        (replace(WBTC_POOL, fee=None), "has no fee"),
        (replace(WBTC_POOL, exchange_name=None), "has no exchange_name"),
        (replace(WBTC_POOL, base=replace(WBTC, chain_id=1)), "on chains 1 and 31337"),
        (replace(WBTC_POOL, base=replace(WBTC, chain_id=77), quote=replace(USDC, chain_id=77)), "chain 77"),
    ],
)
def test_unusable_pool_is_refused(pool, problem):
    with pytest.raises(BadConfiguration, match=problem):
        mapped({COINBASE: pool})


def test_unusable_mapping_is_refused():
    with pytest.raises(BadConfiguration, match=r"both .*coinbase.* and .*bitstamp"):
        mapped({COINBASE: WBTC_POOL, BITSTAMP: WBTC_POOL})
    with pytest.raises(UnknownPair, match="DOGE"):
        mapped({(CEX, "coinbase", "DOGE", "USD"): WBTC_POOL}).list_markets()
    with pytest.raises(BadInput, match="fits 2 markets"):
        mapped({(CEX, None, "BTC", "USD"): WBTC_POOL}).list_markets()


def test_candles_of_another_source_are_refused():
    (stranger,) = mapped({BITSTAMP: TBTC_POOL}).list_markets()
    with pytest.raises(MarketDataMissing, match="TBTC"):
        list(mapped().load_candles([stranger], datetime(2018, 1, 1), datetime(2018, 1, 2)))


def test_names_in_plain_columns_are_changed_too():
    frame = pd.DataFrame(
        {
            "timestamp": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "pair": "BTC/USD",
            **dict.fromkeys(("open", "high", "low", "close"), 5.0),
            "volume": 1.0,
        }
    )
    source = mapped({(CEX, "memory", "BTC", "USD"): WBTC_POOL}, MemorySource({TimeBucket.d1: frame}))
    (shown,) = source.load_candles(source.list_markets(), datetime(2024, 1, 1), datetime(2024, 1, 3))
    assert list(shown["pair"]) == ["WBTC/USDC"] * 2
