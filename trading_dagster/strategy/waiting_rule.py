"""What may wait for a trigger: the triggers that a strategy can ask for, checked."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import Decimal
from numbers import Real

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.money import FLOAT_ROUNDING, SELL_OVERSHOOT_EPSILON
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.time import from_unix_us, require_naive_utc, to_unix_us
from trading_dagster.domain.trade import TradeExecution, TradeFlag
from trading_dagster.domain.trigger import Trigger, TriggerCondition, TriggerType

PARTIAL_TAKE_PROFIT = frozenset({TradeFlag.reduce, TradeFlag.partial_take_profit})
LAST_TAKE_PROFIT = frozenset({TradeFlag.close, TradeFlag.partial_take_profit})


def entry_condition(pair: TradingPairIdentifier, asked: TriggerCondition | None) -> TriggerCondition:
    """Return what an entry waits for unless asked otherwise: a breakout upwards, of a short one downwards."""
    if asked is not None:
        return asked
    return TriggerCondition.cross_below if pair.is_short() else TriggerCondition.cross_above


def limit_trigger(price: float, expires_at: datetime | None, condition: TriggerCondition, now: datetime) -> Trigger:
    """Return what a market-limit entry waits for; raises InvalidTrade for a bad price or a time that has passed."""
    if condition not in (TriggerCondition.cross_above, TriggerCondition.cross_below):
        raise InvalidTrade(f"A market limit waits for cross_above or cross_below, got {condition}")
    if expires_at is not None:
        expires_at = _plain_time(expires_at, "expires_at")
        if expires_at < now:
            raise InvalidTrade(f"expires_at is {expires_at} but it is {now}: the order could never fire")
    return Trigger(TriggerType.market_limit, condition, price=_level(price), expires_at=expires_at)


def take_profit_trigger(level: object) -> Trigger:
    """Return what a partial take profit waits for: a mid price, a time, or a while after the position's opening.

    Raises:
        InvalidTrade: another kind of level, or one that no price or time can reach.
    """
    kind = TriggerType.take_profit_partial
    if isinstance(level, datetime):
        at = _plain_time(level, "the time of a take profit")
        return Trigger(kind, TriggerCondition.timed_absolute, triggering_at=at)
    if isinstance(level, timedelta):
        delta = timedelta(microseconds=level // timedelta(microseconds=1))  # pandas has its own kind
        if delta <= timedelta(0):
            raise InvalidTrade(f"A take profit {delta} after the opening would be before it: give a time above 0")
        return Trigger(kind, TriggerCondition.timed_relative_to_open, triggering_at_delta=delta)
    if isinstance(level, Real | Decimal) and not isinstance(level, bool):
        return Trigger(kind, TriggerCondition.cross_above, price=_level(level))
    raise InvalidTrade(f"A take-profit level begins with a mid price (float), a datetime or a timedelta, got {level!r}")


def adjusting_trigger(
    pair: TradingPairIdentifier, pending: bool, trigger_price: float | None, *, is_buy: bool
) -> Trigger | None:
    """Return what adjust_position's trade waits for, None when it trades at once."""
    if not pending and trigger_price is None:
        return None
    if not pending or trigger_price is None:
        raise InvalidTrade(
            f"A trade that waits needs both pending=True and a trigger_price, got pending={pending}, "
            f"trigger_price={trigger_price}; leave both out to trade at once"
        )
    require_spot(pair)
    kind = TriggerType.market_limit if is_buy else TriggerType.take_profit_partial
    return Trigger(kind, TriggerCondition.cross_above, price=_level(trigger_price))


def closing_trigger(position: TradingPosition, trigger_price: float) -> Trigger:
    """Return what a full take profit waits for."""
    require_spot(position.pair)
    return Trigger(TriggerType.take_profit_full, TriggerCondition.cross_above, price=_level(trigger_price))


def require_spot(pair: TradingPairIdentifier) -> None:
    """Raise InvalidTrade for a pair whose trades cannot wait for a trigger."""
    if not pair.is_spot():
        of_a_short = "; of a short only its opening can wait" if pair.is_short() else ""
        raise InvalidTrade(f"{pair} is no spot pair: only spot trades can wait for a trigger{of_a_short}")


def require_entry(trade: TradeExecution) -> None:
    """Raise InvalidTrade unless a trade was planned in this cycle and can wait: a buy, or the opening of a short."""
    pair = trade.pair
    if not pair.is_short():
        require_spot(pair)
    can_wait = trade.is_growing() and trade.is_planned() and not trade.is_waiting()
    if not can_wait or (pair.is_short() and TradeFlag.open not in trade.flags):
        raise InvalidTrade(
            "set_market_limit_trigger() is for buys planned in this cycle, and for shorts opened in it with "
            f"open_short(), got {trade}"
        )


def is_changeable(position: TradingPosition, *, is_later: bool) -> bool:
    """Tell whether a trade of the position can be planned: it is open, or the trade waits as the position does."""
    return position.is_open() or (is_later and position.is_pending())


def planned_quantity(position: TradingPosition) -> Decimal:
    """Return the tokens a position holds when all its planned and waiting buys are done."""
    return position.get_quantity(planned=True) + position.get_pending_quantity()


def require_planned(position: TradingPosition, quantity: Decimal) -> Decimal:
    """Return a quantity to sell later; raises InvalidTrade when the position will never hold as much."""
    there = planned_quantity(position)
    if not 0 < quantity <= there + max(SELL_OVERSHOOT_EPSILON, there * FLOAT_ROUNDING):
        raise InvalidTrade(f"Cannot sell {quantity} of {position} later: it has, or will have, {there}")
    return quantity


def _level(price: object) -> float:
    level = float(price)  # type: ignore[arg-type]
    if not 0 < level < math.inf:
        raise InvalidTrade(f"A trigger price is a mid price above 0, got {price}")
    return level


def _plain_time(at: datetime, what: str) -> datetime:
    """Return a naive UTC time as a plain datetime: pandas has its own kind."""
    return from_unix_us(to_unix_us(require_naive_utc(at, f"{what} is")))
