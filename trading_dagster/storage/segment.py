"""A piece of a backtest on disk: its tables, the ledger events it added, and the snapshot it ended with.

A segment lives in a folder of its own that appears whole or not at all. The first line of its ledger is the snapshot,
the others are the events: making a file takes longer than filling it, so there are few. The snapshot names the hash of
the one it began from, so that a piece whose predecessor was computed again with another result is recognised. Files are
not synced one by one: a power loss may tear them, the hashes then tell, and the piece is computed again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cached_property
from pathlib import Path

from trading_dagster.domain.error import LedgerError, StorageFailed
from trading_dagster.market.atomic_file import temporary_beside
from trading_dagster.statistics.table import Table
from trading_dagster.storage.event_codec import SCHEMA_VERSION
from trading_dagster.storage.file import parquet_to_table, tables_to_parquet

LEDGER_FILE = "ledger.jsonl"
GENESIS = "genesis"
LAYOUT = 2
"""What is in a segment's folder, and in which form; layout 1 kept its snapshot in a file of its own."""

LAYOUT_1_FILE = "snapshot.json"


@dataclass(frozen=True)
class Snapshot:
    """Where a segment ended.

    Attributes:
        began_from: Hash of the snapshot before, ``GENESIS`` for the first.
        plan_hash: Hash of strategy, parameters and data.
        next_cycle: Index of the first cycle that has not run.
        wallet: Exact balances by asset identifier, as text.
        queue: Flows that wait: (naive UTC time, amount) as text.
        cash: Exact cash, as text.
        equity: Total equity of the last sample, USD.
        ledger_hash: Hash of the ledger lines of this segment.
        table_hashes: Hash of each table file.
        schema_version: Of the events.
        layout: Of the folder.
    """

    began_from: str
    plan_hash: str
    next_cycle: int
    wallet: Mapping[str, str]
    queue: tuple[tuple[str, str], ...]
    cash: str
    equity: float
    ledger_hash: str
    table_hashes: Mapping[str, str]
    schema_version: int = SCHEMA_VERSION
    layout: int = LAYOUT

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Return the snapshot of a line; raises ValueError, TypeError or KeyError when it is none."""
        body = json.loads(text)
        body["queue"] = tuple((at, amount) for at, amount in body["queue"])
        snapshot = cls(**body)
        snapshot.__dict__["text"] = text  # its hash is that of the line as it was written
        return snapshot

    @cached_property
    def text(self) -> str:
        """The snapshot as one line of JSON; equal snapshots give equal text."""
        return json.dumps({field.name: getattr(self, field.name) for field in fields(self)}, sort_keys=True)

    @cached_property
    def _hash(self) -> str:
        return _digest(self.text.encode())

    def hash(self) -> str:
        """Return the hash that the next segment begins from."""
        return self._hash


@dataclass(frozen=True, slots=True)
class SegmentContent:
    """What a segment holds besides its snapshot, as it goes to disk.

    Attributes:
        events: Encoded events, a line each.
        tables: Parquet files by name.
    """

    events: bytes
    tables: Mapping[str, bytes]


def encode_segments(segments: Sequence[tuple[Iterable[str], Mapping[str, Table]]]) -> list[SegmentContent]:
    """Encode segments, each its events, a line each, and its tables, which become ``<name>.parquet``.

    Tables of the same name have the same types.
    """
    files: list[dict[str, bytes]] = [{} for _ in segments]
    for name in sorted({name for _, tables in segments for name in tables}):
        having = [place for place, (_, tables) in enumerate(segments) if name in tables]
        encoded = tables_to_parquet([segments[place][1][name] for place in having])
        for place, content in zip(having, encoded, strict=True):
            files[place][f"{name}.parquet"] = content
    return [
        SegmentContent("".join([f"{line}\n" for line in lines]).encode(), files[place])
        for place, (lines, _) in enumerate(segments)
    ]


def write_segment(folder: Path, content: SegmentContent, snapshot: Mapping[str, object]) -> Snapshot:
    """Write a segment into ``folder``, replacing an older one; returns its snapshot.

    Args:
        folder: Appears whole or not at all.
        content: Events and tables.
        snapshot: The snapshot's fields except the hashes of the content.

    Raises:
        StorageFailed: the disk is full or the folder cannot be written to; an older segment is still there.
    """
    hashes = {name: _digest(file) for name, file in content.tables.items()}
    made = Snapshot(**snapshot, ledger_hash=_digest(content.events), table_hashes=hashes)  # type: ignore[arg-type]
    files = {**content.tables, LEDGER_FILE: b"%s\n%s" % (made.text.encode(), content.events)}
    try:
        _write_files(folder, files)
    except OSError as error:
        raise StorageFailed(
            f"Cannot write {folder}: {error}. Free space or choose another folder, then run this part again; "
            "the parts before it are kept"
        ) from error
    return made


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Let a folder with these files appear, in the place of an older one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(folder)
    temporary.mkdir()
    try:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        _swap(temporary, folder)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, place: Path) -> None:
    """Put a folder in its place; an older one is moved aside first and deleted last."""
    old = new.with_name(f"{new.name}.old")
    if not place.exists():
        new.rename(place)
        return
    place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed writers left in the folder of segments; the caller is its only writer."""
    for leftover in folder.glob(".*.tmp*"):
        shutil.rmtree(leftover, ignore_errors=True)


def read_snapshot(folder: Path) -> Snapshot | None:
    """Return the snapshot of a segment, None when there is no segment; raises LedgerError when it is unreadable."""
    try:
        with (folder / LEDGER_FILE).open("rb") as file:
            return _parse_snapshot(file.readline(), folder)
    except FileNotFoundError:
        return None


def read_ledger(folder: Path) -> tuple[Snapshot, list[str]] | None:
    """Return snapshot and ledger lines of a segment, None when there is no segment.

    Raises:
        LedgerError: The snapshot is unreadable, or the lines are not those of the snapshot.
    """
    path = folder / LEDGER_FILE
    try:
        head, _, events = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    snapshot = _parse_snapshot(head, folder)
    if _digest(events) != snapshot.ledger_hash:
        raise LedgerError(f"Ledger {path} was changed after it was written: run this part again")
    return snapshot, events.decode().splitlines()


def _parse_snapshot(head: bytes, folder: Path) -> Snapshot:
    remedy = f"delete {folder} and run this part again"
    try:
        snapshot = Snapshot.parse(head.decode().rstrip("\n"))
    except (ValueError, TypeError, KeyError) as error:
        if (folder / LAYOUT_1_FILE).exists():
            raise LedgerError(f"Segment {folder} has layout 1, this version reads {LAYOUT}: {remedy}") from error
        raise LedgerError(f"The snapshot in {folder / LEDGER_FILE} cannot be read ({error}): {remedy}") from error
    if (snapshot.schema_version, snapshot.layout) != (SCHEMA_VERSION, LAYOUT):
        raise LedgerError(
            f"Segment {folder} has schema {snapshot.schema_version} and layout {snapshot.layout}, "
            f"this version reads {SCHEMA_VERSION} and {LAYOUT}: {remedy}"
        )
    return snapshot


def read_table(folder: Path, snapshot: Snapshot, name: str, types: Mapping[str, str]) -> Table:
    """Return a table of a segment, empty when it has none of this name.

    Raises:
        LedgerError: The file is not the one of the snapshot.
    """
    file = f"{name}.parquet"
    if file not in snapshot.table_hashes:
        return Table.from_rows([], types)
    path = folder / file
    content = path.read_bytes() if path.is_file() else b""
    if _digest(content) != snapshot.table_hashes[file]:
        raise LedgerError(f"Table {path} was changed after it was written: run this part again")
    return parquet_to_table(content, types)


def wallet_to_text(balances: Mapping[str, Decimal]) -> dict[str, str]:
    """Return exact balances as text, by asset identifier, in order."""
    return {key: str(balances[key]) for key in sorted(balances)}


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
