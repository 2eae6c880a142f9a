"""A feed of pools is an asset whose months come from a chain."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest
from evm.conftest import deployed, evm_packages, market  # noqa: F401 - fixtures
from evm.deployment import FOREVER, Market

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.evm.chain_feed import EVENTS_VARIABLE
from trading_dagster.evm.uniswap_v2 import SWAP, find_pool
from trading_dagster.market.feed import read_feed
from trading_dagster.market.lake import LAKE_VARIABLE, Lake
from trading_dagster.orchestration.market_asset import build_market_assets

pytestmark = pytest.mark.dagster
RPC = "TRADING_DAGSTER_TEST_RPC"


def test_swaps_of_a_pool_become_a_month_of_the_lake(market: Market, tmp_path: Path, monkeypatch) -> None:  # noqa: F811
    node, client = market.node, market.client()
    for name, value in ((RPC, node.url), (LAKE_VARIABLE, tmp_path / "lake"), (EVENTS_VARIABLE, tmp_path / "events")):
        monkeypatch.setenv(name, str(value))
    pool = find_pool(client, market.uniswap, market.usd, market.eth, client.read_head())
    node.rpc("anvil_setBlockTimestampInterval", 30)
    path = [market.usd, market.eth]
    for _ in range(4):
        node.do(market.owner, market.uniswap.router, SWAP.encode(10**9, 0, path, market.owner, FOREVER))
    node.mine(10)
    month = datetime.fromtimestamp(node.timestamp()).strftime("%Y-%m")  # noqa: DTZ006 - the name of a month
    file = tmp_path / "local_pools.yaml"
    file.write_text(
        f"source: chain\nbuckets: [1m]\nstart: {month}-01\nchain: local\nrpc_envs: [{RPC}]\npools: ['{pool}']\n"
        f"quote: USD\nusd: ['{market.usd}']\nrefresh: ''\n"
    )
    feed = read_feed(file)
    result = dg.materialize(build_market_assets([feed]), partition_key=month)
    assert result.success
    source = Lake().source("local_pools")
    assert [item.pair for item in source.list_markets()] == ["ETH/USD"]
    assert len(source.list_liquidity()) == 1
    file.write_text(f"source: chain\nbuckets: [1m]\nstart: {month}-01\n")
    with pytest.raises(BadConfiguration, match="chain, rpc_envs and pools must say which"):
        read_feed(file)
