"""One pool as far as it is known: samples of what is stored, extended as the chain grows, checked against its state."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from trading_dagster.domain.error import BlockUnavailable, CallReverted, ContractMissing, EventsMissing, NodeRefused
from trading_dagster.domain.time import TimeBucket
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.block_time import BlockTimes
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc20 import read_balance
from trading_dagster.evm.event_store import EventStore
from trading_dagster.evm.log_batch import LogBatch, empty_batch
from trading_dagster.evm.pool import ChainPool, PoolKind
from trading_dagster.evm.pool_event import PoolSamples, PoolState, fold_events, join_samples, sum_flows
from trading_dagster.evm.uniswap_v2 import GET_RESERVES
from trading_dagster.evm.uniswap_v3 import SLOT0
from trading_dagster.evm.word import Integers

logger = logging.getLogger(__name__)

ANCHOR = "anchor"
STATE_GONE = (BlockUnavailable, NodeRefused, CallReverted, ContractMissing)
"""What nodes answer that have no state of old blocks."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The end of what was folded: block, its hash, and the state there."""

    block: int
    block_hash: str
    state: PoolState


class PoolBook:
    """Samples of a pool: of its stored events, and of the newest blocks.

    Args:
        pool: The pool.
        store: Its events.
        client: Reads hashes, and the state to check against.
    """

    def __init__(self, pool: ChainPool, store: EventStore, client: EvmClient) -> None:
        self.pool = pool
        self._store = store
        self._client = client
        self._parts: list[PoolSamples] = []
        self._known: _Known | None = None
        self._tail, self._end = fold_events(pool, empty_batch(), PoolState())
        self._bars: dict[TimeBucket, list[Integers]] = {}
        self._gift = (0, 0)

    def extend(self, tail: LogBatch) -> None:
        """Take in what was stored since, and the events of the newest blocks.

        Raises:
            EventsMissing: They do not add up.
        """
        self._extend_stored()
        if self._known is not None:  # another process may have stored more meanwhile
            tail = tail.take(tail.block > self._known.block)
        before = self._known.state if self._known is not None else self._anchor()
        self._tail, self._end = fold_events(self.pool, tail, before)

    def samples(self) -> PoolSamples:
        """Return all samples in order."""
        return join_samples([*self._parts, self._tail])

    def bars(self, bucket: TimeBucket, times: BlockTimes) -> Integers:
        """Return the open of the bar of each sample, microseconds since 1970."""
        known = self._bars.setdefault(bucket, [])
        for part in self._parts[len(known) :]:
            known.append(times.bars_of(part.block, part.time, bucket))
        return np.concatenate([*known, times.bars_of(self._tail.block, self._tail.time, bucket)])

    def check(self, head: BlockHeader, *, accepts_gifts: bool = False) -> None:
        """Compare what the events come to with the pool's state at the block they reach to.

        Args:
            head: The block.
            accepts_gifts: Tokens that a v3 pool holds beyond its events were sent to it by somebody; they do not count.

        Raises:
            EventsMissing: Price, reserves or balances differ.
        """
        try:
            self._compare(head, accepts_gifts=accepts_gifts)
        except BlockUnavailable:
            logger.info("Block %s is gone: pool %s is checked at the next one", head.number, self.pool.address)

    def forget(self) -> None:
        """Fold everything again at the next extension."""
        self._parts, self._known, self._bars = [], None, {}

    def _extend_stored(self) -> None:
        pieces = self._store.pieces()
        known = self._known
        if known is not None and not self._is_still_there(known, {piece.last: piece.last_hash for piece in pieces}):
            self.forget()
            known = None
        state = known.state if known is not None else self._anchor()
        for piece in pieces:
            if known is not None and piece.last <= known.block:
                continue
            logs = self._store.read(piece)
            logs = logs if known is None else logs.take(logs.block > known.block)
            samples, state = fold_events(self.pool, logs, state)
            self._parts.append(samples)
            known = self._known = _Known(piece.last, piece.last_hash, state)

    def _is_still_there(self, known: _Known, ends: dict[int, str]) -> bool:
        if not ends or max(ends) < known.block:
            return False
        if known.block in ends:
            return ends[known.block] == known.block_hash
        return self._client.read_block(known.block).hash == known.block_hash

    def _anchor(self) -> PoolState:
        """Return what the pool held before its first event read, where that is known."""
        path = self._store.folder / f"{ANCHOR}.json"
        if not path.is_file():
            self._write_anchor()
        held = json.loads(path.read_text(encoding="utf8"))["held"]
        return PoolState() if held is None else PoolState(int(held[0]), int(held[1]))

    def _write_anchor(self) -> None:
        """Find out what the pool held: nothing when it was not there yet; else what an archive node says."""
        before = max(0, self.pool.first_block - 1)
        held: tuple[int, int] | None
        try:
            block = self._client.read_block(before)
            held = self._holdings(block) if self._client.has_code(self.pool.address, block) else (0, 0)
        except STATE_GONE:
            held = None if self.pool.kind is PoolKind.v2 else self._balances_less_flows()
        note = None if held is None else [str(amount) for amount in held]
        self._store.write_note(ANCHOR, {"block": before, "held": note})

    def _balances_less_flows(self) -> tuple[int, int] | None:
        """Return what the pool holds at the last stored block less what stored events brought; None if not known."""
        pieces = self._store.pieces()
        if not pieces:
            return None
        try:
            held = self._balances(self._client.read_block(pieces[-1].last))
        except STATE_GONE:
            logger.warning("What pool %s holds is not known: no node has its state any more", self.pool.address)
            return None
        flows = [sum_flows(self._store.read(piece)) for piece in pieces]
        return held[0] - sum(flow[0] for flow in flows), held[1] - sum(flow[1] for flow in flows)

    def _holdings(self, block: BlockHeader) -> tuple[int, int]:
        if self.pool.kind is PoolKind.v3:
            return self._balances(block)
        reserve0, reserve1, _ = self._client.call(self.pool.address, GET_RESERVES, (), block)
        return int(reserve0), int(reserve1)

    def _balances(self, block: BlockHeader) -> tuple[int, int]:
        base, quote = (
            read_balance(self._client, token.address, self.pool.address, block)
            for token in (self.pool.base, self.pool.quote)
        )
        return (base, quote) if self.pool.is_base_token0 else (quote, base)

    def _compare(self, head: BlockHeader, *, accepts_gifts: bool) -> None:
        end = self._end
        if self.pool.kind is PoolKind.v2:
            if end.amount0 is None:
                return
            real: tuple[Any, ...] = self._client.call(self.pool.address, GET_RESERVES, (), head)[:2]
            told: tuple[Any, ...] = (end.amount0, end.amount1)
        else:
            if end.sqrt_price is None:
                return
            real = (self._client.call(self.pool.address, SLOT0, (), head)[0],)
            told = (end.sqrt_price,)
        if real != told:
            raise EventsMissing(
                f"Events of pool {self.pool.address} are missing: they come to {told} at block {head.number}, the "
                f"chain says {real}. The node left some out: use another node",
                head.number,
            )
        if self.pool.kind is PoolKind.v3 and end.amount0 is not None and end.amount1 is not None:
            held = self._balances(head)
            gift = (held[0] - end.amount0, held[1] - end.amount1)
            if gift != self._gift and accepts_gifts and min(gift) >= 0:
                logger.warning("Pool %s has %s beyond its events: sent to it, not counted", self.pool.address, gift)
                self._gift = gift
            if gift != self._gift:
                raise EventsMissing(
                    f"Pool {self.pool.address} holds {held} at block {head.number}, its events come to "
                    f"{(end.amount0, end.amount1)}: the node left some out; use another node",
                    head.number,
                )
