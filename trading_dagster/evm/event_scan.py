"""Bring the stored events of contracts up to the head of a chain, whatever the node and reorgs do meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from trading_dagster.domain.error import BlockUnavailable, NodeAnswerInvalid
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.block_time import UNKNOWN, BlockTimes
from trading_dagster.evm.chain_tail import ChainTail, TailState
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.event_store import EventPiece, EventStore
from trading_dagster.evm.log_batch import EventShape, LogBatch, join_batches
from trading_dagster.evm.log_reader import LogPiece, LogReader, SpanSetting

logger = logging.getLogger(__name__)

ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class ScanSetting:
    """How a chain is read.

    Attributes:
        final_depth: How many blocks below the head are read by hash at every refresh; what is deeper is stored.
        span: How many blocks a request asks for.
        flush_rows: Events after which they are written.
        flush_pieces: Answers of the node after which events are written, however few.
    """

    final_depth: int = 32
    span: SpanSetting = field(default_factory=SpanSetting)
    flush_rows: int = 50_000
    flush_pieces: int = 100


class EventScanner:
    """Reads the events of contracts: stored below ``final_depth``, by hash of their blocks above it.

    What is stored is checked against the chain at every refresh: pieces whose last block is no longer the chain's are
    dropped and read again, however deep the reorg was.

    Args:
        client: Reads the chain.
        shapes: The events.
        first_blocks: By address in lower case the first block to read.
        folder: One folder for each contract is made in it.
        setting: How the chain is read.
    """

    def __init__(
        self,
        client: EvmClient,
        shapes: Sequence[EventShape],
        first_blocks: Mapping[str, int],
        folder: Path,
        setting: ScanSetting | None = None,
    ) -> None:
        self._client = client
        self._setting = setting or ScanSetting()
        self._first_blocks = dict(first_blocks)
        self._reader = LogReader(client, shapes, self._setting.span)
        self._tail = ChainTail(client, self._reader)
        self._owners = {address: place for place, address in enumerate(first_blocks)}
        self.stores = {address: EventStore(folder / address) for address in first_blocks}
        self.times = BlockTimes(lambda number: client.read_block(number).timestamp, folder / "times.parquet")

    def refresh(self, *, progress: bool = False) -> TailState:
        """Store what became final, and return the blocks after it with their events.

        Raises:
            NodeError: The node does not answer, or its answers contradict each other again and again.
        """
        for _ in range(ATTEMPTS):
            pieces = {address: self._drop_reorged(store) for address, store in self.stores.items()}
            head = self._client.read_head()
            final = head.number - self._setting.final_depth
            self._store_until(final, pieces, progress=progress)
            ends = self.ends(final)
            tail = self._tail.refresh(self._owners, min(ends.values(), default=final))
            if self._fits(tail):
                self.times.save()
                return self._without_stored(tail, ends)
        raise NodeAnswerInvalid(
            f"The chain changed below block {final} each of {ATTEMPTS} times it was read: the nodes disagree; look at "
            "them, or use others"
        )

    def ends(self, final: int) -> dict[str, int]:
        """Return by contract the last block that is stored; ``final`` where nothing is, as it is younger."""
        ends = {}
        for address, store in self.stores.items():
            pieces = store.pieces()
            ends[address] = pieces[-1].last if pieces else final
        return ends

    def doubt(self) -> None:
        """Read the newest blocks again, and from now on believe only what was answered twice alike."""
        self._tail.forget()
        self._reader.is_doubtful = True

    def owner_of(self, address: str) -> int:
        """Return the number that marks a contract's events."""
        return self._owners[address]

    def _drop_reorged(self, store: EventStore) -> list[EventPiece]:
        pieces = store.pieces()
        while pieces and self._client.read_block(pieces[-1].last).hash != pieces[-1].last_hash:
            logger.warning("A reorg changed block %s: reading %s again", pieces[-1].last, pieces[-1].path.parent.name)
            self.times.forget_after(pieces[-1].first - 1)
            store.drop_after(pieces[-1].first - 1)
            pieces = store.pieces()
        return pieces

    def _store_until(self, final: int, pieces: Mapping[str, Sequence[EventPiece]], *, progress: bool) -> None:
        starts: dict[int, list[str]] = {}
        for address, first in self._first_blocks.items():
            start = pieces[address][-1].last + 1 if pieces[address] else first
            if start <= final:
                starts.setdefault(start, []).append(address)
        for start, addresses in sorted(starts.items()):
            bar: tqdm[Any] = tqdm(total=final - start + 1, desc="Reading logs", unit="block", disable=not progress)
            with bar:
                self._store_range(start, final, {address: self._owners[address] for address in addresses}, bar)

    def _store_range(self, first: int, final: int, contracts: Mapping[str, int], bar: tqdm[Any]) -> None:
        held: list[LogBatch] = []
        start, rows = first, 0
        for count, piece in enumerate(self._reader.read(contracts, first, final), 1):
            logs, last = self._verify(piece)
            held.append(logs)
            rows += len(logs)
            bar.update(piece.last - piece.first + 1)
            if rows < self._setting.flush_rows and count % self._setting.flush_pieces and piece.last < final:
                continue
            joined = join_batches(held)
            for address, owner in contracts.items():
                self.stores[address].append(start, last.number, last.hash, joined.take(joined.owner == owner))
            self.times.save()
            held, start, rows = [], last.number + 1, 0

    def _verify(self, piece: LogPiece) -> tuple[LogBatch, BlockHeader]:
        """Hold an answer against the chain: its last event is of the block that is there now, at that time."""
        logs = piece.logs
        last = self._client.read_block(piece.last)
        self.times.learn({last.number: last.timestamp})
        if not len(logs):
            return logs, last
        newest = last if logs.block[-1] == last.number else self._client.read_block(int(logs.block[-1]))
        self.times.learn({newest.number: newest.timestamp})
        if bytes(logs.block_hash[-1]).hex() != newest.hash[2:]:
            raise NodeAnswerInvalid(f"The node's logs of block {newest.number} are not of the block it has: reorg")
        is_timed = (logs.timestamp != UNKNOWN).all() and logs.timestamp[-1] == newest.timestamp
        return (logs if is_timed else replace(logs, timestamp=np.full(len(logs), UNKNOWN, np.int64))), last

    def _fits(self, tail: TailState) -> bool:
        """Tell whether the tail continues the blocks that are stored."""
        hashes = {header.number: header.hash for header in tail.headers} | {tail.base: tail.base_hash}
        ends = [pieces[-1] for store in self.stores.values() if (pieces := store.pieces())]
        if any(piece.last > tail.head.number for piece in ends):
            raise BlockUnavailable(f"The chain's head is block {tail.head.number}, events beyond it are stored")
        return all(hashes.get(piece.last) == piece.last_hash for piece in ends)

    def _without_stored(self, tail: TailState, ends: Mapping[str, int]) -> TailState:
        """Leave out events that are stored, and those before a contract's first block; give all their times."""
        logs = tail.logs
        from_block = np.asarray(
            [max(ends[address] + 1, self._first_blocks[address]) for address in self._owners], np.int64
        )
        logs = logs.take(logs.block >= from_block[logs.owner]) if len(logs) else logs
        times = {header.number: header.timestamp for header in tail.headers}
        stamps = np.fromiter((times[number] for number in logs.block.tolist()), np.int64, len(logs))
        return replace(tail, logs=replace(logs, timestamp=stamps))
