"""Which ends of intents a reorg moved, and which no reorg can move any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trading_dagster.domain.error import BlockUnavailable
from trading_dagster.domain.transaction import Account, Finished
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.transaction_journal import TransactionJournal


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """What an audit found: ``moved`` are not in the chain any more, ``final`` (ids) are there and deep enough."""

    moved: Sequence[Finished]
    final: Sequence[str]


def audit_ends(
    client: EvmClient,
    journal: TransactionJournal,
    account: Account,
    head: BlockHeader,
    *,
    final_depth: int,
    audit_blocks: int,
) -> AuditFinding:
    """Look at every end that is not marked final, and at those of the last blocks.

    What ended just before a process did may be moved right after, and be looked at days later: no number of blocks
    from the head covers it.

    Args:
        client: The chain.
        journal: Where the ends are.
        account: Whose.
        head: The newest block.
        final_depth: How many blocks must follow for an end to be final.
        audit_blocks: How far back final ones are looked at all the same.

    Raises:
        NodeError: No node answers.
    """
    not_final = {record.intent.intent_id: record for record in journal.list_not_final(account)}
    recent = journal.list_finished(account, max(1, head.number - audit_blocks))
    canonical: dict[int, str] = {}
    moved: list[Finished] = []
    final: list[str] = []
    for name, record in (not_final | {record.intent.intent_id: record for record in recent}).items():
        number = record.outcome.block_number
        if number not in canonical:
            canonical[number] = read_canonical_hash(client, number)
        if canonical[number] != record.outcome.block_hash:
            moved.append(record)
        elif name in not_final and head.number - number >= final_depth:
            final.append(name)
    return AuditFinding(moved, final)


def read_canonical_hash(client: EvmClient, number: int) -> str:
    """Return the hash of the block of a number; empty when the chain does not reach it."""
    try:
        return client.read_block(number).hash
    except BlockUnavailable:
        return ""
