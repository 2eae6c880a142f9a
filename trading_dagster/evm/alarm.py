"""What an executor tells the world: each step it takes, and what an operator must know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from trading_dagster.domain.transaction import Account


class Step(Enum):
    """A named point of the protocol; each comes right after what it names."""

    planned = "planned"
    signing_began = "signing_began"
    signed = "signed"
    persisted = "persisted"
    sent = "sent"
    receipt_seen = "receipt_seen"
    finish_decided = "finish_decided"
    finished = "finished"
    replacement_decided = "replacement_decided"
    nonce_lost = "nonce_lost"
    halted = "halted"
    reopen_decided = "reopen_decided"
    reopened = "reopened"
    gap_found = "gap_found"


Observer: TypeAlias = Callable[[Step, str], None]
"""Called with a step and the id of the intent it is about."""


class AlarmKind(Enum):
    """What an operator must know."""

    foreign_use = "foreign_use"
    """Somebody else signs with the key: the wallet is halted."""
    fee_above_cap = "fee_above_cap"
    gas_missing = "gas_missing"
    signing_forbidden = "signing_forbidden"
    reorganised = "reorganised"
    """A confirmed transaction moved; it is watched again."""
    nonce_gap = "nonce_gap"
    node_unavailable = "node_unavailable"
    settlement_changed = "settlement_changed"
    """A reorg changed what a trade did after the ledger had booked it: a correction was booked."""
    trade_unfinished = "trade_unfinished"
    """The end of a trade is not known when time is up: it is looked up again, and nothing new begins."""
    loan_incomplete = "loan_incomplete"
    """A trade with a loan was done in part: its position is frozen, and the ledger has what was done."""
    liquidated = "liquidated"
    """Somebody liquidated a loan, or a part of it."""
    fill_below_least = "fill_below_least"
    """A vault gave less than was asked for when the transaction was signed: what came is booked."""
    settlement_overdue = "settlement_overdue"
    """A vault should have settled an order long ago: it is looked at again, and its position waits."""
    claim_failed = "claim_failed"
    """What a vault settled could not be claimed: it is tried again."""
    request_lost = "request_lost"
    """A vault has no request any more, and neither gave what was asked for nor all that it was given."""
    assets_unreported = "assets_unreported"
    """A vault was not told what it is worth after a cycle: it prices shares by the last number."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One message for an operator."""

    kind: AlarmKind
    account: Account
    text: str


AlarmSink: TypeAlias = Callable[[Alarm], None]
"""Where alarms go."""


def ignore_step(step: Step, intent_id: str) -> None:
    """Observe nothing."""
