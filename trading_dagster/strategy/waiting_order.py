"""Which waiting trade of a position fires, at a price or inside a candle.

Per position and instant the first trade that fires, in order of trade id, is the only one. Expiry is tested first.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.trigger import Trigger, TriggerCondition
from trading_dagster.domain.value import value


@value
class Firing:
    """A waiting trade that fires; ``mid`` is the price without fee it is filled at."""

    trade: TradeExecution
    trigger: Trigger
    mid: float


def has_fired(position: TradingPosition, at: datetime) -> bool:
    """Tell whether a waiting trade of the position fired at this instant already, in an earlier check of it."""
    return position.last_fired_at is not None and position.last_fired_at >= at


def list_expired(position: TradingPosition, at: datetime) -> list[TradeExecution]:
    """Return the waiting trades that none of their triggers can fire any more at a naive UTC time."""
    return [t for t in position.pending_trades.values() if all(trigger.is_expired(at) for trigger in t.triggers)]


def find_firing(position: TradingPosition, at: datetime, mid: float) -> Firing | None:
    """Return the first waiting trade that fires at a naive UTC time and mid price."""
    opened_at = position.opened_at
    for trade, trigger in _armed(position, at):
        if trigger.is_hit(at=at, mid=mid, opened_at=opened_at):
            return Firing(trade, trigger, mid)
    return None


def find_firing_inside(
    position: TradingPosition, at: datetime, *, opened: float, low: float, high: float
) -> Firing | None:
    """Return the first waiting trade whose level lies inside a candle that opens at a naive UTC time.

    It is filled at its level, or at the candle's open where that was beyond the level. Timed triggers fire at opens.
    """
    for trade, trigger in _armed(position, at):
        price = trigger.price
        if price is None:
            continue
        if trigger.condition is TriggerCondition.cross_above:
            if high >= price:
                return Firing(trade, trigger, max(price, opened))
        elif low <= price:
            return Firing(trade, trigger, min(price, opened))
    return None


def may_fire_between(position: TradingPosition, last: datetime, *, low: float, high: float) -> bool:
    """Tell whether a waiting trade may fire or expire up to a naive UTC time, at mid prices from low to high."""
    for trade in position.pending_trades.values():
        for trigger in trade.triggers:
            if trigger.is_expired(last):
                return True
            price = trigger.price
            if position.is_pending() and not trade.is_growing():
                continue
            if price is None:
                after = trigger.fires_after(position.opened_at)
                if after is not None and last > after:
                    return True
            elif high >= price if trigger.condition is TriggerCondition.cross_above else low <= price:
                return True
    return False


def _armed(position: TradingPosition, at: datetime) -> Iterator[tuple[TradeExecution, Trigger]]:
    """Yield the triggers that may fire; nothing is sold of a position that has not begun."""
    is_pending = position.is_pending()
    for trade_id in sorted(position.pending_trades):
        trade = position.pending_trades[trade_id]
        if not is_pending or trade.is_growing():
            for trigger in trade.triggers:
                if not trigger.is_expired(at):
                    yield trade, trigger
