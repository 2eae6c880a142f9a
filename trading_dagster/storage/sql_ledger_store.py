"""Ledgers in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, insert, select, true, update
from sqlalchemy.dialects import postgresql, sqlite

from trading_dagster.domain.error import StorageFailed
from trading_dagster.storage.database import DEFAULT_BUSY_TIMEOUT_S, Database
from trading_dagster.storage.lease import Lease
from trading_dagster.storage.ledger_schema import ended_positions, events, samples, shown_rows, snapshots, strategies
from trading_dagster.storage.ledger_store import (
    EndedPosition,
    EventRow,
    LedgerBatch,
    Sample,
    ShownRow,
    StateSnapshot,
    new_rows,
    require_gapless,
    require_strategy_lease,
)
from trading_dagster.storage.sql_lease import SqlLeaseStore, require_newest

_EVENT = (events.c.seq, events.c.at_us, events.c.type, events.c.position_id, events.c.topic, events.c.body)
_ENDED = (
    ended_positions.c.position_id,
    ended_positions.c.kind,
    ended_positions.c.number,
    ended_positions.c.market,
    ended_positions.c.ended_us,
    ended_positions.c.allocations,
)
_SAMPLE = tuple(column for column in samples.c if column.name != "strategy_key")
_SHOWN = tuple(column for column in shown_rows.c if column.name != "strategy_key")
_MAX_IN = 500
"""Values in one IN clause: SQLite takes 32,766 parameters in all."""


class SqlLedgerStore(SqlLeaseStore):
    """Ledgers in a database; see LedgerStore. Close it, or use it as a context manager."""

    def __init__(self, address: str | Path, *, busy_timeout_s: float = DEFAULT_BUSY_TIMEOUT_S) -> None:
        """Open a database and migrate it; arguments and errors as in Database."""
        super().__init__(Database(address, busy_timeout_s=busy_timeout_s))
        self._keys: dict[str, int] = {}

    def __enter__(self) -> SqlLedgerStore:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """See LedgerStore."""
        self.database.close()

    # -- writing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def write(self, lease: Lease) -> Iterator[Connection]:
        """Run a write transaction under a lease, for tables beside the ledger; raises LeaseLost before anything."""
        with self.database.write() as connection:
            require_newest(connection, lease)
            yield connection

    def append(self, batch: LedgerBatch, lease: Lease) -> int:
        """See LedgerStore."""
        require_strategy_lease(batch, lease)
        with self.write(lease) as connection:
            key, head = self._lock_strategy(connection, batch.strategy_id)

            def stored(after_seq: int, to_seq: int) -> Sequence[EventRow]:
                query = _events_of(key).where(events.c.seq > after_seq, events.c.seq <= to_seq).order_by(events.c.seq)
                rows = [EventRow(*row) for row in connection.execute(query)]
                return require_gapless(batch.strategy_id, rows, after_seq)

            rows = new_rows(batch, head, stored)
            if rows:
                connection.execute(insert(events), [{"strategy_key": key, **_columns(row)} for row in rows])
                head = rows[-1].seq
                connection.execute(update(strategies).where(strategies.c.strategy_key == key).values(head_seq=head))
            self._write_rest(connection, key, batch, is_newest=batch.end_seq >= head)
        return head

    def _lock_strategy(self, connection: Connection, strategy_id: str) -> tuple[int, int]:
        """Return a strategy's key and newest event; no other writer can change it before the transaction ends."""
        dialect = sqlite if self.database.is_sqlite else postgresql
        query = (
            select(strategies.c.strategy_key, strategies.c.head_seq)
            .where(strategies.c.strategy_id == strategy_id)
            .with_for_update()
        )
        row = connection.execute(query).one_or_none()
        if row is None:
            new = dialect.insert(strategies).values(strategy_id=strategy_id, head_seq=0)
            connection.execute(new.on_conflict_do_nothing())
            row = connection.execute(query).one_or_none()
        if row is None:
            raise StorageFailed(f"Strategy {strategy_id} could not be entered into {self.database.place}")
        return int(row[0]), int(row[1])

    def _write_rest(self, connection: Connection, key: int, batch: LedgerBatch, *, is_newest: bool) -> None:
        dialect = sqlite if self.database.is_sqlite else postgresql
        if batch.ended:
            rows = [{"strategy_key": key, **_columns(position)} for position in batch.ended]
            connection.execute(dialect.insert(ended_positions).on_conflict_do_nothing(), rows)
        if batch.snapshot is not None and is_newest:
            values = _columns(batch.snapshot)
            upsert = dialect.insert(snapshots).values(strategy_key=key, **values)
            connection.execute(upsert.on_conflict_do_update(index_elements=[snapshots.c.strategy_key], set_=values))
        if batch.shown:
            rows = [{"strategy_key": key, **_columns(row)} for row in batch.shown]
            connection.execute(dialect.insert(shown_rows).on_conflict_do_nothing(), rows)
        for sample in batch.samples:
            values = _columns(sample)
            upsert = dialect.insert(samples).values(strategy_key=key, **values)
            connection.execute(
                upsert.on_conflict_do_update(index_elements=[samples.c.strategy_key, samples.c.at_us], set_=values)
            )

    # -- reading ------------------------------------------------------------------------------------------------------

    def head(self, strategy_id: str) -> int:
        """See LedgerStore."""
        with self.database.read() as connection:
            query = select(strategies.c.head_seq).where(strategies.c.strategy_id == strategy_id)
            return int(connection.execute(query).scalar_one_or_none() or 0)

    def list_strategies(self) -> Sequence[str]:
        """See LedgerStore."""
        with self.database.read() as connection:
            query = select(strategies.c.strategy_id).where(strategies.c.head_seq > 0)
            return sorted(connection.execute(query).scalars())

    def read(self, strategy_id: str, after_seq: int = 0) -> Sequence[EventRow]:
        """See LedgerStore."""
        with self.database.read() as connection:
            key = self._key(connection, strategy_id)
            query = _events_of(key).where(events.c.seq > after_seq).order_by(events.c.seq)
            rows = [EventRow(*row) for row in connection.execute(query)]
        return require_gapless(strategy_id, rows, after_seq)

    def read_some(
        self,
        strategy_id: str,
        up_to_seq: int,
        *,
        topics: Sequence[str] = (),
        position_ids: Sequence[int] = (),
        seqs: Sequence[int] = (),
    ) -> Sequence[EventRow]:
        """See LedgerStore."""
        found: dict[int, EventRow] = {}
        with self.database.read() as connection:
            key = self._key(connection, strategy_id)
            # Numbers are cut here: asked for both, SQLite walks all events up to the number instead of finding a few.
            wanted = [seq for seq in seqs if seq <= up_to_seq]
            for column, values, last in (
                (events.c.topic, topics, events.c.seq <= up_to_seq),
                (events.c.position_id, position_ids, events.c.seq <= up_to_seq),
                (events.c.seq, wanted, true()),
            ):
                for start in range(0, len(values), _MAX_IN):
                    query = _events_of(key).where(last, column.in_(values[start : start + _MAX_IN]))
                    found |= {row.seq: EventRow(*row) for row in connection.execute(query)}
        return [found[seq] for seq in sorted(found)]

    def read_snapshot(self, strategy_id: str) -> StateSnapshot | None:
        """See LedgerStore."""
        with self.database.read() as connection:
            query = select(snapshots.c.seq, snapshots.c.format, snapshots.c.body).where(
                snapshots.c.strategy_key == self._key(connection, strategy_id)
            )
            row = connection.execute(query).one_or_none()
        return None if row is None else StateSnapshot(*row)

    def read_ended(
        self,
        strategy_id: str,
        kind: str,
        count: int,
        *,
        market: str | None = None,
        position_id: int | None = None,
        newest: bool = False,
    ) -> Sequence[EndedPosition]:
        """See LedgerStore."""
        table = ended_positions.c
        with self.database.read() as connection:
            key = self._key(connection, strategy_id)
            # A sum keeps SQLite from walking the numbers when an index on time or id finds the position at once.
            number = table.number + 0 if newest or position_id is not None else table.number
            query = select(*_ENDED).where(table.strategy_key == key, table.kind == kind, number < count)
            if market is not None:
                query = query.where(table.market == market)
            if position_id is not None:
                query = query.where(table.position_id == position_id)
            if newest:
                query = query.order_by(table.ended_us.desc(), table.position_id.desc()).limit(1)
            else:
                query = query.order_by(table.number)
            return [EndedPosition(*row) for row in connection.execute(query)]

    def read_allocations(self, strategy_id: str, position_ids: Sequence[int]) -> Sequence[EndedPosition]:
        """See LedgerStore."""
        table = ended_positions.c
        found: list[EndedPosition] = []
        with self.database.read() as connection:
            key = self._key(connection, strategy_id)
            for start in range(0, len(position_ids), _MAX_IN):
                query = select(*_ENDED).where(
                    table.strategy_key == key,
                    table.position_id.in_(position_ids[start : start + _MAX_IN]),
                    table.allocations.is_not(None),
                )
                found += [EndedPosition(*row) for row in connection.execute(query)]
        return found

    def read_samples(self, strategy_id: str, after_us: int = -1) -> Sequence[Sample]:
        """See LedgerStore."""
        with self.database.read() as connection:
            query = (
                select(*_SAMPLE)
                .where(samples.c.strategy_key == self._key(connection, strategy_id), samples.c.at_us > after_us)
                .order_by(samples.c.at_us)
            )
            return [Sample(*row) for row in connection.execute(query)]

    def read_shown(
        self,
        strategy_id: str,
        kind: str,
        *,
        from_us: int | None = None,
        to_us: int | None = None,
        newest: int | None = None,
    ) -> Sequence[ShownRow]:
        """See LedgerStore."""
        table = shown_rows.c
        with self.database.read() as connection:
            key = self._key(connection, strategy_id)
            query = select(*_SHOWN).where(table.strategy_key == key, table.kind == kind)
            if from_us is not None:
                query = query.where(table.at_us >= from_us)
            if to_us is not None:
                query = query.where(table.at_us <= to_us)
            query = query.order_by(table.at_us.desc(), table.seq.desc(), table.number.desc()).limit(newest)
            return [ShownRow(*row) for row in connection.execute(query)][::-1]

    def _key(self, connection: Connection, strategy_id: str) -> int:
        """Return a strategy's key, which never changes; -1 for an unknown one."""
        key = self._keys.get(strategy_id)
        if key is None:
            query = select(strategies.c.strategy_key).where(strategies.c.strategy_id == strategy_id)
            found = connection.execute(query).scalar_one_or_none()
            if found is None:
                return -1
            key = self._keys[strategy_id] = int(found)
        return key


def _events_of(key: int) -> Select[Any]:
    return select(*_EVENT).where(events.c.strategy_key == key)


def _columns(row: EventRow | EndedPosition | StateSnapshot | Sample | ShownRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in type(row).__slots__}
