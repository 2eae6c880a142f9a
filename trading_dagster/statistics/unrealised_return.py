"""Returns of all positions, open ones included, a day at a time.

A position counts once, at its last update: its closing, or the end of the strategy's range while it is open. Positions
are taken one after the other: where they overlap, the equity curve says more.
"""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.statistics.position_return import PositionPredicate, is_any_side
from trading_dagster.statistics.returns import Returns


def calculate_size_relative_unrealised_trading_returns(
    state: State, predicate: PositionPredicate = is_any_side
) -> Returns:
    """Return profit percent x share of the portfolio tied at open, of each position by its last update."""
    end = state.get_strategy_time_range()[1]
    found: list[tuple[datetime, int, float]] = []
    for position in state.portfolio.get_all_positions():
        at = position.closed_at or end
        if at is not None and position.executed_trade_count and predicate(position):
            found.append((at, position.position_id, _size_relative(position)))
    found.sort()
    index = pd.DatetimeIndex([at for at, _, _ in found], dtype="datetime64[us]")
    return pd.Series([value for _, _, value in found], index=index, dtype="float64")


def calculate_compounding_unrealised_trading_profitability(
    state: State, predicate: PositionPredicate = is_any_side
) -> Returns:
    """Return the cumulative product of (1 + size-relative return) less 1; of equal times the last value."""
    wealth = (1.0 + calculate_size_relative_unrealised_trading_returns(state, predicate)).cumprod() - 1.0
    return wealth[~wealth.index.duplicated(keep="last")]


def calculate_non_cumulative_daily_returns(state: State, predicate: PositionPredicate = is_any_side) -> Returns:
    """Return the product of (1 + size-relative return) of each day less 1, 0 on days without any."""
    returns = calculate_size_relative_unrealised_trading_returns(state, predicate)
    return returns if returns.empty else (1.0 + returns).resample("D").prod() - 1.0


def calculate_cumulative_daily_returns(state: State, predicate: PositionPredicate = is_any_side) -> Returns:
    """Return the compounding profitability at the end of each day, held over days without any."""
    wealth = calculate_compounding_unrealised_trading_profitability(state, predicate)
    return wealth if wealth.empty else wealth.resample("D").last().ffill()


def _size_relative(position: TradingPosition) -> float:
    percent = (
        position.get_realised_profit_percent()
        if position.is_closed()
        else position.get_unrealised_and_realised_profit_percent()
    )
    return percent * position.get_capital_tied_at_open_pct()
