"""Where messages to operators are kept, so that a person reads them later and no process sends what another did.

A message is claimed before it is sent and marked when a target took it. The same message (strategy, kind and subject)
within an interval after that is only counted. Time is that of the database, not of a strategy's clock, which may run
faster: what is limited is how often a person is disturbed.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Row, insert, select, text, update

from trading_dagster.domain.message import Message, MessageLevel
from trading_dagster.domain.time import from_unix_us, to_aware, to_naive, to_unix_us
from trading_dagster.storage.database import Database
from trading_dagster.storage.ledger_schema import messages

CLAIM_MS = 30_000
"""How long a process may take to send what it claimed; after that others may send it."""
RETRY_MS = 24 * 3_600_000
"""How long a message that no target took is worth sending."""
URGENT = (MessageLevel.alarm, MessageLevel.trade_high)
"""What is sent later when no target took it at first."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it is kept.

    Attributes:
        key: Its number; grows with time.
        message: The message; of those that were only counted, the first.
        is_delivered: Whether a target took it.
        repeats: How many of the same came after it and were not sent.
        last_at: When the last one of them came, aware UTC.
    """

    key: int
    message: Message
    is_delivered: bool
    repeats: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send a message. ``suppressed`` of the same were not sent since the last one that was."""

    key: int
    message: Message
    suppressed: int


class MessageStore(Protocol):
    """Where messages are kept; each method is one transaction. All raise StorageFailed."""

    def claim(self, message: Message, interval: timedelta) -> Claim | None:
        """Keep a message and claim to send it; None when the same was sent within the interval, or is being sent."""
        ...

    def mark_delivered(self, key: int) -> None:
        """Say that a target took a message."""
        ...

    def claim_undelivered(self) -> Claim | None:
        """Claim the oldest urgent message of the last day that no target took and nobody is sending."""
        ...

    def list_newest(
        self,
        strategy_id: str | None = None,
        *,
        levels: Sequence[MessageLevel] = tuple(MessageLevel),
        after_key: int = 0,
        limit: int = 100,
    ) -> Sequence[StoredMessage]:
        """Return messages of some levels that came after ``after_key``, newest first; None for all strategies."""
        ...


class SqlMessageStore:
    """Messages in a ledger database."""

    def __init__(self, database: Database) -> None:
        """Keep messages in an open database."""
        self._database = database

    def claim(self, message: Message, interval: timedelta) -> Claim | None:
        """See MessageStore."""
        table, at_us = messages.c, to_unix_us(to_naive(message.at))
        newest = (
            select(messages)
            .where(
                table.strategy_id == message.strategy_id,
                table.kind == message.kind,
                table.subject == message.subject,
            )
            .order_by(table.message_key.desc())
            .limit(1)
        )
        with self._database.write() as connection:
            if not self._database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _lock_key(message)})
            now_ms = self._database.now_ms(connection)
            row = connection.execute(newest).one_or_none()
            if row is not None:
                verdict = _verdict(row.claimed_ms, row.delivered_ms, now_ms, interval)
                if verdict is not _NEW:
                    changes = {"repeats": row.repeats + 1, "last_at_us": at_us}
                    if verdict is _AGAIN:
                        changes["claimed_ms"] = now_ms
                    connection.execute(update(messages).where(table.message_key == row.message_key).values(changes))
                    return Claim(row.message_key, message, row.repeats + 1) if verdict is _AGAIN else None
            values = {
                "strategy_id": message.strategy_id,
                "level": message.level.value,
                "kind": message.kind,
                "subject": message.subject,
                "text": message.text,
                "at_us": at_us,
                "claimed_ms": now_ms,
                "repeats": 0,
                "last_at_us": at_us,
            }
            key = connection.execute(insert(messages).values(values).returning(table.message_key)).scalar_one()
            return Claim(key, message, 0 if row is None else row.repeats)

    def mark_delivered(self, key: int) -> None:
        """See MessageStore."""
        with self._database.write() as connection:
            now_ms = self._database.now_ms(connection)
            connection.execute(update(messages).where(messages.c.message_key == key).values(delivered_ms=now_ms))

    def claim_undelivered(self) -> Claim | None:
        """See MessageStore."""
        table = messages.c
        with self._database.write() as connection:
            now_ms = self._database.now_ms(connection)
            query = (
                select(messages)
                .where(
                    table.delivered_ms.is_(None),
                    table.level.in_([level.value for level in URGENT]),
                    table.claimed_ms <= now_ms - CLAIM_MS,
                    table.claimed_ms > now_ms - RETRY_MS,
                )
                .order_by(table.message_key)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            connection.execute(update(messages).where(table.message_key == row.message_key).values(claimed_ms=now_ms))
            return Claim(row.message_key, _stored(row).message, row.repeats)

    def list_newest(
        self,
        strategy_id: str | None = None,
        *,
        levels: Sequence[MessageLevel] = tuple(MessageLevel),
        after_key: int = 0,
        limit: int = 100,
    ) -> Sequence[StoredMessage]:
        """See MessageStore."""
        table = messages.c
        query = select(messages).where(
            table.message_key > after_key, table.level.in_([level.value for level in levels])
        )
        if strategy_id is not None:
            query = query.where(table.strategy_id == strategy_id)
        with self._database.read() as connection:
            return [_stored(row) for row in connection.execute(query.order_by(table.message_key.desc()).limit(limit))]


class MemoryMessageStore:
    """Messages of one process, by a clock of one's choice."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin without messages; ``clock`` returns seconds."""
        self._clock = clock
        self._rows: list[_Row] = []
        self._lock = threading.Lock()

    def claim(self, message: Message, interval: timedelta) -> Claim | None:
        """See MessageStore."""
        with self._lock:
            now_ms = self._now_ms()
            row = next((row for row in reversed(self._rows) if _same(row.stored.message, message)), None)
            verdict = _NEW if row is None else _verdict(row.claimed_ms, row.delivered_ms, now_ms, interval)
            if row is not None and verdict is not _NEW:
                row.stored = replace(row.stored, repeats=row.stored.repeats + 1, last_at=message.at)
                if verdict is not _AGAIN:
                    return None
                row.claimed_ms = now_ms
                return Claim(row.stored.key, message, row.stored.repeats)
            stored = StoredMessage(len(self._rows) + 1, message, False, 0, message.at)
            self._rows.append(_Row(stored, now_ms))
            return Claim(stored.key, message, 0 if row is None else row.stored.repeats)

    def mark_delivered(self, key: int) -> None:
        """See MessageStore."""
        with self._lock:
            row = self._rows[key - 1]
            row.delivered_ms, row.stored = self._now_ms(), replace(row.stored, is_delivered=True)

    def claim_undelivered(self) -> Claim | None:
        """See MessageStore."""
        with self._lock:
            now_ms = self._now_ms()
            for row in self._rows:
                is_old_enough = now_ms - RETRY_MS < row.claimed_ms <= now_ms - CLAIM_MS
                if row.delivered_ms is None and row.stored.message.level in URGENT and is_old_enough:
                    row.claimed_ms = now_ms
                    return Claim(row.stored.key, row.stored.message, row.stored.repeats)
            return None

    def list_newest(
        self,
        strategy_id: str | None = None,
        *,
        levels: Sequence[MessageLevel] = tuple(MessageLevel),
        after_key: int = 0,
        limit: int = 100,
    ) -> Sequence[StoredMessage]:
        """See MessageStore."""
        found = [
            row.stored
            for row in reversed(self._rows)
            if row.stored.key > after_key
            and row.stored.message.level in levels
            and strategy_id in (None, row.stored.message.strategy_id)
        ]
        return found[:limit]

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)


@dataclass(slots=True)
class _Row:
    stored: StoredMessage
    claimed_ms: int
    delivered_ms: int | None = None


_NEW, _AGAIN, _SUPPRESSED = "new", "again", "suppressed"


def _verdict(claimed_ms: int, delivered_ms: int | None, now_ms: int, interval: timedelta) -> str:
    """Say what to do with a message whose like was claimed before; a clock set back does not silence anything."""
    if delivered_ms is not None:
        is_recent = 0 <= now_ms - delivered_ms < interval / timedelta(milliseconds=1)
        return _SUPPRESSED if is_recent else _NEW
    return _SUPPRESSED if 0 <= now_ms - claimed_ms < CLAIM_MS else _AGAIN


def _same(one: Message, other: Message) -> bool:
    return (one.strategy_id, one.kind, one.subject) == (other.strategy_id, other.kind, other.subject)


def _lock_key(message: Message) -> int:
    """Return a key under which PostgreSQL lets one process at a time claim the same message."""
    digest = hashlib.sha256(repr((message.strategy_id, message.kind, message.subject)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _stored(row: Row[Any]) -> StoredMessage:
    at, last_at = (to_aware(from_unix_us(us)) for us in (row.at_us, row.last_at_us))
    message = Message(row.strategy_id, MessageLevel(row.level), row.kind, row.subject, row.text, at)
    return StoredMessage(row.message_key, message, row.delivered_ms is not None, row.repeats, last_at)
