"""Shows what live commands found: as text for people, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import typer

from trading_dagster.domain.trade import TradeExecution
from trading_dagster.live.inspection import CostRow, MessageRow, PositionRow, Status, Valuation
from trading_dagster.live.operation import TradingResult
from trading_dagster.live.wallet_check import WalletReport


def print_json(value: Any) -> None:
    """Write a dataclass, or several, as JSON; times are ISO, UTC, and exact numbers are text."""
    rows = [asdict(item) for item in value] if isinstance(value, tuple | list) else value
    content = asdict(rows) if is_dataclass(rows) and not isinstance(rows, type) else rows
    typer.echo(json.dumps(content, default=_to_text, indent=2))


def print_positions(rows: Sequence[PositionRow]) -> None:
    """Write positions as a table."""
    head = ("id", "pair", "status", "opened", "quantity", "cost", "price", "value USD", "profit USD", "stop", "target")
    lines = [
        (
            f"#{row.position_id}",
            row.pair,
            row.status,
            f"{row.opened_at:%Y-%m-%d %H:%M}",
            f"{row.quantity.normalize():f}",
            _price(row.average_price),
            _price(row.price),
            f"{row.value:,.2f}",
            f"{row.profit:+,.2f}",
            _price(row.stop_loss),
            _price(row.take_profit),
        )
        for row in rows
    ]
    typer.echo(format_table(head, lines) if lines else "No positions.")


def print_messages(rows: Sequence[MessageRow]) -> None:
    """Write what a strategy said, a message after the other."""
    lines = [f"{row.at:%Y-%m-%d %H:%M:%S}  {row.text}" for row in rows]
    typer.echo("\n".join(lines) if lines else "No messages.")


def print_valuation(valuation: Valuation) -> None:
    """Write what a portfolio is worth."""
    print_positions(valuation.positions)
    figures = [("Cash", valuation.cash), ("Equity at these prices", valuation.equity)]
    if valuation.frozen_value:
        figures.append(("Frozen, not in equity", valuation.frozen_value))
    if valuation.sample is not None:
        figures.append((f"Equity at {valuation.sample.at:%Y-%m-%d %H:%M:%S} UTC", valuation.sample.equity))
    lines = [f"{name:<36}{usd:>16,.2f} USD" for name, usd in figures]
    if valuation.share_count:
        lines.append(f"{'Shares':<36}{valuation.share_count:>16,.6f}")
        price = None if valuation.sample is None else valuation.sample.share_price
        if price is not None:
            lines.append(f"{'Share price':<36}{price:>16,.6f} USD")
        if valuation.fee_shares:
            worth = "" if price is None else f", {float(valuation.fee_shares) * price:,.2f} USD"
            lines.append(f"{'Shares made as fees':<36}{valuation.fee_shares:>16,.6f}{worth}")
    typer.echo("\n" + "\n".join(lines))


def print_costs(rows: Sequence[CostRow]) -> None:
    """Write what trades cost, by kind."""
    head = ("cost", "USD", "USD a trade", "of volume")
    lines = [
        (
            row.cost,
            f"{row.usd or 0.0:,.4f}",
            "-" if row.usd_per_trade is None else f"{row.usd_per_trade:,.4f}",
            "-" if row.of_volume is None else f"{row.of_volume:.4%}",
        )
        for row in rows
    ]
    typer.echo(format_table(head, lines))


def print_status(status: Status) -> None:
    """Write where a strategy stands."""
    sample = status.sample
    lines = [
        ("Ledger", f"{status.events:,} events" if status.events else "none yet"),
        ("Money", status.money or "-"),
        ("Last event", _time(status.last_event_at)),
        ("Cycle", str(status.cycle)),
        ("Last decision", _time(status.last_decision_at)),
        ("In progress", _time(status.open_decision_at)),
        ("Next decision", _time(status.next_decision_at)),
        ("Positions", f"{status.open_positions} open, {len(status.frozen)} frozen"),
        ("Equity", "-" if sample is None else f"{sample.equity:,.2f} USD at {_time(sample.at)}"),
        ("Executor", status.lease or "nobody"),
        ("Kill switch", status.kill_switch or "off"),
    ]
    lines += [("Ended", status.ended)] if status.ended else []
    lines += [("Blacklisted", f"{token}: {reason}") for token, reason in status.blacklist]
    typer.echo("\n".join(f"{name:<16}{text}" for name, text in lines))
    for redemption in status.redemptions:
        typer.echo(f"Waiting         {redemption}, asked for at {_time(redemption.requested_at)}")
    for row in status.unfinished:
        typer.echo(
            f"Unfinished      trade #{row.trade_id} {row.side} {row.quantity:f} {row.pair}, {row.status}, "
            f"position #{row.position_id}"
        )
    for frozen in status.frozen:
        typer.echo(f"Frozen          position #{frozen.position_id} {frozen.pair}: {frozen.notes}")
    rows = [
        (b.token, f"{b.quantity:f}", ", ".join(f"#{number}" for number in b.position_ids) or "-")
        for b in status.balances
    ]
    if rows:
        typer.echo("\n" + format_table(("token", "expected", "positions"), rows))


def print_wallet(report: WalletReport) -> None:
    """Write what a wallet has."""
    if report.address is not None:
        typer.echo(f"Wallet {report.address}, block {report.block}, {report.gas:f} native tokens for gas")
    if report.vault is not None:
        typer.echo(f"It trades for vault {report.vault}, which has")
    rows = [(balance.token, f"{balance.quantity:f}", balance.address) for balance in report.balances]
    typer.echo(format_table(("token", "balance", "address"), rows))


def print_result(result: TradingResult) -> None:
    """Write what came of an operator's trades."""
    print_trades(result.trades, result.notes)
    if result.accounts is not None and not result.accounts.is_clean:
        typer.echo(f"\n{result.accounts}")


def print_trades(trades: Iterable[TradeExecution], notes: Iterable[str] = ()) -> None:
    """Write trades, then notes."""
    rows = [
        (
            f"#{trade.trade_id}",
            "buy" if trade.is_buy() else "sell",
            trade.pair.get_ticker(),
            f"{abs(trade.executed_quantity or trade.planned_quantity):f}",
            _price(trade.executed_price or trade.planned_price),
            f"{trade.get_value():,.2f}",
            trade.get_status().value,
            "" if trade.fill is None else trade.fill.tx_hash or "",
        )
        for trade in trades
    ]
    head = ("trade", "side", "pair", "quantity", "price", "USD", "status", "transaction")
    typer.echo(format_table(head, rows) if rows else "No trades.")
    for note in notes:
        typer.echo(f"- {note}")


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in text."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)


def _price(price: float | None) -> str:
    return "-" if price is None else f"{price:,.8g}"


def _time(at: datetime | None) -> str:
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _to_text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value)
