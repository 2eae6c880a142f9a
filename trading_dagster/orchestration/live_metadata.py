"""What the Dagster UI shows of live trading: decisions, trades with their transactions, equity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg
import pandas as pd

from trading_dagster.accounting.account_check import AccountTable
from trading_dagster.charts.sketch import sketch_equity
from trading_dagster.domain.time import from_unix_us, to_aware
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.live.chart_state import read_newest_samples
from trading_dagster.live.cycle import CycleReport
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.trigger_check import TriggerReport
from trading_dagster.orchestration.key_figure import frame_to_markdown
from trading_dagster.orchestration.metadata import picture
from trading_dagster.statistics.cost_table import COSTS, trade_costs
from trading_dagster.storage.ledger_store import Sample
from trading_dagster.storage.strategy_ledger import StrategyLedger

Metadata = Mapping[str, Any]
MAX_ROWS = 50


def describe_time(decision_at: datetime, now: datetime) -> Metadata:
    """Return the decision time and how long ago it was; both naive UTC."""
    return {
        "decision_at": dg.MetadataValue.timestamp(to_aware(decision_at)),
        "delay_seconds": (now - decision_at).total_seconds(),
    }


def describe_decision(report: CycleReport) -> Metadata:
    """Return what was decided."""
    return {
        "dagster/row_count": len(report.trades),
        "cycle": report.cycle,
        "step": report.status.value,
        "buys": sum(trade.is_buy() for trade in report.trades),
        "sells": sum(trade.is_sell() for trade in report.trades),
        "planned_usd": float(sum(abs(trade.get_planned_value()) for trade in report.trades)),
        "decision": dg.MetadataValue.md(_decision_text(report)),
    }


def describe_trades(report: CycleReport) -> Metadata:
    """Return what came of the trades."""
    return {"cycle": report.cycle, "step": report.status.value, **describe_executions(report.trades)}


def describe_executions(trades: Sequence[TradeExecution]) -> Metadata:
    """Return counts and a table of trades, with their transactions."""
    return {
        "dagster/row_count": len(trades),
        "executed": sum(trade.is_success() for trade in trades),
        "failed": sum(trade.is_failed() for trade in trades),
        "volume_usd": float(sum(abs(trade.get_value()) for trade in trades if trade.is_success())),
        "fees_usd": float(sum(trade.lp_fees_paid or 0.0 for trade in trades)),
        "trades": dg.MetadataValue.md(_trade_table(trades)),
    }


def describe_statistics(live: LiveStrategy, report: CycleReport | None = None) -> Metadata:
    """Return the key figures of a ledger and a picture of its newest equity samples."""
    samples = read_newest_samples(live)
    state = StrategyLedger(live.store, live.id).load()
    metadata: dict[str, Any] = {} if report is None else {"cycle": report.cycle, "step": report.status.value}
    if state is not None:
        portfolio = state.portfolio
        deposits = float(portfolio.reserve.initial_deposit or 0) if portfolio.reserve else 0.0
        metadata |= {
            "open_positions": len(portfolio.open_positions),
            "frozen_positions": len(portfolio.frozen_positions),
            "closed_positions": len(portfolio.closed_positions),
            "cash_usd": portfolio.get_cash(),
            "positions": dg.MetadataValue.md(_position_table(state.portfolio.get_open_and_frozen_positions())),
        }
        if samples:
            metadata["equity_usd"] = samples[-1].equity
            if samples[-1].share_price is not None:  # what performance is when money came and went
                metadata["share_price_usd"] = samples[-1].share_price
            metadata["return_on_first_deposit"] = samples[-1].equity / deposits - 1 if deposits else 0.0
    if len(samples) > 1:
        index = pd.DatetimeIndex([from_unix_us(sample.at_us) for sample in samples])
        curve = pd.Series([sample.equity for sample in samples], index=index)
        metadata["equity_curve"] = picture(sketch_equity(curve, title=f"Equity of {live.id}"), f"Equity of {live.id}")
    return metadata


def describe_sample(sample: Sample) -> Metadata:
    """Return an equity sample."""
    return {"equity_usd": sample.equity, "cash_usd": sample.cash, "open_positions": sample.open_positions}


def describe_triggers(report: TriggerReport) -> Metadata:
    """Return what a trigger check did."""
    return {
        "watched_positions": report.watched,
        "stops_moved": len(report.moved),
        "positions_without_price": len(report.unpriced),
        "unfinished_trades": len(report.unfinished),
        **describe_executions(report.trades),
    }


def describe_accounts(table: AccountTable) -> Metadata:
    """Return an account check asset by asset."""
    rows = [
        {
            "asset": row.asset.token_symbol,
            "positions": ", ".join(map(str, row.position_ids)) or "-",
            "expected": f"{row.expected:,f}",
            "actual": f"{row.actual:,f}",
            "difference": f"{row.difference:,f}",
            "USD": f"{row.usd_value:,.2f}",
            "is": "different" if row.is_mismatch else "right",
        }
        for row in table.rows
    ]
    return {
        "dagster/row_count": len(rows),
        "mismatches": sum(row.is_mismatch for row in table.rows),
        "accounts": dg.MetadataValue.md(_table(rows)),
    }


def _decision_text(report: CycleReport) -> str:
    notes = "".join(f"\n\n{note}" for note in report.notes)
    if not report.trades:
        return f"No trades.{notes}"
    rows = [
        {
            "trade": trade.trade_id,
            "pair": trade.pair.get_ticker(),
            "side": "buy" if trade.is_buy() else "sell",
            "USD": f"{abs(trade.get_planned_value()):,.2f}",
            "price": f"{trade.planned_price:,.8g}",
            "why": trade.notes or trade.trade_type.value,
        }
        for trade in report.trades
    ]
    return _table(rows) + notes


def _trade_table(trades: Sequence[TradeExecution]) -> str:
    return _table(
        [
            {
                "trade": trade.trade_id,
                "position": trade.position_id,
                "pair": trade.pair.get_ticker(),
                "side": "buy" if trade.is_buy() else "sell",
                "status": trade.get_status().value,
                "quantity": _number(trade.executed_quantity),
                "price": _number(trade.executed_price),
                "USD": f"{abs(trade.get_value()):,.2f}",
                "fee, USD": _number(trade.lp_fees_paid),
                **_costs_of(trade),
                "transaction": "-" if trade.fill is None else trade.fill.tx_hash or "-",
            }
            for trade in trades
        ]
    )


def _costs_of(trade: TradeExecution) -> Mapping[str, str]:
    """Return what a trade cost beside its fee, where that is known."""
    costs = dict(zip(COSTS, trade_costs(trade), strict=True))
    return {
        f"{name}, USD": _number(None if trade.fill is None or math.isnan(costs[name]) else costs[name])
        for name in ("impact", "slippage", "gas")
    }


def _position_table(positions: Any) -> str:
    return _table(
        [
            {
                "position": position.position_id,
                "pair": position.pair.get_ticker(),
                "quantity": f"{position.quantity:,f}",
                "opened": position.opened_at,
                "stop loss": _number(position.stop_loss),
                "take profit": _number(position.take_profit),
            }
            for position in positions
        ]
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    return frame_to_markdown(pd.DataFrame(rows[:MAX_ROWS])) if rows else "None."


def _number(value: Any) -> str:
    return "-" if value is None else f"{float(value):,.8g}"
