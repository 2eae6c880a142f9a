"""A background process keeps pools at the opens of replayed candles, and ends when it is told to or is left alone."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import EvmError
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket, to_aware
from trading_dagster.evm.demo_market import DemoMarket, DemoPool, PoolKind, PoolPlan, deploy_demo_market
from trading_dagster.evm.dev_node import DevNode
from trading_dagster.evm.local_node import LocalNode, Mining, NodeSetting, run_local_node
from trading_dagster.evm.price_follower import FollowedPool, FollowPlan, PriceFollower, follow, follow_once
from trading_dagster.evm.price_mover import Move, PriceMover
from trading_dagster.live.clock import AcceleratedClock
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.replay_source import ReplaySource

COINBASE = (ChainId.centralised_exchange, "coinbase", "BTC", "USD")
DAILY_ETH = (ChainId.centralised_exchange, "bitstamp", "ETH", "USD")
WORLD_START = datetime(2018, 3, 1, 0, 30, tzinfo=UTC)
HOUR_S = 0.5
PLANS = (PoolPlan("WBTC", 10_000.0, 1e6), PoolPlan("WETH", 850.0, 1e6, base_decimals=18))

PARENT = """
import pickle, sys, time
from pathlib import Path
from trading_dagster.evm.price_follower import PriceFollower
if __name__ == "__main__":
    follower = PriceFollower(pickle.loads(Path(sys.argv[1]).read_bytes()))
    follower.start()
    print(follower._process.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def demo(evm_packages: Path) -> Iterator[tuple[LocalNode, DemoMarket]]:
    with run_local_node(evm_packages, NodeSetting(Mining.automatic)) as node:
        market = deploy_demo_market(node, node.accounts[0], PLANS, evm_packages)
        market.fund(node, node.accounts[1], {market.quote: 10**18} | {p.pair.base: 10**25 for p in market.pools})
        yield node, market


@dataclass
class ManualClock:
    moment: datetime

    def now(self) -> datetime:
        return self.moment


def plan_of(node: DevNode, market: DemoMarket, now: Callable[[], datetime], **more) -> FollowPlan:
    btc, eth = (market.get_pool(symbol, PoolKind.v2) for symbol in ("WBTC", "WETH"))
    pools = (FollowedPool(btc, COINBASE, TimeBucket.h1), FollowedPool(eth, DAILY_ETH, TimeBucket.d1))
    return FollowPlan(node.url, node.accounts[1], ReplaySource(EmbeddedSample(), now), pools, **more)


def running_clock() -> AcceleratedClock:
    return AcceleratedClock(WORLD_START, datetime.now(UTC), 3600 / HOUR_S)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{process_id}/stat").read_text().split(")")[-1].split()[:1]


def test_pools_are_at_the_opens_as_time_goes_by(demo: tuple[LocalNode, DemoMarket], tmp_path: Path):
    node, market = demo
    clock = running_clock()
    plan = plan_of(node, market, clock.now, log=tmp_path / "logs" / "prices.log")
    btc, eth = (item.pool for item in plan.pools)
    mover = PriceMover(node, node.accounts[2])
    seen: dict[datetime, float] = {}
    with PriceFollower(plan) as follower:

        def is_at_open() -> bool:
            """Compare pool and candle, both read within one bar."""
            before = plan.source.read_open(COINBASE, TimeBucket.h1)
            mid = float(mover.read_mid(btc))
            after = plan.source.read_open(COINBASE, TimeBucket.h1)
            assert before is not None
            if before == after and abs(mid / before[1] - 1) < 1e-8:
                seen[before[0]] = mid
            follower.check()
            return len(seen) == 8

        wait_for(is_at_open, f"the pool followed {seen} only")
        assert follower.is_running

        def is_daily_at_open() -> bool:
            daily = plan.source.read_open(DAILY_ETH, TimeBucket.d1)
            assert daily is not None
            return abs(float(mover.read_mid(eth)) / daily[1] - 1) < 1e-8

        wait_for(is_daily_at_open, "the daily pool is not at its open")
    assert not follower.is_running
    times = sorted(seen)
    assert times[-1] - times[0] >= timedelta(hours=7)
    assert len(set(seen.values())) > 5
    assert str(btc.pair) in (tmp_path / "logs" / "prices.log").read_text()
    stopped_at = mover.read_mid(btc)
    time.sleep(2 * HOUR_S)
    assert mover.read_mid(btc) == stopped_at


def test_each_open_is_followed_once(demo: tuple[LocalNode, DemoMarket]):
    node, market = demo
    clock = ManualClock(to_aware(datetime(2018, 3, 1, 5, 59)))
    plan = plan_of(node, market, clock.now)
    mover, reached = PriceMover(node, node.accounts[1]), {}

    def step(minutes: int) -> list[DemoPool]:
        clock.moment += timedelta(minutes=minutes)
        moves = follow_once(plan.source, plan.pools, mover, reached)
        assert all(isinstance(move, Move) for move in moves)
        return [item.pool for item in plan.pools if float(mover.read_mid(item.pool)) in {float(m.after) for m in moves}]

    btc, eth = (item.pool for item in plan.pools)
    assert step(0) == [btc, eth]
    assert step(0) == []
    assert step(1) == [btc]
    assert step(30) == []
    assert step(18 * 60) == [btc, eth]


@given(polls=st.integers(1, 5))
def test_following_ends_when_told(polls: int):
    class Quiet:
        def move(self, pool: DemoPool, price: float) -> Move:
            raise AssertionError("nothing to move")

    asked: list[float] = []

    def is_over(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) == polls

    reports: list[None] = []
    plan = FollowPlan("", "", ReplaySource(EmbeddedSample(), lambda: WORLD_START), (), poll_s=0.25)
    follow(plan, Quiet(), is_over, lambda: reports.append(None))  # type: ignore[arg-type]
    assert asked == [0.25] * polls
    assert reports == [None]


def test_follower_is_gone_after_its_parent_was_killed(demo: tuple[LocalNode, DemoMarket], tmp_path: Path):
    node, market = demo
    file = tmp_path / "plan"
    file.write_bytes(pickle.dumps(plan_of(node, market, running_clock().now)))
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    with subprocess.Popen([sys.executable, program, file], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_for(lambda: not is_alive(child), "the follower outlived its parent")


def test_follower_without_a_node_says_so(evm_packages: Path, tmp_path: Path):
    with run_local_node(evm_packages, NodeSetting(Mining.automatic)) as node:
        market = deploy_demo_market(node, node.accounts[0], PLANS, evm_packages)
        market.fund(node, node.accounts[1], {market.quote: 10**18} | {p.pair.base: 10**25 for p in market.pools})
        follower = PriceFollower(plan_of(node, market, running_clock().now, log=tmp_path / "log"))
        follower.start()
    wait_for(lambda: not follower.is_running, "the follower does not notice that the node is gone")
    with pytest.raises(EvmError, match=r"The price follower has ended: NodeUnavailable: 127\.0\.0\.1"):
        follower.check()
    follower.stop()
    follower.stop()
    with pytest.raises(EvmError, match="The price follower has ended: NodeUnavailable"):
        PriceFollower(plan_of(node, market, running_clock().now)).start()
