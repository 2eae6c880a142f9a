"""A backtest cut into ranges of time: each continues from the snapshot of the one before and leaves a segment on disk.

State is a fold, so continuing means replaying the ledger of all earlier segments. The hash of each snapshot covers the
one before it: a segment whose predecessor was run again with another result is refused, never mixed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import pandas as pd

from trading_dagster.accounting.simulated_treasury import QueuedFlow
from trading_dagster.backtest.plan import BacktestPlan
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.backtest.run import BacktestRun, Progress
from trading_dagster.domain.error import BadInput, IntegrityError, PartitionPredecessorMissing, SnapshotOutdated
from trading_dagster.domain.event import Event, TradePlanned
from trading_dagster.domain.state import State
from trading_dagster.market.atomic_file import exclusive
from trading_dagster.statistics.table import Table
from trading_dagster.statistics.trade_table import decision_rows, position_rows, trade_rows
from trading_dagster.storage.event_codec import EventDecoder, encode_event
from trading_dagster.storage.segment import (
    GENESIS,
    Snapshot,
    read_lines,
    read_snapshot,
    remove_leftovers,
    wallet_to_text,
    write_segment,
)
from trading_dagster.strategy.indicator_fingerprint import fingerprint

MESSAGE_COLUMNS = {"timestamp": "datetime64[us]", "message": "str"}
PLOT_COLUMNS = {"plot": "str", "timestamp": "datetime64[us]", "value": "float64"}


@dataclass(frozen=True, slots=True)
class PartitionWindow:
    """A range of decision times with a name; naive UTC, end exclusive."""

    key: str
    start: datetime
    end: datetime


@dataclass(frozen=True, eq=False)
class PartitionOutcome:
    """What one partition did; ``segment`` holds its tables as they were stored."""

    window: PartitionWindow
    cycles: int
    snapshot: Snapshot
    segment: Mapping[str, Table]

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables as frames: decisions, trades, positions, equity, messages, plots."""
        return {name: table.frame for name, table in self.segment.items()}


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """Whether a stored partition is part of one unbroken backtest: "missing", "current" or "outdated", and why."""

    key: str
    status: str
    reason: str = ""


class PartitionedBacktest:
    """The segments of one backtest in a folder, one a partition, in order of time."""

    def __init__(self, plan: BacktestPlan, folder: Path, windows: Sequence[PartitionWindow]) -> None:
        """Cut ``plan`` at ``windows``, which must cover its range without gaps."""
        self.plan = plan
        self.folder = folder
        self.windows = list(windows)
        self.plan_hash = hash_plan(plan)
        self._places = {window.key: place for place, window in enumerate(self.windows)}
        for before, after in zip(self.windows, self.windows[1:], strict=False):
            if before.end != after.start:
                raise BadInput(f"Partition {before.key} ends at {before.end} but {after.key} begins at {after.start}")
        if not self.windows or self.windows[0].start > plan.start or self.windows[-1].end < plan.end:
            raise BadInput(f"The partitions do not cover the backtest from {plan.start} to {plan.end}")

    def run(self, keys: Sequence[str], progress: Progress | None = None) -> Iterator[PartitionOutcome]:
        """Run consecutive partitions in order of time; each is on disk before it is yielded.

        Raises:
            PartitionPredecessorMissing: the partition before the first key has not been run.
            SnapshotOutdated: an earlier partition changed since a later one continued from it.
            StrategyFailed: decide_trades raised; partitions before stay.
        """
        places = self._consecutive(keys)
        with exclusive(self.folder.with_name(f".{self.folder.name}.lock")):  # one writer; another waits
            remove_leftovers(self.folder)
            yield from self._run(places, progress)

    def _run(self, places: range, progress: Progress | None) -> Iterator[PartitionOutcome]:
        run, began_from = self._start(places[0])
        done, total = 0, sum(len(self._cycles(self.windows[place])) for place in places)
        for place in places:
            window = self.windows[place]
            cycles = self._cycles(window)
            already = done
            run.advance(
                cycles.stop,
                None if progress is None else lambda n, _of, base=already: progress(base + n, total),  # type: ignore[misc]
            )
            done += len(cycles)
            outcome = self._store(run, window, cycles, began_from)
            began_from = outcome.snapshot.hash()
            yield outcome

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

    def load_result(self, keys: Sequence[str] | None = None) -> BacktestResult:
        """Replay stored partitions from the first on into one result; raises like ``run`` when the chain is broken.

        Args:
            keys: Partitions to read, from the first on without gaps; None for all.
        """
        places = range(len(self.windows)) if keys is None else self._consecutive(keys)
        if places[0] != 0:
            raise PartitionPredecessorMissing(f"A result begins at the first partition {self.windows[0].key}")
        lines, _ = self._chain(places[-1] + 1)
        events = self._decode(lines)
        state = State.replay(events)
        run = BacktestRun(self.plan, state, self._cycles(self.windows[places[-1]]).stop)
        frames = [pd.read_parquet(self.folder / self.windows[place].key / "equity.parquet") for place in places]
        self._restore_messages(state, places)
        return BacktestResult(self.plan, run.state, pd.concat(frames, ignore_index=True), events)

    def _restore_messages(self, state: State, places: Iterable[int]) -> None:
        for place in places:
            path = self.folder / self.windows[place].key / "messages.parquet"
            if not path.exists():
                continue
            messages = pd.read_parquet(path)
            for timestamp, text in zip(messages["timestamp"], messages["message"], strict=True):
                state.visualisation.add_message(timestamp.to_pydatetime(), text)

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
        lines, last = self._chain(place)
        assets = {a.get_identifier(): a for p in self.plan.universe.pairs for a in (p.base, p.quote)}
        reserve = self.plan.universe.get_reserve_asset()
        assets[reserve.get_identifier()] = reserve
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

    def _chain(self, count: int) -> tuple[list[str], Snapshot]:
        """Return the ledger of the first ``count`` partitions and the last one's snapshot, checked link by link."""
        lines: list[str] = []
        expected = GENESIS
        snapshot: Snapshot | None = None
        for window in self.windows[:count]:
            folder = self.folder / window.key
            snapshot = read_snapshot(folder)
            if snapshot is None:
                raise PartitionPredecessorMissing(
                    f"Partition {window.key} has not been run: run it first, or backfill from {window.key} on"
                )
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
            lines += read_lines(folder, snapshot)
            expected = snapshot.hash()
        if snapshot is None:
            raise PartitionPredecessorMissing("No partition was asked for")
        return lines, snapshot

    def _first_other_plan(self) -> str:
        for window in self.windows:
            snapshot = read_snapshot(self.folder / window.key)
            if snapshot is None or snapshot.plan_hash != self.plan_hash:
                return window.key
        return self.windows[0].key

    def _store(self, run: BacktestRun, window: PartitionWindow, cycles: range, began_from: str) -> PartitionOutcome:
        state = run.state
        events, samples = run.take_segment()
        state.perform_integrity_check()
        tables = segment_tables(run, events, samples, cycles)
        snapshot = write_segment(
            self.folder / window.key,
            lines=map(encode_event, events),
            tables=tables,
            snapshot={
                "began_from": began_from,
                "plan_hash": self.plan_hash,
                "next_cycle": run.next_cycle,
                "wallet": wallet_to_text({a.get_identifier(): q for a, q in run.wallet.balances.items()}),
                "queue": tuple((flow.at.isoformat(), str(flow.amount)) for flow in run.treasury.queue),
                "cash": str(state.portfolio.reserve.quantity),
                "equity": float(samples.columns["equity"][-1]) if len(samples) else state.portfolio.get_cash(),
            },
        )
        return PartitionOutcome(window, len(cycles), snapshot, tables)


def segment_tables(run: BacktestRun, events: Sequence[Event], samples: Table, cycles: range) -> dict[str, Table]:
    """Return the tables of a piece of a backtest; rows of all pieces in order are those of the whole.

    ``positions`` holds the positions that the piece opened, closed or ended with, as they stood at its end; messages
    and plots are left out when there are none.
    """
    state, portfolio = run.state, run.state.portfolio
    planned = [(e.plan.position_id, e.plan.trade_id) for e in events if isinstance(e, TradePlanned)]
    touched = {position_id for position_id, _ in planned} | portfolio.open_positions.keys()
    positions = [portfolio.get_position_by_id(position_id) for position_id in sorted(touched)]
    trades = [portfolio.get_position_by_id(position_id).trades[trade_id] for position_id, trade_id in planned]
    grid_us = run.plan.grid_us[cycles.start : cycles.stop]
    points = state.visualisation.take_points()
    tables = {
        "decisions": decision_rows(state, samples, grid_us, trades, cycles.start),
        "trades": trade_rows(trades),
        "positions": position_rows(positions),
        "equity": samples,
    }
    notes = {
        "messages": Table.from_rows(state.visualisation.take_messages(), MESSAGE_COLUMNS),
        "plots": Table.from_rows([(n, t, math.nan if v is None else v) for n, t, v in points], PLOT_COLUMNS),
    }
    return tables | {name: table for name, table in notes.items() if len(table)}


def hash_plan(plan: BacktestPlan) -> str:
    """Return a hash of what a backtest is a function of: code, parameters, data, range and fees."""
    body = {
        "strategy": plan.strategy.source_hash(),
        "code": _hash_code(plan),
        "engine": plan.strategy.engine_version,
        "parameters": plan.parameters.describe(),
        "universe": plan.universe.get_cache_key(),
        "start": plan.start.isoformat(),
        "end": plan.end.isoformat(),
        "cycle_duration": plan.cycle_duration.value,
        "initial_cash": str(plan.initial_cash),
        "options": repr(plan.options),
    }
    return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=16).hexdigest()


def _hash_code(plan: BacktestPlan) -> str:
    """Return a hash of the functions that decide and of all they call, wherever that code lives."""
    strategy = plan.strategy
    functions = (strategy.decide_trades, strategy.before_strategy_tick, strategy.after_strategy_tick)
    return fingerprint(*functions, *(definition.func for definition in plan.indicators.indicators), is_strict=False)
