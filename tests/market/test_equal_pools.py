"""Pools with the same symbols, fee and exchange are different markets of a lake; old lakes learn to tell them apart."""

import shutil
from datetime import datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket
from trading_dagster.live.universe import describe_pairs
from trading_dagster.market.feed import _describe
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_compaction import compact_lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.lake_quality import report_quality
from trading_dagster.market.lake_view import create_lake_views
from trading_dagster.market.loader import load_partial_data
from trading_dagster.market.market_key import market_key, parse_market_key
from trading_dagster.market.membership import select_by_volume
from trading_dagster.market.month_file import VERSION
from trading_dagster.market.month_import import read_repairs
from trading_dagster.market.source import Market, choose_market
from trading_dagster.market.universe import TradingStrategyUniverse

D1 = TimeBucket.d1
CHAIN, SLUG, FEE = ChainId.ethereum, "uniswap-v2", 0.003
START, END = datetime(2024, 1, 20), datetime(2024, 2, 9)
SECOND_VERSION = Path(__file__).parent / "lake_v2"
USDC, FAKE_USDC = (AssetIdentifier(CHAIN, "0x" + digits * 20, "USDC", 6) for digits in ("01", "0f"))
WETH = AssetIdentifier(CHAIN, "0x" + "02" * 20, "WETH", 18)
REAL, FAKE = (
    TradingPairIdentifier(WETH, quote, "0x" + digits * 20, "0x" + "30" * 20, fee=FEE, exchange_name=SLUG)
    for quote, digits in ((USDC, "a1"), (FAKE_USDC, "b2"))
)
NAME = (CHAIN, SLUG, "WETH", "USDC", FEE)


class Pools:
    """Pools with a constant price each, of which the old lake in lake_v2 has the first."""

    name = "chain"

    def __init__(self, prices):
        self.prices = prices
        self.asked = []

    def list_markets(self):
        return [Market(CHAIN, SLUG, "WETH/USDC", D1, START, END, FEE, pool) for pool in self.prices]

    def load_candles(self, markets, start, end):
        (market,) = markets
        self.asked.append((market.identifier.pool_address, start))
        close, volume = self.prices[market.identifier], 1.0 if market.identifier == REAL else 5.0
        times = pd.date_range(START, END, freq="D", unit="us")
        prices = {"open": close - 0.5, "high": close + 0.5, "low": close - 1.5, "close": close, "volume": volume}
        frame = pd.DataFrame({"timestamp": times, "pair": "WETH/USDC", **prices})
        yield frame[(frame["timestamp"] >= start) & (frame["timestamp"] < end)]


BOTH = {REAL: 100.5, FAKE: 7.5}


def closes_of(lake):
    """Return by pool the different closes, and how many candles there are."""
    source = lake.source("chain")
    found = {}
    for market in source.list_markets():
        frame = pd.concat(source.load_candles([market], START, datetime(2025, 1, 1)))
        found[market.identifier.pool_address] = (sorted(set(frame["close"])), len(frame))
    return found


@pytest.fixture
def lake(tmp_path):
    lake = Lake(tmp_path / "lake")
    assert import_candles(lake, Pools(BOTH)).rows_added == 2 * 21
    return lake


@pytest.fixture
def old(tmp_path):
    """Return a copy of a lake that the second version wrote: the first pool, of which one candle was dropped."""
    shutil.copytree(SECOND_VERSION, tmp_path / "old")
    return Lake(tmp_path / "old")


def test_both_pools_are_kept_and_given_back(lake):
    assert closes_of(lake) == {REAL.pool_address: ([100.5], 21), FAKE.pool_address: ([7.5], 21)}
    assert lake.find_damaged() == []
    again = Pools(BOTH)
    assert import_candles(lake, again).rows_added == 0
    assert again.asked == []


def test_universe_has_each_pool_with_its_own_price(lake):
    source = lake.source("chain")
    dataset = load_partial_data(source, None, D1, stop_loss_time_bucket=D1)
    universe = TradingStrategyUniverse.create_from_dataset(dataset, USDC)
    prices = {pair.pool_address: set(dataset.candles.columns["close"][row]) for row, pair in enumerate(dataset.pairs)}
    assert prices == {REAL.pool_address: {100.5}, FAKE.pool_address: {7.5}}
    described = describe_pairs(universe)
    assert [description[1] for description in described] == [REAL.pool_address, FAKE.pool_address]
    closed = source.read_availability(described, D1)
    assert [(item.pair, item.last_candle_at) for item in closed] == [(each, END) for each in described]
    exact = (CHAIN, FAKE.pool_address.upper().replace("0X", "0x"), "WETH", "USDC")
    assert universe.get_pair_by_human_description(exact).pool_address == FAKE.pool_address
    with pytest.raises(BadInput, match=f"fits 2 pairs: name one of .*{REAL.pool_address}.*{FAKE.pool_address}"):
        universe.get_pair_by_human_description(NAME)


def test_description_names_one_by_its_address(lake):
    source = lake.source("chain")
    markets = source.list_markets()
    with pytest.raises(BadInput, match=f"fits 2 markets: name .*{REAL.pool_address}.* or .*{FAKE.pool_address}"):
        choose_market(markets, NAME, D1, "lake")
    for pool in (REAL, FAKE):
        exact = (CHAIN, pool.pool_address, "WETH", "USDC", FEE)
        assert choose_market(markets, exact, D1, "lake").identifier == pool
        assert [pair.pool_address for pair in load_partial_data(source, None, D1, [exact]).pairs] == [pool.pool_address]


def test_key_tells_description_and_pool():
    market, _ = Pools(BOTH).list_markets()
    assert market_key(market) == f"WETH/USDC@uniswap-v2 1 0.003 {REAL.pool_address}"
    assert parse_market_key(market_key(market)) == market.exact_description


def test_quality_and_members_do_not_mix_them(lake):
    source = lake.source("chain")
    report = report_quality(source, D1)
    assert report[["pair", "rows", "duplicates"]].to_numpy().tolist() == [["WETH/USDC", 21, 0]] * 2
    month = _describe(source, D1, datetime(2024, 1, 1), datetime(2024, 3, 1))
    assert month.candles.groupby("pair").size().tolist() == [21, 21]
    for each in (source, Pools(BOTH)):
        chosen = select_by_volume(each, D1, top=1, start=datetime(2024, 2, 1), end=END)
        assert [member[1] for member in chosen.to_descriptions()] == [REAL.pool_address]  # 1 x 100.5 > 5 x 7.5
        marked = chosen.mark(load_partial_data(each, None, D1, chosen.to_descriptions()))
        assert [pair.pool_address for pair in marked.pairs] == [REAL.pool_address]


def test_members_are_chosen_among_pools_by_name_or_address(lake, tmp_path):
    one = Lake(tmp_path / "one")
    import_candles(one, Pools({REAL: 100.5}))
    span = {"top": 5, "start": datetime(2024, 2, 1), "end": END}
    unlisted = (CHAIN, SLUG, "WETH", "DAI", FEE)
    for each in (one.source("chain"), Pools({REAL: 100.5})):
        for name in (NAME, NAME[:4], (CHAIN, REAL.pool_address, *NAME[2:])):
            chosen = select_by_volume(each, D1, pairs=[name, unlisted], **span)
            assert [member[1] for member in chosen.to_descriptions()] == [REAL.pool_address]
    for each in (lake.source("chain"), Pools(BOTH)):
        with pytest.raises(
            BadInput, match=f"fits several pools: name .*{REAL.pool_address}.* or .*{FAKE.pool_address}"
        ):
            select_by_volume(each, D1, pairs=[NAME], **span)
        chosen = select_by_volume(each, D1, pairs=[(CHAIN, FAKE.pool_address, *NAME[2:])], **span)
        assert [member[1] for member in chosen.to_descriptions()] == [FAKE.pool_address]


def test_old_lake_is_read_under_the_names_of_today(old):
    assert {content.version for _, content in old.read_contents("chain")} == {2}
    assert closes_of(old) == {REAL.pool_address: ([100.5], 20)}
    assert old.find_damaged() == []
    (market,) = old.source("chain").list_markets()
    keys = old.query("SELECT DISTINCT market, pair, exchange FROM candles")
    assert keys.to_numpy().tolist() == [[market_key(market), "WETH/USDC", SLUG]]
    chosen = select_by_volume(old.source("chain"), D1, top=1, start=datetime(2024, 2, 1), end=END)
    assert chosen.to_descriptions() == [market.exact_description]


def test_old_lake_takes_the_other_pool_beside(old):
    source = Pools(BOTH)
    assert import_candles(old, source, end_at=datetime(2024, 2, 1)).rows_added == 12
    assert {pool for pool, _ in source.asked} == {FAKE.pool_address}  # the first one is known to be there
    assert [content.version for _, content in old.read_contents("chain")] == [VERSION, 2]
    assert closes_of(old) == {REAL.pool_address: ([100.5], 20), FAKE.pool_address: ([7.5], 12)}
    assert import_candles(old, source).rows_added == 9
    assert closes_of(old) == {REAL.pool_address: ([100.5], 20), FAKE.pool_address: ([7.5], 21)}
    assert old.find_damaged() == []


@pytest.mark.parametrize("how", ["import", "compaction"])
def test_record_of_repairs_moves_with_its_month(old, how):
    month = old.month_path("chain", D1, "2024-02")
    key = f"WETH/USDC@uniswap-v2 1 0.003 {REAL.pool_address}"
    before = read_repairs(month)
    assert before["market"].astype(str).tolist() == [key]
    if how == "import":
        import_candles(old, Pools(BOTH))
    else:
        assert len(compact_lake(old).migrated) == 2
        assert compact_lake(old).rewritten == []
        assert closes_of(old) == {REAL.pool_address: ([100.5], 20)}
    assert {content.version for _, content in old.read_contents("chain")} == {VERSION}
    assert pd.read_parquet(month.with_name("2024-02.repairs.parquet"))["market"].tolist() == [key]
    assert old.find_damaged() == []


def test_coverage_names_markets_as_candles_do(lake):
    with duckdb.connect() as connection:
        create_lake_views(connection, lake)
        rows = connection.sql("SELECT DISTINCT market FROM coverage JOIN candles USING (market) ORDER BY 1").fetchall()
    assert [key for (key,) in rows] == [market_key(market) for market in lake.source("chain").list_markets()]
