"""The demo's stage: a deployment that can be read, a wallet with money, a pool at the price, and no key in any file."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from evm.node import PACKAGES_V3, install_packages

from trading_dagster.demo.stage import DATA_PAIR, KEY_VARIABLE, RPC_VARIABLE, DemoSetting, Stage, open_stage
from trading_dagster.domain.error import BadConfiguration, EvmError
from trading_dagster.domain.time import TimeBucket
from trading_dagster.evm.demo_market import PoolKind
from trading_dagster.evm.erc20 import BALANCE_OF
from trading_dagster.evm.price_mover import PriceMover
from trading_dagster.live.clock import AcceleratedClock
from trading_dagster.live.opening import open_clock
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.replay_source import ReplaySource

STRATEGY = Path("strategies") / "ema_cross.py"


@pytest.fixture(scope="module")
def packages() -> Path:
    return install_packages()


@pytest.fixture(scope="module", params=list(PoolKind), ids=lambda kind: kind.name)
def stage(packages: Path, tmp_path_factory: pytest.TempPathFactory, request) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("demo") / "new"
    packages_v3 = install_packages(PACKAGES_V3, "evm-test-v3-1") if request.param is PoolKind.v3 else None
    setting = DemoSetting(folder, STRATEGY, {"fast_bars": 3}, kind=request.param, hour_s=3.0, margin_s=1.0)
    with open_stage(setting, packages, packages_v3) as made:
        yield made


def test_deployment_trades_the_pool_of_the_chain(stage: Stage):
    deployment = stage.deployment
    assert (deployment.id, deployment.mode, deployment.autostart) == ("live_demo", "live", True)
    assert deployment.strategy == STRATEGY.absolute()
    assert deployment.parameters == {"fast_bars": 3}
    (pair,) = deployment.pairs
    assert (pair.pool, pair.base.symbol, pair.quote.symbol) == (stage.pool.pair.pool_address, "WBTC", "USDC")
    assert deployment.chain is not None
    assert deployment.chain.is_local
    assert deployment.speed == 1200
    assert all(os.environ.get(name) for name in deployment.variables())
    assert os.environ[RPC_VARIABLE] == stage.node.url


def test_wallet_has_the_cash_and_gas(stage: Stage):
    assert stage.node.call(stage.market.quote.address, BALANCE_OF, stage.wallet) == (10_000 * 10**6,)
    assert int(stage.node.rpc("eth_getBalance", stage.wallet, "latest"), 16) == 100 * 10**18


def test_pool_follows_the_clock_of_the_deployment(stage: Stage):
    clock = open_clock(stage.deployment, stage.home)
    assert isinstance(clock, AcceleratedClock)
    replay = ReplaySource(EmbeddedSample(), clock.now)
    mover = PriceMover(stage.node, stage.node.accounts[2])
    seen: set[datetime] = set()
    while len(seen) < 3:
        stage.check()
        before, mid = replay.read_open(DATA_PAIR, TimeBucket.h1), mover.read_mid(stage.pool)
        assert before is not None
        if abs(float(mid) / before[1] - 1) < 1e-8:
            seen.add(before[0])
    assert min(seen) >= datetime(2018, 4, 6, 4)


def test_key_is_in_no_file(stage: Stage):
    key = os.environ[KEY_VARIABLE].removeprefix("0x").encode()
    folder = stage.deployment.file.parent.parent
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not [path for path in files if key in path.read_bytes()]
    assert yaml.safe_load(stage.deployment.file.read_text())["wallet"] == {"key_env": KEY_VARIABLE}


def test_stage_leaves_nothing_behind(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAGSTER_HOME", "before")
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    setting = DemoSetting(tmp_path, STRATEGY)
    with open_stage(setting, packages) as made:
        assert os.environ["DAGSTER_HOME"] == str(tmp_path / "dagster")
    assert os.environ["DAGSTER_HOME"] == "before"
    assert KEY_VARIABLE not in os.environ
    assert not made.node.is_running
    assert not made.follower.is_running
    with pytest.raises(BadConfiguration, match="choose another folder"), open_stage(setting, packages):
        pass


def test_end_of_the_node_is_told(packages: Path, tmp_path: Path):
    with open_stage(DemoSetting(tmp_path, STRATEGY, hour_s=0.5, margin_s=0.1), packages) as made:
        made.node.close()
        while made.follower.is_running:
            pass
        with pytest.raises(EvmError, match="The price follower has ended"):
            made.check()


def test_impossible_settings_are_refused(packages: Path, tmp_path: Path):
    with pytest.raises(BadConfiguration, match="before the next hour is over"):
        DemoSetting(tmp_path, STRATEGY, hour_s=1.0, margin_s=1.0)
    early = DemoSetting(tmp_path / "a", STRATEGY, start=datetime(2001, 1, 1, tzinfo=UTC))
    with pytest.raises(BadConfiguration, match="before the first candle"), open_stage(early, packages):
        pass
    wrong = DemoSetting(tmp_path / "b", STRATEGY, fee=Fraction(1, 100))
    with pytest.raises(BadConfiguration, match="fee 1/100"), open_stage(wrong, packages):
        pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(BadConfiguration, match="cannot be used"),
        open_stage(DemoSetting(tmp_path / "file", STRATEGY), packages),
    ):
        pass
