"""Logs of contracts as columns: decoded from a node's answer with numpy, exact to the byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from trading_dagster.domain.error import NodeAnswerInvalid
from trading_dagster.evm.word import WORD, Bytes, Integers

DATA_WORDS = 6
DATA_BYTES = DATA_WORDS * WORD
HASH_DIGITS = 2 * WORD


@dataclass(frozen=True, slots=True)
class EventShape:
    """How logs of one kind of event look.

    Attributes:
        topic: The first topic: the hash of the event's signature.
        code: A number of one's own for the kind, 1 to 255.
        words: How many words its data has.
        with_topic: Keep the second topic (the first indexed argument) in front of the data.
    """

    topic: str
    code: int
    words: int
    with_topic: bool = False


@dataclass(frozen=True, eq=False)
class LogBatch:
    """Logs in the order they happened, as columns of equal length.

    Attributes:
        block: Number of the block.
        log_index: Place among the logs of the block.
        owner: Which of the contracts asked for it is from, by place.
        kind: Code of the event.
        block_hash: Shape (n, 32).
        tx_hash: Shape (n, 32).
        data: The first six words, filled up with zeros, shape (n, 192): the exact integers.
        timestamp: Of the block, seconds since 1970; -1 where the node did not say.
    """

    block: Integers
    log_index: Integers
    owner: Integers
    kind: Bytes
    block_hash: Bytes
    tx_hash: Bytes
    data: Bytes
    timestamp: Integers

    def __len__(self) -> int:
        """Return how many logs there are."""
        return len(self.block)

    def take(self, rows: Any) -> LogBatch:
        """Return some of the logs, chosen by a mask, a slice or row numbers."""
        return LogBatch(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def words(self, place: int) -> Bytes:
        """Return one word of the data of each log, shape (n, 32)."""
        return self.data[:, place * WORD : (place + 1) * WORD]


def empty_batch() -> LogBatch:
    """Return no logs."""
    numbers: Integers = np.empty(0, np.int64)
    hashes: Bytes = np.empty((0, WORD), np.uint8)
    return LogBatch(
        block=numbers,
        log_index=numbers,
        owner=numbers,
        kind=np.empty(0, np.uint8),
        block_hash=hashes,
        tx_hash=hashes,
        data=np.empty((0, DATA_BYTES), np.uint8),
        timestamp=numbers,
    )


def join_batches(batches: Sequence[LogBatch]) -> LogBatch:
    """Return the logs of several batches in the order of the batches."""
    if len(batches) == 1:
        return batches[0]
    if not batches:
        return empty_batch()
    columns = {field.name: [getattr(batch, field.name) for batch in batches] for field in fields(LogBatch)}
    return LogBatch(**{name: np.concatenate(parts) for name, parts in columns.items()})


def is_same(one: LogBatch, other: LogBatch) -> bool:
    """Tell whether two batches have the same logs."""
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(LogBatch))


def decode_logs(body: Any, contracts: Mapping[str, int], shapes: Sequence[EventShape]) -> LogBatch:
    """Return the logs of an answer to eth_getLogs, sorted by block and place.

    Args:
        body: The answer.
        contracts: By address in lower case the number that marks its logs.
        shapes: The events asked for.

    Raises:
        NodeAnswerInvalid: It is no list of such logs, one was removed by a reorg, or was not asked for.
    """
    if not isinstance(body, list):
        raise NodeAnswerInvalid(f"The node's logs are {str(body)[:200]}: expected a list")
    if not body:
        return empty_batch()
    try:
        batch = _decode(body, contracts, {shape.topic: shape for shape in shapes})
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise NodeAnswerInvalid(
            f"The node's logs have one that is malformed or was not asked for ({type(error).__name__}: {error})"
        ) from error
    order = np.lexsort((batch.log_index, batch.block))
    batch = batch if (order[1:] > order[:-1]).all() else batch.take(order)
    if ((np.diff(batch.block) == 0) & (np.diff(batch.log_index) == 0)).any():
        raise NodeAnswerInvalid("The node gave a log twice: read it again")
    return batch


def _decode(body: list[Any], contracts: Mapping[str, int], shapes: Mapping[str, EventShape]) -> LogBatch:
    if any(log.get("removed") for log in body):
        raise NodeAnswerInvalid("The node's log was removed by a reorg: read it again")
    count = len(body)
    known = [shapes[log["topics"][0]] for log in body]
    wide = 2 * DATA_BYTES
    texts = []
    for log, shape in zip(body, known, strict=True):
        data = log["data"]
        if len(data) != 2 + shape.words * HASH_DIGITS:
            raise ValueError(f"data of {(len(data) - 2) // 2} bytes, expected {shape.words} words")
        texts.append((log["topics"][1][2:] + data[2:] if shape.with_topic else data[2:])[:wide].ljust(wide, "0"))
    return LogBatch(
        block=np.fromiter((int(log["blockNumber"], 16) for log in body), np.int64, count),
        log_index=np.fromiter((int(log["logIndex"], 16) for log in body), np.int64, count),
        owner=np.fromiter((contracts[log["address"].lower()] for log in body), np.int64, count),
        kind=np.fromiter((shape.code for shape in known), np.uint8, count),
        block_hash=_hashes([log["blockHash"] for log in body]),
        tx_hash=_hashes([log["transactionHash"] for log in body]),
        data=np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(count, DATA_BYTES),
        timestamp=np.fromiter((int(log.get("blockTimestamp") or "-0x1", 16) for log in body), np.int64, count),
    )


def _hashes(texts: list[str]) -> Bytes:
    hashes = np.frombuffer(bytes.fromhex("".join([text[2:] for text in texts])), np.uint8)
    return hashes.reshape(len(texts), WORD)
