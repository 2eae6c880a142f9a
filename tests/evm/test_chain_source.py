"""Candles from a real node, after many swaps, reorgs, bad answers and kills: a rescan's, and the pools' own prices."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evm.deployment import PATIENT
from evm.faulty_endpoint import FaultyEndpoint
from evm.naive_candle import naive_candles
from evm.node import CHAIN_ID, run_anvil
from evm.swap_crowd import SwapWorld, make_swap_world

from trading_dagster.domain.error import BadInput, EventsMissing
from trading_dagster.domain.time import TimeBucket
from trading_dagster.evm.chain_data import LOCAL
from trading_dagster.evm.chain_source import ChainSource
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.endpoint import HttpEndpoint
from trading_dagster.evm.erc20 import read_balance, transfer
from trading_dagster.evm.event_scan import ScanSetting
from trading_dagster.evm.log_reader import SpanSetting
from trading_dagster.evm.pool import ChainPool, read_pool
from trading_dagster.evm.uniswap_v2 import GET_RESERVES
from trading_dagster.evm.uniswap_v3 import SLOT0
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.loader import load_partial_data

START, END = datetime(2000, 1, 1), datetime(2100, 1, 1)
BLOCK_S = 13
M1, M5 = TimeBucket.m1, TimeBucket.m5
EXACT = ["timestamp", "open", "high", "low", "close", "buys", "sells"]
SETTING = ScanSetting(final_depth=12, span=SpanSetting(first=50), flush_pieces=2)

RESUMED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from evm.test_chain_source import open_source
from trading_dagster.market import atomic_file

real_sync, calls = atomic_file.sync, 0

def sync_or_die(path):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    real_sync(path)

atomic_file.sync = sync_or_die
open_source(sys.argv[1], Path(sys.argv[2])).refresh()
"""


@pytest.fixture(scope="module")
def world(evm_packages: Path) -> Iterator[SwapWorld]:
    with run_anvil(evm_packages) as node:
        world = make_swap_world(node, evm_packages)
        node.rpc("anvil_setBlockTimestampInterval", BLOCK_S)
        yield world


def make_source(world: SwapWorld, folder: Path, client: EvmClient | None = None, **more) -> ChainSource:
    options = {"setting": SETTING, "buckets": (M1, M5), "confirmations": 1, "pools": world.pools} | more
    return ChainSource(client or world.client, LOCAL, options.pop("pools"), folder, **options)


def recent_pools(world: SwapWorld) -> list[ChainPool]:
    """Return the pools as read from now on: what they hold is read from the chain's state."""
    return [replace(pool, first_block=world.node.head() + 1) for pool in world.pools]


def open_source(url: str, folder: Path) -> ChainSource:
    """Open a source in another process, which finds out the pools by itself."""
    client = EvmClient([HttpEndpoint(url)], CHAIN_ID, PATIENT)
    head = client.read_head()
    addresses = (folder.parent / "pools.txt").read_text().split()
    pools = [read_pool(client, LOCAL, address, head, first_block=0, quote="USD") for address in addresses]
    setting = ScanSetting(final_depth=12, span=SpanSetting(first=5, most=5), flush_pieces=3)
    return ChainSource(client, LOCAL, pools, folder, setting=setting, buckets=(M1, M5), confirmations=1)


def all_candles(source: ChainSource) -> dict[tuple[str, TimeBucket], pd.DataFrame]:
    return {
        (market.exchange_slug, market.bucket): next(source.load_candles([market], START, END)).reset_index(drop=True)
        for market in source.list_markets()
    }


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for key, frame in one.items():
        pd.testing.assert_frame_equal(frame, other[key], check_exact=True)


def assert_exact(world: SwapWorld, found: dict) -> int:
    """Compare with the naive candles; return how many swaps there are."""
    swaps = 0
    for pool in world.pools:
        for bucket in (M1, M5):
            naive = naive_candles(world.node, pool, bucket.to_timedelta())
            frame = found[pool.exchange_slug, bucket]
            pd.testing.assert_frame_equal(frame[EXACT], naive[EXACT], check_exact=True, check_dtype=False)
            np.testing.assert_allclose(frame["volume"], naive["volume"], rtol=1e-13)
        swaps += int(naive["buys"].sum() + naive["sells"].sum())
    return swaps


@pytest.mark.slow
def test_20000_swaps_with_reorgs_equal_a_full_rescan_and_the_exact_prices_of_the_pools(world, tmp_path):
    node, draw = world.node, random.Random(4)
    followed = make_source(world, tmp_path / "followed")
    orphaned = set()
    for block in range(260):
        world.trade(per_pool=50, seed=block)
        if block % 5 == 0:
            followed.refresh()
        if block % 16 == 15:
            seen = followed.refresh()
            depth = 20 if block == 111 else draw.randint(1, 5)
            node.rpc("anvil_reorg", depth, [])
            if node.rpc("eth_getBlockByNumber", hex(seen.number), False)["hash"] != seen.hash:
                orphaned.add(seen.hash)
    node.mine(3)
    found = all_candles(followed)
    assert len(orphaned) >= 10
    assert_same(found, all_candles(make_source(world, tmp_path / "rescanned")))
    assert assert_exact(world, found) >= 20_000
    head = followed.refresh()
    for pool in world.pools:
        last = found[pool.exchange_slug, M1].iloc[-1]
        held = {
            token: read_balance(world.client, token.address, pool.address, head) for token in (pool.base, pool.quote)
        }
        base, quote = (Fraction(held[token], 10**token.decimals) for token in (pool.base, pool.quote))
        if pool.exchange_slug == "uniswap-v2":
            reserve0, reserve1, _ = node.call(pool.address, GET_RESERVES)
            pair = (reserve0, reserve1) if pool.is_base_token0 else (reserve1, reserve0)
            price = Fraction(pair[1], pair[0])
        else:
            price = Fraction(node.call(pool.address, SLOT0)[0] ** 2, 2**192)
            price = price if pool.is_base_token0 else 1 / price
        price *= Fraction(10**pool.base.decimals, 10**pool.quote.decimals)
        assert last["close"] == float(price)
        assert last["tvl_close"] == pytest.approx(float(quote + base * price), rel=1e-14)


def test_a_node_that_errs_lies_and_limits_gives_the_same_candles_or_a_clear_error(world, tmp_path):
    pools = recent_pools(world)
    for block in range(60):
        world.trade(per_pool=5, seed=1000 + block)
    expected = all_candles(make_source(world, tmp_path / "good", pools=pools))
    told: dict[str, int] = {}
    for seed in range(10):
        endpoint = FaultyEndpoint(
            HttpEndpoint(world.node.url), share=0.15, seed=seed, most_blocks=37, most_logs=None if seed % 2 else 300
        )
        client = EvmClient([endpoint], CHAIN_ID, PATIENT, sleep=lambda _: None)
        source = make_source(world, tmp_path / f"faulty-{seed}", client, pools=pools)
        assert_same(all_candles(source), expected)
        told = {kind: told.get(kind, 0) + count for kind, count in endpoint.told.items()} | {
            kind: count for kind, count in told.items() if kind not in endpoint.told
        }
    assert {"truncated", "stale", "empty", "unavailable", "broken"} <= told.keys()


def test_a_node_that_always_leaves_out_events_is_refused(world, tmp_path):
    good, pools = HttpEndpoint(world.node.url), recent_pools(world)
    for block in range(20):
        world.trade(per_pool=2, seed=3000 + block)

    class Deaf:
        name = "deaf"

        def request(self, method, parameters):
            answer = good.request(method, parameters)
            return answer[:-4] if method == "eth_getLogs" else answer

    client = EvmClient([Deaf()], CHAIN_ID, PATIENT, sleep=lambda _: None)
    with pytest.raises(EventsMissing, match="use another node"):
        make_source(world, tmp_path, client, pools=pools).refresh()


def test_a_scan_that_is_killed_anywhere_goes_on_where_it_was(world, tmp_path):
    (tmp_path / "pools.txt").write_text("\n".join(pool.address for pool in world.pools))
    folder, tests = tmp_path / "events", str(Path(__file__).parent.parent)
    deaths = 0
    for point in (2, 5, 9, 14):
        command = [sys.executable, "-c", RESUMED, world.node.url, str(folder), str(point), tests]
        deaths += subprocess.run(command, timeout=120, check=False).returncode == -signal.SIGKILL
    assert deaths == 4
    resumed = open_source(world.node.url, folder)
    assert_same(all_candles(resumed), all_candles(open_source(world.node.url, tmp_path / "other")))
    assert_exact(world, all_candles(resumed))
    assert not list(folder.rglob("*.tmp")) or all(path.name.startswith(".") for path in folder.rglob("*.tmp"))


def test_a_bar_is_closed_by_the_chain_and_known_to_have_had_no_trades(world, tmp_path):
    source = make_source(world, tmp_path, pools=recent_pools(world))
    world.trade(per_pool=1, seed=7)
    description = next(market.description for market in source.list_markets() if market.bucket is M1)
    traded_at = world.node.timestamp()
    bar = datetime(1970, 1, 1) + timedelta(seconds=traded_at // 60 * 60)
    (before,) = source.read_availability([description], M1)
    assert before.newest_at < bar
    assert not before.is_ready(bar + timedelta(minutes=1))
    world.node.mine(6)
    (after,) = source.read_availability([description], M1)
    assert after.last_candle_at == bar
    assert after.is_ready(bar + timedelta(minutes=1))
    world.node.mine(20)
    (quiet,) = source.read_availability([description], M1)
    assert quiet.last_candle_at == bar
    assert quiet.last_supposed_candle_at >= bar + timedelta(minutes=3)
    assert quiet.is_ready(quiet.last_supposed_candle_at + timedelta(minutes=1))


def test_settled_candles_go_into_the_lake_with_tvl_and_grow(world, tmp_path):
    source = make_source(world, tmp_path / "events", pools=recent_pools(world))
    lake = Lake(tmp_path / "lake")
    for round_ in range(2):
        for block in range(8):
            world.trade(per_pool=2, seed=2000 + 10 * round_ + block)
        world.node.mine(15)
        import_candles(lake, source.settled(), name="chain", bucket=M1)
    stored = lake.source("chain")
    for market in stored.list_markets():
        kept = pd.concat(list(stored.load_candles([market], START, END)))
        fresh = next(source.load_candles([market], START, END))
        fresh = fresh[fresh["timestamp"] < source.settled_end(M1)]
        columns = ["timestamp", "open", "high", "low", "close", "volume"]
        pd.testing.assert_frame_equal(
            kept[columns].reset_index(drop=True), fresh[columns].reset_index(drop=True), check_exact=True
        )
    counts = lake.query("SELECT exchange, sum(buys + sells) AS swaps, count(tvl_open) AS n FROM candles GROUP BY 1")
    assert (counts["swaps"] > 0).all()
    assert (counts["n"] > 0).all()
    dataset = load_partial_data(stored, None, M5, [stored.list_markets()[0].description], liquidity=True)
    assert dataset.liquidity is not None
    assert dataset.pairs[0].pool_address == stored.list_markets()[0].identifier.pool_address


def test_tokens_sent_to_a_pool_do_not_count_and_do_not_stop_the_source(world, tmp_path, caplog):
    source = make_source(world, tmp_path, pools=recent_pools(world))
    pool = world.pools[1]
    world.trade(per_pool=1, seed=99)
    source.refresh()
    world.node.do(world.market.owner, world.market.usd, transfer(world.market.usd, pool.address, 10**9).data)
    source.refresh()
    assert "beyond its events" in caplog.text
    world.trade(per_pool=1, seed=100)
    source.refresh()


def test_more_confirmations_than_depth_are_refused(world, tmp_path):
    with pytest.raises(BadInput, match="final_depth 12 is less than the 20 confirmations"):
        make_source(world, tmp_path, confirmations=20)
