"""What each pair contributed: positions, profit and costs, a row a pair."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State

MULTIPAIR_COLUMNS: dict[str, str] = {
    "Trading pair": "str",
    "Positions": "int64",
    "Trades": "int64",
    "Total return %": "float64",
    "Total PnL USD": "float64",
    "Best": "float64",
    "Worst": "float64",
    "Avg": "float64",
    "Median": "float64",
    "Volume": "float64",
    "Wins": "int64",
    "Losses": "int64",
    "Take profits": "int64",
    "Stop losses": "int64",
    "Trailing stop losses": "int64",
    "Volatility": "float64",
}

_PERCENTS = ("Total return %", "Best", "Worst", "Avg", "Median", "Volatility")
_DOLLARS = ("Total PnL USD", "Volume")


def analyse_multipair(state: State) -> pd.DataFrame:
    """Return one row for each pair that was traded, in order of the first position on it.

    Percents are fractions, profit on all that was bought, of closed and open positions; total return is their sum,
    volatility their standard deviation (ddof 1, NaN for one position). Wins and losses are of closed positions; stop
    losses include the trailing ones.
    """
    by_pair: dict[TradingPairIdentifier, list[TradingPosition]] = {}
    for position in sorted(state.portfolio.get_all_positions(), key=lambda p: (p.opened_at, p.position_id)):
        if position.executed_trade_count:
            by_pair.setdefault(position.pair, []).append(position)
    rows = [_row(pair, positions) for pair, positions in by_pair.items()]
    return pd.DataFrame(rows, columns=list(MULTIPAIR_COLUMNS)).astype(MULTIPAIR_COLUMNS)


def format_multipair_summary(
    df: pd.DataFrame, sort_column: str = "Total PnL USD", ascending: bool = False
) -> pd.DataFrame:
    """Return the table of `analyse_multipair` as text, sorted by one of its columns.

    Raises:
        BadInput: there is no such column
    """
    if sort_column not in df.columns:
        raise BadInput(f"sort_column is {sort_column!r}: choose one of {', '.join(map(str, df.columns))}")
    ordered = df.sort_values([sort_column, "Trading pair"], ascending=[ascending, True], kind="stable")
    columns = {name: [_cell(str(name), value) for value in values] for name, values in ordered.items()}
    return pd.DataFrame(columns, index=ordered.index, dtype="str")


def _row(pair: TradingPairIdentifier, positions: list[TradingPosition]) -> tuple[object, ...]:
    percents = np.array([p.get_unrealised_and_realised_profit_percent() for p in positions])
    trades = [t for p in positions for t in p.get_successful_trades()]
    profits = [p.get_realised_profit_usd() or 0.0 for p in positions if p.is_closed()]
    return (
        pair.get_ticker(),
        len(positions),
        len(trades),
        math.fsum(percents),
        math.fsum(p.get_total_profit_usd() for p in positions),
        percents.max(),
        percents.min(),
        percents.mean(),
        np.median(percents),
        math.fsum(t.get_value() for t in trades),
        sum(profit > 0 for profit in profits),
        sum(profit < 0 for profit in profits),
        sum(p.is_take_profit() for p in positions),
        sum(p.is_stop_loss() for p in positions),
        sum(p.is_trailing_stop_loss() for p in positions),
        percents.std(ddof=1) if len(percents) > 1 else math.nan,
    )


def _cell(name: str, value: float | str) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "-"
    if name in _PERCENTS:
        return f"{value:z.2%}"
    return f"{value:z,.2f}" if name in _DOLLARS else str(value)
