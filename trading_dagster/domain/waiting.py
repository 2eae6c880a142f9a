"""Folding trades that wait for a trigger: from a position's planned trades to its pending ones, and on.

planned ──wait──► pending_trades ──fire──► trades (executed next)
                                └─expire─► expired_trades
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from trading_dagster.domain.error import LedgerError
from trading_dagster.domain.event import TradeTriggered
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradeType
from trading_dagster.domain.trigger import Trigger, TriggerType

WAITING = frozenset({TradeFlag.triggered})


def wait(position: TradingPosition, trade_id: int, triggers: tuple[Trigger, ...]) -> None:
    """Let a planned trade wait; only State calls this."""
    trade = position.trades.get(trade_id)
    if trade is None or trade.started_at is not None or not triggers:
        raise LedgerError(f"Trade #{trade_id} of {position} cannot wait for {triggers}: only a planned trade can")
    del position.trades[trade_id]
    position.finish_trade()
    is_entry = any(trigger.type is TriggerType.market_limit for trigger in triggers)
    trade_type = TradeType.market_limit if is_entry else TradeType.flexible_trigger
    trade.plan = replace(trade.plan, trade_type=trade_type, flags=trade.plan.flags | WAITING)
    trade.triggers = tuple(trigger.rearm() for trigger in triggers)
    trade.activated_trigger, trade.expired_triggers = None, ()
    position.pending_trades[trade_id] = trade


def fire(position: TradingPosition, event: TradeTriggered, at: datetime) -> TradeExecution:
    """Make a waiting trade one that is executed next, with the plan of now; only State calls this."""
    trade = _take(position, event.plan.trade_id)
    trade.expired_triggers = tuple(t.expire(at) for t in trade.triggers if t != event.trigger)
    trade.activated_trigger = event.trigger.fire(at)
    trade.triggers = ()
    trade.plan = event.plan
    position.last_fired_at = at
    position.add_trade(trade)
    return trade


def expire(position: TradingPosition, trade_id: int, at: datetime, reason: str) -> None:
    """Give a waiting trade up; only State calls this."""
    trade = _take(position, trade_id)
    trade.expired_triggers = tuple(trigger.expire(at) for trigger in trade.triggers)
    trade.triggers = ()
    trade.expired_at = at
    trade.failure = reason
    position.expired_trades[trade_id] = trade


def expire_all(position: TradingPosition, at: datetime, reason: str) -> None:
    """Give every waiting trade of a position up; only State calls this."""
    for trade_id in list(position.pending_trades):
        expire(position, trade_id, at, reason)


def is_entry_awaited(position: TradingPosition) -> bool:
    """Tell whether a trade that opens the position, or makes it larger, waits for its trigger."""
    return any(trade.is_growing() for trade in position.pending_trades.values())


def _take(position: TradingPosition, trade_id: int) -> TradeExecution:
    trade = position.pending_trades.pop(trade_id, None)
    if trade is None:
        raise LedgerError(f"Trade #{trade_id} of {position} does not wait for a trigger: the ledger counts it twice")
    return trade
