"""The snapshot of a state as JSON: its checkpoint, and where the values that a strategy stored are in the ledger.

A snapshot is a cache. One of another format, or one that cannot be read, is passed over and the ledger replayed.
Raise ``SNAPSHOT_FORMAT`` when what State adds up changes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from trading_dagster.domain.checkpoint import Checkpoint, LoanTotals, SideTotals
from trading_dagster.domain.run_range import OpenDecision
from trading_dagster.storage.ledger_store import StateSnapshot

SNAPSHOT_FORMAT = 4

_TIMES = (
    "at",
    "last_cycle_at",
    "last_updated_at",
    "ready_at",
    "last_decision_at",
    "reserve_synced_at",
    "treasury_updated_at",
    "treasury_cycle_at",
    "interest_synced_at",
)


@dataclass(frozen=True, slots=True)
class StoredState:
    """What a snapshot holds. ``data_seqs``: the event with the newest value, by name."""

    seq: int
    checkpoint: Checkpoint
    data_seqs: Mapping[str, int]


def encode_snapshot(stored: StoredState) -> StateSnapshot:
    """Return a snapshot to be kept; equal states give equal text."""
    body: dict[str, Any] = {f.name: getattr(stored.checkpoint, f.name) for f in dataclasses.fields(Checkpoint)}
    for name in _TIMES:
        body[name] = None if body[name] is None else body[name].isoformat()
    decision = stored.checkpoint.decision
    if decision is not None:
        trades = [list(decision.trade_ids), list(decision.position_ids)]
        body["decision"] = [decision.cycle, decision.decision_at.isoformat(), *trades]
    body["cash"] = str(body["cash"])
    body["share_count"] = None if body["share_count"] is None else str(body["share_count"])
    body["dust"] = {key: str(quantity) for key, quantity in body["dust"].items()}
    body["allocations"] = {str(key): str(amount) for key, amount in body["allocations"].items()}
    body["loans"] = {
        str(key): [_encode_side(loan.collateral), _encode_side(loan.borrowed)] for key, loan in body["loans"].items()
    }
    body["data_seqs"] = dict(stored.data_seqs)
    return StateSnapshot(stored.seq, SNAPSHOT_FORMAT, json.dumps(body, separators=(",", ":")))


def decode_snapshot(snapshot: StateSnapshot | None) -> StoredState | None:
    """Return what a snapshot holds, None when there is none that this version can read."""
    if snapshot is None or snapshot.format != SNAPSHOT_FORMAT:
        return None
    try:
        body = json.loads(snapshot.body)
        for name in _TIMES:
            body[name] = None if body[name] is None else datetime.fromisoformat(body[name])
        if body["decision"] is not None:
            cycle, decision_at, *trades = body["decision"]
            body["decision"] = OpenDecision(cycle, datetime.fromisoformat(decision_at), *map(tuple, trades))
        body["cash"] = Decimal(body["cash"])
        body["share_count"] = None if body["share_count"] is None else Decimal(body["share_count"])
        body["dust"] = {key: Decimal(quantity) for key, quantity in body["dust"].items()}
        body["allocations"] = {int(key): Decimal(amount) for key, amount in body["allocations"].items()}
        body["loans"] = {int(key): _decode_loan(*sides) for key, sides in body["loans"].items()}
        body["live_position_ids"] = tuple(body["live_position_ids"])
        data_seqs = body.pop("data_seqs")
        return StoredState(snapshot.seq, Checkpoint(**body), data_seqs)
    except (ValueError, TypeError, KeyError, ArithmeticError):
        return None


def _encode_side(side: SideTotals | None) -> list[str] | None:
    if side is None:
        return None
    amounts = (side.quantity, side.opening_amount, side.accrued, side.settled)
    return [*map(str, amounts), side.accrued_at.isoformat()]


def _decode_loan(collateral: list[str], borrowed: list[str] | None) -> LoanTotals:
    return LoanTotals(_decode_side(collateral), None if borrowed is None else _decode_side(borrowed))


def _decode_side(texts: list[str]) -> SideTotals:
    quantity, opening_amount, accrued, settled = map(Decimal, texts[:4])
    return SideTotals(quantity, opening_amount, accrued, settled, datetime.fromisoformat(texts[4]))
