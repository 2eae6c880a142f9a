"""Trades, positions and decisions of a state as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution, TradeFlag

TRADE_COLUMNS: dict[str, str] = {
    "trade_id": "int64",
    "position_id": "int64",
    "pair": "str",
    "pair_id": "int64",
    "kind": "str",
    "side": "str",
    "trade_type": "str",
    "status": "str",
    "opened_at": "datetime64[us]",
    "executed_at": "datetime64[us]",
    "mid_price": "float64",
    "planned_price": "float64",
    "executed_price": "float64",
    "quantity": "float64",
    "reserve": "float64",
    "fee": "float64",
    "profit": "float64",
    "closing": "bool",
    "flags": "str",
    "notes": "str",
    "exact_quantity": "str",
    "exact_reserve": "str",
}

POSITION_COLUMNS: dict[str, str] = {
    "position_id": "int64",
    "pair": "str",
    "pair_id": "int64",
    "kind": "str",
    "status": "str",
    "opened_at": "datetime64[us]",
    "closed_at": "datetime64[us]",
    "duration": "timedelta64[us]",
    "opening_price": "float64",
    "closing_price": "float64",
    "value_at_open": "float64",
    "portfolio_value_at_open": "float64",
    "quantity": "float64",
    "value": "float64",
    "realised_profit": "float64",
    "unrealised_profit": "float64",
    "profit_pct": "float64",
    "stop_loss": "float64",
    "take_profit": "float64",
    "close_reason": "str",
    "trade_count": "int64",
    "fees": "float64",
    "notes": "str",
}


def trades_table(state: State) -> pd.DataFrame:
    """Return one row a trade, by id; times are naive UTC, amounts in USD, exact amounts as text.

    ``profit`` is what a sell realised against the average cost, NaN for buys.
    """
    return trade_rows(state.portfolio.get_all_trades())


def trade_rows(trades: Iterable[TradeExecution]) -> pd.DataFrame:
    """Return one row for each of the given trades."""
    rows = []
    for trade in trades:
        fill = trade.fill
        quantity = trade.planned_quantity if fill is None else fill.quantity
        reserve = trade.planned_reserve if fill is None else fill.reserve
        rows.append(
            (
                trade.trade_id,
                trade.position_id,
                trade.pair.get_ticker(),
                trade.pair.internal_id or 0,
                trade.pair.kind.value,
                "buy" if trade.is_buy() else "sell",
                trade.trade_type.value,
                trade.get_status().value,
                trade.opened_at,
                trade.executed_at,
                trade.planned_mid_price,
                trade.planned_price,
                np.nan if fill is None else fill.price,
                float(quantity),
                float(reserve),
                np.nan if fill is None else fill.lp_fees,
                np.nan if trade.profit is None else trade.profit,
                trade.closing,
                _flag_text(trade.flags),
                trade.notes or trade.failure or "",
                f"{quantity:f}",
                f"{reserve:f}",
            )
        )
    return _frame(rows, TRADE_COLUMNS)


@cache
def _flag_text(flags: frozenset[TradeFlag]) -> str:
    return " ".join(sorted(flag.value for flag in flags))


def positions_table(state: State) -> pd.DataFrame:
    """Return one row a position, by id; open ones are valued at the state's last prices."""
    return position_rows(sorted(state.portfolio.get_all_positions(), key=lambda p: p.position_id))


def position_rows(positions: Iterable[TradingPosition]) -> pd.DataFrame:
    """Return one row for each of the given positions."""
    rows = [
        (
            p.position_id,
            p.pair.get_ticker(),
            p.pair.internal_id or 0,
            p.pair.kind.value,
            "closed" if p.is_closed() else "frozen" if p.is_frozen() else "open",
            p.opened_at,
            p.closed_at,
            p.get_duration(),
            p.get_opening_price(),
            np.nan if p.get_closing_price() is None else p.get_closing_price(),
            p.get_value_at_open(),
            p.portfolio_value_at_open,
            float(p.get_quantity()),
            p.get_value(),
            p.get_realised_profit_usd() or 0.0,
            p.get_unrealised_profit_usd(),
            p.get_unrealised_and_realised_profit_percent(),
            np.nan if p.stop_loss is None else p.stop_loss,
            np.nan if p.take_profit is None else p.take_profit,
            close_reason(p),
            p.executed_trade_count,
            p.fees_paid,
            p.notes or "",
        )
        for p in positions
    ]
    return _frame(rows, POSITION_COLUMNS)


def close_reason(position: TradingPosition) -> str:
    """Return why a position closed: its last trade's type, "trailing_stop_loss", or "" while open."""
    if not position.is_closed():
        return ""
    if position.is_trailing_stop_loss():
        return "trailing_stop_loss"
    return position.get_last_trade().trade_type.value


def decisions_table(
    state: State, samples: pd.DataFrame, grid: pd.DatetimeIndex, trades: Iterable[TradeExecution] | None = None
) -> pd.DataFrame:
    """Return one row a decision cycle: what it planned, what it said, and equity after it.

    Args:
        state: Source of trades and messages.
        samples: Equity samples with columns timestamp, equity, cash.
        grid: The decision times, naive UTC; cycle numbers count from 1 along it.
        trades: The trades to count, None for all.
    """
    table = pd.DataFrame({"cycle": np.arange(1, len(grid) + 1, dtype=np.int64), "timestamp": grid})
    counts = {"buys": np.zeros(len(grid), dtype=np.int64), "sells": np.zeros(len(grid), dtype=np.int64)}
    decided = [t for t in (state.portfolio.get_all_trades() if trades is None else trades) if t.is_rebalance()]
    places = grid.get_indexer(pd.DatetimeIndex([t.opened_at for t in decided], dtype="datetime64[us]"))
    for trade, place in zip(decided, places, strict=True):
        if place >= 0:
            counts["buys" if trade.is_buy() else "sells"][place] += 1
    table["buys"], table["sells"] = counts["buys"], counts["sells"]
    by_time = samples.drop_duplicates("timestamp", keep="first").set_index("timestamp")
    table["equity"] = by_time["equity"].reindex(grid).to_numpy()
    table["cash"] = by_time["cash"].reindex(grid).to_numpy()
    messages = {time: "\n".join(texts) for time, texts in state.visualisation.messages.items()}
    table["messages"] = [messages.get(time, "") for time in grid.to_pydatetime()] if messages else ""
    return table


def _frame(rows: Sequence[tuple[Any, ...]], columns: dict[str, str]) -> pd.DataFrame:
    """Build a frame column by column with fixed types, so that an empty one has them too."""
    values = zip(*rows, strict=True) if rows else ((),) * len(columns)
    return pd.DataFrame(
        {name: _column(list(column), dtype) for (name, dtype), column in zip(columns.items(), values, strict=True)}
    )


def _column(values: list[Any], dtype: str) -> Any:
    if dtype == "str":
        return pd.array(values, dtype="str")
    if dtype.startswith(("datetime64", "timedelta64")):
        return np.array([np.datetime64("NaT") if v is None and dtype[0] == "d" else v for v in values], dtype=dtype)
    return np.array(values, dtype=dtype)
