"""Events of contracts over a range of blocks, in order, in pieces as large as the node allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trading_dagster.domain.error import BadInput, NodeAnswerInvalid, NodeRefused
from trading_dagster.domain.transaction import LogEntry
from trading_dagster.evm.block import parse_hash, parse_log, parse_quantity
from trading_dagster.evm.client import EvmClient

DEFAULT_SPAN = 2_000
"""Blocks a request; many providers allow no more, some less."""


@dataclass(frozen=True, slots=True)
class ChainLog:
    """An event and where it happened."""

    block_number: int
    block_hash: str
    tx_hash: str
    log: LogEntry


def read_logs(
    client: EvmClient,
    address: str,
    topics: Sequence[str],
    first_block: int,
    last_block: int,
    *,
    span: int = DEFAULT_SPAN,
    arguments: Sequence[str | None] = (),
) -> list[ChainLog]:
    """Return a contract's events of these first topics, in the order they happened; both ends are included.

    ``arguments`` are the topics that follow, None for any. When the node refuses a range, half of it is asked for.
    Raises NodeRefused when it refuses a single block.
    """
    if span < 1:
        raise BadInput(f"The span is {span} blocks: it must be at least 1")
    logs: list[ChainLog] = []
    start = first_block
    while start <= last_block:
        end = min(start + span - 1, last_block)
        try:
            logs += _read_range(client, address, [list(topics), *arguments], start, end)
        except NodeRefused:
            if end == start:
                raise
            span = max(1, (end - start + 1) // 2)
        else:
            start = end + 1
    return sorted(logs, key=lambda found: (found.block_number, found.log.log_index))


def _read_range(
    client: EvmClient, address: str, topics: list[list[str] | str | None], first: int, last: int
) -> list[ChainLog]:
    def parse(body: Any) -> list[ChainLog]:
        if not isinstance(body, list):
            raise NodeAnswerInvalid(f"The node's logs are {str(body)[:200]}: expected a list")
        logs = [_parse(item) for item in body]
        strange = [found for found in logs if not first <= found.block_number <= last or found.log.address != address]
        if strange:
            raise NodeAnswerInvalid(f"The node gave a log that was not asked for: {strange[0]}")
        return logs

    query = {"address": address, "topics": topics, "fromBlock": hex(first), "toBlock": hex(last)}
    return client.read("eth_getLogs", [query], parse)


def _parse(body: Any) -> ChainLog:
    fields = body if isinstance(body, Mapping) else {}
    return ChainLog(
        block_number=parse_quantity(fields.get("blockNumber"), "log's block number"),
        block_hash=parse_hash(fields.get("blockHash"), "log's block hash"),
        tx_hash=parse_hash(fields.get("transactionHash"), "log's transaction hash"),
        log=parse_log(body),
    )
