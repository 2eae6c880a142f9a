"""A chain's pools by name: found since a time, imported by the command line, refused when something is missing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from evm.deployment import FOREVER, Market
from evm.share_trader import USD, ShareVault
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from trading_dagster.cli.main import app
from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.time import TimeBucket, from_unix_us
from trading_dagster.evm.block_time import find_first_block
from trading_dagster.evm.chain_feed import EVENTS_VARIABLE, ChainFeed
from trading_dagster.evm.uniswap_v2 import SWAP, find_pool
from trading_dagster.market.feed import Feed
from trading_dagster.market.lake import Lake
from trading_dagster.orchestration.feed_opening import open_feed

VARIABLE = "TRADING_DAGSTER_TEST_RPC"
DAY_S = 86_400


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(-2, 200))
def test_the_first_block_since_a_time_is_found(steps: list[int], moment: int) -> None:
    times = [sum(steps[: place + 1]) for place in range(len(steps))]
    expected = next((number for number, time in enumerate(times) if time >= moment), len(times))
    assert find_first_block(times.__getitem__, len(times) - 1, moment) == expected


def test_swaps_come_into_the_lake_by_command(market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node, client = market.node, market.client()
    monkeypatch.setenv(VARIABLE, node.url)
    node.rpc("anvil_setBlockTimestampInterval", 30)
    since = from_unix_us(node.timestamp() * 1_000_000)
    for path in ([market.usd, market.eth], [market.eth, market.usd]) * 5:
        amount = 10**9 if path[0] == market.usd else 10**17
        node.do(market.owner, market.uniswap.router, SWAP.encode(amount, 0, path, market.owner, FOREVER))
    node.mine(10)
    pool = find_pool(client, market.uniswap, market.usd, market.eth, client.read_head())
    command = ["data", "chain", "--chain", "local", "--rpc-env", VARIABLE, "--pool", pool, "--usd", market.usd]
    command += ["--quote", "USD", "--bucket", "1m", "--since", since.isoformat(), "--lake", str(tmp_path / "lake")]
    command += ["--events", str(tmp_path / "events"), "--no-progress"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "ETH/USD on uniswap-v2" in result.output
    again = CliRunner().invoke(app, command)
    assert "0 candles added" in again.output
    stored = Lake(tmp_path / "lake").source("local swaps")
    (candles,) = stored.load_candles(stored.list_markets(), datetime(2000, 1, 1), datetime(2100, 1, 1))
    assert 5 <= len(candles) <= 6
    assert stored.list_liquidity()[0].bucket is TimeBucket.m1
    counts = Lake(tmp_path / "lake").query("SELECT sum(buys) AS buys, sum(sells) AS sells FROM candles")
    assert counts.iloc[0].tolist() == [5.0, 5.0]


def test_share_prices_come_into_the_lake_by_command(
    market: Market, share_vault: ShareVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = market.node
    monkeypatch.setenv(VARIABLE, node.url)
    midnight = (node.timestamp() // DAY_S + 1) * DAY_S
    since = from_unix_us(midnight * 1_000_000)
    node.rpc("evm_setNextBlockTimestamp", midnight)
    node.rpc("anvil_setBlockTimestampInterval", 600)
    node.mine(20)
    share_vault.earn(100_000 * USD)
    node.mine(20)
    command = ["data", "chain", "--chain", "local", "--rpc-env", VARIABLE, "--vault", share_vault.address]
    command += ["--bucket", "1h", "--since", since.isoformat(), "--lake", str(tmp_path / "lake")]
    command += ["--events", str(tmp_path / "events"), "--no-progress"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "SHARE/USD on erc4626" in result.output
    assert "0 candles added" in CliRunner().invoke(app, command).output
    stored = Lake(tmp_path / "lake").source("local vaults")
    (candles,) = stored.load_candles(stored.list_markets(), datetime(2000, 1, 1), datetime(2100, 1, 1))
    assert candles["open"].iloc[0] == pytest.approx(1.0, rel=1e-12)
    assert candles["close"].iloc[-1] == pytest.approx(1.1, rel=1e-12)
    both = CliRunner().invoke(app, [*command, "--pool", market.usd])
    assert both.exit_code == 2
    assert "not both" in both.output
    feed = Feed(
        "shares", "chain", ("1h",), since.date(), chain="local", rpc_envs=(VARIABLE,), vaults=(share_vault.address,)
    )
    monkeypatch.setenv(EVENTS_VARIABLE, str(tmp_path / "feed"))
    (market_of_feed,) = [found for found in open_feed(feed).list_markets() if found.bucket is TimeBucket.h1]
    assert market_of_feed.pair == "SHARE/USD"


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(BadConfiguration, match=f"{VARIABLE} is not set"):
        ChainFeed("ethereum", [VARIABLE]).open_client()
    with pytest.raises(BadConfiguration, match="No node is named"):
        ChainFeed("ethereum", []).open_client()
    with pytest.raises(BadConfiguration, match="did you mean ethereum"):
        ChainFeed("etherium", [VARIABLE]).open_client()
    result = CliRunner().invoke(
        app, ["data", "chain", "--chain", "local", "--rpc-env", VARIABLE, "--pool", "0x1", "--bucket", "7h"]
    )
    assert result.exit_code == 2
    assert "--bucket is '7h'" in result.output
