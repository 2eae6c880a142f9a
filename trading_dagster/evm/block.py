"""Blocks, transactions and receipts as read from a node: checked once, then typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from trading_dagster.domain.error import NodeAnswerInvalid
from trading_dagster.domain.transaction import LogEntry

HASH_LENGTH = 66


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """A block by number and hash. ``timestamp`` is unix seconds, ``base_fee`` wei per gas (0 before EIP-1559)."""

    number: int
    hash: str
    timestamp: int
    base_fee: int


BlockReference: TypeAlias = BlockHeader | int | Literal["latest", "pending"]
"""A header pins a read to that very block (EIP-1898): after a reorg it fails instead of answering from another."""


@dataclass(frozen=True, slots=True)
class SentTransaction:
    """A transaction in a block: who sent it with which nonce."""

    tx_hash: str
    sender: str
    nonce: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a mined transaction did. ``is_success`` False means reverted: nothing but gas moved."""

    tx_hash: str
    block_number: int
    block_hash: str
    is_success: bool
    gas_used: int
    effective_gas_price: int
    logs: tuple[LogEntry, ...]


def to_parameter(block: BlockReference) -> Any:
    """Return a block reference as JSON-RPC has it."""
    if isinstance(block, BlockHeader):
        return {"blockHash": block.hash, "requireCanonical": True}
    return hex(block) if isinstance(block, int) else block


def parse_quantity(value: Any, what: str) -> int:
    """Return a hexadecimal quantity; raises NodeAnswerInvalid for anything else."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            return int(value, 16)
        except ValueError:
            pass
    raise NodeAnswerInvalid(f"The node's {what} is {value!r}: expected a hexadecimal quantity such as 0x1f")


def parse_header(body: Any) -> BlockHeader:
    """Read a block's header."""
    fields = _mapping(body, "block")
    return BlockHeader(
        number=parse_quantity(fields.get("number"), "block number"),
        hash=parse_hash(fields.get("hash"), "block hash"),
        timestamp=parse_quantity(fields.get("timestamp"), "block timestamp"),
        base_fee=parse_quantity(fields.get("baseFeePerGas", "0x0"), "base fee"),
    )


def parse_transactions(body: Any) -> tuple[SentTransaction, ...]:
    """Read the transactions of a block asked for in full."""
    transactions = _mapping(body, "block").get("transactions")
    if not isinstance(transactions, list):
        raise NodeAnswerInvalid(f"The node's block has transactions {transactions!r}: expected a list")
    return tuple(_parse_transaction(_mapping(item, "transaction")) for item in transactions)


def _parse_transaction(fields: Mapping[str, Any]) -> SentTransaction:
    return SentTransaction(
        tx_hash=parse_hash(fields.get("hash"), "transaction hash"),
        sender=str(fields.get("from")).lower(),
        nonce=parse_quantity(fields.get("nonce"), "nonce"),
    )


def parse_receipt(body: Any) -> Receipt:
    """Read a receipt; raises NodeAnswerInvalid when a field is missing or a log was removed by a reorg."""
    fields = _mapping(body, "receipt")
    status = parse_quantity(fields.get("status"), "receipt status")
    if status not in (0, 1):
        raise NodeAnswerInvalid(f"The node's receipt has status {status}: expected 0 or 1")
    logs = fields.get("logs")
    if not isinstance(logs, list):
        raise NodeAnswerInvalid(f"The node's receipt has logs {logs!r}: expected a list")
    return Receipt(
        tx_hash=parse_hash(fields.get("transactionHash"), "transaction hash"),
        block_number=parse_quantity(fields.get("blockNumber"), "block number"),
        block_hash=parse_hash(fields.get("blockHash"), "block hash"),
        is_success=status == 1,
        gas_used=parse_quantity(fields.get("gasUsed"), "gas used"),
        effective_gas_price=parse_quantity(fields.get("effectiveGasPrice", "0x0"), "gas price"),
        logs=tuple(parse_log(item) for item in logs),
    )


def parse_log(body: Any) -> LogEntry:
    """Read one log; raises NodeAnswerInvalid when a reorg removed it."""
    fields = _mapping(body, "log")
    if fields.get("removed"):
        raise NodeAnswerInvalid("The node's log was removed by a reorg: read it again")
    return LogEntry(
        address=str(fields.get("address")).lower(),
        topics=tuple(str(topic) for topic in fields.get("topics", ())),
        data=str(fields.get("data", "0x")),
        log_index=parse_quantity(fields.get("logIndex"), "log index"),
    )


def parse_hash(value: Any, what: str) -> str:
    """Return a 32-byte hash."""
    if not isinstance(value, str) or len(value) != HASH_LENGTH or not value.startswith("0x"):
        raise NodeAnswerInvalid(f"The node's {what} is {value!r}: expected 0x and 64 hexadecimal digits")
    return value.lower()


def _mapping(body: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise NodeAnswerInvalid(f"The node's {what} is {body!r}: expected an object")
    return body
