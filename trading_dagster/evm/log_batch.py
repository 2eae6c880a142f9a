"""Logs of contracts as columns: decoded from a node's answer with numpy, exact to the byte."""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from trading_dagster.domain.error import NodeAnswerInvalid
from trading_dagster.evm.word import WORD, Bytes, Integers

DATA_WORDS = 6
DATA_BYTES = DATA_WORDS * WORD


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
    places = {topic: place for place, topic in enumerate(shapes)}
    shape_of = np.asarray([places[log["topics"][0]] for log in body])
    data: Bytes = np.zeros((count, DATA_BYTES), np.uint8)
    for place, shape in enumerate(shapes.values()):
        rows = np.flatnonzero(shape_of == place)
        if not len(rows):
            continue
        chosen = rows.tolist()
        own = body if len(chosen) == count else [body[row] for row in chosen]
        words = _unhex([log["data"] for log in own], shape.words * WORD)
        if shape.with_topic:
            words = np.concatenate([_unhex([log["topics"][1] for log in own], WORD), words], axis=1)
        data[rows, : min(words.shape[1], DATA_BYTES)] = words[:, :DATA_BYTES]
    codes = np.asarray([shape.code for shape in shapes.values()], np.uint8)
    return LogBatch(
        block=np.asarray([int(log["blockNumber"], 16) for log in body], np.int64),
        log_index=np.asarray([int(log["logIndex"], 16) for log in body], np.int64),
        owner=np.asarray([contracts[log["address"].lower()] for log in body], np.int64),
        kind=codes[shape_of],
        block_hash=_unhex([log["blockHash"] for log in body], WORD),
        tx_hash=_unhex([log["transactionHash"] for log in body], WORD),
        data=data,
        timestamp=np.asarray([int(log.get("blockTimestamp") or "-0x1", 16) for log in body], np.int64),
    )


def _unhex(texts: Sequence[str], width: int) -> Bytes:
    """Return the bytes of texts such as "0x1f", shape (n, width); raises ValueError when one is of another length."""
    digits = 2 + 2 * width
    if set(map(len, texts)) != {digits}:
        wrong = next(text for text in texts if len(text) != digits)
        raise ValueError(f"{len(wrong) // 2 - 1} bytes of data, expected {width}")
    letters: Bytes = np.frombuffer("".join(texts).encode("ascii"), np.uint8).reshape(len(texts), digits)
    content: Bytes = np.frombuffer(unhexlify(letters[:, 2:].tobytes()), np.uint8)
    return content.reshape(len(texts), width)
