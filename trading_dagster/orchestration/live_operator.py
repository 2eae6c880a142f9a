"""What an operator orders in the Dagster UI: answers to requests for approval, turns of the kill switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.execution.approval import Answer, Approval
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.orchestration.key_figure import to_markdown
from trading_dagster.storage.control_store import ALL_STRATEGIES, SqlApprovalStore, SqlKillSwitch
from trading_dagster.storage.database import Database
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore


def answer_approval(
    live: LiveStrategy, digest: str, by: str, trade_ids: Sequence[int] | None, comment: str
) -> Mapping[str, Any]:
    """Keep an answer; returns what was answered.

    Args:
        live: The strategy that asks.
        digest: The digest of the request, or at least its first eight characters.
        by: Who answers.
        trade_ids: The trades to approve, None for all, () to reject them.
        comment: Why.

    Raises:
        BadInput: No such request or trade, or nobody is named.
        LedgerConflict: It was answered already.
        ApprovalMissing: The answer is late.
    """
    ids = None if trade_ids is None else tuple(trade_ids)
    store = SqlApprovalStore(_database(live))
    approval = store.answer(live.id, Answer(digest, by, live.clock.now(), ids, comment))
    return {
        "verdict": approval.verdict.value,
        "approved_trades": ", ".join(map(str, approval.approved_ids)) or "none",
        "answered_by": approval.answered_by,
        "request": dg.MetadataValue.md(_describe(approval)),
    }


def list_waiting(live: LiveStrategy) -> Mapping[str, Any]:
    """Return the requests that wait for an answer, each with the digest to quote."""
    waiting = SqlApprovalStore(_database(live)).list_waiting(live.id)
    text = "\n\n".join(_describe(approval) for approval in waiting) or "Nothing waits for an approval."
    return {"waiting": len(waiting), "requests": dg.MetadataValue.md(text)}


def turn_kill_switch(live: LiveStrategy, *, is_on: bool, by: str, reason: str, is_for_all: bool = False) -> None:
    """Turn the kill switch of a deployment, or of all on the same ledger; raises BadInput without name or reason."""
    scope = ALL_STRATEGIES if is_for_all else live.id
    SqlKillSwitch(_database(live)).turn(scope, is_on=is_on, by=by, reason=reason, at=live.clock.now())


def describe_switches(live: LiveStrategy) -> Mapping[str, Any]:
    """Return how the switches stand that a deployment obeys."""
    switch = SqlKillSwitch(_database(live))
    positions = "\n".join(f"- {position}" for position in switch.read(live.id))
    return {"may_trade": not switch.is_on(live.id), "switches": dg.MetadataValue.md(positions or "never touched")}


def _describe(approval: Approval) -> str:
    request = approval.request
    heading = ("trade", "side", "pair", "quantity", "price", "USD")
    rows = [
        (str(t.trade_id), t.side, t.ticker, t.quantity, f"{t.price:,.8g}", f"{t.value:,.2f}") for t in request.trades
    ]
    return (
        f"Digest `{request.digest[:12]}`, decision of {request.decision_at:%Y-%m-%d %H:%M} UTC, "
        f"{approval.verdict.value}, until {request.deadline:%Y-%m-%d %H:%M:%S} UTC\n\n{to_markdown([heading, *rows])}"
    )


def _database(live: LiveStrategy) -> Database:
    if not isinstance(live.store, SqlLedgerStore):
        raise BadConfiguration(f"The ledger of {live.id} is in memory: operators need one in a database")
    return live.store.database
