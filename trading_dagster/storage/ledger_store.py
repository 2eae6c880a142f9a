"""The port to where live ledgers are kept, with its in-memory implementation.

A ledger is a list of rows numbered from 1 without gaps. What one step adds (a cycle, a trigger check, an operator's
decision) is a batch, stored in one transaction: its events, the positions that ended, a snapshot, equity samples and
what the strategy showed.

- An event is identified by strategy and sequence number. Storing the same content there again does nothing, so a writer
  that does not know whether its batch arrived sends it again; other content raises LedgerConflict.
- A batch says after which event it was made. When the ledger has moved on otherwise, its writer's view is stale.
- A batch carries the writer's lease and is refused when a newer executor exists.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from trading_dagster.domain.error import BadInput, LedgerConflict, LedgerError
from trading_dagster.storage.lease import Lease, LeaseStore, MemoryLeaseStore, strategy_resource


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as it is stored.

    Attributes:
        seq: Its number in the ledger, from 1.
        at_us: When it happened, unix microseconds.
        type: Name of the event's class.
        position_id: The position it belongs to, None for none.
        topic: Set on the few events that are needed to begin a process whatever their age: ``pair``, ``flow``,
            ``asset``, ``data``, ``binding``; and on the interest of a position, which only its end makes worth reading
            again.
        body: The event as JSON.
    """

    seq: int
    at_us: int
    type: str
    position_id: int | None
    topic: str | None
    body: str


@dataclass(frozen=True, slots=True)
class EndedPosition:
    """A position that closed or expired.

    Attributes:
        position_id: Its id.
        kind: ``closed`` or ``expired``.
        number: Its place among those of its kind, from 0, in order of ending.
        market: Base and quote token, to find the positions of a pair.
        ended_us: When it closed, unix microseconds; 0 for expired ones.
        allocations: Trades whose buy took less than planned out of cash: JSON of trade id to amount; None for none.
    """

    position_id: int
    kind: str
    number: int
    market: str
    ended_us: int
    allocations: str | None = None


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """What the first ``seq`` events add up to, in a format of its writer's; a cache that may be thrown away."""

    seq: int
    format: int
    body: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Equity at a moment; USD, ``at_us`` in unix microseconds."""

    at_us: int
    equity: float
    cash: float
    position_equity: float
    open_positions: int
    share_count: float | None = None
    share_price: float | None = None


@dataclass(frozen=True, slots=True)
class ShownRow:
    """What a strategy showed in a cycle: a message, a calculation or the points of a plot.

    Attributes:
        seq: The event that it was stored with.
        number: Its place among what was stored with that event, from 0.
        at_us: The cycle's decision time, unix microseconds.
        kind: What it is; see storage.visualisation_codec.
        body: Its content as JSON.
    """

    seq: int
    number: int
    at_us: int
    kind: str
    body: str


@dataclass(frozen=True, slots=True)
class LedgerBatch:
    """What one step adds to a ledger whose newest event is ``after_seq``."""

    strategy_id: str
    after_seq: int
    events: tuple[EventRow, ...] = ()
    ended: tuple[EndedPosition, ...] = ()
    snapshot: StateSnapshot | None = None
    samples: tuple[Sample, ...] = ()
    shown: tuple[ShownRow, ...] = ()

    def __post_init__(self) -> None:
        """Check that the events are numbered without gaps, and that what is shown belongs to one of them."""
        numbers = [row.seq for row in self.events]
        expected = list(range(self.after_seq + 1, self.after_seq + 1 + len(numbers)))
        if self.after_seq < 0 or numbers != expected:
            raise BadInput(f"The events after #{self.after_seq} are numbered {numbers[:5]}..., expected {expected[:5]}")
        if self.snapshot is not None and self.snapshot.seq != self.end_seq:
            raise BadInput(f"The snapshot is of event #{self.snapshot.seq}, the batch ends at #{self.end_seq}")
        strangers = [row.seq for row in self.shown if not self.after_seq < row.seq <= self.end_seq]
        if strangers:
            raise BadInput(
                f"What is shown belongs to event #{strangers[0]}, the batch has #{self.after_seq + 1} to "
                f"#{self.end_seq}: store it with an event of its cycle"
            )

    @property
    def end_seq(self) -> int:
        """Return the number of the newest event after the batch."""
        return self.after_seq + len(self.events)


class LedgerStore(LeaseStore, Protocol):
    """Where ledgers, their snapshots and the leases to write them are kept."""

    def append(self, batch: LedgerBatch, lease: Lease) -> int:
        """Store a batch as a whole; returns the number of the newest event.

        Raises:
            LeaseLost: The lease is not the newest; nothing was written.
            LedgerConflict: The ledger holds something else after ``after_seq``, or less than that.
            StorageFailed: The batch may or may not be stored: store the same again to find out.
        """
        ...

    def head(self, strategy_id: str) -> int:
        """Return the number of the newest event, 0 for an unknown strategy."""
        ...

    def list_strategies(self) -> Sequence[str]:
        """Return the ids of all that have a ledger, sorted."""
        ...

    def read(self, strategy_id: str, after_seq: int = 0) -> Sequence[EventRow]:
        """Return the events after a number, in order."""
        ...

    def read_some(
        self,
        strategy_id: str,
        up_to_seq: int,
        *,
        topics: Sequence[str] = (),
        position_ids: Sequence[int] = (),
        seqs: Sequence[int] = (),
    ) -> Sequence[EventRow]:
        """Return the events up to a number that have one of the topics, positions or numbers; in order, each once."""
        ...

    def read_snapshot(self, strategy_id: str) -> StateSnapshot | None:
        """Return the newest snapshot."""
        ...

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
        """Return the first ``count`` positions of a kind in order of ending: all, of a market, of an id, or the newest.

        The newest is the one with the latest ``ended_us``, of several the one with the largest id.
        """
        ...

    def read_allocations(self, strategy_id: str, position_ids: Sequence[int]) -> Sequence[EndedPosition]:
        """Return those of some ended positions that have allocations."""
        ...

    def read_samples(self, strategy_id: str, after_us: int = -1) -> Sequence[Sample]:
        """Return equity samples after a time, in order."""
        ...

    def read_shown(
        self,
        strategy_id: str,
        kind: str,
        *,
        from_us: int | None = None,
        to_us: int | None = None,
        newest: int | None = None,
    ) -> Sequence[ShownRow]:
        """Return rows of a kind in the order they were stored: all, of a range of decision times, or the newest.

        Args:
            strategy_id: Whose rows.
            kind: Which rows.
            from_us: First decision time, unix microseconds.
            to_us: Last decision time, inclusive.
            newest: At most so many, the newest of the range.
        """
        ...

    def close(self) -> None:
        """Free what the store holds; it cannot be used afterwards."""
        ...


def require_strategy_lease(batch: LedgerBatch, lease: Lease) -> None:
    """Raise BadInput when a lease is not one for the strategy that is written."""
    if not lease.covers(strategy_resource(batch.strategy_id)):
        held = [fence.resource for fence in lease.fences]
        raise BadInput(
            f"Writing {batch.strategy_id} needs a lease for {strategy_resource(batch.strategy_id)}, got {held}"
        )


def new_rows(batch: LedgerBatch, head: int, stored: Callable[[int, int], Sequence[EventRow]]) -> Sequence[EventRow]:
    """Return the rows of a batch that are not stored yet.

    Args:
        batch: What is to be stored.
        head: The newest event in the store.
        stored: Reads the events after the first argument up to the second.

    Raises:
        LedgerConflict: The ledger ends before the batch begins, or holds other content in its place.
    """
    if head < batch.after_seq:
        raise LedgerConflict(
            f"{batch.strategy_id} has {head} events but the batch follows event #{batch.after_seq}: "
            "is this another database than the state was loaded from? Load the state anew"
        )
    if head == batch.after_seq:
        return batch.events
    if not batch.events:
        raise LedgerConflict(f"{batch.strategy_id} moved on to event #{head}, the writer knows #{batch.after_seq}")
    overlap = stored(batch.after_seq, min(head, batch.end_seq))
    for known, row in zip(overlap, batch.events, strict=False):
        if known != row:
            raise LedgerConflict(
                f"{batch.strategy_id} has another event #{row.seq} ({known.type}, not {row.type}): the writer's state "
                f"is stale, the ledger is at #{head}. Nothing was written; load the state anew and decide again"
            )
    return batch.events[len(overlap) :]


def require_gapless(strategy_id: str, rows: Sequence[EventRow], after_seq: int) -> Sequence[EventRow]:
    """Return rows as they are; raises LedgerError when one is missing."""
    for expected, row in enumerate(rows, after_seq + 1):
        if row.seq != expected:
            raise LedgerError(f"Event #{expected} of {strategy_id} is missing: restore the database from a backup")
    return rows


@dataclass(slots=True)
class _Ledger:
    events: list[EventRow] = field(default_factory=list)
    ended: dict[int, EndedPosition] = field(default_factory=dict)
    snapshot: StateSnapshot | None = None
    samples: dict[int, Sample] = field(default_factory=dict)
    shown: dict[tuple[int, int], ShownRow] = field(default_factory=dict)


class MemoryLedgerStore(MemoryLeaseStore):
    """Ledgers in memory: for tests, and for trading whose memory need not outlive the process."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        """Begin without ledgers; ``clock`` returns unix time in seconds."""
        super().__init__(*([] if clock is None else [clock]))
        self._ledgers: dict[str, _Ledger] = {}
        self._write_lock = threading.Lock()

    def append(self, batch: LedgerBatch, lease: Lease) -> int:
        """See LedgerStore."""
        require_strategy_lease(batch, lease)
        with self._write_lock:
            self.check(lease)
            ledger = self._ledgers.get(batch.strategy_id, _Ledger())
            events = ledger.events
            rows = new_rows(batch, len(events), lambda after, to: events[after:to])
            self._ledgers[batch.strategy_id] = ledger
            events.extend(rows)
            ledger.ended |= {position.position_id: position for position in batch.ended}
            ledger.samples |= {sample.at_us: sample for sample in batch.samples}
            for row in batch.shown:
                ledger.shown.setdefault((row.seq, row.number), row)
            if batch.end_seq >= len(events):
                ledger.snapshot = batch.snapshot or ledger.snapshot
            return len(events)

    def head(self, strategy_id: str) -> int:
        """See LedgerStore."""
        return len(self._ledger(strategy_id).events)

    def list_strategies(self) -> Sequence[str]:
        """See LedgerStore."""
        return sorted(name for name, ledger in self._ledgers.items() if ledger.events)

    def read(self, strategy_id: str, after_seq: int = 0) -> Sequence[EventRow]:
        """See LedgerStore."""
        return self._ledger(strategy_id).events[after_seq:]

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
        wanted_topics, wanted_positions, wanted_seqs = set(topics), set(position_ids), set(seqs)
        return [
            row
            for row in self._ledger(strategy_id).events[:up_to_seq]
            if row.topic in wanted_topics or row.position_id in wanted_positions or row.seq in wanted_seqs
        ]

    def read_snapshot(self, strategy_id: str) -> StateSnapshot | None:
        """See LedgerStore."""
        return self._ledger(strategy_id).snapshot

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
        found = [p for p in self._ended(strategy_id) if p.kind == kind and p.number < count]
        found = [p for p in found if market in (None, p.market) and position_id in (None, p.position_id)]
        found.sort(key=lambda p: p.number)
        return [max(found, key=lambda p: (p.ended_us, p.position_id))] if newest and found else found

    def read_allocations(self, strategy_id: str, position_ids: Sequence[int]) -> Sequence[EndedPosition]:
        """See LedgerStore."""
        wanted = set(position_ids)
        return [p for p in self._ended(strategy_id) if p.position_id in wanted and p.allocations is not None]

    def read_samples(self, strategy_id: str, after_us: int = -1) -> Sequence[Sample]:
        """See LedgerStore."""
        samples = self._ledger(strategy_id).samples
        return [replace(samples[at]) for at in sorted(samples) if at > after_us]

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
        found = [
            row
            for row in self._ledger(strategy_id).shown.values()
            if row.kind == kind and (from_us is None or row.at_us >= from_us) and (to_us is None or row.at_us <= to_us)
        ]
        found.sort(key=lambda row: (row.at_us, row.seq, row.number))
        return found if newest is None else found[max(len(found) - newest, 0) :]

    def close(self) -> None:
        """See LedgerStore; ledgers in memory stay."""

    def _ledger(self, strategy_id: str) -> _Ledger:
        return self._ledgers.get(strategy_id, _Ledger())

    def _ended(self, strategy_id: str) -> Iterator[EndedPosition]:
        return iter(self._ledger(strategy_id).ended.values())
