"""Ledgers bound to a wallet of a chain: another key, chain, vault or paper is refused before a node is asked."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from eth_account import Account as KeyReader
from evm.conftest import deployed, evm_packages, fund, market, rig, vault_code  # noqa: F401 - fixtures
from evm.deployment import KEY, KEY_VARIABLE
from evm.fund import USD, Fund
from live.test_evm_cycle import life, next_day  # noqa: F401 - fixture
from live.world import events, load

from trading_dagster.domain.error import BadConfiguration, UncleanState
from trading_dagster.domain.purse import PAPER, vault_purse, wallet_purse
from trading_dagster.live.binding import end_ledger
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.closing import close_all
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.evm_venue import WalletKey
from trading_dagster.live.inspection import show_status
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import open_live, open_observer
from trading_dagster.live.paper import PaperVenue
from trading_dagster.live.revaluation import check_live_accounts, revalue
from trading_dagster.live.wallet_check import begin_ledger

OTHER_KEY = "0x" + "3c" * 32


def address_of(key: str) -> str:
    return str(KeyReader.from_key(key).address).lower()


def end(life: SimpleNamespace, name: str):  # noqa: F811
    return end_ledger(life.store, name, by="Ann", reason="a new idea", at=life.clock.now())


def test_variable_with_another_key_is_refused_and_nothing_is_signed(
    life: SimpleNamespace,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
):
    run_cycle(life.live)
    before, nonce = events(life.live), len(life.venue.journal.list_finished(life.venue.account, 0))
    next_day(life)
    monkeypatch.setenv(KEY_VARIABLE, OTHER_KEY)
    changed = replace(life.live, venue=replace(life.venue, rpc_urls=("http://localhost:1",)))
    told = f"counts the money of wallet {address_of(KEY)} .* now trades wallet {address_of(OTHER_KEY)} on chain"
    for step in (run_cycle, revalue, check_live_accounts, begin_ledger, close_all):
        with pytest.raises(BadConfiguration, match=told):
            step(changed)
    assert events(life.live) == before
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert run_cycle(life.live).status is CycleStatus.done
    assert len(life.venue.journal.list_finished(life.venue.account, 0)) > nonce


def test_other_chain_vault_and_paper_are_refused(life: SimpleNamespace):  # noqa: F811
    run_cycle(life.live)
    wallet = wallet_purse(life.venue.chain_id, address_of(KEY))
    assert load(life.live).binding.purse == wallet
    assert show_status(life.live).money == str(wallet)
    before = events(life.live)
    for venue, told in (
        (replace(life.venue, chain_id=8453), f"now trades wallet {address_of(KEY)} on chain 8453"),
        (PaperVenue(1_000_000), "now trades paper, no real money"),
    ):
        with pytest.raises(BadConfiguration, match=told):
            run_cycle(replace(life.live, venue=venue))
    assert events(life.live) == before


def test_paper_ledger_is_not_continued_with_a_wallet(life: SimpleNamespace):  # noqa: F811
    """The wallet has as much cash as the ledger: the account check alone would let it pass."""
    paper = replace(life.live, venue=PaperVenue(1_000_000))
    run_cycle(paper)
    close_all(paper)
    assert load(paper).binding.purse == PAPER
    before = events(paper)
    next_day(life)
    with pytest.raises(BadConfiguration, match=f"money of paper, no real money, .* wallet {address_of(KEY)}"):
        run_cycle(life.live)
    assert events(paper) == before
    assert life.venue.journal.list_finished(life.venue.account, 0) == []


def test_one_key_in_two_places_is_found_and_moves_on_when_the_first_ledger_is_ended(
    life: SimpleNamespace,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    path = tmp_path / "keystore.json"
    path.write_text(json.dumps(KeyReader.encrypt(KEY, "correct horse", kdf="pbkdf2", iterations=1000)))
    monkeypatch.setenv("PASSWORD_OF_TEST", "correct horse")
    venue = replace(life.venue, key=WalletKey(keystore=path, password_variable="PASSWORD_OF_TEST"))
    second = replace(life.live, id="second", venue=venue)
    run_cycle(life.live)
    with pytest.raises(BadConfiguration, match=rf"wallet {address_of(KEY)} .* the ledger of wallet counts"):
        run_cycle(second)
    with pytest.raises(UncleanState, match="ETH"):
        end(life, "wallet")
    assert life.store.head("second") == 0

    close_all(life.live)
    cash = load(life.live).portfolio.reserve.quantity
    assert end(life, "wallet").purse == wallet_purse(venue.chain_id, address_of(KEY))
    next_day(life)
    for _ in range(3):
        assert run_cycle(second).status is CycleStatus.done
        with pytest.raises(BadConfiguration, match="ledger of wallet was ended"):
            run_cycle(life.live)
        next_day(life)
    state = load(second)
    assert state.portfolio.reserve.initial_deposit == cash
    assert [trade.is_success() for trade in state.portfolio.get_all_trades()] == [True] * 3
    assert check_live_accounts(second).is_clean
    assert load(life.live).portfolio.reserve.quantity == cash
    assert life.alarms == []
    venue.journal.close()


def test_vault_keeps_its_ledger_whoever_manages_it(life: SimpleNamespace, fund: Fund):  # noqa: F811
    fund.deposit(fund.alice, 100_000 * USD)
    fund.market.node.mine(5)
    venue = replace(life.venue, vault=fund.deployment)
    live = replace(life.live, venue=venue)
    run_cycle(live)
    vault = fund.deployment.vault.lower()
    assert load(live).binding.purse == vault_purse(venue.chain_id, vault)
    assert venue.lease_resources == (f"wallet:{address_of(KEY)}", f"vault:{venue.chain_id}:{vault}")
    with pytest.raises(BadConfiguration, match=f"counts the money of vault {vault} .* now trades wallet"):
        run_cycle(life.live)
    with pytest.raises(BadConfiguration, match=f"would trade vault {vault} .* the ledger of wallet counts"):
        begin_ledger(replace(live, id="second"))
    own = replace(life.live, id="own")
    run_cycle(own)  # the wallet's own money is another purse, though it signs for both
    venue.journal.close()


PAPER_FILE = """
id: moved
strategy: {strategy}
mode: paper
clock: {{kind: replay, start: 2018-04-10T00:10:00Z}}
"""
LIVE_FILE = PAPER_FILE.replace("paper", "live") + (
    'chain: {{name: local, rpc_envs: [RPC_OF_TEST], multicall: "0x{one}"}}\n'
    'exchange: {{kind: uniswap_v2, factory: "0x{one}", router: "0x{one}"}}\n'
    "wallet: {{key_env: {key}}}\n"
)


def test_deployment_whose_mode_is_edited_is_refused_without_a_node(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("RPC_OF_TEST", "http://localhost:1")
    monkeypatch.setenv("KEY_OF_TEST", KEY)
    names = {"strategy": Path(__file__).parent / "three_pairs.py", "one": "11" * 20, "key": "KEY_OF_TEST"}
    file, home = tmp_path / "moved.yaml", LiveHome(tmp_path / "home")
    clock = ManualClock(datetime(2018, 4, 10, 0, 10, tzinfo=UTC))
    file.write_text(PAPER_FILE.format(**names), encoding="utf-8")
    live = open_live(read_deployment(file), home, clock)
    run_cycle(live)
    close_all(live)
    before = list(live.store.read("moved"))
    live.store.close()

    file.write_text(LIVE_FILE.format(**names), encoding="utf-8")
    live = open_live(read_deployment(file), home, clock)
    for step in (begin_ledger, revalue, check_live_accounts):
        with pytest.raises(BadConfiguration, match=f"money of paper, .* now trades wallet {address_of(KEY)}"):
            step(live)
    assert list(live.store.read("moved")) == before
    live.store.close()
    observer = open_observer(read_deployment(file), home, clock)
    assert show_status(observer).money == "paper, no real money"
    observer.store.close()
