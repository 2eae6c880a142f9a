"""Stop loss, take profit and trailing stop: what their levels are and when they fire.

Levels refer to mid prices. At an instant they are compared with its price; the intrabar model compares them with a
candle's low and high, too.
"""

from __future__ import annotations

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import TradeType
from trading_dagster.domain.value import value


@value
class TriggerLevels:
    """Where a position is to be closed: mid prices, None for none; trailing is a fraction of mid."""

    stop_loss: float | None = None
    take_profit: float | None = None
    trailing_stop_loss_pct: float | None = None


NO_LEVELS = TriggerLevels()


def opening_levels(
    mid: float,
    *,
    is_short: bool = False,
    stop_loss_pct: float | None = None,
    stop_loss_usd: float | None = None,
    trailing_stop_loss_pct: float | None = None,
    take_profit_pct: float | None = None,
    take_profit_usd: float | None = None,
) -> TriggerLevels:
    """Return the levels of a new position; raises InvalidTrade for contradicting or impossible requests.

    Long: stop loss = mid x pct (0 < pct < 1), take profit = mid x pct (pct > 1). Short: mid x (2 - pct).
    """
    if stop_loss_pct is stop_loss_usd is trailing_stop_loss_pct is take_profit_pct is take_profit_usd is None:
        return NO_LEVELS
    if (stop_loss_pct, stop_loss_usd, trailing_stop_loss_pct).count(None) < 2:
        raise _contradiction(
            stop_loss_pct=stop_loss_pct, stop_loss_usd=stop_loss_usd, trailing_stop_loss_pct=trailing_stop_loss_pct
        )
    if take_profit_pct is not None and take_profit_usd is not None:
        raise _contradiction(take_profit_pct=take_profit_pct, take_profit_usd=take_profit_usd)
    for name, pct in (("stop_loss_pct", stop_loss_pct), ("trailing_stop_loss_pct", trailing_stop_loss_pct)):
        if pct is not None and not 0 < pct < 1:
            raise InvalidTrade(f"{name} is {pct}: it is the fraction of the price to stop at, 0.95 stops 5 % below")
    if take_profit_pct is not None and not take_profit_pct > 1:
        raise InvalidTrade(f"take_profit_pct is {take_profit_pct}: it must be above 1, 1.05 takes profit 5 % above")
    side = -1 if is_short else 1
    if stop_loss_usd is not None and not (stop_loss_usd - mid) * side < 0:
        raise InvalidTrade(f"stop_loss_usd is {stop_loss_usd} but the mid price is {mid}: it is on the wrong side")
    if take_profit_usd is not None and not (take_profit_usd - mid) * side > 0:
        raise InvalidTrade(f"take_profit_usd is {take_profit_usd} but the mid price is {mid}: it is on the wrong side")
    stop_pct = stop_loss_pct if trailing_stop_loss_pct is None else trailing_stop_loss_pct
    return TriggerLevels(
        stop_loss=stop_loss_usd if stop_pct is None else _level(mid, stop_pct, is_short),
        take_profit=take_profit_usd if take_profit_pct is None else _level(mid, take_profit_pct, is_short),
        trailing_stop_loss_pct=trailing_stop_loss_pct,
    )


def _contradiction(**asked: float | None) -> InvalidTrade:
    given = {name: value for name, value in asked.items() if value is not None}
    return InvalidTrade(f"Give only one of {', '.join(asked)}, got {given}")


def _level(mid: float, pct: float, is_short: bool) -> float:
    return mid * (2 - pct) if is_short else mid * pct


def trailed_stop(position: TradingPosition, mid: float) -> float | None:
    """Return the stop loss the trailing rule moves to at this mid price, None when it stays.

    Long: raised only. Short: lowered only. A trailing position without a level gets its first one.
    """
    pct = position.trailing_stop_loss_pct
    if pct is None:
        return None
    level = _level(mid, pct, position.is_short())
    stop = position.stop_loss
    if stop is None or (level < stop if position.is_short() else level > stop):
        return level
    return None


def fired_trigger(position: TradingPosition, mid: float) -> TradeType | None:
    """Return which trigger closes the position at this mid price; stop loss comes before take profit."""
    stop, profit = position.stop_loss, position.take_profit
    if position.is_short():
        if stop is not None and mid >= stop:
            return TradeType.stop_loss
        return TradeType.take_profit if profit is not None and mid <= profit else None
    if stop is not None and mid <= stop:
        return TradeType.stop_loss
    return TradeType.take_profit if profit is not None and mid >= profit else None


def fired_inside(
    position: TradingPosition, *, opened: float, low: float, high: float
) -> tuple[TradeType, float] | None:
    """Return which trigger closes the position inside a candle, and at which mid price.

    A stop is filled at the worse of its level and the candle's open, a take profit at the better. When both levels lie
    in the candle nobody knows which came first: the stop is assumed.
    """
    stop, profit = position.stop_loss, position.take_profit
    if position.is_short():
        if stop is not None and high >= stop:
            return TradeType.stop_loss, max(stop, opened)
        return (TradeType.take_profit, min(profit, opened)) if profit is not None and low <= profit else None
    if stop is not None and low <= stop:
        return TradeType.stop_loss, min(stop, opened)
    return (TradeType.take_profit, max(profit, opened)) if profit is not None and high >= profit else None
