"""What each trade paid in fees, and what a fund took from its investors."""

from __future__ import annotations

import math

import pandas as pd

from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution

FEE_COLUMNS: dict[str, str] = {
    "trade_id": "int64",
    "position_id": "int64",
    "strategy_cycle_at": "datetime64[us]",
    "executed_at": "datetime64[us]",
    "pair_id": "int64",
    "pair_ticker": "str",
    "trade_type": "str",
    "value_usd": "float64",
    "fee_tier": "float64",
    "fees_paid_usd": "float64",
    "fees_paid_pct": "float64",
    "fees_estimated_usd": "float64",
    "fees_estimated_pct": "float64",
}

FUND_FEE_COLUMNS: dict[str, str] = {
    "timestamp": "datetime64[us]",
    "management_usd": "float64",
    "performance_usd": "float64",
    "shares": "float64",
    "share_price": "float64",
    "high_water_mark": "float64",
}


def fund_fee_table(state: State) -> pd.DataFrame:
    """Return one row for each time that fees of the fund were taken; ``share_price`` is after them."""
    rows = [
        (
            entry.at,
            entry.take.management_usd,
            entry.take.performance_usd,
            float(entry.take.management_shares + entry.take.performance_shares),
            entry.take.share_price,
            entry.take.high_water_mark,
        )
        for entry in state.sync.treasury.fund_fees
    ]
    return pd.DataFrame(rows, columns=list(FUND_FEE_COLUMNS)).astype(FUND_FEE_COLUMNS)


def analyse_trading_fees(state: State) -> pd.DataFrame:
    """Return one row for each executed trade, by id.

    Returns:
        ``trade_type`` is "buy" or "sell"; ``fee_tier`` and percents are fractions, fees paid of the executed value and
        fees estimated of the planned one. A sell's value is what came in after the fee, so its percent is a little
        more than the fee tier.
    """
    rows = [_row(trade) for trade in state.portfolio.get_all_trades() if trade.is_success()]
    return pd.DataFrame(rows, columns=list(FEE_COLUMNS)).astype(FEE_COLUMNS)


def _row(trade: TradeExecution) -> tuple[object, ...]:
    value, planned, paid = trade.get_value(), trade.get_planned_value(), trade.lp_fees_paid or 0.0
    return (
        trade.trade_id,
        trade.position_id,
        trade.opened_at,
        trade.executed_at,
        trade.pair.internal_id or 0,
        trade.pair.get_ticker(),
        "buy" if trade.is_buy() else "sell",
        value,
        trade.fee_tier,
        paid,
        paid / value if value else math.nan,
        trade.lp_fees_estimated,
        trade.lp_fees_estimated / planned if planned else math.nan,
    )
