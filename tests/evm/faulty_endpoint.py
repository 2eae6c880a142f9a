"""A node that answers questions for logs as bad nodes do: too few, of the past, none at all, or only short ranges."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from trading_dagster.domain.error import NodeUnavailable
from trading_dagster.evm.endpoint import Endpoint, map_error

KINDS = ("unavailable", "broken", "truncated", "stale", "empty", "twice", "removed")


class FaultyEndpoint:
    """Passes requests on, and spoils a share of the answers.

    Args:
        inner: The good node.
        share: Of answers to spoil.
        kinds: Ways to spoil logs.
        most_blocks: Refuse longer ranges.
        most_logs: Refuse to give more.
    """

    def __init__(
        self,
        inner: Endpoint,
        *,
        share: float = 0.0,
        seed: int = 1,
        kinds: tuple[str, ...] = KINDS,
        most_blocks: int | None = None,
        most_logs: int | None = None,
    ) -> None:
        self.name = f"faulty {inner.name}"
        self.told: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self._inner = inner
        self._share = share
        self._random = random.Random(seed)
        self._kinds = kinds
        self._most_blocks = most_blocks
        self._most_logs = most_logs

    def request(self, method: str, parameters: list[Any]) -> Any:
        self.requests[method] += 1
        if method != "eth_getLogs":
            if self._random.random() < self._share / 2:
                self.told["unavailable"] += 1
                raise NodeUnavailable("no answer")
            return self._inner.request(method, parameters)
        query = parameters[0]
        if self._most_blocks and "fromBlock" in query:
            asked = int(query["toBlock"], 16) - int(query["fromBlock"], 16) + 1
            if asked > self._most_blocks:
                raise map_error({"code": -32000, "message": f"block range is too large, max {self._most_blocks}"}, "x")
        logs = self._inner.request(method, parameters)
        if self._most_logs and len(logs) > self._most_logs:
            raise map_error({"code": -32005, "message": f"query returned more than {self._most_logs} results"}, "x")
        if self._random.random() >= self._share or not logs:
            return logs
        kind = self._random.choice(self._kinds)
        self.told[kind] += 1
        return self._spoil(kind, logs)

    def _spoil(self, kind: str, logs: list[dict[str, Any]]) -> Any:
        if kind == "unavailable":
            raise NodeUnavailable("timed out")
        if kind == "broken":
            return {"jsonrpc": "2.0"}
        if kind == "truncated":
            start = self._random.randrange(len(logs))
            return logs[:start] + logs[start + self._random.randint(1, 7) :]
        if kind == "stale":
            newest = int(logs[-1]["blockNumber"], 16)
            return [log for log in logs if int(log["blockNumber"], 16) < newest]
        if kind == "empty":
            return []
        if kind == "twice":
            return [*logs, logs[-1]]
        return [*logs[:-1], logs[-1] | {"removed": True}]
