"""Share prices of a real vault by bar: what it said itself at the end of each, whatever was read before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from evm.deployment import Market
from evm.share_trader import USD, ShareVault, deploy_share_vault

from trading_dagster.domain.error import BadInput, BlockUnavailable, CallReverted, MarketDataMissing, NodeRefused
from trading_dagster.domain.time import TimeBucket
from trading_dagster.evm.chain_data import LOCAL
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.vault_price import VaultPriceSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.loader import load_partial_data
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.market.vault import Vault

H1, HOUR = TimeBucket.h1, timedelta(hours=1)


@pytest.fixture
def start(share_vault: ShareVault) -> datetime:
    """Let a share be worth 1.1, 1.2 ... at the ends of six hours; return the first full hour."""
    node = share_vault.market.node
    begin = -(-node.timestamp() // 3600) * 3600
    for number in range(1, 7):
        node.rpc("evm_setNextBlockTimestamp", begin + number * 3600 - 30)
        share_vault.earn(100_000 * USD)
        node.rpc("evm_setNextBlockTimestamp", begin + number * 3600)
        node.mine()
    node.rpc("anvil_setBlockTimestampInterval", 1)
    node.mine(30)
    return datetime.fromtimestamp(begin, UTC).replace(tzinfo=None)


def make_source(vault: ShareVault, folder: Path, client: EvmClient | None = None, **more) -> VaultPriceSource:
    options = {"first_block": vault.first_block, "confirmations": 1, "buckets": (H1,), "vaults": [vault.address]} | more
    return VaultPriceSource(client or vault.market.client(), LOCAL, options.pop("vaults"), folder, **options)


def load(source: VaultPriceSource, end: datetime = datetime(2100, 1, 1)) -> pd.DataFrame:
    (market,) = source.list_markets()
    (frame,) = source.load_candles([market], datetime(2000, 1, 1), end)
    return frame


def test_candles_have_the_price_at_the_ends_of_their_bars(share_vault: ShareVault, start: datetime, tmp_path: Path):
    frame = load(make_source(share_vault, tmp_path))
    assert frame["timestamp"].tolist() == [start + number * HOUR for number in range(7)]
    assert frame["open"].tolist() == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6], rel=1e-12)
    assert frame["close"].tolist() == pytest.approx([1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.6], rel=1e-12)
    assert (frame["high"] == frame[["open", "close"]].max(axis=1)).all()
    assert (frame["low"] == frame[["open", "close"]].min(axis=1)).all()


def test_availability_is_by_the_chains_time_and_confirmations(share_vault: ShareVault, start: datetime, tmp_path: Path):
    source = make_source(share_vault, tmp_path)
    (market,) = source.list_markets()
    (found,) = source.read_availability([market.description], H1)
    assert (found.last_candle_at, found.last_supposed_candle_at) == (start + 5 * HOUR, None)
    deeper = make_source(share_vault, tmp_path, confirmations=31)
    (found,) = deeper.read_availability([market.description], H1)
    assert found.last_candle_at == start + 4 * HOUR


class CountingClient(EvmClient):
    calls = 0

    def call(self, *arguments, **more):
        self.calls += 1
        return super().call(*arguments, **more)


def test_what_is_final_is_read_once_and_in_parts_is_the_same(share_vault: ShareVault, start: datetime, tmp_path: Path):
    whole = load(make_source(share_vault, tmp_path / "whole"))
    load(make_source(share_vault, tmp_path / "parts"), end=start + 3 * HOUR)
    client = share_vault.market.client()
    counting = CountingClient(client._endpoints, client.chain_id)
    source = make_source(share_vault, tmp_path / "parts", counting)
    pd.testing.assert_frame_equal(load(source), whole)
    (market,) = source.list_markets()
    counting.calls = 0
    (frame,) = source.load_candles([market], start, start + 5 * HOUR)
    assert len(frame) == 5
    assert counting.calls == 0, "all of it was final"


def test_reorg_of_new_blocks_is_read_again(share_vault: ShareVault, start: datetime, tmp_path: Path):
    source, node = make_source(share_vault, tmp_path), share_vault.market.node
    assert load(source)["close"].iloc[-1] == pytest.approx(1.6)
    share_vault.earn(400_000 * USD)
    assert load(source)["close"].iloc[-1] == pytest.approx(2.0)
    node.rpc("anvil_reorg", 1, [])
    assert load(source)["close"].iloc[-1] == pytest.approx(1.6)


def test_vault_that_is_young_or_empty_has_no_candles_before(
    share_vault: ShareVault, start: datetime, share_vault_code: str, tmp_path: Path
):
    market: Market = share_vault.market
    young = deploy_share_vault(market, share_vault_code, invested=0)
    assert make_source(young, tmp_path).list_markets() == ()
    young.invest(1_000 * USD)
    market.node.rpc("evm_setNextBlockTimestamp", -(-market.node.timestamp() // 3600) * 3600)
    market.node.mine(3)
    frame = load(make_source(young, tmp_path))
    assert frame["timestamp"].tolist() == [start + 7 * HOUR]
    assert frame["close"].tolist() == [1.0]


def test_settled_prices_go_into_the_lake_and_become_a_vault_of_a_universe(
    share_vault: ShareVault, start: datetime, tmp_path: Path
):
    source, lake = make_source(share_vault, tmp_path / "events"), Lake(tmp_path / "lake")
    import_candles(lake, source.settled(), name="vaults", bucket=H1)
    dataset = load_partial_data(
        lake.source("vaults"),
        None,
        H1,
        pairs=[],
        vaults=[Vault((source.list_markets()[0].chain_id, share_vault.address))],
        start_at=start,
        end_at=start + 5 * HOUR,
    )
    pair = TradingStrategyUniverse.create_from_dataset(dataset).pairs[0]
    assert (pair.is_vault(), pair.base.address) == (True, share_vault.address)


def test_what_cannot_be_read_is_refused(share_vault: ShareVault, start: datetime, tmp_path: Path):
    with pytest.raises(BadInput, match="name at least one"):
        make_source(share_vault, tmp_path, vaults=[])
    with pytest.raises(CallReverted):
        make_source(share_vault, tmp_path, vaults=[share_vault.market.eth])


@pytest.mark.parametrize(
    ("error", "raised"),
    [(NodeRefused("not supported"), MarketDataMissing), (BlockUnavailable("missing trie node"), BlockUnavailable)],
)
def test_node_without_old_states_is_told_to_be_replaced(
    share_vault: ShareVault, start: datetime, tmp_path: Path, error: Exception, raised: type[Exception]
):
    class Pruned(EvmClient):
        def call(self, to, function, arguments, block):
            if function.name == "totalSupply":
                raise error
            return super().call(to, function, arguments, block)

    client = share_vault.market.client()
    with pytest.raises(raised, match="an archive node"):
        load(make_source(share_vault, tmp_path, Pruned(client._endpoints, client.chain_id)))
