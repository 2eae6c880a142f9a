"""Logs over long stretches of blocks, in pieces as large as the node allows: it finds the limits by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trading_dagster.domain.error import BadInput, NodeAnswerInvalid, NodeRefused, NodeUnavailable
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.log_batch import EventShape, LogBatch, decode_logs, is_same

SUGGESTED = re.compile(r"\[\s*(0x[0-9a-f]+)\s*,\s*(0x[0-9a-f]+)\s*\]", re.IGNORECASE)
"""What some providers say when they refuse: "this block range should work: [0x1, 0x20]"."""
ROUND = 1_000
GROWTH = 2
RETRY_CEILING_AFTER = 25
MOST_ANSWERS = 8
NEAR = 8


@dataclass(frozen=True, slots=True)
class SpanSetting:
    """How many blocks to ask for at once: where to begin, and at most; ``target`` logs an answer are enough."""

    first: int = 2_000
    most: int = 200_000
    target: int = 20_000

    def __post_init__(self) -> None:
        """Check."""
        if not 1 <= self.first <= self.most or self.target < 1:
            raise BadInput(
                f"The blocks a request are {self.first} to {self.most}, {self.target} logs wanted: "
                "expected 1 <= first <= most and a target of at least 1"
            )


@dataclass(frozen=True, eq=False)
class LogPiece:
    """All logs of the blocks from ``first`` to ``last``, both included."""

    first: int
    last: int
    logs: LogBatch


class LogReader:
    """Reads ranges of blocks; what it learnt about the node's limits stays for the next range.

    A refused, timed-out or broken answer halves the range; a provider's own suggestion is taken. Good answers let it
    grow again, but not back to what was refused until a while later. An answer whose length is a round number, as of a
    node that cuts off without saying so, is not believed: halves of that range are read instead. With ``is_doubtful``
    an answer counts only when the node has given it twice.
    """

    def __init__(self, client: EvmClient, shapes: Sequence[EventShape], setting: SpanSetting | None = None) -> None:
        self._client = client
        self._shapes = tuple(shapes)
        self._setting = setting or SpanSetting()
        self.span = self._setting.first
        self._ceiling = self._setting.most
        self._good = 0
        self._worked = 1
        self.is_doubtful = False

    def read(self, contracts: Mapping[str, int], first: int, last: int) -> Iterator[LogPiece]:
        """Yield the logs of contracts from ``first`` to ``last``, both included, piece after piece.

        Args:
            contracts: By address in lower case the number that marks its logs.
            first: First block.
            last: Last block.

        Raises:
            NodeRefused, NodeUnavailable, NodeAnswerInvalid: Not even a single block is answered.
        """
        start = first
        while start <= last:
            end = min(start + self.span - 1, last)
            try:
                logs = self._ask(contracts, start, end)
            except (NodeRefused, NodeUnavailable, NodeAnswerInvalid) as error:
                if end == start:
                    raise
                self._shrink(start, end, str(error))
                continue
            if len(logs) and len(logs) % ROUND == 0 and end > start:
                self.span = (end - start + 1) // 2
                continue
            yield LogPiece(start, end, logs)
            is_whole = end - start + 1 == self.span
            start = end + 1
            if is_whole:
                self._grow(len(logs))

    def read_block(self, contracts: Mapping[str, int], block_hash: str) -> LogBatch:
        """Return the logs of the very block with a hash (EIP-234); raises BlockUnavailable when a reorg took it."""
        query = self._query(contracts) | {"blockHash": block_hash}

        def parse(body: Any) -> LogBatch:
            logs = decode_logs(body, contracts, self._shapes)
            if (logs.block_hash != list(bytes.fromhex(block_hash[2:]))).any():
                raise NodeAnswerInvalid(f"The node gave logs of other blocks than {block_hash}")
            return logs

        return self._read(query, parse)

    def _ask(self, contracts: Mapping[str, int], first: int, last: int) -> LogBatch:
        def parse(body: Any) -> LogBatch:
            logs = decode_logs(body, contracts, self._shapes)
            if len(logs) and not (first <= logs.block[0] and logs.block[-1] <= last):
                raise NodeAnswerInvalid(f"The node gave logs of other blocks than {first} to {last}")
            return logs

        query = self._query(contracts) | {"fromBlock": hex(first), "toBlock": hex(last)}
        return self._read(query, parse)

    def _read(self, query: dict[str, Any], parse: Callable[[Any], LogBatch]) -> LogBatch:
        logs = self._client.read("eth_getLogs", [query], parse)
        if not self.is_doubtful:
            return logs
        answers = [logs]
        for _ in range(MOST_ANSWERS):
            logs = self._client.read("eth_getLogs", [query], parse)
            if any(is_same(logs, other) for other in answers):
                return logs
            answers.append(logs)
        raise NodeAnswerInvalid(f"The node gave {len(answers)} different answers to the same question for logs")

    def _query(self, contracts: Mapping[str, int]) -> dict[str, Any]:
        return {"address": list(contracts), "topics": [[shape.topic for shape in self._shapes]]}

    def _shrink(self, first: int, last: int, message: str) -> None:
        refused = last - first + 1
        self._ceiling, self._good = max(1, refused - 1), 0
        self._worked = min(self._worked, self._ceiling)
        found = SUGGESTED.search(message)
        suggested = int(found[2], 16) - int(found[1], 16) + 1 if found else 0
        self.span = suggested if 0 < suggested < refused else max(1, refused // 2, self._worked)

    def _grow(self, log_count: int) -> None:
        """Ask for more next time; near what was refused go half of the way, and no further within an eighth of it."""
        self._good += 1
        self._worked = max(self._worked, self.span)
        if self._good % RETRY_CEILING_AFTER == 0:
            self._ceiling = min(self._setting.most, self._ceiling * GROWTH)
        if log_count >= self._setting.target:
            return
        if self.span * GROWTH <= self._ceiling:
            self.span *= GROWTH
        elif self._ceiling - self.span > self.span // NEAR:
            self.span = (self.span + self._ceiling + 1) // 2
