"""Turn closed positions, and the flows of the treasury, into series of returns.

These series take positions one after the other: where positions overlap, they say less than the equity curve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeAlias

import numpy as np
import pandas as pd

from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.statistics.returns import EquityCurve, Returns, as_floats, calculate_deposit_adjusted_returns

PositionPredicate: TypeAlias = Callable[[TradingPosition], bool]

INVESTOR_FLOWS = frozenset(
    {
        BalanceUpdateCause.deposit,
        BalanceUpdateCause.redemption,
        BalanceUpdateCause.deposit_and_redemption,
        BalanceUpdateCause.vault_flow,
    }
)
"""Causes of treasury events that are money of investors; corrections and interest are performance."""


def is_any_side(_position: TradingPosition) -> bool:
    """Take every position."""
    return True


def calculate_realised_profitability(state: State, predicate: PositionPredicate = is_any_side) -> Returns:
    """Return the realised profit percent (a fraction) of each closed position by its time of closing.

    Positions that closed at the same time follow each other by id, so times may repeat.
    """
    closed = closed_in_order(state.portfolio.get_all_positions(), predicate)
    return _series([(at, p.get_realised_profit_percent()) for at, p in closed])


def calculate_size_relative_realised_trading_returns(
    state: State, predicate: PositionPredicate = is_any_side
) -> Returns:
    """Return realised percent x share of the portfolio tied at open, of each closed position by its closing."""
    closed = closed_in_order(state.portfolio.get_all_positions(), predicate)
    return _series([(at, p.get_size_relative_realised_profit_percent()) for at, p in closed])


def calculate_compounding_realised_trading_profitability(
    state: State, predicate: PositionPredicate = is_any_side
) -> Returns:
    """Return the cumulative product of (1 + size-relative realised return) less 1, in order of closing.

    It is 0 at the start of the strategy's range and holds its last value until the end; of equal times the last value
    is kept. Positions that closed before the start, in a warm-up before ``mark_ready``, do not count.
    """
    start, end = state.get_strategy_time_range()
    points: list[tuple[datetime, float]] = [] if start is None else [(start, 0.0)]
    wealth = 1.0
    for at, position in closed_in_order(state.portfolio.get_all_positions(), predicate):
        if start is None or at >= start:
            wealth *= 1.0 + position.get_size_relative_realised_profit_percent()
            points.append((at, wealth - 1.0))
    if end is not None and points and end > points[-1][0]:
        points.append((end, points[-1][1]))
    series = _series(points)
    return series[~series.index.duplicated(keep="last")]


def calculate_long_compounding_realised_trading_profitability(state: State) -> Returns:
    """Do as `calculate_compounding_realised_trading_profitability`, for long positions only."""
    return calculate_compounding_realised_trading_profitability(state, TradingPosition.is_long)


def calculate_short_compounding_realised_trading_profitability(state: State) -> Returns:
    """Do as `calculate_compounding_realised_trading_profitability`, for short positions only."""
    return calculate_compounding_realised_trading_profitability(state, TradingPosition.is_short)


def calculate_investment_flow(state: State) -> pd.Series[float]:
    """Return deposits (positive) and redemptions (negative) in USD by the cycle that took them in.

    Several in one cycle are added up. Events that belong to no cycle yet are left out.
    """
    flows = [
        (ref.strategy_cycle_included_at, ref.usd_value)
        for ref in state.sync.treasury.balance_update_refs
        if ref.cause in INVESTOR_FLOWS and ref.strategy_cycle_included_at is not None
    ]
    return _series(flows).groupby(level=0).sum()


def calculate_state_deposit_adjusted_returns(state: State, equity: EquityCurve, freq: str = "ME") -> Returns:
    """Return (last - first equity sample) - flows between the two, per period in USD.

    A flow shows in the first sample at or after its cycle. One that is in the first sample of a period already, such
    as the first deposit of all, is no change from first to last: it does not count.

    Args:
        state: source of the flows
        equity: total equity by naive UTC time, ascending
        freq: length of a period, a pandas frequency
    """
    curve = equity[~equity.index.duplicated(keep="last")]
    if curve.empty:
        return calculate_deposit_adjusted_returns(curve, curve, freq)
    flow = calculate_investment_flow(state)
    places = curve.index.searchsorted(flow.index)
    shown = places < len(curve)
    amounts = np.zeros(len(curve))
    np.add.at(amounts, places[shown], as_floats(flow)[shown])
    first_samples = pd.Series(curve.index, index=curve.index).resample(freq).first().dropna()
    amounts[curve.index.isin(pd.DatetimeIndex(first_samples))] = 0.0
    flows = pd.Series(amounts, index=curve.index)
    return calculate_deposit_adjusted_returns(curve, flows, freq)


def closed_in_order(
    positions: Iterable[TradingPosition], predicate: PositionPredicate = is_any_side
) -> list[tuple[datetime, TradingPosition]]:
    """Return closing time and position of the closed ones among positions, by time and id."""
    closed = [(p.closed_at, p) for p in positions if p.closed_at is not None and predicate(p)]
    return sorted(closed, key=lambda item: (item[0], item[1].position_id))


def _series(points: list[tuple[datetime, float]]) -> pd.Series[float]:
    index = pd.DatetimeIndex([at for at, _ in points], dtype="datetime64[us]")
    return pd.Series([value for _, value in points], index=index, dtype=np.float64)
