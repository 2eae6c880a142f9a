"""Write pieces of a running backtest to disk, several at a time.

Computing and writing use different code and data; a processor that changes between them for every short partition is
slower at both. So pieces are kept until about half a second of work has not been written: that much is lost when the
process is killed, and computed again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from trading_dagster.backtest.run import BacktestRun
from trading_dagster.backtest.segment_table import segment_tables
from trading_dagster.domain.event import Event
from trading_dagster.statistics.table import Table
from trading_dagster.storage.event_codec import encode_event
from trading_dagster.storage.segment import Snapshot, encode_segments, wallet_to_text, write_segment

LONGEST_UNWRITTEN_S = 0.5


@dataclass(frozen=True, slots=True)
class PartitionWindow:
    """A range of decision times with a name; naive UTC, end exclusive."""

    key: str
    start: datetime
    end: datetime


@dataclass(frozen=True, eq=False)
class PartitionOutcome:
    """What one partition did.

    Attributes:
        window: The partition.
        cycles: How many decisions it has.
        open_positions: How many positions were open at its end.
        snapshot: Where it ended.
        tables: As they were stored: decisions, trades, equity, and what the strategy showed, where it did.
    """

    window: PartitionWindow
    cycles: int
    open_positions: int
    snapshot: Snapshot
    tables: Mapping[str, Table]


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one partition did, not yet on disk; ``end`` has the fields of its snapshot that are known by then."""

    window: PartitionWindow
    cycles: int
    open_positions: int
    events: Sequence[Event]
    tables: Mapping[str, Table]
    end: Mapping[str, object]


class SegmentWriter:
    """Takes pieces out of a running backtest and writes each as a segment that continues from the one before.

    Args:
        folder: Folder of the segments.
        plan_hash: Hash of strategy, parameters and data.
        began_from: Hash of the snapshot that the backtest continued from.
    """

    def __init__(self, folder: Path, plan_hash: str, began_from: str) -> None:
        self._folder = folder
        self._plan_hash = plan_hash
        self._began_from = began_from
        self._waiting: list[_Piece] = []
        self._written_at = time.monotonic()

    def take(self, run: BacktestRun, window: PartitionWindow, cycles: range) -> None:
        """Take what happened since the last call, which ends a partition; raises IntegrityError when it cannot be."""
        state = run.state
        events, samples = run.take_segment()
        state.perform_integrity_check()
        end = {
            "next_cycle": run.next_cycle,
            "wallet": wallet_to_text({a.get_identifier(): q for a, q in run.wallet.balances.items()}),
            "queue": tuple((flow.at.isoformat(), str(flow.amount)) for flow in run.treasury.queue),
            "cash": str(state.portfolio.reserve.quantity),
            "equity": float(samples.columns["equity"][-1]) if len(samples) else _value_at_last_cycle(run),
        }
        tables = segment_tables(run, events, samples, cycles)
        opened = len(state.portfolio.open_positions)
        self._waiting.append(_Piece(window, len(cycles), opened, events, tables, end))

    def is_due(self) -> bool:
        """Tell whether so much time has passed that what was taken should be written."""
        return time.monotonic() - self._written_at > LONGEST_UNWRITTEN_S

    def write(self) -> Iterator[PartitionOutcome]:
        """Write what was taken, in order; each is on disk when it is yielded."""
        pieces, self._waiting = self._waiting, []
        contents = encode_segments([(map(encode_event, piece.events), piece.tables) for piece in pieces])
        for piece, content in zip(pieces, contents, strict=True):
            fields = {"began_from": self._began_from, "plan_hash": self._plan_hash, **piece.end}
            snapshot = write_segment(self._folder / piece.window.key, content, fields)
            self._began_from = snapshot.hash()
            yield PartitionOutcome(piece.window, piece.cycles, piece.open_positions, snapshot, piece.tables)
        self._written_at = time.monotonic()


def _value_at_last_cycle(run: BacktestRun) -> float:
    """Return the equity of a piece without a decision, at the prices of the decision before it."""
    run.clock.move(run.next_cycle - 1)
    return run.state.portfolio.calculate_total_equity()
