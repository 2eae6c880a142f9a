"""A hot wallet as a venue: its checks before trading, its desk in a session, and what it does when things go wrong."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account as KeyReader
from evm.conftest import deployed, evm_packages, market, rig  # noqa: F401 - fixtures
from evm.deployment import KEY, Rig
from evm.test_transaction import send_foreign
from live.evm_life import NOW, make_universe, make_venue, open_desk

from trading_dagster.accounting.account_check import check_accounts, expected_balances
from trading_dagster.domain.error import (
    BadConfiguration,
    ContractMissing,
    ExecutorBusy,
    GasMissing,
    LeaseLost,
    NodeUnavailable,
    SigningKeyUnusable,
    UnexpectedAccountingCorrectionIssue,
    WrongChain,
)
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradeStatus
from trading_dagster.evm.alarm import Alarm, AlarmKind
from trading_dagster.evm.erc20 import transfer
from trading_dagster.evm.uniswap_v2 import UniswapV2Deployment, UniswapV2Dex
from trading_dagster.live.desk import Desk
from trading_dagster.live.evm_venue import EvmVenue, WalletKey
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.storage.ledger_store import MemoryLedgerStore
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.strategy.position_manager import PositionManager

NOBODY = "0x" + "12" * 20
AT = to_naive(NOW)


class World:
    """A market, a universe on it, and a venue whose waiting mines blocks."""

    def __init__(self, rig: Rig, folder: Path) -> None:  # noqa: F811
        self.rig = rig
        self.market = rig.market
        self.universe: TradingStrategyUniverse = make_universe(rig.market)
        self.alarms: list[Alarm] = []
        self.folder = folder
        self.venues: list[EvmVenue] = []

    def venue(self, **more: Any) -> EvmVenue:
        parts = {"sleep": lambda seconds: self.market.node.mine()} | more
        venue = make_venue(self.market, self.folder / "journal.sqlite", self.alarms, **parts)
        self.venues.append(venue)
        return venue

    def assets(self) -> list[AssetIdentifier]:
        return [self.universe.get_reserve_asset(), self.universe.pairs[0].base]

    def kinds(self) -> list[AlarmKind]:
        return [alarm.kind for alarm in self.alarms]

    def manager(self, state: State, desk: Desk) -> PositionManager:
        return PositionManager(AT, self.universe, state, desk.pricing, 0.01)

    def buy(self, state: State, desk: Desk, usd: float = 1_000.0) -> TradeExecution:
        again = {TradeFlag.ignore_open}
        trades = self.manager(state, desk).open_spot(self.universe.pairs[0], value=usd, flags=again)
        desk.execution.execute_trades(AT, state, trades)
        return trades[0]

    def fund(self, state: State, desk: Desk) -> None:
        desk.execution.resume(AT, state)
        assert len(desk.treasury.sync_treasury(AT, state)) == 1

    def check(self, state: State, desk: Desk) -> None:
        check_accounts(state, desk.balances.read_balances(list(expected_balances(state)))).require_clean("test")


@pytest.fixture
def world(rig: Rig, tmp_path: Path) -> Iterator[World]:  # noqa: F811
    rig.market.node.mine(5)
    world = World(rig, tmp_path)
    yield world
    for venue in world.venues:
        if hasattr(venue._local, "journal"):
            venue.journal.close()


def test_preflight_finds_nothing_wrong(world: World):
    found = world.venue().preflight(world.assets())
    assert (found.address, found.head.number) == (world.rig.wallet.address, world.market.node.head())
    assert 99 < found.gas_balance < 100


def test_preflight_names_what_is_wrong(world: World, monkeypatch: pytest.MonkeyPatch):
    usd, eth = world.assets()
    factory = world.market.uniswap.factory
    moved = UniswapV2Dex(UniswapV2Deployment(factory, NOBODY))
    with pytest.raises(WrongChain, match="serves chain 31337, not 1"):
        world.venue(chain_id=1).preflight([usd])
    with pytest.raises(ContractMissing, match=f"no code at {NOBODY}"):
        world.venue(dex=moved).preflight([usd])
    with pytest.raises(ContractMissing, match=f"{NOBODY} to decimals"):
        world.venue().preflight([usd, AssetIdentifier(31337, NOBODY, "NONE")])
    with pytest.raises(WrongChain, match="is on chain 10"):
        world.venue().preflight([replace(eth, chain_id=10)])
    with pytest.raises(BadConfiguration, match="has 6 decimals on chain 31337, the universe says 18"):
        world.venue().preflight([replace(usd, decimals=18)])
    with pytest.raises(GasMissing, match="at least 1000 are needed"):
        world.venue(min_gas=Decimal(1000)).preflight([usd])
    with pytest.raises(NodeUnavailable):
        make_venue(world.market, world.folder / "j", [], ["http://127.0.0.1:9"], sleep=lambda s: None).preflight([usd])
    with pytest.raises(SigningKeyUnusable, match="NOT_THERE is not set"):
        world.venue(key=WalletKey("NOT_THERE")).preflight([usd])
    monkeypatch.setenv("NODE_OF_TEST", world.market.node.url)
    named = world.venue(rpc_urls=(), rpc_variables=("NODE_OF_TEST",))
    assert named.preflight([usd]).address == world.rig.wallet.address
    with pytest.raises(BadConfiguration, match="at least one"):
        world.venue(rpc_urls=()).preflight([usd])


def test_wallet_is_named_by_a_variable_or_a_keystore(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "keystore.json"
    path.write_text(json.dumps(KeyReader.encrypt(KEY, "correct horse", iterations=1024)), encoding="utf-8")
    monkeypatch.setenv("PASSWORD_OF_TEST", "correct horse")
    venue = world.venue(key=WalletKey(keystore=path, password_variable="PASSWORD_OF_TEST"))
    assert venue.lease_resources == (f"wallet:{world.rig.wallet.address}",)
    for wrong in ({}, {"key_variable": "A", "keystore": path, "password_variable": "B"}, {"keystore": path}):
        with pytest.raises(BadConfiguration, match="one of the two"):
            WalletKey(**wrong)


def test_trades_over_several_sessions_of_a_stored_ledger(world: World):
    with SqlLedgerStore(world.folder / "ledger.sqlite") as store:
        venue = world.venue()
        with open_desk(venue, world.universe, store) as (session, desk):
            world.fund(session.state, desk)
            assert world.buy(session.state, desk).get_status() is TradeStatus.success
            world.check(session.state, desk)
        with open_desk(world.venue(), world.universe, store) as (session, desk):
            state = session.state
            assert desk.execution.resume(AT, state) == []
            assert desk.treasury.sync_treasury(AT, state) == []
            world.check(state, desk)
            (position,) = state.portfolio.open_positions.values()
            assert position.last_trade.fill.tx_hash.startswith("0x")
            assert position.get_value() == pytest.approx(1_000 * 0.997**2, rel=1e-3)
            (trade,) = world.manager(state, desk).close_position(position)
            desk.execution.execute_trades(AT, state, [trade])
            world.check(state, desk)
            session.save()
        with open_desk(world.venue(), world.universe, store) as (session, desk):
            assert not session.state.portfolio.open_positions
            assert session.state.portfolio.get_cash() == pytest.approx(1_000_000 - 6, abs=1)
            world.check(session.state, desk)
    assert world.alarms == []


def test_what_is_in_the_journal_counts_not_what_a_lost_session_knew(world: World):
    store = MemoryLedgerStore()
    with open_desk(world.venue(), world.universe, store) as (session, desk):
        world.fund(session.state, desk)
        session.save()
    waiting = world.venue(swap_timeout_s=0.0, sleep=lambda seconds: None)
    with open_desk(waiting, world.universe, store) as (session, desk):
        trade = world.buy(session.state, desk)
        assert trade.get_status() is TradeStatus.broadcasted
    for _ in range(3):
        with open_desk(world.venue(), world.universe, store) as (session, desk):
            assert desk.execution.resume(AT, session.state) == []
            world.check(session.state, desk)
            assert session.state.portfolio.trade_count == 1


def test_wallet_is_held_by_one_executor(world: World):
    store, venue = MemoryLedgerStore(), world.venue()
    with (
        open_desk(venue, world.universe, store),
        pytest.raises(ExecutorBusy, match="wallet:0x"),
        open_desk(venue, world.universe, store, strategy_id="other"),
    ):
        pass


def test_lost_lease_signs_nothing(world: World):
    store = MemoryLedgerStore()
    nonce = world.market.node.rpc("eth_getTransactionCount", world.rig.wallet.address, "pending")
    with open_desk(world.venue(), world.universe, store) as (session, desk):
        world.fund(session.state, desk)
        session.save()
        store.release(session._keeper.lease)
        with pytest.raises(LeaseLost):
            world.buy(session.state, desk)
    assert world.market.node.rpc("eth_getTransactionCount", world.rig.wallet.address, "pending") == nonce


def test_kill_switch_is_asked_before_signing(world: World):
    asked = []

    def forbid(intent: Any) -> str:
        asked.append(intent.intent_id)
        return "the daily loss limit is reached"

    store = MemoryLedgerStore()
    venue = world.venue(forbid_signing=forbid, swap_timeout_s=0.0)
    with open_desk(venue, world.universe, store) as (session, desk):
        world.fund(session.state, desk)
        trade = world.buy(session.state, desk)
        assert trade.get_status() is TradeStatus.broadcasted
        assert desk.execution.resume(AT, session.state) == [trade]
    assert asked
    assert AlarmKind.signing_forbidden in world.kinds()


def test_foreign_use_halts_until_an_operator_resumes(world: World):
    store = MemoryLedgerStore()
    with open_desk(world.venue(), world.universe, store) as (session, desk):
        world.fund(session.state, desk)
        assert world.buy(session.state, desk).get_status() is TradeStatus.success
        send_foreign(world.rig)
        world.market.node.mine()
        desk.execution.resume(AT, session.state)
        assert AlarmKind.foreign_use in world.kinds()
        dropped = world.buy(session.state, desk)
        assert dropped.get_status() is TradeStatus.discarded
    venue = world.venue()
    with open_desk(venue, world.universe, store) as (session, desk):
        token = session.lease_token(venue.lease_resources[0])
        venue.make_executor(token, session.check_lease).resume("the second signer was found")
        assert world.buy(session.state, desk).get_status() is TradeStatus.success
        world.check(session.state, desk)


def test_tokens_that_left_stop_trading(world: World):
    node, wallet = world.market.node, world.rig.wallet.address
    with open_desk(world.venue(), world.universe, MemoryLedgerStore()) as (session, desk):
        world.fund(session.state, desk)
        node.rpc("anvil_impersonateAccount", wallet)
        node.do(wallet, world.market.usd, transfer(world.market.usd, world.market.owner, 10**10).data)
        node.rpc("anvil_stopImpersonatingAccount", wallet)
        node.mine(5)
        assert desk.treasury.sync_treasury(AT, session.state) == []
        with pytest.raises(UnexpectedAccountingCorrectionIssue, match="-10000"):
            world.check(session.state, desk)


def test_low_gas_is_told_when_a_desk_is_opened(world: World):
    world.market.node.rpc("anvil_setBalance", world.rig.wallet.address, hex(10**15))
    with open_desk(world.venue(), world.universe, MemoryLedgerStore()):
        pass
    assert [(a.kind, a.text) for a in world.alarms] == [
        (AlarmKind.gas_missing, "0.001 native tokens are left for gas, there should be 0.01: send some")
    ]


def test_universe_of_another_chain_is_refused(world: World):
    with (
        pytest.raises(WrongChain, match="the venue trades on 10"),
        open_desk(world.venue(chain_id=10), world.universe, MemoryLedgerStore()),
    ):
        pass


def test_key_is_in_no_text_of_the_venue(world: World, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    venue = world.venue(rpc_urls=(world.market.node.url + "/key-of-the-node",))
    with open_desk(world.venue(), world.universe, MemoryLedgerStore()) as (session, desk):
        world.fund(session.state, desk)
        world.buy(session.state, desk)
        texts = [repr(part) for part in (venue, venue.wallet, venue.node, session, desk, *session.state.new_events)]
    kept = [file.read_bytes().hex() for file in world.folder.iterdir()]
    secret = KEY.removeprefix("0x")
    assert "key-of-the-node" not in "".join(texts)
    assert not any(secret in text for text in (*texts, *kept, caplog.text))
