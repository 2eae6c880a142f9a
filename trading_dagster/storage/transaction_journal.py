"""The journal of intents and signed transactions in SQLite: every write is one transaction, on disk when it returns.

Rows are never deleted; what was taken back is told by ``history``, which only grows.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trading_dagster.domain.error import IntentConflict, LedgerError, StorageFailed
from trading_dagster.domain.transaction import (
    Account,
    Attempt,
    AttemptPurpose,
    Finished,
    InFlight,
    Intent,
    IntentRecord,
    LogEntry,
    Outcome,
    OutcomeStatus,
    Planned,
    WalletRecord,
    require_fence,
    require_free_nonce,
    require_same,
)

SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE wallet (
    account TEXT PRIMARY KEY, nonce_floor INTEGER NOT NULL, fence INTEGER NOT NULL, halt_reason TEXT NOT NULL
) STRICT;
CREATE TABLE intent (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, intent_id TEXT NOT NULL UNIQUE, account TEXT NOT NULL,
    body TEXT NOT NULL, outcome TEXT, outcome_block INTEGER,
    is_final INTEGER NOT NULL DEFAULT 0, was_reopened INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX intent_unfinished ON intent (account, sequence) WHERE outcome IS NULL;
CREATE INDEX intent_finished ON intent (account, outcome_block) WHERE outcome IS NOT NULL;
CREATE INDEX intent_not_final ON intent (account, sequence) WHERE outcome_block > 0 AND is_final = 0;
CREATE INDEX intent_reopened ON intent (account, sequence) WHERE was_reopened = 1;
CREATE TABLE attempt (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, tx_hash TEXT NOT NULL UNIQUE,
    intent_id TEXT NOT NULL REFERENCES intent (intent_id), nonce INTEGER NOT NULL, raw BLOB NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE INDEX attempt_intent ON attempt (intent_id, sequence);
CREATE TABLE history (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, account TEXT NOT NULL, what TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
"""
FROM_VERSION_1 = """
ALTER TABLE intent ADD COLUMN is_final INTEGER NOT NULL DEFAULT 0;
ALTER TABLE intent ADD COLUMN was_reopened INTEGER NOT NULL DEFAULT 0;
UPDATE intent SET was_reopened = 1 WHERE EXISTS (
    SELECT 1 FROM history WHERE history.account = intent.account AND what = 'reopened'
    AND detail LIKE replace(replace(intent_id, '%', '\\%'), '_', '\\_') || ' %' ESCAPE '\\'
);
CREATE INDEX intent_not_final ON intent (account, sequence) WHERE outcome_block > 0 AND is_final = 0;
CREATE INDEX intent_reopened ON intent (account, sequence) WHERE was_reopened = 1;
"""
"""What was kept before ends were known to be final: all of them are checked once."""
RECORD_COLUMNS = "SELECT intent_id, body, outcome FROM intent"


class SqliteTransactionJournal:
    """A journal in one SQLite file (write-ahead log, synchronous=FULL); one object a thread."""

    def __init__(self, path: Path, *, busy_timeout_s: float = 30.0) -> None:
        """Open or create the file; raises StorageFailed when that is impossible."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("PRAGMA foreign_keys=ON")
        except (OSError, sqlite3.Error) as error:
            raise StorageFailed(f"The transaction journal {path} cannot be opened: {error}") from error
        with self._transaction() as run:
            self._create(run)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def open_wallet(self, account: Account, first_nonce: int, fence: int) -> WalletRecord:
        """Return what is known of an account; on its first use, begin at ``first_nonce``."""
        with self._transaction() as run:
            run.execute("INSERT OR IGNORE INTO wallet VALUES (?, ?, ?, '')", (str(account), first_nonce, fence))
            return _fenced(run, account, fence)

    def find_wallet(self, account: Account) -> WalletRecord | None:
        """Return what is known of an account, None before its first use."""
        with self._transaction() as run:
            return _find_wallet(run, account)

    def add_intent(self, intent: Intent, fence: int) -> bool:
        """Plan an intent; False when it is planned already."""
        with self._transaction() as run:
            _fenced(run, intent.account, fence)
            row = run.execute(f"{RECORD_COLUMNS} WHERE intent_id = ?", (intent.intent_id,)).fetchone()
            if row is not None:
                require_same(_to_record(run, row).intent, intent)
                return False
            run.execute(
                "INSERT INTO intent (intent_id, account, body) VALUES (?, ?, ?)",
                (intent.intent_id, str(intent.account), _encode(intent)),
            )
            _tell(run, intent.account, "planned", intent.intent_id)
            return True

    def add_attempt(self, account: Account, attempt: Attempt, fence: int) -> None:
        """Keep a signed transaction and raise the nonce floor above its nonce, in one transaction."""
        with self._transaction() as run:
            _fenced(run, account, fence)
            users = run.execute(
                "SELECT DISTINCT intent.intent_id FROM attempt JOIN intent USING (intent_id) "
                "WHERE account = ? AND outcome IS NULL AND nonce = ?",
                (str(account), attempt.nonce),
            )
            require_free_nonce(attempt, _get(run, attempt.intent_id), {row[0] for row in users})
            body = dataclasses.asdict(attempt)
            raw = body.pop("raw")
            body["purpose"] = attempt.purpose.value
            run.execute(
                "INSERT INTO attempt (tx_hash, intent_id, nonce, raw, body) VALUES (?, ?, ?, ?, ?)",
                (attempt.tx_hash, attempt.intent_id, attempt.nonce, raw, json.dumps(body)),
            )
            run.execute(
                "UPDATE wallet SET nonce_floor = max(nonce_floor, ?) WHERE account = ?",
                (attempt.nonce + 1, str(account)),
            )
            _tell(run, account, f"signed to {attempt.purpose.value}", f"{attempt.intent_id} {attempt.tx_hash}")

    def finish(self, account: Account, outcome: Outcome, fence: int) -> None:
        """Keep the end of an intent."""
        with self._transaction() as run:
            _fenced(run, account, fence)
            record = _get(run, outcome.intent_id)
            if isinstance(record, Finished):
                raise IntentConflict(
                    f"Intent {outcome.intent_id} is finished already, as {record.outcome.status.value}"
                )
            body = dataclasses.asdict(outcome) | {"status": outcome.status.value}
            run.execute(
                "UPDATE intent SET outcome = ?, outcome_block = ? WHERE intent_id = ?",
                (json.dumps(body), outcome.block_number, outcome.intent_id),
            )
            _tell(run, account, outcome.status.value, f"{outcome.intent_id} {outcome.tx_hash} {outcome.reason}".strip())

    def reopen(self, account: Account, intent_id: str, reason: str, fence: int) -> None:
        """Take an intent's end back because a reorg moved it; its attempts stay."""
        with self._transaction() as run:
            _fenced(run, account, fence)
            record = _get(run, intent_id)
            if isinstance(record, Finished) and record.attempts:
                run.execute(
                    "UPDATE intent SET outcome = NULL, outcome_block = NULL, is_final = 0, was_reopened = 1 "
                    "WHERE intent_id = ?",
                    (intent_id,),
                )
                _tell(run, account, "reopened", f"{intent_id} {reason}; it was {json.dumps(_outcome_head(record))}")

    def mark_final(self, account: Account, intent_ids: Sequence[str], fence: int) -> None:
        """Keep that the ends of intents are in blocks that no reorg reaches."""
        with self._transaction() as run:
            _fenced(run, account, fence)
            run.executemany(
                "UPDATE intent SET is_final = 1 WHERE outcome IS NOT NULL AND intent_id = ?",
                [(intent_id,) for intent_id in intent_ids],
            )

    def halt(self, account: Account, reason: str, fence: int) -> None:
        """Forbid an account to sign for new intents."""
        with self._transaction() as run:
            _fenced(run, account, fence)
            run.execute("UPDATE wallet SET halt_reason = ? WHERE account = ?", (reason, str(account)))
            _tell(run, account, "halted", reason)

    def resume(self, account: Account, nonce_floor: int, reason: str, fence: int) -> None:
        """Allow it again, from a nonce on that is not below the floor."""
        with self._transaction() as run:
            _fenced(run, account, fence)
            run.execute(
                "UPDATE wallet SET halt_reason = '', nonce_floor = max(nonce_floor, ?) WHERE account = ?",
                (nonce_floor, str(account)),
            )
            _tell(run, account, "resumed", reason)

    def find(self, intent_id: str) -> IntentRecord | None:
        """Return an intent as it stands."""
        with self._transaction() as run:
            row = run.execute(f"{RECORD_COLUMNS} WHERE intent_id = ?", (intent_id,)).fetchone()
            return None if row is None else _to_record(run, row)

    def find_owner(self, tx_hash: str) -> str | None:
        """Return the id of the intent a transaction was signed for."""
        with self._transaction() as run:
            row = run.execute("SELECT intent_id FROM attempt WHERE tx_hash = ?", (tx_hash,)).fetchone()
            return None if row is None else str(row[0])

    def list_unfinished(self, account: Account) -> Sequence[Planned | InFlight]:
        """Return what has no end yet, in the order of planning."""
        with self._transaction() as run:
            query = f"{RECORD_COLUMNS} WHERE account = ? AND outcome IS NULL ORDER BY sequence"
            rows = run.execute(query, (str(account),)).fetchall()
            records = [_to_record(run, row) for row in rows]
            return [record for record in records if not isinstance(record, Finished)]

    def list_finished(self, account: Account, since_block: int) -> Sequence[Finished]:
        """Return what ended in a block of that number or later, in the order of planning."""
        return self._list_ended("account = ? AND outcome IS NOT NULL AND outcome_block >= ?", str(account), since_block)

    def list_not_final(self, account: Account) -> Sequence[Finished]:
        """Return what ended in a block and is not marked final, in the order of planning."""
        return self._list_ended("account = ? AND outcome_block > 0 AND is_final = 0", str(account))

    def list_reopened(self, account: Account) -> Sequence[Finished]:
        """Return what ended again after its end had been taken back, in the order of planning."""
        return self._list_ended("account = ? AND was_reopened = 1 AND outcome IS NOT NULL", str(account))

    def list_history(self, account: Account) -> Sequence[tuple[str, str, str]]:
        """Return (time, what, detail) of every write, oldest first."""
        with self._transaction() as run:
            query = "SELECT at, what, detail FROM history WHERE account = ? ORDER BY sequence"
            return [(str(at), str(what), str(detail)) for at, what, detail in run.execute(query, (str(account),))]

    def _list_ended(self, condition: str, *values: str | int) -> list[Finished]:
        with self._transaction() as run:
            rows = run.execute(f"{RECORD_COLUMNS} WHERE {condition} ORDER BY sequence", values).fetchall()
            records = [_to_record(run, row) for row in rows]
            return [record for record in records if isinstance(record, Finished)]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the body in one IMMEDIATE transaction: durable at its end, or undone."""
        run = self._connection
        try:
            run.execute("BEGIN IMMEDIATE")
            try:
                yield run
                run.execute("COMMIT")
            except BaseException:
                if run.in_transaction:
                    run.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StorageFailed(
                f"The transaction journal {self._path} cannot be used ({error}): nothing of this step was kept; "
                "free the disk or end the process that locks the file, then start again"
            ) from error

    def _create(self, run: sqlite3.Connection) -> None:
        version = run.execute("PRAGMA user_version").fetchone()[0]
        steps = {0: SCHEMA, 1: FROM_VERSION_1}
        if version in steps:
            for statement in steps[version].split(";"):
                run.execute(statement)
            run.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise LedgerError(f"The transaction journal {self._path} has schema {version}, not {SCHEMA_VERSION}")


def _find_wallet(run: sqlite3.Connection, account: Account) -> WalletRecord | None:
    query = "SELECT nonce_floor, fence, halt_reason FROM wallet WHERE account = ?"
    row = run.execute(query, (str(account),)).fetchone()
    return None if row is None else WalletRecord(account, *row)


def _fenced(run: sqlite3.Connection, account: Account, fence: int) -> WalletRecord:
    wallet = _find_wallet(run, account)
    if wallet is None:
        raise IntentConflict(f"The journal does not know wallet {account}: open it first")
    require_fence(wallet, fence)
    run.execute("UPDATE wallet SET fence = ? WHERE account = ?", (fence, str(account)))
    return dataclasses.replace(wallet, fence=fence)


def _tell(run: sqlite3.Connection, account: Account, what: str, detail: str) -> None:
    now = datetime.now(UTC).isoformat()
    run.execute(
        "INSERT INTO history (at, account, what, detail) VALUES (?, ?, ?, ?)", (now, str(account), what, detail)
    )


def _get(run: sqlite3.Connection, intent_id: str) -> IntentRecord:
    row = run.execute(f"{RECORD_COLUMNS} WHERE intent_id = ?", (intent_id,)).fetchone()
    if row is None:
        raise IntentConflict(f"Intent {intent_id} was never planned")
    return _to_record(run, row)


def _to_record(run: sqlite3.Connection, row: tuple[str, str, str | None]) -> IntentRecord:
    intent_id, body, outcome = row
    intent = _decode_intent(json.loads(body))
    query = "SELECT raw, body FROM attempt WHERE intent_id = ? ORDER BY sequence"
    attempts = tuple(_decode_attempt(raw, json.loads(text)) for raw, text in run.execute(query, (intent_id,)))
    if outcome is not None:
        return Finished(intent, attempts, _decode_outcome(json.loads(outcome)))
    return InFlight(intent, attempts) if attempts else Planned(intent)


def _encode(intent: Intent) -> str:
    return json.dumps(dataclasses.asdict(intent))


def _decode_intent(body: dict[str, Any]) -> Intent:
    return Intent(**body | {"account": Account(**body["account"])})


def _decode_attempt(raw: bytes, body: dict[str, Any]) -> Attempt:
    return Attempt(**body | {"purpose": AttemptPurpose(body["purpose"]), "raw": raw})


def _decode_outcome(body: dict[str, Any]) -> Outcome:
    logs = tuple(LogEntry(**log | {"topics": tuple(log["topics"])}) for log in body["logs"])
    return Outcome(**body | {"status": OutcomeStatus(body["status"]), "logs": logs})


def _outcome_head(record: Finished) -> dict[str, str | int]:
    outcome = record.outcome
    return {"status": outcome.status.value, "tx_hash": outcome.tx_hash, "block_hash": outcome.block_hash}
