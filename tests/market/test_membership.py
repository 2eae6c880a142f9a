"""Members at a time are chosen with what was known then, and a universe knows when its pairs were members."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trading_dagster as td
from trading_dagster.domain.error import BadInput, MarketDataMissing
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.market_key import market_key, parse_market_key
from trading_dagster.market.membership import Membership, MembershipPeriod, select_by_volume, select_members
from trading_dagster.market.memory_source import MemorySource
from trading_dagster.market.pair_table import PairTable
from trading_dagster.market.source import Market

CEX = ChainId.centralised_exchange
START, END = datetime(2024, 1, 1), datetime(2024, 5, 1)
NAMES = st.from_regex(r"[A-Z0-9]{1,8}", fullmatch=True)


def make_source(volumes: dict[str, dict[int, float]]) -> MemorySource:
    """Give daily candles at price 2; volume by month; no candles in months that are not named."""
    days = pd.date_range(START, END, freq="D", inclusive="left").as_unit("us")
    frames = []
    for base, by_month in volumes.items():
        own = days[np.isin(days.month, list(by_month))]
        volume = own.month.map(by_month).to_numpy(dtype=float)
        prices = dict.fromkeys(("open", "high", "low", "close"), 2.0)
        frames.append(pd.DataFrame({"timestamp": own, "pair": f"{base}/USD", **prices, "volume": volume}))
    return MemorySource({TimeBucket.d1: pd.concat(frames, ignore_index=True)}, exchange="kraken", fee=0.001)


VOLUMES = {
    "AAA": {1: 10, 2: 1, 3: 1, 4: 100},
    "DEAD": {1: 9, 2: 9},
    "NEW": {3: 50, 4: 50},
    "TINY": {1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1},
}


def bases(membership: Membership, at: datetime) -> list[str]:
    return [member[2] for member in membership.at(at)]


@pytest.fixture(params=["source", "lake"])
def source(request, tmp_path):
    made = make_source(VOLUMES)
    if request.param == "source":
        return made
    import_candles(Lake(tmp_path), made, name="kraken")
    return Lake(tmp_path).source("kraken")


def test_members_are_those_with_most_volume_before_each_month(source):
    chosen = select_by_volume(source, TimeBucket.d1, top=2, start=datetime(2024, 2, 1), end=END)
    assert [period.since.month for period in chosen.periods] == [2, 3, 4]
    assert bases(chosen, datetime(2024, 2, 1)) == ["AAA", "DEAD"]
    assert bases(chosen, datetime(2024, 3, 31)) == ["DEAD", "AAA"]
    assert bases(chosen, datetime(2024, 4, 1)) == ["NEW", "AAA"]
    assert bases(chosen, datetime(2024, 1, 31)) == []
    assert bases(chosen, END) == []
    assert [member[2] for member in chosen.to_descriptions()] == ["AAA", "DEAD", "NEW"]
    assert chosen.periods[0].members[0] == (CEX, "kraken", "AAA", "USD", 0.001)
    assert chosen.to_frame()["rank"].tolist() == [1, 2] * 3


def test_a_candle_that_has_not_closed_does_not_count(source):
    at = datetime(2024, 4, 2)
    chosen = select_by_volume(
        source, TimeBucket.d1, top=1, start=at, end=END, every=timedelta(days=1), window=timedelta(1)
    )
    assert bases(chosen, at) == ["AAA"]
    before = select_by_volume(source, TimeBucket.d1, top=1, start=datetime(2024, 4, 1), end=at, window=timedelta(1))
    assert bases(before, datetime(2024, 4, 1)) == ["NEW"]


def test_members_may_be_limited_by_volume_and_to_pairs(source):
    options = {"top": 9, "start": datetime(2024, 2, 1), "end": datetime(2024, 3, 1)}
    rich = select_by_volume(source, TimeBucket.d1, min_volume=9 * 2 * 30, **options)
    assert bases(rich, datetime(2024, 2, 5)) == ["AAA", "DEAD"]
    named = select_by_volume(source, TimeBucket.d1, pairs=[(CEX, "kraken", "TINY", "USD")], **options)
    assert bases(named, datetime(2024, 2, 5)) == ["TINY"]


def test_a_universe_loads_the_dead_too_and_knows_when_each_was_a_member(source):
    chosen = select_by_volume(source, TimeBucket.d1, top=2, start=datetime(2024, 2, 1), end=END)
    dataset = td.load_partial_data(source, None, TimeBucket.d1, chosen.to_descriptions())
    universe = td.TradingStrategyUniverse.create_from_dataset(chosen.mark(dataset))
    lists = td.inclusion.membership_criteria(universe)
    by_id = {pair.internal_id: pair.base.token_symbol for pair in universe.pairs}
    for opened_at, ids in lists.items():
        closed_at = opened_at + timedelta(days=1)
        assert {by_id[i] for i in ids} == set(bases(chosen, closed_at.to_pydatetime())), opened_at
    with pytest.raises(BadInput, match="was never a member"):
        chosen.mark(td.load_partial_data(source, None, TimeBucket.d1))


def test_a_strategy_trades_members_only(source):
    registry = td.IndicatorRegistry()
    td.inclusion.define_on(registry, criteria=("membership",))
    members = []

    class Parameters:
        cycle_duration = td.CycleDuration.cycle_1d
        candle_time_bucket = TimeBucket.d1
        backtest_start, backtest_end = datetime(2024, 2, 2), datetime(2024, 4, 20)
        initial_cash, routing = 10_000, td.TradeRouting.default
        required_history_period = timedelta(days=2)

    def create_trading_universe(input):
        chosen = td.select_by_volume(
            input.client, TimeBucket.d1, top=2, start=datetime(2024, 2, 1), end=Parameters.backtest_end
        )
        dataset = td.load_partial_data(input.client, None, TimeBucket.d1, chosen.to_descriptions())
        return td.TradingStrategyUniverse.create_from_dataset(chosen.mark(dataset), "USD")

    def decide_trades(input):
        ids = input.indicators.get_indicator_value("inclusion_criteria") or []
        members.append((input.timestamp, {input.strategy_universe.get_pair_by_id(i).base.token_symbol for i in ids}))
        return []

    module = {"decide_trades": decide_trades, "create_indicators": registry.create_indicators}
    universe = create_trading_universe(td.CreateTradingUniverseInput(source, END, None, None, None))
    td.run_backtest(universe=universe, parameters=Parameters, progress=False, **module)
    assert {frozenset(names) for at, names in members if at < datetime(2024, 3, 1)} == {frozenset({"AAA", "DEAD"})}
    assert {frozenset(names) for at, names in members if at >= datetime(2024, 4, 2)} == {frozenset({"AAA", "NEW"})}


def test_a_rule_sees_what_was_listed_at_each_time():
    frame = pd.DataFrame(
        {
            "chain_id": 1,
            "exchange_slug": "uniswap-v3",
            "pool_address": ["0x1", "0x2", "0x3"],
            "base_symbol": ["OLD", "NEW", "DEAD"],
            "quote_symbol": "USDC",
            "created_at": [datetime(2021, 1, 1), datetime(2022, 6, 1), datetime(2021, 1, 1)],
            "ended_at": [None, None, datetime(2022, 3, 1)],
        }
    )
    seen = []

    def rule(table: PairTable, at: datetime) -> PairTable:
        seen.append((at, table.frame["base_symbol"].tolist()))
        return table.older_than(timedelta(days=30), at)

    chosen = select_members(PairTable.from_frame(frame), rule, start=datetime(2022, 1, 15), end=datetime(2022, 8, 1))
    assert [at for at, _ in seen] == [datetime(2022, 1, 15), *(datetime(2022, month, 1) for month in range(2, 8))]
    assert bases(chosen, datetime(2022, 2, 1)) == ["OLD", "DEAD"]
    assert bases(chosen, datetime(2022, 3, 1)) == ["OLD"]
    assert bases(chosen, datetime(2022, 6, 30)) == ["OLD"]
    assert bases(chosen, datetime(2022, 7, 1)) == ["OLD", "NEW"]


def test_bad_choices_are_refused():
    source = make_source(VOLUMES)
    with pytest.raises(BadInput, match="top is 0"):
        select_by_volume(source, TimeBucket.d1, top=0, start=START, end=END)
    with pytest.raises(BadInput, match="is not before end"):
        select_by_volume(source, TimeBucket.d1, top=1, start=END, end=START)
    with pytest.raises(MarketDataMissing, match="no h1 candles with volume"):
        select_by_volume(source, TimeBucket.h1, top=1, start=START, end=END)
    with pytest.raises(BadInput, match="each later"):
        Membership((MembershipPeriod(END, ()), MembershipPeriod(START, ())))


@given(
    NAMES,
    NAMES,
    st.sampled_from(["uniswap-v3", "my venue", "kraken"]),
    st.sampled_from(list(ChainId)),
    st.none() | st.floats(0, 0.9),
)
def test_the_name_of_a_market_tells_its_description(base, quote, slug, chain, fee):
    market = Market(chain, slug, f"{base}/{quote}", TimeBucket.d1, START, END, fee)
    assert parse_market_key(market_key(market)) == market.description
