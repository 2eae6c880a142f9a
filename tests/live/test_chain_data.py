"""A deployment reads its candles from the chain it names."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from evm.conftest import deployed, evm_packages, market, share_vault, share_vault_code  # noqa: F401 - fixtures
from evm.deployment import FOREVER, Market
from evm.share_trader import ShareVault

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.time import TimeBucket, from_unix_us
from trading_dagster.evm.uniswap_v2 import SWAP, find_pool
from trading_dagster.live.clock import SystemClock
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.opening import open_source
from trading_dagster.market.availability import AvailabilitySource

RPC = "TRADING_DAGSTER_TEST_RPC"
TEXT = """
id: pools
strategy: {strategy}
mode: paper
data:
  source: chain
  pools: ["{pool}"]
  since: {since}
  usd: ["{usd}"]
  quote: USD
  confirmations: 1
  folder: events
chain: {{name: local, rpc_envs: [{rpc}]}}
trigger: {{kind: data_availability}}
"""


@pytest.fixture
def file(market: Market, tmp_path: Path) -> Path:  # noqa: F811
    client = market.client()
    pool = find_pool(client, market.uniswap, market.usd, market.eth, client.read_head())
    path = tmp_path / "pools.yaml"
    strategy = Path(__file__).parents[2] / "strategies" / "ema_cross.py"
    since = from_unix_us(market.node.timestamp() * 1_000_000)
    names = {"strategy": strategy, "pool": pool, "usd": market.usd, "rpc": RPC}
    path.write_text(TEXT.format(since=f"{since.isoformat()}Z", **names))
    return path


def test_the_sensor_sees_what_the_chain_closed(market: Market, file: Path, monkeypatch) -> None:  # noqa: F811
    node = market.node
    monkeypatch.setenv(RPC, node.url)
    source = open_source(read_deployment(file), SystemClock())
    assert isinstance(source, AvailabilitySource)
    node.rpc("anvil_setBlockTimestampInterval", 20)
    path = [market.usd, market.eth]
    node.do(market.owner, market.uniswap.router, SWAP.encode(10**9, 0, path, market.owner, FOREVER))
    traded = datetime(1970, 1, 1) + timedelta(seconds=node.timestamp() // 60 * 60)
    node.mine(12)
    (description,) = {item.description for item in source.list_markets()}
    (found,) = source.read_availability([description], TimeBucket.m1)
    assert found.last_candle_at == traded
    assert found.last_supposed_candle_at > traded
    assert (file.parent / "events" / "local").is_dir()


def test_share_prices_are_read_and_the_sensor_sees_what_is_closed(
    share_vault: ShareVault,  # noqa: F811
    file: Path,
    monkeypatch,
) -> None:
    node = share_vault.market.node
    monkeypatch.setenv(RPC, node.url)
    text = file.read_text()
    pools = next(line for line in text.splitlines() if "pools:" in line)
    own = text.replace(pools, f'  vaults: ["{share_vault.address}"]').replace("  quote: USD\n", "")
    file.write_text("\n".join(line for line in own.splitlines() if "usd:" not in line))
    node.rpc("anvil_setBlockTimestampInterval", 600)
    node.mine(20)
    source = open_source(read_deployment(file), SystemClock())
    assert isinstance(source, AvailabilitySource)
    (description,) = {item.description for item in source.list_markets()}
    (found,) = source.read_availability([description], TimeBucket.h1)
    closed = datetime(1970, 1, 1) + timedelta(seconds=(node.timestamp() - 600) // 3600 * 3600 - 3600)
    assert found.last_candle_at == closed
    file.write_text(text.replace(pools, f'{pools}\n  vaults: ["{share_vault.address}"]'))
    with pytest.raises(BadConfiguration, match="give pools or vaults, and not both"):
        read_deployment(file)


def test_what_does_not_fit_is_refused(file: Path, monkeypatch) -> None:
    monkeypatch.delenv(RPC, raising=False)
    deployment = read_deployment(file)
    with pytest.raises(BadConfiguration, match=f"pools.yaml: data: The environment variable {RPC} is not set"):
        open_source(deployment, SystemClock())
    text = file.read_text()
    file.write_text(text.replace(f"rpc_envs: [{RPC}]", "rpc_envs: []"))
    with pytest.raises(BadConfiguration, match="needs chain with rpc_envs"):
        read_deployment(file)
    (since,) = (line for line in text.splitlines() if "since:" in line)
    file.write_text(text.replace(since, since.removesuffix("Z")))
    with pytest.raises(BadConfiguration, match="since"):
        read_deployment(file)
    assert replace(deployment, autostart=False) == deployment
