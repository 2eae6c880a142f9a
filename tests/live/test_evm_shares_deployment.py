"""A deployment of a strategy file that reads share prices from a chain, and buys and redeems the shares there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from evm.conftest import deployed, evm_packages, market, rig, share_vault, share_vault_code  # noqa: F401 - fixtures
from evm.deployment import KEY, Rig
from evm.share_trader import USD, ShareVault

from trading_dagster.domain.time import from_unix_us
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import open_live
from trading_dagster.live.revaluation import check_live_accounts
from trading_dagster.live.wallet_check import begin_ledger
from trading_dagster.storage.strategy_ledger import StrategyLedger

STRATEGY = '''
from datetime import timedelta

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    cycle_duration = td.CycleDuration.cycle_1h
    candle_time_bucket = td.TimeBucket.h1
    required_history_period = timedelta(hours=5)
    routing = td.TradeRouting.default
    slippage_tolerance = 0.01


def create_trading_universe(input):
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=input.parameters.candle_time_bucket,
        pairs=[],
        vaults=[td.Vault((td.ChainId.anvil, "{vault}"), td.VaultTerms("Shares", protocol="test"{terms}))],
        universe_options=input.universe_options,
    )
    return td.TradingStrategyUniverse.create_from_dataset(dataset)


indicators = td.IndicatorRegistry()


@indicators.define()
def rise(close):
    return close.diff()


def decide_trades(input):
    """Hold shares as long as they got dearer in the last hour."""
    manager, pair = input.get_position_manager(), input.get_default_pair()
    risen = input.indicators.get_indicator_value("rise")
    if risen is None:
        return []
    if risen > 0 and not manager.is_any_open() and manager.check_enter_position(pair):
        return manager.open_spot(pair, value=5_000.0)
    return manager.close_all() if risen <= 0 and manager.is_any_open() else []
'''
DEPLOYMENT = """
id: shares
strategy: shares.py
mode: live
data: {{source: chain, vaults: ["{vault}"], since: {since}, confirmations: 1, folder: events}}
chain: {{name: local, rpc_envs: [TEST_SHARES_RPC], multicall: "{multicall}", confirmations: 2}}
exchange: {{kind: uniswap_v2, factory: "{factory}", router: "{router}"}}
vaults: [{{address: "{vault}"}}]
wallet: {{key_env: TEST_SHARES_KEY}}
limits: {{max_trade_usd: 6_000}}
"""


@pytest.fixture
def file(rig: Rig, share_vault: ShareVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    return write_deployment(rig, share_vault.address, tmp_path, monkeypatch)


def write_deployment(
    rig: Rig,  # noqa: F811
    vault: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    terms: str = "",
) -> Path:
    """Write a strategy and its deployment for a vault, and return the latter's file."""
    monkeypatch.setenv("TEST_SHARES_RPC", rig.market.node.url)
    monkeypatch.setenv("TEST_SHARES_KEY", KEY)
    uniswap = rig.market.uniswap
    since = from_unix_us(rig.market.node.timestamp() * 1_000_000)
    names = {"vault": vault, "multicall": rig.market.aggregator, "since": f"{since.isoformat()}Z"}
    text = DEPLOYMENT.format(**names, factory=uniswap.factory, router=uniswap.router)
    (folder / "shares.py").write_text(STRATEGY.replace("{vault}", vault).replace("{terms}", terms), encoding="utf-8")
    path = folder / "shares.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_prices_decisions_and_fills_are_all_of_the_chain(rig: Rig, share_vault: ShareVault, file: Path):  # noqa: F811
    node = rig.market.node
    begin = -(-node.timestamp() // 3600) * 3600
    clock = ManualClock(datetime.fromtimestamp(begin, UTC))

    def reach(hour: int, earned: int) -> None:
        """Let the vault earn within an hour, and go five minutes beyond its end."""
        if earned:
            node.rpc("evm_setNextBlockTimestamp", begin + hour * 3600 - 600)
            share_vault.earn(earned)
        node.rpc("evm_setNextBlockTimestamp", begin + hour * 3600 + 300)
        node.mine(5)
        clock.moment = datetime.fromtimestamp(begin, UTC) + timedelta(hours=hour, minutes=5)

    for hour in range(1, 6):
        reach(hour, 10_000 * USD)
    live = open_live(read_deployment(file), LiveHome(file.parent / "home"), clock)
    live = replace(live, venue=replace(live.venue, sleep=lambda seconds: node.mine()))

    report = begin_ledger(live)
    assert {balance.token for balance in report.balances} == {"USD", "SHARE"}
    first = run_cycle(live)
    assert first.status is CycleStatus.done, first.notes
    (buy,) = StrategyLedger(live.store, live.id).load().portfolio.get_all_trades()
    assert (buy.get_status(), buy.executed_reserve) == (TradeStatus.success, 5_000)
    assert buy.executed_price == pytest.approx(1.05, rel=1e-9)
    assert check_live_accounts(live).is_clean

    reach(6, 10_000 * USD)
    assert run_cycle(live).sample.open_positions == 1
    reach(7, 0)
    last = run_cycle(live)
    assert last.sample.open_positions == 0
    buy, sell = StrategyLedger(live.store, live.id).load().portfolio.get_all_trades()
    assert sell.get_status() is TradeStatus.success
    assert sell.executed_reserve > buy.executed_reserve
    assert check_live_accounts(live).is_clean
    live.venue.journal.close()
    live.store.close()
