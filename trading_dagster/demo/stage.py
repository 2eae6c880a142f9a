"""The stage of the live demo: a local chain with a pool that follows real candles, a wallet, and a deployment file."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.evm.demo_market import DemoMarket, DemoPool, PoolKind, PoolPlan, deploy_demo_market
from trading_dagster.evm.local_node import LocalNode, NodeSetting, run_local_node
from trading_dagster.evm.local_package import install_v2, install_v3
from trading_dagster.evm.price_follower import FollowedPool, FollowPlan, PriceFollower
from trading_dagster.evm.wallet import HotWallet
from trading_dagster.live.deployment import Deployment
from trading_dagster.live.deployment_file import FOLDERS_VARIABLE, read_deployment
from trading_dagster.live.live_home import HOME_VARIABLE, LiveHome
from trading_dagster.live.opening import open_clock
from trading_dagster.market.atomic_file import exclusive
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.replay_source import ReplaySource

DEMO_ID = "live_demo"
RPC_VARIABLE = "TRADING_DAGSTER_DEMO_RPC"
KEY_VARIABLE = "TRADING_DAGSTER_DEMO_KEY"
DATA_PAIR = (ChainId.centralised_exchange, "coinbase", "BTC", "USD")
DATA_NAME = "BTC/USD@coinbase"
KINDS = {PoolKind.v2: "uniswap_v2", PoolKind.v3: "uniswap_v3"}
MOVER_QUOTE, MOVER_BASE = 10**24, 10**24
CANDLE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class DemoSetting:
    """What is staged.

    Args:
        folder: Where all files go; it must not have been used for a demo before, because each has a chain of its own.
        strategy: The strategy file; it trades hourly BTC/USD.
        parameters: What to change of its Parameters, as a deployment file has them.
        start: First moment of the replayed world, aware UTC.
        hour_s: Wall-clock seconds in which an hour of the replayed world passes: one cycle.
        margin_s: Wall-clock seconds after a candle's close at which the strategy gets it. Until then the pool is
            brought to the next candle's open.
        kind: Uniswap v2 or v3.
        fee: Of the pool.
        depth: USD in the pool, and as much again in BTC.
        cash: USD in the strategy's wallet.
        block_time_s: Seconds between blocks.
    """

    folder: Path
    strategy: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    start: datetime = datetime(2018, 4, 6, 4, 30, tzinfo=UTC)
    hour_s: float = 30.0
    margin_s: float = 1.0
    kind: PoolKind = PoolKind.v2
    fee: Fraction = Fraction(3, 1000)
    depth: float = 5_000_000.0
    cash: int = 10_000
    block_time_s: float = 0.5

    def __post_init__(self) -> None:
        """Check."""
        if not 0 < self.margin_s < self.hour_s:
            raise BadConfiguration(
                f"An hour takes {self.hour_s:g} s and its candle comes {self.margin_s:g} s after it: the candle must "
                "come before the next hour is over"
            )

    @property
    def speed(self) -> float:
        """Return how many times as fast as the wall clock the replayed world runs."""
        return CANDLE.total_seconds() / self.hour_s


@dataclass(frozen=True, slots=True)
class Stage:
    """What is there while the demo runs.

    While it is, this process and its children have the Dagster home, the deployment, the node's URL and the wallet's
    key in their environment. The key is nowhere else: it is made for this demo and forgotten with it.
    """

    deployment: Deployment
    home: LiveHome
    node: LocalNode
    market: DemoMarket
    pool: DemoPool
    wallet: str
    follower: PriceFollower

    def check(self) -> None:
        """Raise EvmError when the node or the price follower has ended."""
        self.follower.check()


@contextmanager
def open_stage(setting: DemoSetting, packages: Path | None = None, packages_v3: Path | None = None) -> Iterator[Stage]:
    """Stage the demo while the block runs.

    Args:
        setting: What is staged.
        packages: Of `local_package.install_v2`; None installs them on first use.
        packages_v3: Of `local_package.install_v3`; None installs them when they are needed.

    Raises:
        BadConfiguration: The folder was used before, or npm is missing; the message says what to do.
        NodeUnavailable: The node does not start.
    """
    packages = packages or install_v2()
    if setting.kind is PoolKind.v3 and packages_v3 is None:
        packages_v3 = install_v3()
    folder = _claim(setting.folder)
    first = ReplaySource(EmbeddedSample(), lambda: setting.start).read_open(DATA_PAIR, TimeBucket.h1)
    if first is None:
        raise BadConfiguration(f"start {setting.start} is before the first candle of {DATA_NAME}")
    with ExitStack() as stack:
        node = stack.enter_context(
            run_local_node(packages, NodeSetting(block_time_s=setting.block_time_s, log=folder / "log" / "node.log"))
        )
        owner, mover = node.accounts[:2]
        plan = PoolPlan("WBTC", first[1], setting.depth, setting.kind, setting.fee)
        market = deploy_demo_market(node, owner, [plan], packages, packages_v3)
        (pool,) = market.pools
        market.fund(node, mover, {market.quote: MOVER_QUOTE, pool.pair.base: MOVER_BASE})
        file = folder / "deploy" / f"{DEMO_ID}.yaml"
        stack.enter_context(
            _environment(
                {
                    RPC_VARIABLE: node.url,
                    KEY_VARIABLE: "0x" + secrets.token_hex(32),
                    HOME_VARIABLE: str(folder / "dagster"),
                    FOLDERS_VARIABLE: str(file.parent),
                }
            )
        )
        wallet = HotWallet.from_environment(KEY_VARIABLE).address
        market.fund(node, wallet, {market.quote: setting.cash * 10**market.quote.decimals})
        file.parent.mkdir(parents=True)
        file.write_text(yaml.safe_dump(describe_deployment(setting, market, pool), sort_keys=False), encoding="utf-8")
        deployment = read_deployment(file)
        home = LiveHome.from_environment()
        clock = open_clock(deployment, home)
        follower = stack.enter_context(
            PriceFollower(
                FollowPlan(
                    node.url,
                    mover,
                    ReplaySource(EmbeddedSample(), clock.now),
                    (FollowedPool(pool, DATA_PAIR, TimeBucket.h1),),
                    log=folder / "log" / "price.log",
                )
            )
        )
        yield Stage(deployment, home, node, market, pool, wallet, follower)


def describe_deployment(setting: DemoSetting, market: DemoMarket, pool: DemoPool) -> dict[str, Any]:
    """Return the content of the deployment file, which trades the pool on the candles it follows."""
    pair = pool.pair
    exchange: dict[str, Any] = {"kind": KINDS[pool.kind], "factory": pair.exchange_address, "router": pool.router}
    if market.v3 is not None:
        exchange["quoter"] = market.v3.quoter
    base, quote = (
        {"symbol": token.token_symbol, "address": token.address, "decimals": token.decimals}
        for token in (pair.base, pair.quote)
    )
    return {
        "id": DEMO_ID,
        "strategy": str(setting.strategy.absolute()),
        "mode": "live",
        "parameters": dict(setting.parameters),
        "data": {"source": "sample"},
        "clock": {
            "kind": "replay",
            "start": setting.start.isoformat(),
            "speed": setting.speed,
            "delay_s": setting.margin_s * setting.speed,
        },
        "pairs": [{"data": DATA_NAME, "base": base, "quote": quote, "pool": pair.pool_address, "fee": float(pool.fee)}],
        "chain": {"name": "local", "rpc_envs": [RPC_VARIABLE]},
        "exchange": {**exchange, "fee": float(pool.fee)},
        "wallet": {"key_env": KEY_VARIABLE},
        "trigger": {"kind": "data_availability", "poll_seconds": 5, "max_data_delay_minutes": 60},
        "trigger_check_minutes": 0,
        "revaluation_minutes": 0,
        "treasury_minutes": 0,
        "run_timeout_minutes": 10,
        "autostart": True,
    }


def _claim(folder: Path) -> Path:
    """Return the folder, absolute, marked as used; raises BadConfiguration when it was."""
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / ".lock"):
            mark = folder / "demo"
            if mark.exists():
                raise BadConfiguration(
                    f"The folder {folder} has an earlier live demo, whose chain is gone: choose another folder"
                )
            mark.touch()
    except OSError as error:
        raise BadConfiguration(f"The folder {folder} cannot be used ({error}): choose another one") from error
    return folder


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
