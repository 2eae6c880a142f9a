"""Trades, positions and decisions of a state as tables."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_unix_us
from trading_dagster.domain.trade import TradeExecution, TradeFlag
from trading_dagster.statistics.cost_table import has_costs, trade_costs
from trading_dagster.statistics.exit_table import exit_kind
from trading_dagster.statistics.table import Table

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

CHARGE_COLUMNS: dict[str, str] = dict.fromkeys(("tax", "impact", "slippage", "gas", "delay"), "float64")
"""What trades cost beside the fee, USD; only in tables of runs that know it. The tax is a part of the fee."""

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


DECISION_COLUMNS: dict[str, str] = {
    "cycle": "int64",
    "timestamp": "datetime64[us]",
    "buys": "int64",
    "sells": "int64",
    "equity": "float64",
    "cash": "float64",
    "messages": "str",
}


def trades_table(state: State) -> pd.DataFrame:
    """Return one row a trade, by id; times are naive UTC, amounts in USD, exact amounts as text.

    ``profit`` is what a sell realised against the average cost, NaN for buys. Where costs were simulated, or a chain
    took them, the table has the columns of `CHARGE_COLUMNS` too; see `analyse_costs`.
    """
    trades = state.portfolio.get_all_trades()
    return trade_rows(trades, has_charges=any(map(has_costs, trades))).frame


def trade_columns(has_charges: bool) -> dict[str, str]:
    """Return the columns of a table of trades."""
    return TRADE_COLUMNS | CHARGE_COLUMNS if has_charges else TRADE_COLUMNS


def trade_rows(trades: Iterable[TradeExecution], has_charges: bool = False) -> Table:
    """Return one row for each of the given trades, if asked with what each cost beside its fee."""
    trades = list(trades)
    plans = [trade.plan for trade in trades]
    fills = [trade.fill for trade in trades]
    amounts = [plan if fill is None else fill for plan, fill in zip(plans, fills, strict=True)]
    columns: dict[str, list[Any]] = {
        "trade_id": [plan.trade_id for plan in plans],
        "position_id": [plan.position_id for plan in plans],
        "pair": [plan.pair.get_ticker() for plan in plans],
        "pair_id": [plan.pair.internal_id or 0 for plan in plans],
        "kind": [plan.pair.kind._value_ for plan in plans],  # the property value of an enum takes two calls
        "side": ["buy" if plan.quantity > 0 else "sell" for plan in plans],
        "trade_type": [plan.trade_type._value_ for plan in plans],
        "status": [trade.get_status()._value_ for trade in trades],
        "opened_at": [trade.opened_at for trade in trades],
        "executed_at": [None if fill is None else fill.executed_at for fill in fills],
        "mid_price": [plan.pricing.mid_price for plan in plans],
        "planned_price": [plan.pricing.price for plan in plans],
        "executed_price": [np.nan if fill is None else fill.price for fill in fills],
        "quantity": [float(amount.quantity) for amount in amounts],
        "reserve": [float(amount.reserve) for amount in amounts],
        "fee": [np.nan if fill is None else fill.lp_fees for fill in fills],
        "profit": [np.nan if fill is None or fill.profit is None else fill.profit for fill in fills],
        "closing": [plan.closing for plan in plans],
        "flags": [_flag_text(plan.flags) for plan in plans],
        "notes": [trade.plan.notes or trade.failure or "" for trade in trades],
        "exact_quantity": [f"{amount.quantity:f}" for amount in amounts],
        "exact_reserve": [f"{amount.reserve:f}" for amount in amounts],
    }
    if has_charges:
        charges = zip(*map(_charges_of, trades), strict=True) if trades else ((),) * len(CHARGE_COLUMNS)
        columns |= {name: list(values) for name, values in zip(CHARGE_COLUMNS, charges, strict=True)}
    return Table(columns, trade_columns(has_charges))


def _charges_of(trade: TradeExecution) -> tuple[float, ...]:
    if trade.fill is None:
        return (np.nan,) * len(CHARGE_COLUMNS)
    return trade_costs(trade)[1:]


@cache
def _flag_text(flags: frozenset[TradeFlag]) -> str:
    return " ".join(sorted(flag.value for flag in flags))


def positions_table(state: State) -> pd.DataFrame:
    """Return one row a position, by id; open ones are valued at the state's last prices."""
    return position_rows(sorted(state.portfolio.get_all_positions(), key=lambda p: p.position_id)).frame


def position_rows(positions: Iterable[TradingPosition]) -> Table:
    """Return one row for each of the given positions."""
    rows = [
        (
            p.position_id,
            p.pair.get_ticker(),
            p.pair.internal_id or 0,
            p.pair.kind.value,
            p.get_status(),
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
    return Table.from_rows(rows, POSITION_COLUMNS)


def close_reason(position: TradingPosition) -> str:
    """Return why a position closed: how its last trade left it, see exit_kind; "" while open."""
    return exit_kind(position, position.get_last_trade()) if position.is_closed() else ""


def decision_rows(
    state: State, samples: Table, grid_us: npt.NDArray[np.int64], trades: Iterable[TradeExecution], first_cycle: int = 0
) -> Table:
    """Return one row a decision cycle: what it planned, what it said, and the last equity of its time.

    Args:
        state: Source of messages.
        samples: Equity samples with columns timestamp, equity, cash.
        grid_us: The decision times, microseconds since 1970.
        trades: The trades planned at these times.
        first_cycle: Index of the first decision time; cycle numbers count from 1.
    """
    counts = {True: np.zeros(len(grid_us), dtype=np.int64), False: np.zeros(len(grid_us), dtype=np.int64)}
    for trade in trades:
        if trade.is_rebalance():
            counts[trade.is_buy()][np.searchsorted(grid_us, to_unix_us(trade.opened_at))] += 1
    times = np.asarray(samples.columns["timestamp"]).view(np.int64)
    places = np.searchsorted(times, grid_us, side="right") - 1  # what triggers did at this time before comes before
    messages = {to_unix_us(time): "\n".join(texts) for time, texts in state.visualisation.messages.items()}
    return Table(
        {
            "cycle": np.arange(first_cycle + 1, first_cycle + len(grid_us) + 1, dtype=np.int64),
            "timestamp": grid_us.view("datetime64[us]"),
            "buys": counts[True],
            "sells": counts[False],
            "equity": np.asarray(samples.columns["equity"])[places],
            "cash": np.asarray(samples.columns["cash"])[places],
            "messages": [messages.get(time, "") for time in grid_us.tolist()] if messages else [""] * len(grid_us),
        },
        DECISION_COLUMNS,
    )
