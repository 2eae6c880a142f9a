"""The demo's pools are real ones, and the mover brings them to the opens of real candles within its stated error."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from evm.node import PACKAGES_V3, install_packages
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadConfiguration, BadInput, PriceImpactToleranceExceeded
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.demo_market import DemoMarket, PoolKind, PoolPlan, deploy_demo_market
from trading_dagster.evm.endpoint import HttpEndpoint
from trading_dagster.evm.erc20 import APPROVE, BALANCE_OF, read_asset
from trading_dagster.evm.local_node import LocalNode, Mining, NodeSetting, run_local_node
from trading_dagster.evm.multicall import Multicall, Read
from trading_dagster.evm.price_mover import GET_RESERVES, SWAP_V2, PriceMover, choose_amount_in
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.loader import load_partial_data
from trading_dagster.market.mapped_source import MappedSource
from trading_dagster.market.replay_source import ReplaySource
from trading_dagster.market.universe import TradingStrategyUniverse

COINBASE = (ChainId.centralised_exchange, "coinbase", "BTC", "USD")
START_PRICE, DEPTH = 13_880.0, 2_000_000.0
FIVE_BPS = Fraction(5, 10_000)
PLANS = (
    PoolPlan("WBTC", START_PRICE, DEPTH),
    PoolPlan("WBTC", START_PRICE, DEPTH, PoolKind.v3, FIVE_BPS),
    PoolPlan("WETH", 750.0, DEPTH, base_decimals=18),
    PoolPlan("WETH", 750.0, DEPTH, PoolKind.v3, Fraction(1, 100), base_decimals=18),
)
RESERVES = st.integers(min_value=10**4, max_value=10**30)
FEES = st.sampled_from([Fraction(0), Fraction(25, 10_000), Fraction(3, 1000)])


@pytest.fixture(scope="module")
def made(evm_packages: Path) -> Iterator[tuple[LocalNode, DemoMarket]]:
    packages_v3 = install_packages(PACKAGES_V3, "evm-test-v3-1")
    with run_local_node(evm_packages, NodeSetting(Mining.automatic)) as node:
        market = deploy_demo_market(node, node.accounts[0], PLANS, evm_packages, packages_v3)
        market.fund(node, node.accounts[1], {market.quote: 10**18} | {p.pair.base: 10**25 for p in market.pools})
        yield node, market


@pytest.fixture
def demo(made: tuple[LocalNode, DemoMarket]) -> Iterator[tuple[LocalNode, DemoMarket, PriceMover]]:
    node, market = made
    snapshot = node.rpc("evm_snapshot")
    yield node, market, PriceMover(node, node.accounts[1])
    assert node.rpc("evm_revert", snapshot)


def sample_opens(count: int) -> list[float]:
    """Opens spread over all of the sample."""
    universe = TradingStrategyUniverse.create_from_dataset(
        load_partial_data(EmbeddedSample(), time_bucket=TimeBucket.h1, pairs=[COINBASE])
    )
    opens = universe.candles.columns["open"][0]
    return [float(price) for price in opens[:: len(opens) // count][:count]]


@pytest.mark.parametrize("place", range(len(PLANS)))
def test_mover_hits_two_hundred_opens_of_the_sample(demo: tuple[LocalNode, DemoMarket, PriceMover], place: int):
    node, market, mover = demo
    pool = market.pools[place]
    scale = 1.0 if pool.pair.base.token_symbol == "WBTC" else 0.05
    opens = [price * scale for price in sample_opens(200)]
    assert len(set(opens)) > 150
    worst = Fraction(0)
    for price in opens:
        move = mover.move(pool, price)
        assert move.after == mover.read_mid(pool)
        worst = max(worst, move.error)
        if pool.kind is PoolKind.v2:
            reserves = node.call(pool.pair.pool_address, GET_RESERVES)[:2]
            assert move.error <= Fraction(3, min(reserves))
        else:
            assert move.error < Fraction(1, 10**15)
    assert worst < Fraction(1, 10**8)


def test_liquidity_grows_by_the_fees_of_the_mover_only(demo: tuple[LocalNode, DemoMarket, PriceMover]):
    node, market, mover = demo
    pool = market.get_pool("WBTC", PoolKind.v2)

    def liquidity() -> float:
        base, quote, _ = node.call(pool.pair.pool_address, GET_RESERVES)
        return float(base * quote) ** 0.5

    before, opens = liquidity(), [START_PRICE, *sample_opens(100)]
    for price in opens[1:]:
        mover.move(pool, price)
    moved = sum(abs(after / price - 1) for price, after in pairwise(opens))
    assert 1 < liquidity() / before < 1 + float(pool.fee) * moved / 2
    assert liquidity() / before == pytest.approx(1 + float(pool.fee) * moved / 4, rel=2e-3)


def test_price_is_restored_after_somebody_traded(demo: tuple[LocalNode, DemoMarket, PriceMover]):
    node, market, mover = demo
    pool = market.get_pool("WBTC", PoolKind.v2)
    mover.move(pool, 9_000.0)
    path = [market.quote.address, pool.pair.base.address]
    node.do(market.owner, market.quote.address, APPROVE.encode(pool.router, 2**256 - 1))
    node.do(market.owner, pool.router, SWAP_V2.encode(10_000 * 10**6, 0, path, market.owner, 2**64))
    moved = mover.read_mid(pool)
    assert moved > 9_000
    move = mover.move(pool, 9_000.0)
    assert move.before == moved
    assert move.error < Fraction(1, 10**9)
    assert mover.move(pool, 9_000.0).tx_hash is None


def test_mover_without_tokens_says_that_it_missed(demo: tuple[LocalNode, DemoMarket, PriceMover]):
    node, market, _ = demo
    poor = node.accounts[2]
    pool = market.get_pool("WBTC", PoolKind.v3)
    market.fund(node, poor, {market.quote: 10**6, pool.pair.base: 1})
    with pytest.raises(PriceImpactToleranceExceeded, match=f"give {poor} more tokens"):
        PriceMover(node, poor).move(pool, START_PRICE * 1.01)
    with pytest.raises(BadInput, match="must be above 0"):
        PriceMover(node, poor).move(pool, 0.0)


@given(reserve_in=RESERVES, reserve_out=RESERVES, change=st.floats(1.0, 50.0), fee=FEES)
def test_chosen_input_gives_the_wanted_ratio(reserve_in: int, reserve_out: int, change: float, fee: Fraction):
    ratio = Fraction(reserve_in, reserve_out) * Fraction(change)
    amount = choose_amount_in(reserve_in, reserve_out, ratio, fee)
    kept = amount * (1 - fee)
    out = int(kept * reserve_out // (reserve_in + kept))
    assert amount == 0 or out > 0
    after_in, after_out = reserve_in + amount, reserve_out - out
    assert abs(Fraction(after_in, after_out) / ratio - 1) <= Fraction(3, min(after_in, after_out))
    assert choose_amount_in(reserve_in, reserve_out, ratio / (change + 1), fee) == 0


def test_tokens_pools_and_multicall_answer_as_on_public_chains(demo: tuple[LocalNode, DemoMarket, PriceMover]):
    node, market, mover = demo
    client = EvmClient([HttpEndpoint(node.url)], market.chain_id)
    head = client.connect()
    for plan, pool in zip(PLANS, market.pools, strict=True):
        assert read_asset(client, pool.pair.base.address, head) == pool.pair.base
        assert (pool.pair.base.token_symbol, pool.pair.base.decimals) == (plan.base_symbol, plan.base_decimals)
        assert (pool.pair.exchange_name, pool.pair.fee) == (plan.kind.value, float(plan.fee))
        assert float(mover.read_mid(pool)) == pytest.approx(plan.price, rel=1e-8)
        balances = [node.call(token.address, BALANCE_OF, pool.pair.pool_address) for token in (pool.pair.quote,)]
        assert balances[0][0] == pytest.approx(plan.depth * 10**6, rel=1e-6)
    reads = [Read(market.quote.address, BALANCE_OF, (node.accounts[1],))] * 3
    assert Multicall(client).read(reads, head) == [(10**18,)] * 3


def test_replayed_candles_are_traded_in_the_pool(demo: tuple[LocalNode, DemoMarket, PriceMover]):
    _, market, mover = demo
    pool = market.get_pool("WBTC", PoolKind.v2)
    now = datetime(2018, 3, 1, 12, tzinfo=UTC)
    replay = ReplaySource(MappedSource(EmbeddedSample(), {COINBASE: pool.pair}), lambda: now)
    universe = TradingStrategyUniverse.create_from_dataset(
        load_partial_data(
            replay, time_bucket=TimeBucket.h1, pairs=[COINBASE], required_history_period=timedelta(days=1)
        )
    )
    assert universe.get_single_pair() == pool.pair
    assert universe.get_reserve_asset() == market.quote
    found = replay.read_open(COINBASE, TimeBucket.h1)
    assert found is not None
    assert found[0] == pd.Timestamp(2018, 3, 1, 12)
    mover.move(pool, found[1])
    assert float(mover.read_mid(pool)) == pytest.approx(universe.candles.columns["open"][0, -1], rel=1e-9)


def test_impossible_plans_are_refused(made: tuple[LocalNode, DemoMarket], evm_packages: Path):
    node, market = made
    with pytest.raises(BadConfiguration, match=r"fee 1/100 is none of 0\.003"):
        PoolPlan("WBTC", 1.0, 1.0, fee=Fraction(1, 100))
    with pytest.raises(BadConfiguration, match="must be > 0"):
        PoolPlan("WBTC", 0.0, 1.0)
    with pytest.raises(BadConfiguration, match="planned twice"):
        deploy_demo_market(node, market.owner, [PLANS[0], PLANS[0]], evm_packages)
    with pytest.raises(BadConfiguration, match="install_v3"):
        deploy_demo_market(node, market.owner, [PLANS[1]], evm_packages)
    with pytest.raises(BadConfiguration, match="No pool of DOGE on uniswap-v2: there are WBTC on uniswap-v2"):
        market.get_pool("DOGE", PoolKind.v2)
