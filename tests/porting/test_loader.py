"""Loaders of ported strategies: what they give, and what they say is missing."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pytest

from trading_dagster.domain.error import BadInput, MarketDataMissing, UnknownPair
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.dataset import UniverseOptions
from trading_dagster.market.memory_source import MemorySource
from trading_dagster.porting.loader import create_binance_universe, load_all_data, load_pair_data_for_single_exchange

CEX = ChainId.centralised_exchange


def tickers(dataset):
    return [pair.get_ticker() for pair in dataset.pairs]


def test_binance_universe_has_the_symbols_with_the_fee_given(client):
    universe = create_binance_universe(
        ["ETHUSDT", "BTCUSDT"],
        TimeBucket.d1,
        stop_loss_time_bucket=TimeBucket.h4,
        start_at=datetime(2022, 2, 1),
        end_at=datetime(2022, 3, 1),
        trading_fee_override=0.0007,
        client=client,
    )

    assert tickers(universe) == ["ETH-USDT", "BTC-USDT"]
    assert {pair.fee for pair in universe.pairs} == {0.0007}
    assert universe.get_reserve_asset().token_symbol == "USDT"
    assert universe.stop_loss_time_bucket is TimeBucket.h4
    assert universe.candles.start_at == datetime(2022, 2, 1)


def test_binance_universe_keeps_the_source_s_fee_without_an_override(client):
    assert create_binance_universe(["BTCUSDT"], TimeBucket.d1, client=client).get_single_pair().fee == 0.001


def test_binance_universe_without_client_reads_the_lake(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADING_DAGSTER_LAKE", str(tmp_path))

    with pytest.raises(MarketDataMissing, match="data import FILE --name binance"):
        create_binance_universe(["BTCUSDT"], TimeBucket.d1)


def test_symbol_that_is_not_there_is_named(client):
    with pytest.raises(UnknownPair, match=r"no symbol DOGEUSDT; it has BTCUSDT, ETHUSDT, LTCUSDT"):
        create_binance_universe(["BTCUSDT", "DOGEUSDT"], TimeBucket.d1, client=client)


def test_lending_is_refused(client):
    with pytest.raises(BadInput, match="include_lending"):
        create_binance_universe(["BTCUSDT"], TimeBucket.d1, include_lending=True, client=client)


def test_single_exchange_gives_the_pairs_named(client):
    dataset = load_pair_data_for_single_exchange(
        client, None, TimeBucket.d1, CEX, "binance", [("LTC", "USDT"), ("BTC", "USDT", 0.001)]
    )
    assert tickers(dataset) == ["LTC-USDT", "BTC-USDT"]


def test_single_exchange_gives_all_its_pairs_when_none_is_named(client):
    options = UniverseOptions(start_at=datetime(2022, 2, 1), end_at=datetime(2022, 3, 1))
    dataset = load_pair_data_for_single_exchange(client, None, TimeBucket.h4, CEX, "binance", None, options)

    assert len(dataset.pairs) == 3
    assert dataset.start_at == datetime(2022, 2, 1)


def test_exchange_without_candles_is_told_with_those_there_are(client):
    with pytest.raises(MarketDataMissing, match="centralised_exchange/binance"):
        load_pair_data_for_single_exchange(client, None, TimeBucket.d1, ChainId.polygon, "quickswap")


def test_all_data_takes_both_orders_of_arguments_and_tvl_where_it_is(client):
    older = load_all_data(client, TimeBucket.d1, None, UniverseOptions())
    newer = load_all_data(client, None, TimeBucket.d1, UniverseOptions())
    without = load_all_data(client, TimeBucket.d1, with_liquidity=False)

    assert tickers(older) == tickers(newer) == ["BTC-USDT", "ETH-USDT", "LTC-USDT"]
    assert older.liquidity is not None
    assert without.liquidity is None


def test_all_data_without_a_bucket_is_refused(client):
    with pytest.raises(BadInput, match="time_bucket"):
        load_all_data(client)


def test_symbol_at_two_venues_is_taken_from_binance(client):
    class Two(MemorySource):
        def list_markets(self):
            elsewhere = MemorySource(self._candles, exchange="kraken").list_markets()
            return [*elsewhere, *super().list_markets()]

    frame = pd.concat(client.load_candles(client.list_markets()[:1], datetime(2022, 1, 1), datetime(2022, 2, 1)))
    source = Two({TimeBucket.h4: frame}, exchange="binance", fee=0.002)

    assert create_binance_universe(["BTCUSDT"], TimeBucket.h4, client=source).get_single_pair().fee == 0.002
