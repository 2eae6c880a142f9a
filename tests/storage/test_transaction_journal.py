"""Both journals keep the same rules; the one on disk keeps them over restarts."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from trading_dagster.domain.error import IntentConflict, LeaseLost, LedgerError, StorageFailed
from trading_dagster.domain.transaction import (
    Account,
    Attempt,
    AttemptPurpose,
    Finished,
    InFlight,
    Intent,
    LogEntry,
    Outcome,
    OutcomeStatus,
    Planned,
    WalletRecord,
)
from trading_dagster.evm.transaction_journal import MemoryTransactionJournal, TransactionJournal, list_to_compare
from trading_dagster.storage.transaction_journal import SqliteTransactionJournal

ACCOUNT = Account(1, "0x" + "AB" * 20)
INTENT = Intent(
    "swap-1", ACCOUNT, "0x" + "cd" * 20, "0x00", value=2**200, expires_at=99, function="f(uint256)",
    arguments={"amount": 2**255, "path": ["0x1", "0x2"]},
)  # fmt: skip
ATTEMPT = Attempt("swap-1", AttemptPurpose.execute, 5, "0xaa", b"\x01\x02", 21_000, 10**9, 10**8, 100)
BUMP = dataclasses.replace(ATTEMPT, tx_hash="0xbb", max_fee=2 * 10**9)
LOG = LogEntry("0x" + "ef" * 20, ("0x1", "0x2"), "0x3", 4)
OUTCOME = Outcome("swap-1", OutcomeStatus.confirmed, "", "0xbb", 101, "0xcc", 20_000, 10**9, (LOG,))
FIRST_VERSION = Path(__file__).parent / "journal_version_1.sql"
"""Written by the first version: swap-1 confirmed, swap-10 reopened and confirmed again, swap_1 reopened."""


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TransactionJournal]:
    if request.param == "memory":
        yield MemoryTransactionJournal()
        return
    stored = SqliteTransactionJournal(tmp_path / "deep" / "journal.sqlite")
    yield stored
    stored.close()


def test_intent_goes_from_planned_to_finished_and_back(journal: TransactionJournal):
    assert journal.find_wallet(ACCOUNT) is None
    assert journal.open_wallet(ACCOUNT, 5, 1) == WalletRecord(ACCOUNT, 5, 1)
    assert journal.open_wallet(ACCOUNT, 77, 1).nonce_floor == 5
    assert journal.add_intent(INTENT, 1)
    assert not journal.add_intent(INTENT, 1)
    assert journal.find("swap-1") == Planned(INTENT)
    journal.add_attempt(ACCOUNT, ATTEMPT, 1)
    journal.add_attempt(ACCOUNT, BUMP, 1)
    assert journal.list_unfinished(ACCOUNT) == [InFlight(INTENT, (ATTEMPT, BUMP))]
    assert journal.find_wallet(ACCOUNT) == WalletRecord(ACCOUNT, 6, 1)
    journal.finish(ACCOUNT, OUTCOME, 1)
    assert journal.find("swap-1") == Finished(INTENT, (ATTEMPT, BUMP), OUTCOME)
    assert journal.list_unfinished(ACCOUNT) == []
    assert [r.outcome for r in journal.list_finished(ACCOUNT, 101)] == [OUTCOME]
    assert journal.list_finished(ACCOUNT, 102) == []
    journal.reopen(ACCOUNT, "swap-1", "reorg", 1)
    assert journal.find("swap-1") == InFlight(INTENT, (ATTEMPT, BUMP))
    assert journal.find_owner("0xaa") == "swap-1"
    assert journal.find_owner("0xdd") is None


def test_end_is_final_until_it_is_taken_back(journal: TransactionJournal):
    journal.open_wallet(ACCOUNT, 5, 1)
    journal.add_intent(INTENT, 1)
    journal.add_attempt(ACCOUNT, ATTEMPT, 1)
    journal.add_attempt(ACCOUNT, BUMP, 1)
    assert journal.list_not_final(ACCOUNT) == []
    journal.mark_final(ACCOUNT, ["swap-1"], 1)  # it has no end yet
    journal.finish(ACCOUNT, OUTCOME, 1)
    assert [r.outcome for r in journal.list_not_final(ACCOUNT)] == [OUTCOME]
    journal.mark_final(ACCOUNT, ["swap-1"], 1)
    assert journal.list_not_final(ACCOUNT) == []
    assert journal.list_reopened(ACCOUNT) == []
    journal.reopen(ACCOUNT, "swap-1", "reorg", 1)
    assert journal.list_reopened(ACCOUNT) == [], "it has no end now"
    journal.finish(ACCOUNT, dataclasses.replace(OUTCOME, block_number=50), 1)
    assert [r.outcome.block_number for r in journal.list_not_final(ACCOUNT)] == [50]
    assert [r.outcome.block_number for r in journal.list_reopened(ACCOUNT)] == [50]
    assert [r.outcome.block_number for r in list_to_compare(journal, ACCOUNT, 101)] == [50]
    assert [r.outcome.block_number for r in list_to_compare(journal, ACCOUNT, 50)] == [50]


def test_refused_intent_was_never_in_a_block(journal: TransactionJournal):
    journal.open_wallet(ACCOUNT, 5, 1)
    journal.add_intent(INTENT, 1)
    journal.finish(ACCOUNT, Outcome("swap-1", OutcomeStatus.refused, "simulation"), 1)
    assert journal.list_not_final(ACCOUNT) == []


def test_second_nonce_second_user_and_second_end_are_refused(journal: TransactionJournal):
    journal.open_wallet(ACCOUNT, 5, 1)
    journal.add_intent(INTENT, 1)
    journal.add_intent(dataclasses.replace(INTENT, intent_id="swap-2"), 1)
    journal.add_attempt(ACCOUNT, ATTEMPT, 1)
    with pytest.raises(IntentConflict, match="mined beside"):
        journal.add_attempt(ACCOUNT, dataclasses.replace(ATTEMPT, nonce=6, tx_hash="0xee"), 1)
    with pytest.raises(IntentConflict, match="Nonce 5"):
        journal.add_attempt(ACCOUNT, dataclasses.replace(ATTEMPT, intent_id="swap-2", tx_hash="0xee"), 1)
    with pytest.raises(IntentConflict, match="other contents"):
        journal.add_intent(dataclasses.replace(INTENT, value=1), 1)
    journal.finish(ACCOUNT, OUTCOME, 1)
    with pytest.raises(IntentConflict, match="finished already"):
        journal.finish(ACCOUNT, OUTCOME, 1)
    with pytest.raises(IntentConflict, match="is finished"):
        journal.add_attempt(ACCOUNT, BUMP, 1)
    assert journal.find_wallet(ACCOUNT) == WalletRecord(ACCOUNT, 6, 1)


def test_old_fence_writes_nothing(journal: TransactionJournal):
    journal.open_wallet(ACCOUNT, 5, 1)
    journal.add_intent(INTENT, 2)
    for write in (
        lambda: journal.add_intent(dataclasses.replace(INTENT, intent_id="x"), 1),
        lambda: journal.add_attempt(ACCOUNT, ATTEMPT, 1),
        lambda: journal.finish(ACCOUNT, OUTCOME, 1),
        lambda: journal.reopen(ACCOUNT, "swap-1", "", 1),
        lambda: journal.mark_final(ACCOUNT, ["swap-1"], 1),
        lambda: journal.halt(ACCOUNT, "no", 1),
        lambda: journal.resume(ACCOUNT, 9, "yes", 1),
        lambda: journal.open_wallet(ACCOUNT, 9, 1),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert journal.find("swap-1") == Planned(INTENT)
    assert journal.find_wallet(ACCOUNT) == WalletRecord(ACCOUNT, 5, 2)


def test_halt_and_resume_never_lower_the_floor(journal: TransactionJournal):
    journal.open_wallet(ACCOUNT, 5, 1)
    journal.halt(ACCOUNT, "somebody", 1)
    assert journal.find_wallet(ACCOUNT) == WalletRecord(ACCOUNT, 5, 1, "somebody")
    journal.resume(ACCOUNT, 3, "fine", 1)
    assert journal.find_wallet(ACCOUNT) == WalletRecord(ACCOUNT, 5, 1)
    journal.resume(ACCOUNT, 8, "fine", 1)
    assert journal.find_wallet(ACCOUNT) == WalletRecord(ACCOUNT, 8, 1)


def test_wallet_must_be_opened_first(journal: TransactionJournal):
    with pytest.raises(IntentConflict, match="open it first"):
        journal.add_intent(INTENT, 1)


def test_file_is_durable_and_its_history_only_grows(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    first = SqliteTransactionJournal(path)
    first.open_wallet(ACCOUNT, 5, 1)
    first.add_intent(INTENT, 1)
    first.add_attempt(ACCOUNT, ATTEMPT, 1)
    first.finish(ACCOUNT, OUTCOME, 1)
    first.reopen(ACCOUNT, "swap-1", "reorg", 1)
    first.close()

    again = SqliteTransactionJournal(path)
    assert again.find("swap-1") == InFlight(INTENT, (ATTEMPT,))
    told = [what for _, what, _ in again.list_history(ACCOUNT)]
    assert told == ["planned", "signed to execute", "confirmed", "reopened"]
    again.close()
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()


def test_journal_of_the_first_version_goes_on(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    old = sqlite3.connect(path)
    old.executescript(FIRST_VERSION.read_text())
    old.close()
    journal = SqliteTransactionJournal(path)
    ended = [record.intent.intent_id for record in journal.list_not_final(ACCOUNT)]
    assert ended == ["swap-1", "swap-10"], "what ended before ends were marked is checked once"
    assert [record.intent.intent_id for record in journal.list_reopened(ACCOUNT)] == ["swap-10"]
    assert [record.intent.intent_id for record in journal.list_unfinished(ACCOUNT)] == ["swap_1"]
    journal.mark_final(ACCOUNT, ended, 1)
    journal.close()
    again = SqliteTransactionJournal(path)
    assert again.list_not_final(ACCOUNT) == []
    again.close()


def test_locked_and_unknown_files_are_refused(tmp_path: Path):
    path = tmp_path / "journal.sqlite"
    journal = SqliteTransactionJournal(path, busy_timeout_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageFailed, match="nothing of this step was kept"):
        journal.open_wallet(ACCOUNT, 5, 1)
    other.execute("ROLLBACK")
    other.execute("PRAGMA user_version = 9")
    other.close()
    journal.close()
    with pytest.raises(LedgerError, match="schema 9"):
        SqliteTransactionJournal(path)
    with pytest.raises(StorageFailed, match="cannot be opened"):
        SqliteTransactionJournal(tmp_path)
