"""A backtest cut into ranges of time: each continues from the snapshot of the one before and leaves a segment on disk.

State is a fold, so continuing means replaying the ledger of all earlier segments. The hash of each snapshot covers the
one before it: a segment whose predecessor was run again with another result is refused, never mixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from trading_dagster.accounting.equity_log import SAMPLE_COLUMNS
from trading_dagster.accounting.simulated_treasury import QueuedFlow
from trading_dagster.backtest.plan import BacktestPlan
from trading_dagster.backtest.plan_hash import hash_plan
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.backtest.run import BacktestRun, Progress
from trading_dagster.backtest.segment_writer import PartitionOutcome, PartitionWindow, SegmentWriter
from trading_dagster.backtest.visualisation_table import VISUALISATION_TABLES, restore_visualisation
from trading_dagster.domain.error import (
    BadInput,
    IntegrityError,
    PartitionPredecessorMissing,
    SnapshotOutdated,
    TradingDagsterError,
)
from trading_dagster.domain.event import Event
from trading_dagster.domain.state import State
from trading_dagster.market.atomic_file import exclusive
from trading_dagster.pricing.cost_model import CostModel
from trading_dagster.statistics.table import Table
from trading_dagster.statistics.trade_table import trade_columns
from trading_dagster.storage.event_codec import EventDecoder
from trading_dagster.storage.segment import (
    GENESIS,
    Snapshot,
    read_ledger,
    read_snapshot,
    read_table,
    remove_leftovers,
)


@dataclass(frozen=True, slots=True)
class Replay:
    """The ledger of partitions from the first on, as it is on disk, and the state that it adds up to."""

    keys: Sequence[str]
    snapshots: Sequence[Snapshot]
    events: Sequence[Event]
    state: State


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """Whether a stored partition is part of one unbroken backtest: "missing", "current" or "outdated", and why."""

    key: str
    status: str
    reason: str = ""


class PartitionedBacktest:
    """The segments of one backtest in a folder, one a partition, in order of time."""

    def __init__(
        self, plan: BacktestPlan, folder: Path, windows: Sequence[PartitionWindow], plan_hash: str = ""
    ) -> None:
        """Cut ``plan`` at ``windows``, which must cover its range without gaps; ``plan_hash`` is its hash if known."""
        self.plan = plan
        self.folder = folder
        self.windows = list(windows)
        self.plan_hash = plan_hash or hash_plan(plan)
        self.has_charges = CostModel(plan.parameters.get("costs") or ()).changes_fills
        """Whether the tables of trades have columns for what each cost beside its fee."""
        self._tables: Mapping[str, Mapping[str, str]] = {
            "trades": trade_columns(self.has_charges),
            "equity": SAMPLE_COLUMNS,
            **VISUALISATION_TABLES,
        }
        self._places = {window.key: place for place, window in enumerate(self.windows)}
        self._outcomes: dict[str, PartitionOutcome] = {}
        for before, after in zip(self.windows, self.windows[1:], strict=False):
            if before.end != after.start:
                raise BadInput(f"Partition {before.key} ends at {before.end} but {after.key} begins at {after.start}")
        if not self.windows or self.windows[0].start > plan.start or self.windows[-1].end < plan.end:
            raise BadInput(f"The partitions do not cover the backtest from {plan.start} to {plan.end}")

    def run(self, keys: Sequence[str], progress: Progress | None = None) -> Iterator[PartitionOutcome]:
        """Run consecutive partitions in order of time; each is on disk before it is yielded.

        Partitions that take little time are run first and then written together.

        Raises:
            PartitionPredecessorMissing: the partition before the first key has not been run.
            SnapshotOutdated: an earlier partition changed since a later one continued from it.
            StrategyFailed: decide_trades raised; partitions before stay.
        """
        for outcomes in self.run_together(keys, progress):
            yield from outcomes

    def run_together(
        self, keys: Sequence[str], progress: Progress | None = None
    ) -> Iterator[Sequence[PartitionOutcome]]:
        """Run consecutive partitions like ``run``; those that were written together are yielded together."""
        places = self._consecutive(keys)
        with exclusive(self.folder.with_name(f".{self.folder.name}.lock")):  # one writer; another waits
            remove_leftovers(self.folder)
            yield from self._run(places, progress)

    def _run(self, places: range, progress: Progress | None) -> Iterator[Sequence[PartitionOutcome]]:
        run, began_from = self._start(places[0])
        writer = SegmentWriter(self.folder, self.plan_hash, began_from)
        done, total = 0, sum(len(self._cycles(self.windows[place])) for place in places)
        for place in places:
            window = self.windows[place]
            cycles = self._cycles(window)
            already = done
            try:
                run.advance(
                    cycles.stop,
                    None if progress is None else lambda n, _of, base=already: progress(base + n, total),  # type: ignore[misc]
                )
                writer.take(run, window, cycles)
            except TradingDagsterError:
                yield from self._write(writer)
                raise
            done += len(cycles)
            if place == places[-1] or writer.is_due():
                yield from self._write(writer)

    def _write(self, writer: SegmentWriter) -> Iterator[Sequence[PartitionOutcome]]:
        written: list[PartitionOutcome] = []
        try:
            for outcome in writer.write():
                self._outcomes[outcome.window.key] = outcome
                written.append(outcome)
        finally:
            yield written  # those before a full disk, too

    def status(self) -> list[PartitionStatus]:
        """Return for each partition whether it is missing, current or outdated."""
        found: list[PartitionStatus] = []
        expected = GENESIS
        broken = ""
        for window in self.windows:
            snapshot = read_snapshot(self.folder / window.key)
            if snapshot is None:
                found.append(PartitionStatus(window.key, "missing"))
                broken = broken or f"partition {window.key} before it is missing"
                continue
            if snapshot.plan_hash != self.plan_hash:
                reason = "strategy, parameters or data changed since it was run"
                found.append(PartitionStatus(window.key, "outdated", reason))
                broken = broken or f"partition {window.key} before it is outdated"
                continue
            if not broken and snapshot.began_from != expected:
                broken = "the partition before it was run again with another result"
            found.append(PartitionStatus(window.key, "outdated" if broken else "current", broken))
            expected = snapshot.hash()
        return found

    def read_table(self, name: str, keys: Sequence[str], columns: Sequence[str] | None = None) -> Table:
        """Return a table of some partitions, their rows in this order; what this object wrote is still in memory.

        Args:
            name: trades, equity, or a name of ``VISUALISATION_TABLES``.
            keys: Partitions that have been run.
            columns: Those that are wanted; None for all.

        Raises:
            LedgerError: A file is not what was written.
        """
        types = self._tables[name]
        wanted = types if columns is None else {column: types[column] for column in columns}
        return Table.join([self._read_table(name, key) for key in keys], wanted)

    def _read_table(self, name: str, key: str) -> Table:
        outcome = self._outcomes.get(key)
        if outcome is not None:
            return outcome.tables.get(name, Table.from_rows([], self._tables[name]))
        snapshot = read_snapshot(self.folder / key)
        if snapshot is None:
            raise PartitionPredecessorMissing(f"Partition {key} has not been run")
        return read_table(self.folder / key, snapshot, name, self._tables[name])

    def keys_until(self, key: str) -> list[str]:
        """Return the keys of the partitions from the first to this one."""
        return [window.key for window in self.windows[: self._places[key] + 1]]

    def replay(self, keys: Sequence[str] | None = None) -> Replay:
        """Read the ledger of partitions from disk and fold it; raises like ``run`` when the chain is broken.

        Args:
            keys: Partitions to read, from the first on without gaps; None for all.
        """
        places = range(len(self.windows)) if keys is None else self._consecutive(keys)
        if places[0] != 0:
            raise PartitionPredecessorMissing(f"A result begins at the first partition {self.windows[0].key}")
        lines, snapshots = self._chain(places[-1] + 1)
        events = self._decode(lines)
        return Replay([self.windows[place].key for place in places], snapshots, events, State.replay(events))

    def load_result(self) -> BacktestResult:
        """Replay the stored partitions into one result; raises like ``run`` when the chain is broken."""
        replay = self.replay()
        run = BacktestRun(self.plan, replay.state, self._cycles(self.windows[-1]).stop)
        restore_visualisation(
            run.state.visualisation,
            lambda name: (self._read_table(name, key) for key in replay.keys),
            self.plan.universe.pairs,
        )
        return BacktestResult(self.plan, run.state, self.read_table("equity", replay.keys).frame, replay.events)

    # -- running --------------------------------------------------------------------------------------------------

    def _consecutive(self, keys: Sequence[str]) -> range:
        unknown = [key for key in keys if key not in self._places]
        if unknown or not keys:
            known = f"{self.windows[0].key} .. {self.windows[-1].key}"
            raise BadInput(f"Partitions {unknown or 'none'} are not of this backtest: choose among {known}")
        places = sorted(self._places[key] for key in keys)
        wanted = range(places[0], places[-1] + 1)
        if places != list(wanted):
            gap = [self.windows[place].key for place in wanted if place not in places]
            raise BadInput(f"The partitions asked for leave out {gap}: run them together or one after the other")
        return wanted

    def _cycles(self, window: PartitionWindow) -> range:
        is_first = window is self.windows[0]
        return range(0 if is_first else self.plan.cycle_at(window.start), self.plan.cycle_at(window.end))

    def _start(self, place: int) -> tuple[BacktestRun, str]:
        if place == 0:
            return BacktestRun(self.plan), GENESIS
        lines, snapshots = self._chain(place)
        last = snapshots[-1]
        assets = {a.get_identifier(): a for p in self.plan.universe.pairs for a in (p.base, p.quote)}
        reserve = self.plan.universe.get_reserve_asset()
        assets[reserve.get_identifier()] = reserve
        lending = self.plan.universe.lending
        for lent in () if lending is None else lending.reserves:
            assets |= {asset.get_identifier(): asset for asset in (lent.atoken, lent.vtoken)}
        run = BacktestRun.resume(
            self.plan,
            self._decode(lines),
            next_cycle=last.next_cycle,
            wallet={assets[key]: Decimal(amount) for key, amount in last.wallet.items()},
            queue=[QueuedFlow(datetime.fromisoformat(at), Decimal(amount)) for at, amount in last.queue],
        )
        if run.state.portfolio.reserve.quantity != Decimal(last.cash):
            raise IntegrityError(
                f"The ledger up to {self.windows[place - 1].key} gives cash {run.state.portfolio.reserve.quantity}, "
                f"its snapshot says {last.cash}: run the backtest again from the first partition"
            )
        return run, last.hash()

    def _decode(self, lines: Iterable[str]) -> list[Event]:
        return EventDecoder(self.plan.universe.pairs).decode_all(lines)

    def _chain(self, count: int) -> tuple[list[str], list[Snapshot]]:
        """Return the ledger and the snapshots of the first ``count`` partitions, checked link by link."""
        lines: list[str] = []
        snapshots: list[Snapshot] = []
        expected = GENESIS
        for window in self.windows[:count]:
            stored = read_ledger(self.folder / window.key)
            if stored is None:
                raise PartitionPredecessorMissing(
                    f"Partition {window.key} has not been run: run it first, or backfill from {window.key} on"
                )
            snapshot, added = stored
            if snapshot.plan_hash != self.plan_hash:
                raise SnapshotOutdated(
                    f"Partition {window.key} was run with another strategy, parameters or data: run it again, "
                    f"from {self._first_other_plan()} on"
                )
            if snapshot.began_from != expected:
                raise SnapshotOutdated(
                    f"Partition {window.key} continues from a result of its predecessor that no longer exists: "
                    f"run {window.key} and the partitions after it again"
                )
            if window.key in self._outcomes and self._outcomes[window.key].snapshot != snapshot:
                del self._outcomes[window.key]  # another process has run it since
            lines += added
            snapshots.append(snapshot)
            expected = snapshot.hash()
        return lines, snapshots

    def _first_other_plan(self) -> str:
        for window in self.windows:
            snapshot = read_snapshot(self.folder / window.key)
            if snapshot is None or snapshot.plan_hash != self.plan_hash:
                return window.key
        return self.windows[0].key
