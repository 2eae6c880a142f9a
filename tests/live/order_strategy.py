"""A strategy for tests that does nothing but wait: entries below and above the price, partial profits, timed exits."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from trading_dagster.domain.trigger import TriggerCondition

DAY = timedelta(days=1)


def decide_with_orders(input):
    """Keep an order or a position on each pair: breakouts of 1 %, dips of 2 %, or a market buy, in turn."""
    manager = input.get_position_manager()
    trades = []
    for number, pair in enumerate(input.strategy_universe.pairs):
        position = manager.get_current_position_for_pair(pair, pending=True)
        turn = (input.cycle + number) % 3
        if position is not None:
            if turn == 0 and position.is_pending():
                manager.close_position(position, pending=True)
            continue
        mid = input.pricing_model.get_mid_price(input.timestamp, pair)
        expires_at = input.timestamp + 3 * DAY
        if turn == 0:
            position, _ = manager.open_spot_with_market_limit(
                pair, 3_500, mid * 1.01, expires_at, stop_loss_pct=0.93, take_profit_pct=1.3
            )
        elif turn == 1:
            position, _ = manager.open_spot_with_market_limit(
                pair, 2_000, mid * 0.98, expires_at, condition=TriggerCondition.cross_below, trailing_stop_loss_pct=0.9
            )
        else:
            trades += manager.open_spot(pair, 1_500, stop_loss_pct=0.95)
            position = manager.get_current_position_for_pair(pair)
        quantity = position.get_quantity(planned=True) + position.get_pending_quantity()
        manager.prepare_take_profit_trades(
            position,
            [
                (mid * 1.04, -quantity * Decimal("0.4"), False),
                (mid * 1.08, -quantity * Decimal("0.3"), False),
                (5 * DAY, -quantity, True),
            ],
        )
    return trades
