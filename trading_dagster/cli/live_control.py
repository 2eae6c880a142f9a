"""The commands that steer a live deployment from outside, without a node: kill switch, approvals, a ledger's end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from trading_dagster.cli.live_action import find_deployment, find_home
from trading_dagster.cli.live_print import format_table
from trading_dagster.domain.error import BadInput
from trading_dagster.execution.approval import Answer, Approval
from trading_dagster.live.binding import end_ledger
from trading_dagster.live.deployment import Deployment
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import WAIT_S, open_clock, open_store
from trading_dagster.storage.control_store import ALL_STRATEGIES, SqlApprovalStore, SqlKillSwitch
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore


def turn_switch(name: str, home: Path | None, *, is_on: bool, by: str, reason: str, is_for_all: bool) -> None:
    """Turn the kill switch; the strategy is not loaded and no node is asked."""
    with _database(name, home) as (deployment, found, store):
        scope = ALL_STRATEGIES if is_for_all else deployment.id
        clock = open_clock(deployment, found)
        typer.echo(str(SqlKillSwitch(store.database).turn(scope, is_on=is_on, by=by, reason=reason, at=clock.now())))


def approve(
    name: str,
    home: Path | None,
    *,
    digest: str | None,
    by: str,
    trades: Sequence[int],
    is_rejection: bool,
    comment: str,
) -> None:
    """Show what waits for an approval, or answer it."""
    with _database(name, home) as (deployment, found, store):
        approvals = SqlApprovalStore(store.database)
        if digest is None:
            waiting = approvals.list_waiting(deployment.id)
            typer.echo("\n\n".join(map(_describe, waiting)) or "Nothing waits for an approval.")
            return
        if trades and is_rejection:
            raise BadInput("--trade and --reject are both given: name the trades to approve, or reject them all")
        chosen = () if is_rejection else tuple(trades) or None
        at = open_clock(deployment, found).now()
        typer.echo(_describe(approvals.answer(deployment.id, Answer(digest, by, at, chosen, comment))))


def end(name: str, home: Path | None, *, by: str, reason: str, database_of: str | None, force: bool, yes: bool) -> None:
    """End a ledger for good, once it is confirmed; with ``database_of`` the name is its id, else a deployment's."""
    with _database(database_of or name, home) as (deployment, found, store):
        strategy_id = deployment.id if database_of is None else name
        if not yes and not typer.confirm(f"End the ledger of {strategy_id} for good? It never trades again"):
            typer.echo("Nothing was done.")
            return
        at = open_clock(deployment, found).now()
        binding = end_ledger(store, strategy_id, by=by, reason=reason, at=at, force=force, wait_s=WAIT_S)
        typer.echo(f"The ledger of {strategy_id} was ended at {binding.ended_at} UTC, {binding.end_reason}")
        if binding.purse is not None and binding.purse.is_real:
            typer.echo(f"A new ledger may count the money of {binding.purse}")


@contextmanager
def _database(name: str, home: Path | None) -> Iterator[tuple[Deployment, LiveHome, SqlLedgerStore]]:
    deployment, found = find_deployment(name), find_home(home)
    store = open_store(deployment, found)
    try:
        yield deployment, found, store
    finally:
        store.close()


def _describe(approval: Approval) -> str:
    request = approval.request
    head = ("trade", "side", "pair", "quantity", "price", "USD", "")
    rows = [
        (
            f"#{trade.trade_id}",
            trade.side,
            trade.ticker,
            trade.quantity,
            f"{trade.price:,.8g}",
            f"{trade.value:,.2f}",
            "approved" if trade.trade_id in approval.approved_ids else "",
        )
        for trade in request.trades
    ]
    return (
        f"{request.digest[:12]}: {approval.verdict.value}, decision of {request.decision_at:%Y-%m-%d %H:%M} UTC, "
        f"to be answered until {request.deadline:%Y-%m-%d %H:%M:%S} UTC\n{format_table(head, rows)}"
    )
