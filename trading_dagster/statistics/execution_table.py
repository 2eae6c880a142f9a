"""How trades were executed, how long positions lasted, and what moved cash without a trade."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from statistics import median

import pandas as pd

from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State

SLIPPAGE_COLUMNS: dict[str, str] = {
    "trade_id": "int64",
    "position_id": "int64",
    "pair_ticker": "str",
    "trade_type": "str",
    "opened_at": "datetime64[us]",
    "executed_at": "datetime64[us]",
    "delay": "timedelta64[us]",
    "planned_price": "float64",
    "executed_price": "float64",
    "slippage_pct": "float64",
    "slippage_usd": "float64",
    "slippage_tolerance": "float64",
}

DURATION_COLUMNS: dict[str, str] = {
    "positions": "int64",
    "mean": "timedelta64[us]",
    "median": "timedelta64[us]",
    "shortest": "timedelta64[us]",
    "longest": "timedelta64[us]",
}

TRANSACTION_COLUMNS: dict[str, str] = {
    "trade_id": "int64",
    "position_id": "int64",
    "pair_ticker": "str",
    "trade_type": "str",
    "status": "str",
    "executed_at": "datetime64[us]",
    "tx_hash": "str",
    "block_number": "float64",
    "gas_cost": "float64",
}

RESERVE_COLUMNS: dict[str, str] = {
    "balance_update_id": "int64",
    "cause": "str",
    "at": "datetime64[us]",
    "cycle_at": "datetime64[us]",
    "quantity": "float64",
    "balance_before": "float64",
    "usd_value": "float64",
    "notes": "str",
}


def analyse_slippage(state: State) -> pd.DataFrame:
    """Return one row for each executed trade, by id: executed against planned price.

    ``slippage_pct`` (a fraction of the planned price) and ``slippage_usd`` are positive where the fill was worse than
    planned; ``delay`` is the time between plan and fill.
    """
    rows = []
    for trade in state.portfolio.get_all_trades():
        price, quantity, at = trade.executed_price, trade.executed_quantity, trade.executed_at
        if not trade.is_success() or price is None or quantity is None or at is None:
            continue
        worse = (price - trade.planned_price) * (1 if trade.is_buy() else -1)
        rows.append(
            (
                trade.trade_id,
                trade.position_id,
                trade.pair.get_ticker(),
                "buy" if trade.is_buy() else "sell",
                trade.opened_at,
                at,
                at - trade.opened_at,
                trade.planned_price,
                price,
                worse / trade.planned_price if trade.planned_price else math.nan,
                worse * abs(float(quantity)),
                math.nan if trade.slippage_tolerance is None else trade.slippage_tolerance,
            )
        )
    return pd.DataFrame(rows, columns=list(SLIPPAGE_COLUMNS)).astype(SLIPPAGE_COLUMNS)


def analyse_position_durations(state: State) -> pd.DataFrame:
    """Return how long closed positions lasted: rows all, won, lost and zero; NaT where there are none."""
    closed = [p for p in state.portfolio.get_all_positions() if p.closed_at is not None]
    kinds: dict[str, Callable[[float], bool]] = {
        "all": lambda _profit: True,
        "won": lambda profit: profit > 0,
        "lost": lambda profit: profit < 0,
        "zero": lambda profit: profit == 0,
    }
    rows = [_durations([p for p in closed if test(p.get_realised_profit_usd() or 0.0)]) for test in kinds.values()]
    table = pd.DataFrame(rows, columns=list(DURATION_COLUMNS), index=pd.Index(kinds, name="result"))
    return table.astype(DURATION_COLUMNS)


def analyse_transactions(state: State) -> pd.DataFrame:
    """Return one row for each trade that reached a chain, by id; ``gas_cost`` is native tokens."""
    rows = [
        (
            trade.trade_id,
            trade.position_id,
            trade.pair.get_ticker(),
            "buy" if trade.is_buy() else "sell",
            trade.get_status().value,
            fill.executed_at,
            fill.tx_hash,
            math.nan if fill.block_number is None else float(fill.block_number),
            math.nan if fill.gas_cost is None else float(fill.gas_cost),
        )
        for trade in state.portfolio.get_all_trades()
        if (fill := trade.fill) is not None and fill.tx_hash is not None
    ]
    return pd.DataFrame(rows, columns=list(TRANSACTION_COLUMNS)).astype(TRANSACTION_COLUMNS)


def analyse_reserve_events(state: State) -> pd.DataFrame:
    """Return one row for each deposit, redemption and correction of cash, in order; times are naive UTC."""
    rows = [
        (
            update.balance_update_id,
            update.cause.value,
            update.block_mined_at,
            update.strategy_cycle_included_at,
            float(update.quantity),
            float(update.old_balance),
            update.usd_value,
            update.notes or "",
        )
        for update in state.portfolio.reserve.balance_updates.values()
    ]
    return pd.DataFrame(rows, columns=list(RESERVE_COLUMNS)).astype(RESERVE_COLUMNS)


def _durations(positions: list[TradingPosition]) -> tuple[object, ...]:
    spans = [p.closed_at - p.opened_at for p in positions if p.closed_at is not None]
    if not spans:
        return (0, None, None, None, None)
    return (len(spans), sum(spans, timedelta(0)) / len(spans), _middle(spans), min(spans), max(spans))


def _middle(spans: list[timedelta]) -> timedelta:
    return timedelta(microseconds=median(span // timedelta(microseconds=1) for span in spans))
