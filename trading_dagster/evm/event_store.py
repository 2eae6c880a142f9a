"""Events of a contract on disk: exact, in pieces that each name the blocks they cover and the hash of the last one."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from trading_dagster.domain.error import CandleContractBroken
from trading_dagster.evm.log_batch import LogBatch, join_batches
from trading_dagster.market.atomic_file import exclusive, write_json_atomically
from trading_dagster.market.event_file import read_about, read_columns, write_columns

NAME = re.compile(r"^(\d{12})-(\d{12})\.parquet$")
MERGE_ROWS = 100_000
LOCK = ".lock"
READ_ATTEMPTS = 5
COLUMNS = tuple(field.name for field in fields(LogBatch) if field.name != "owner")


@dataclass(frozen=True, slots=True)
class EventPiece:
    """Events of the blocks from ``first`` to ``last``, both included; ``last_hash`` is the hash of block ``last``."""

    path: Path
    first: int
    last: int
    last_hash: str
    row_count: int


class EventStore:
    """What is known of one contract's events, without a hole from the first block on.

    ``<folder>/<first block>-<last block>.parquet``. A piece is written whole or not at all; a small one grows together
    with the next. Any number of processes may read while one writes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def pieces(self) -> list[EventPiece]:
        """Return the pieces in order: each begins where the one before ends."""
        for _ in range(READ_ATTEMPTS - 1):
            try:
                return self._list()
            except CandleContractBroken as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise  # otherwise another process merged pieces while they were listed
        return self._list()

    def _list(self) -> list[EventPiece]:
        found = []
        for path in self.folder.glob("*.parquet"):
            named = NAME.match(path.name)
            if named is not None:
                found.append((int(named[1]), int(named[2]), path))
        pieces: list[EventPiece] = []
        for first, last, path in sorted(found, key=lambda item: (item[0], -item[1])):
            if pieces and first != pieces[-1].last + 1:
                continue  # left over from a merge that was killed before it removed its parts
            about = read_about(path)
            pieces.append(EventPiece(path, first, last, about["last_hash"], about["row_count"]))
        return pieces

    def read(self, piece: EventPiece) -> LogBatch:
        """Return the events of a piece."""
        columns = read_columns(piece.path)
        return LogBatch(owner=columns["block"] * 0, **{name: columns[name] for name in COLUMNS})

    def append(self, first: int, last: int, last_hash: str, logs: LogBatch) -> None:
        """Add the events of the blocks after what there is; what is there already is left as it is."""
        with exclusive(self.folder / LOCK):
            pieces = self.pieces()
            if pieces and last <= pieces[-1].last:
                return
            before = pieces[-1] if pieces else None
            if before is not None and first > before.last + 1:
                return  # another process found a reorg meanwhile, and dropped what came before
            if before is not None and first <= before.last:  # another process stored a part of it
                logs, first = logs.take(logs.block > before.last), before.last + 1
            is_merged = before is not None and before.row_count + len(logs) <= MERGE_ROWS
            if before is not None and is_merged:
                logs, first = join_batches([self.read(before), logs]), before.first
            path = self.folder / f"{first:012d}-{last:012d}.parquet"
            columns = {name: getattr(logs, name) for name in COLUMNS}
            write_columns(path, columns, {"last_hash": last_hash, "row_count": len(logs)})
            if before is not None and is_merged:
                before.path.unlink()

    def drop_after(self, block: int) -> None:
        """Forget all pieces that reach beyond a block: a reorg took some of their blocks, or they are not believed."""
        with exclusive(self.folder / LOCK):
            for piece in reversed(self.pieces()):
                if piece.last > block:
                    piece.path.unlink()

    def write_note(self, name: str, content: dict[str, Any]) -> None:
        """Write JSON beside the pieces."""
        write_json_atomically(self.folder / f"{name}.json", content)
