"""Universes of some pairs, of several chains, and without a pair."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from trading_dagster.domain.error import BadInput, UnknownPair
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.exchange import Exchange
from trading_dagster.market.synthetic import generate_ohlcv_candles
from trading_dagster.market.universe import TradingStrategyUniverse

START, END = datetime(2024, 1, 1), datetime(2024, 2, 1)
PLACES = (
    (ChainId.ethereum, "uniswap-v3", "WETH"),
    (ChainId.base, "uniswap-v3", "WETH"),
    (ChainId.base, "sushi", "AERO"),
)


@pytest.fixture
def dataset() -> Dataset:
    pairs, venues, frames = [], [], []
    for number, (chain, slug, base) in enumerate(PLACES, 1):
        venue = Exchange(number, chain, f"0x{number:040x}", slug)
        token = AssetIdentifier(chain, f"0x{base.encode().hex():0>40}", base)
        usdc = AssetIdentifier(chain, f"0x{int(chain):040x}", "USDC", 6)
        pool = f"0x{100 + number:040x}"
        pairs.append(TradingPairIdentifier(token, usdc, pool, venue.address, number, number, 0.003, exchange_name=slug))
        venues.append(venue)
        frames.append(generate_ohlcv_candles(TimeBucket.d1, START, END, random_seed=number, pair_id=number))
    candles = pd.concat(frames, ignore_index=True)
    return Dataset(
        TimeBucket.d1, venues, pairs, candles, backtest_stop_loss_candles=candles, liquidity=candles, end_at=END
    )


def test_pairs_of_several_chains_share_the_reserve_of_the_first(dataset):
    named = [(chain, slug, base, "USDC") for chain, slug, base in PLACES]
    make = TradingStrategyUniverse.create_multichain_universe_by_pair_descriptions
    assert make(dataset, named, "USDC").get_reserve_asset().chain_id == ChainId.ethereum
    turned = make(dataset, named[::-1], "USDC")
    assert turned.get_reserve_asset().chain_id == ChainId.base
    assert turned.get_pair_count() == 3
    assert turned.data_universe.chains == {ChainId.ethereum, ChainId.base}
    assert make(dataset, named[2:], "USDC").get_single_pair().base.token_symbol == "AERO"
    with pytest.raises(BadInput, match="'DAI': the pairs are quoted in USDC"):
        make(dataset, named, "DAI")
    with pytest.raises(UnknownPair):
        make(dataset, [(ChainId.base, "sushi", "WETH", "USDC")], "USDC")


def test_pairs_of_one_exchange_by_symbols(dataset):
    make = TradingStrategyUniverse.create_limited_pair_universe
    one = make(dataset, ChainId.base, "uniswap-v3", {("WETH", "USDC")})
    assert one.get_single_pair().pool_address.endswith("66")
    assert make(dataset, ChainId.base, "sushi", [("AERO", "USDC")], ("AERO", "USDC")).get_reserve_asset().decimals == 6


def test_a_universe_without_a_pair_has_none_of_its_candles(dataset):
    whole = TradingStrategyUniverse.create_multichain_universe_by_pair_descriptions(
        dataset, [(chain, slug, base, "USDC") for chain, slug, base in PLACES], "USDC"
    )
    gone = whole.pairs[1]
    rest = whole.remove_pair(gone)
    assert [pair.internal_id for pair in rest.pairs] == [1, 3]
    for name in ("candles", "stop_loss_candles", "liquidity"):
        panel, before = getattr(rest, name), getattr(whole, name)
        assert panel.pair_ids == (1, 3)
        assert np.array_equal(panel.columns["close"][1], before.columns["close"][2])
    assert whole.get_pair_count() == 3
    assert rest.get_cache_key() != whole.get_cache_key()
    with pytest.raises(UnknownPair):
        rest.remove_pair(gone)
    with pytest.raises(BadInput, match="is the only pair"):
        rest.remove_pair(rest.pairs[0]).remove_pair(rest.pairs[1])


def test_a_clone_is_equal_and_another(dataset):
    whole = TradingStrategyUniverse.create_single_pair_universe(replace(dataset, end_at=None), (*PLACES[2], "USDC"))
    twin = whole.clone()
    assert twin is not whole
    assert twin.get_cache_key() == whole.get_cache_key()
    assert twin.is_open_ended_universe()
    assert not TradingStrategyUniverse.create_single_pair_universe(
        dataset, (*PLACES[2], "USDC")
    ).is_open_ended_universe()
