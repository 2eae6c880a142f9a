"""Weights before and after: their differences, and the older way to rebalance by them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from trading_dagster.domain.error import BadWeightsException
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.strategy.position_manager import PositionManager

WEIGHT_SUM_EPSILON = 1e-4

Weights = Mapping[int, float]
"""Share of the portfolio by pair id; they sum to 1, or there are none."""


def check_normalised_weights(weights: Weights) -> None:
    """Raise BadWeightsException when there are weights, and they do not sum to 1 within 1e-4."""
    total = sum(weights.values())
    if weights and not abs(total - 1) <= WEIGHT_SUM_EPSILON:
        raise BadWeightsException(f"The weights sum to {total}, not to 1: normalise them first: {dict(weights)}")


def calculate_weight_diffs(old: Weights, new: Weights) -> dict[int, float]:
    """Return new less old weight by pair id, in order of the old, then the new.

    Raises:
        BadWeightsException: The old or the new weights do not sum to 1.
    """
    check_normalised_weights(old)
    check_normalised_weights(new)
    return {key: new.get(key, 0.0) - old.get(key, 0.0) for key in dict.fromkeys((*old, *new))}


def get_existing_portfolio_weights(position_manager: PositionManager) -> dict[int, float]:
    """Return the weight of each open position by pair id: its value ÷ that of all open positions."""
    values: dict[int, float] = {}
    for position in position_manager.get_current_portfolio().open_positions.values():
        pair_id = position.pair.internal_id or 0
        values[pair_id] = values.get(pair_id, 0.0) + position.get_value()
    total = sum(values.values())
    return {key: value / total for key, value in values.items()} if total else {}


def rebalance_portfolio_old(
    position_manager: PositionManager,
    new_weights: Weights,
    portfolio_total_value: float,
    min_trade_threshold: float = 10.0,
) -> list[TradeExecution]:
    """Plan the trades that give open positions new weights, sells first; spot only.

    Args:
        position_manager: What plans them.
        new_weights: By pair id.
        portfolio_total_value: USD that the weights are shares of.
        min_trade_threshold: Smaller changes are left out, USD.

    Raises:
        BadWeightsException: The weights do not sum to 1.
    """
    old = get_existing_portfolio_weights(position_manager)
    changes = {
        key: difference * portfolio_total_value for key, difference in calculate_weight_diffs(old, new_weights).items()
    }
    worth_it = {key: usd for key, usd in changes.items() if abs(usd) >= min_trade_threshold and usd}
    trades: list[TradeExecution] = []
    for pair_id, usd in sorted(worth_it.items(), key=lambda item: item[1] > 0):
        pair = position_manager.get_trading_pair(pair_id)
        trades += position_manager.adjust_position(
            pair,
            usd,
            None if usd > 0 else _quantity_to_sell(position_manager, pair, usd),
            min(max(new_weights.get(pair_id, 0.0), 0.0), 1.0),
        )
    return trades


def _quantity_to_sell(manager: PositionManager, pair: TradingPairIdentifier, usd: float) -> Decimal:
    position: TradingPosition | None = manager.get_current_position_for_pair(pair)
    quantity = Decimal(manager.estimate_asset_quantity(pair, usd))
    return quantity if position is None else max(quantity, -position.get_available_trading_quantity())
