"""Each position at each equity sample of a backtest, and once at its end: profit, quantity and value.

A run records no positions sample by sample, so its cost does not grow. Between two changes of a position only its price
moves, and profit is linear in it: each position is folded once over its fills and balance updates, and the profit at
every sample follows from the price there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import numpy as np
import pandas as pd

from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_unix_us
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.treasury import BalanceUpdate
from trading_dagster.statistics.asset_weight import Floats, Integers, PositionValues, value_positions

POSITION_STATISTICS_COLUMNS: dict[str, str] = {
    "position_id": "int64",
    "calculated_at": "datetime64[us]",
    "last_valuation_at": "datetime64[us]",
    "profitability": "float64",
    "profit_usd": "float64",
    "quantity": "float64",
    "value": "float64",
}

FINAL_STATISTICS_COLUMNS: dict[str, str] = {
    "position_id": "int64",
    "calculated_at": "datetime64[us]",
    "first_trade_at": "datetime64[us]",
    "last_trade_at": "datetime64[us]",
    "trade_count": "int64",
    "value_at_open": "float64",
    "value_at_max": "float64",
    "profitability": "float64",
    "profit_usd": "float64",
}


class _OnePrice:
    """Marks with one price for everything."""

    def __init__(self) -> None:
        self.price = 0.0

    def price_of(self, pair: TradingPairIdentifier) -> float | None:
        """Return the price, whatever the pair."""
        del pair
        return self.price

    def priced_at(self) -> datetime | None:
        """Return None."""
        return None


def calculate_position_statistics(state: State) -> pd.DataFrame:
    """Return a row for each position and each equity sample at which it was open, by position, then by time.

    Returns:
        Times are naive UTC; a backtest values positions at each sample, so ``last_valuation_at`` is ``calculated_at``.
        ``profit_usd`` is realised and unrealised profit, ``profitability`` the same as a fraction of what was bought
        (of a short: sold) so far; ``quantity`` tokens, below 0 for a short; ``value`` USD, money on its way to a
        vault included.

    Raises:
        BadInput: The state is not that of a backtest's result.
    """
    values = value_positions(state)
    times_us = values.times.to_numpy(dtype="datetime64[us]").astype(np.int64)
    frames = [_sample(state.portfolio.get_position_by_id(number), values, times_us) for number in values.by_position]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(POSITION_STATISTICS_COLUMNS))
    return table.astype(POSITION_STATISTICS_COLUMNS)


def calculate_final_position_statistics(state: State, samples: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a row for each closed position, by id.

    Args:
        state: That of a backtest's result.
        samples: What `calculate_position_statistics` returned, where it is at hand.

    Returns:
        ``calculated_at`` is when it was closed; ``trade_count`` counts executed trades, ``value_at_open`` is the
        executed value of the first one. ``value_at_max`` is the highest value at a sample; of a position that was
        closed before a sample saw it, the value at open. Profit is the final one.

    Raises:
        BadInput: The state is not that of a backtest's result.
    """
    sampled = calculate_position_statistics(state) if samples is None else samples
    highest = sampled.groupby("position_id")["value"].max().to_dict()
    rows = []
    for position in sorted(state.portfolio.closed_positions.values(), key=lambda each: each.position_id):
        executed = [t.executed_at for t in position.get_successful_trades()]
        rows.append(
            (
                position.position_id,
                position.closed_at,
                executed[0] if executed else None,
                executed[-1] if executed else None,
                len(executed),
                position.get_value_at_open(),
                highest.get(position.position_id, position.get_value_at_open()),
                position.get_unrealised_and_realised_profit_percent(),
                position.get_total_profit_usd(),
            )
        )
    return pd.DataFrame(rows, columns=list(FINAL_STATISTICS_COLUMNS)).astype(FINAL_STATISTICS_COLUMNS)


def _sample(position: TradingPosition, values: PositionValues, times_us: Integers) -> pd.DataFrame:
    is_open = times_us >= to_unix_us(position.opened_at)
    if position.closed_at is not None:
        is_open &= times_us < to_unix_us(position.closed_at)
    steps_us, lines = _fold(position)
    line = lines[np.searchsorted(steps_us, times_us[is_open], side="right")]
    price = values.prices[position.position_id][is_open]
    at = values.times[is_open]
    return pd.DataFrame(
        {
            "position_id": position.position_id,
            "calculated_at": at,
            "last_valuation_at": at,
            "profitability": line[:, 1] + line[:, 2] * price,
            "profit_usd": line[:, 3] + line[:, 4] * price,
            "quantity": line[:, 0],
            "value": values.by_position[position.position_id][1][is_open],
        }
    )


def _fold(position: TradingPosition) -> tuple[Integers, Floats]:
    """Return when the position changed, and its lines: before the first change, then after each.

    Returns:
        Microseconds since 1970, shape (changes,). Lines of shape (changes + 1, 5): quantity, then profitability and
        profit in USD, each at price 0 and how much it grows by 1 of price.
    """
    marks = _OnePrice()
    scratch = TradingPosition(
        position.position_id,
        position.pair,
        opened_at=position.opened_at,
        reserve_currency=position.reserve_currency,
        portfolio_value_at_open=position.portfolio_value_at_open,
        marks=marks,
    )
    lines, steps_us = [(0.0,) * 5], []
    for at, change in _changes(position):
        if isinstance(change, TradeExecution):
            scratch.add_trade(change)
            scratch.apply_fill(change)
        else:
            scratch.apply_balance(change)
        marks.price = 0.0
        percent, profit = _profit(scratch)
        marks.price = 1.0
        more_percent, more_profit = _profit(scratch)
        lines.append((float(scratch.get_quantity()), percent, more_percent - percent, profit, more_profit - profit))
        steps_us.append(to_unix_us(at))
    return np.array(steps_us, dtype=np.int64), np.array(lines)


def _changes(position: TradingPosition) -> Iterable[tuple[datetime, TradeExecution | BalanceUpdate]]:
    """Yield what changed the position in order of time; at one instant balances before fills, as a cycle does."""
    steps: list[tuple[datetime, int, TradeExecution | BalanceUpdate]] = [
        (update.block_mined_at, 0, update) for update in position.balance_updates.values()
    ]
    steps += [(trade.fill.executed_at, 1, trade) for trade in position.trades.values() if trade.fill is not None]
    return ((at, change) for at, _, change in sorted(steps, key=lambda step: step[:2]))


def _profit(position: TradingPosition) -> tuple[float, float]:
    return position.get_unrealised_and_realised_profit_percent(), position.get_total_profit_usd()
