"""Ids of the intents that one trade needs beside or instead of its swap: steps of a loan, claims from a vault."""

from __future__ import annotations

from collections.abc import Iterator

from trading_dagster.domain.transaction import IntentRecord
from trading_dagster.evm.transaction_journal import TransactionJournal


def part_id(trade_intent_id: str, kind: str, number: int) -> str:
    """Return the id of an intent of a trade, counted from 1 among those of its kind."""
    return f"{trade_intent_id}/{kind}-{number}"


def parse_part_id(strategy_id: str, intent_id: str, kind: str) -> int | None:
    """Return the trade that an intent of a kind is for, None when it is none of this strategy."""
    prefix = f"trade/{strategy_id}/"
    parts = intent_id.removeprefix(prefix).split("/")
    if not intent_id.startswith(prefix) or len(parts) != 3:
        return None
    found, _, number = parts[2].partition("-")
    return int(parts[0]) if found == kind and number.isascii() and number.isdigit() else None


def list_parts(journal: TransactionJournal, trade_intent_id: str, kind: str) -> Iterator[IntentRecord]:
    """Yield the intents of a kind that were planned for a trade, in order."""
    number = 1
    while (record := journal.find(part_id(trade_intent_id, kind, number))) is not None:
        yield record
        number += 1
