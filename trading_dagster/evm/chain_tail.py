"""The newest blocks of a chain by hash: their logs, such that none of an abandoned block can be among them.

Each refresh walks from the head back along the parents' hashes to a block it knows. What a block with a hash contains
never changes, so logs are asked for by the block's hash, once, and a reorg costs no more than the new blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from trading_dagster.domain.error import BlockUnavailable, NodeAnswerInvalid
from trading_dagster.evm.block import BlockHeader, parse_hash, parse_header
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.log_batch import LogBatch, empty_batch, join_batches
from trading_dagster.evm.log_reader import LogReader

BLOOM_BITS = 2048
ATTEMPTS = 5
FULL_BLOOM = (1 << BLOOM_BITS) - 1


@dataclass(frozen=True, slots=True)
class LinkedHeader:
    """A header with the hash of its parent, and the filter of the addresses and topics of its logs."""

    header: BlockHeader
    parent: str
    bloom: int


@dataclass(frozen=True, eq=False)
class TailState:
    """The blocks after ``base``, each the parent of the next, and their logs in order."""

    base: int
    headers: tuple[BlockHeader, ...]
    base_hash: str
    logs: LogBatch

    @property
    def head(self) -> BlockHeader:
        """Return the newest block."""
        return self.headers[-1]


class ChainTail:
    """Follows the head of a chain for the logs of some contracts."""

    def __init__(self, client: EvmClient, reader: LogReader) -> None:
        self._client = client
        self._reader = reader
        self._links: dict[str, LinkedHeader] = {}
        self._logs: dict[str, LogBatch] = {}
        self._contracts: tuple[str, ...] = ()

    def refresh(self, contracts: Mapping[str, int], base: int) -> TailState:
        """Return the blocks after number ``base`` up to the head, as one unbroken chain.

        Raises:
            BlockUnavailable: The chain was reorganised again and again meanwhile, or is shorter than ``base``.
        """
        if tuple(contracts) != self._contracts:
            self._contracts, self._logs = tuple(contracts), {}
        failure: BlockUnavailable | None = None
        for _ in range(ATTEMPTS):
            try:
                return self._walk(contracts, base)
            except BlockUnavailable as error:
                failure = error
        assert failure is not None
        raise failure

    def forget(self) -> None:
        """Ask for all logs again at the next refresh."""
        self._logs = {}

    def _walk(self, contracts: Mapping[str, int], base: int) -> TailState:
        head = self._client.read_head()
        if head.number <= base:
            raise BlockUnavailable(f"The chain's head is block {head.number}, blocks after {base} are wanted")
        path: list[LinkedHeader] = []
        block_hash = head.hash
        for number in range(head.number, base, -1):
            link = self._link(block_hash, number)
            path.append(link)
            block_hash = link.parent
        path.reverse()
        kept = {link.header.hash: link for link in path}
        logs = {link.header.hash: self._read(contracts, link) for link in path}
        self._links, self._logs = kept, logs
        return TailState(base, tuple(link.header for link in path), block_hash, join_batches(list(logs.values())))

    def _link(self, block_hash: str, number: int) -> LinkedHeader:
        known = self._links.get(block_hash)
        if known is None:
            known = read_linked(self._client, block_hash)
            if known.header.number != number or known.header.hash != block_hash:
                raise NodeAnswerInvalid(
                    f"The node gave block {known.header.number} {known.header.hash} for {number} {block_hash}"
                )
            self._links[block_hash] = known
        return known

    def _read(self, contracts: Mapping[str, int], link: LinkedHeader) -> LogBatch:
        block_hash = link.header.hash
        if block_hash not in self._logs:
            may_have = any(is_in_bloom(link.bloom, address) for address in contracts)
            self._logs[block_hash] = self._reader.read_block(contracts, block_hash) if may_have else empty_batch()
        return self._logs[block_hash]


def read_linked(client: EvmClient, block_hash: str) -> LinkedHeader:
    """Return the block of a hash; raises BlockUnavailable when the node does not know it (any more)."""

    def parse(body: Any) -> LinkedHeader:
        if body is None:
            raise BlockUnavailable(f"The node does not know block {block_hash}")
        header = parse_header(body)
        return LinkedHeader(header, parse_hash(body.get("parentHash"), "parent hash"), _parse_bloom(body))

    return client.read("eth_getBlockByHash", [block_hash, False], parse)


def is_in_bloom(bloom: int, address: str) -> bool:
    """Tell whether a block may have logs of a contract: never False when it has (yellow paper, 4.4.3)."""
    digest = keccak(hexstr=address)
    bits = (int.from_bytes(digest[at : at + 2], "big") % BLOOM_BITS for at in (0, 2, 4))
    return all(bloom >> bit & 1 for bit in bits)


def _parse_bloom(body: Mapping[str, Any]) -> int:
    """Return the filter; one with all bits for chains that do not keep it, so that their blocks are asked for."""
    text = body.get("logsBloom")
    bloom = int(text, 16) if isinstance(text, str) and text.startswith("0x") and len(text) > 2 else 0
    return bloom if bloom or not body.get("transactions") else FULL_BLOOM
