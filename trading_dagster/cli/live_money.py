"""What the commands do that move money: ``live redeem``, ``live cancel-redemption``, ``live deposit``."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path

import typer

from trading_dagster.cli.live_action import EXIT_FAILED, trading
from trading_dagster.domain.error import BadInput
from trading_dagster.live.deposit import deposit
from trading_dagster.live.redemption import RedemptionReport, cancel_redemption, redeem


def run_redemption(name: str, home: Path | None, amount: str, recipient: str, yes: bool) -> None:
    """Ask for money, once it is confirmed, and say what became of it."""
    quantity = _read_amount(amount)
    to = f" to {recipient}" if recipient else ""
    if not yes and not typer.confirm(f"Take {quantity:f} reserve tokens out of {name}{to}?"):
        typer.echo("Nothing was done.")
        return
    with trading(name, home) as live:
        report = redeem(live, quantity, recipient)
        if report.is_paid:
            typer.echo(f"{report.redemption} is paid.")
        elif report.redemption in report.waiting:
            typer.echo(f"{report.redemption} waits: the first cycle that has the cash pays it before it decides.")
        else:
            typer.echo(f"{report.redemption} failed and is not tried again: its alarm says why.")
        _print_rest(report)
        if not report.is_paid and report.redemption not in report.waiting:
            raise typer.Exit(EXIT_FAILED)


def run_deposit(name: str, home: Path | None, amount: str) -> None:
    """Add money on paper."""
    quantity = _read_amount(amount)
    with trading(name, home) as live:
        accounts = deposit(live, quantity)
        typer.echo(f"A deposit of {quantity:f} is booked.")
        typer.echo(str(accounts))


def run_cancellation(name: str, home: Path | None, number: int) -> None:
    """Take a redemption back that waits."""
    with trading(name, home) as live:
        report = cancel_redemption(live, number)
        typer.echo(f"{report.redemption} is cancelled.")
        _print_rest(report)


def _read_amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise BadInput(f"The amount is {text!r}: give a number of reserve tokens such as 1500.50") from None


def _print_rest(report: RedemptionReport) -> None:
    for redemption in report.waiting:
        typer.echo(f"Waiting: {redemption}, asked for at {redemption.requested_at} UTC")
    typer.echo(str(report.accounts))
