"""A piece of a backtest on disk: its tables, the ledger events it added, and the snapshot it ended with.

A segment lives in a folder of its own that appears whole or not at all. Its snapshot names the hash of the snapshot it
began from, so that a piece whose predecessor was computed again with another result is recognised. Files are not synced
one by one: a power loss may tear them, the hashes then tell, and the piece is computed again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

from trading_dagster.domain.error import LedgerError, StorageFailed
from trading_dagster.statistics.table import Table
from trading_dagster.storage.event_codec import SCHEMA_VERSION
from trading_dagster.storage.file import table_to_parquet

SNAPSHOT_FILE = "snapshot.json"
LEDGER_FILE = "ledger.jsonl"
GENESIS = "genesis"


@dataclass(frozen=True, slots=True)
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

    def hash(self) -> str:
        """Return the hash that the next segment begins from."""
        return _digest(json.dumps(asdict(self), sort_keys=True).encode())


def write_segment(
    folder: Path, *, lines: Iterable[str], tables: Mapping[str, Table], snapshot: Mapping[str, object]
) -> Snapshot:
    """Write a segment into ``folder``, replacing an older one; returns its snapshot.

    Args:
        folder: Appears whole or not at all.
        lines: Encoded events.
        tables: Tables by name; each becomes ``<name>.parquet``.
        snapshot: The snapshot's fields except the hashes of what is written here.

    Raises:
        StorageFailed: the disk is full or the folder cannot be written to; an older segment is still there.
    """
    try:
        return _write_segment(folder, lines, tables, snapshot)
    except OSError as error:
        raise StorageFailed(
            f"Cannot write {folder}: {error}. Free space or choose another folder, then run this part again; "
            "the parts before it are kept"
        ) from error


def _write_segment(
    folder: Path, lines: Iterable[str], tables: Mapping[str, Table], snapshot: Mapping[str, object]
) -> Snapshot:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp"))
    temporary.chmod(0o755)
    try:
        files = {LEDGER_FILE: "".join(f"{line}\n" for line in lines).encode()}
        files |= {f"{name}.parquet": table_to_parquet(tables[name]) for name in sorted(tables)}
        hashes = {name: _digest(content) for name, content in files.items()}
        made = Snapshot(**snapshot, ledger_hash=hashes.pop(LEDGER_FILE), table_hashes=hashes)  # type: ignore[arg-type]
        files[SNAPSHOT_FILE] = json.dumps(asdict(made), indent=1, sort_keys=True).encode()
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        _swap(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return made


def _swap(new: Path, place: Path) -> None:
    """Put a folder in its place; an older one is moved aside first and deleted last."""
    old = new.with_name(f"{new.name}.old")
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed writers left in the folder of segments; the caller is its only writer."""
    for leftover in folder.glob(".*.tmp*"):
        shutil.rmtree(leftover, ignore_errors=True)


def read_snapshot(folder: Path) -> Snapshot | None:
    """Return the snapshot of a segment, None when there is no segment; raises LedgerError when it is unreadable."""
    path = folder / SNAPSHOT_FILE
    if not path.is_file():
        return None
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        body["queue"] = tuple((at, amount) for at, amount in body["queue"])
        snapshot = Snapshot(**body)
    except (ValueError, TypeError, KeyError) as error:
        raise LedgerError(f"Snapshot {path} cannot be read ({error}): delete {folder} and run it again") from error
    if snapshot.schema_version != SCHEMA_VERSION:
        raise LedgerError(
            f"Snapshot {path} has schema {snapshot.schema_version}, this version writes {SCHEMA_VERSION}: run it again"
        )
    return snapshot


def read_lines(folder: Path, snapshot: Snapshot) -> list[str]:
    """Return the ledger lines of a segment; raises LedgerError when they are not those of its snapshot."""
    text = (folder / LEDGER_FILE).read_text(encoding="utf-8")
    if _digest(text.encode()) != snapshot.ledger_hash:
        raise LedgerError(f"Ledger {folder / LEDGER_FILE} was changed after it was written: run this part again")
    return text.splitlines()


def wallet_to_text(balances: Mapping[str, Decimal]) -> dict[str, str]:
    """Return exact balances as text, by asset identifier, in order."""
    return {key: str(balances[key]) for key in sorted(balances)}


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
