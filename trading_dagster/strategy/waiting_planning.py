"""Planning trades that wait for a trigger: market-limit entries, partial take profits and timed exits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.event import TradeExpired, TradeTriggered
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.money import DUST, FLOAT_ROUNDING, exact
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradePlan
from trading_dagster.domain.trigger import TriggerCondition
from trading_dagster.strategy.spot_planning import SpotPlanning
from trading_dagster.strategy.trade_planning import CLOSING, REDUCING
from trading_dagster.strategy.trigger import NO_LEVELS, opening_levels
from trading_dagster.strategy.waiting_order import Firing
from trading_dagster.strategy.waiting_rule import (
    LAST_TAKE_PROFIT,
    PARTIAL_TAKE_PROFIT,
    closing_trigger,
    entry_condition,
    is_changeable,
    limit_trigger,
    require_entry,
    require_planned,
    require_spot,
    take_profit_trigger,
)

PartialTradeLevel: TypeAlias = "tuple[float | timedelta | datetime, Decimal, bool]"
"""When to sell, how many tokens (negative), and whether to sell all that is left."""

CANCELLED = "cancelled by the strategy"


class WaitingPlanning(SpotPlanning):
    """Plans spot trades that wait for a trigger; decide_trades does not return them."""

    def open_spot_with_market_limit(
        self,
        pair: TradingPairIdentifier | HumanReadableTradingPairDescription,
        value: float | Decimal,
        trigger_price: float,
        expires_at: datetime | None = None,
        notes: str | None = None,
        slippage_tolerance: float | None = None,
        *,
        condition: TriggerCondition = TriggerCondition.cross_above,
        take_profit_pct: float | None = None,
        stop_loss_pct: float | None = None,
        trailing_stop_loss_pct: float | None = None,
        flags: Iterable[TradeFlag] = (),
    ) -> tuple[TradingPosition, list[TradeExecution]]:
        """Plan a position that opens when the mid price is at ``trigger_price`` or above.

        No cash is set aside: when the trade fires and cash is short, it expires with its position. Levels are fractions
        of ``trigger_price`` and hold from the opening on.

        Args:
            pair: What to buy.
            value: For how many USD, at the ask of the instant it fires.
            trigger_price: A mid price.
            expires_at: After this time, naive UTC, it fires no more.
            notes: Kept with position and trade.
            slippage_tolerance: As in open_spot.
            condition: cross_below waits for a price at the level or below, to buy a dip.
            take_profit_pct: Fraction of the trigger price, above 1.
            stop_loss_pct: Fraction of the trigger price, below 1.
            trailing_stop_loss_pct: As stop_loss_pct, and trails the price.
            flags: Further flags of the trade.

        Returns:
            The pending position and its waiting trade; neither is to be returned by decide_trades.

        Raises:
            InvalidTrade: As of open_spot, and for a level or time that cannot be reached.
        """
        trigger = limit_trigger(trigger_price, expires_at, condition, self.timestamp)
        levels = opening_levels(
            trigger_price,
            stop_loss_pct=stop_loss_pct,
            trailing_stop_loss_pct=trailing_stop_loss_pct,
            take_profit_pct=take_profit_pct,
        )
        trades = self.open_spot(pair, value, notes=notes, slippage_tolerance=slippage_tolerance, flags=flags)
        position = self._portfolio.open_positions[trades[0].position_id]
        if levels is not NO_LEVELS:
            self._set_levels(position, levels, trades[0].planned_mid_price)
        self._let_wait(trades[0], trigger)
        return position, trades

    def set_market_limit_trigger(
        self,
        trades: Sequence[TradeExecution],
        price: float,
        expires_at: datetime | None = None,
        condition: TriggerCondition | None = None,
    ) -> None:
        """Let entries that were planned in this cycle wait for a mid price; decide_trades does not return them then.

        A position whose first trade waits is pending. Its stop loss and take profit stay where they were set. Without a
        condition a buy waits for the price or above, a short for the price or below.

        Raises:
            InvalidTrade: a trade that is no planned buy on a spot market and opens no short, or a level or time that
                cannot be reached.
        """
        now = self.timestamp
        triggers = [limit_trigger(price, expires_at, entry_condition(t.pair, condition), now) for t in trades]
        for trade in trades:
            require_entry(trade)
        for trade, trigger in zip(trades, triggers, strict=True):
            self._let_wait(trade, trigger)

    def prepare_take_profit_trades(
        self, position: TradingPosition, levels: Sequence[PartialTradeLevel]
    ) -> list[TradeExecution]:
        """Plan sells of parts of a position, each at its own level; levels set before stay.

        Args:
            position: A spot position: open, planned in this cycle, or pending.
            levels: (when, quantity, close) each. ``when`` is a mid price to be reached, a time (naive UTC) to pass, or
                a timedelta after the position's opening. ``quantity`` is a negative number of tokens; with ``close``
                all that is left is sold, however much that is.

        Returns:
            The waiting trades; decide_trades does not return them.

        Raises:
            InvalidTrade: a position that is no spot position or has ended, a level of another form, more tokens than
                the position will have.
        """
        require_spot(position.pair)
        if not is_changeable(position, is_later=True):
            raise InvalidTrade(f"prepare_take_profit_trades() needs an open or pending position, got {position}")
        checked = []
        for level in levels:
            when, amount, close = _read_level(level)
            trigger, quantity = take_profit_trigger(when), -exact(amount, "the quantity of a take profit")
            if not quantity > 0:
                raise InvalidTrade(f"A take profit sells: give its quantity as a negative Decimal, got {amount}")
            checked.append((trigger, quantity if close else require_planned(position, quantity), close))
        trades = []
        for trigger, quantity, close in checked:
            trade = self._plan_later_sell(position, quantity, is_closing=close)
            self._let_wait(trade, trigger)
            trades.append(trade)
        return trades

    def cancel_waiting_trades(
        self,
        position: TradingPosition,
        trades: Iterable[TradeExecution] | None = None,
        *,
        reason: str = CANCELLED,
    ) -> None:
        """Give up trades of a position that wait for a trigger, all by default; without its entry it expires."""
        chosen = list(position.pending_trades.values()) if trades is None else list(trades)
        for trade in chosen:
            if trade.trade_id in position.pending_trades:  # an entry takes the others with it
                self.expire_waiting_trade(trade, reason)
            elif trade.trade_id not in position.expired_trades:
                raise InvalidTrade(f"{trade} does not wait for a trigger of {position}: it cannot be cancelled")

    # -- firing -----------------------------------------------------------------------------------------------------

    def expire_waiting_trade(self, trade: TradeExecution, reason: str) -> None:
        """Record that a waiting trade will not fire any more."""
        self.state.record(TradeExpired(self._clock.aware, trade.trade_id, trade.position_id, reason))

    def fire_waiting_trade(
        self, position: TradingPosition, firing: Firing, cash: Decimal | None = None
    ) -> list[TradeExecution]:
        """Plan a waiting trade that fires anew, with the prices of now; returns the trade to execute next.

        A trade that cannot be made any more expires and nothing is returned: cash is short, its pair is blacklisted or
        has another open position, nothing is left to sell, a short would be liquidated.

        Args:
            position: Its position.
            firing: The trade and the trigger.
            cash: Reserve tokens that there will be when it is executed; the portfolio's by default.
        """
        trade = firing.trade
        plan = trade.plan
        reason = self._refuse_entry(position, plan, cash) if trade.is_growing() else ""
        if not reason:
            plan, reason = self._plan_now(position, plan)
        if reason:
            self.expire_waiting_trade(trade, f"fired and was refused: {reason}")
            return []
        told = f"{firing.trigger} at mid {firing.mid}"
        plan = replace(plan, notes=told if plan.notes is None else f"{plan.notes}; {told}")
        self.state.record(TradeTriggered(self._clock.aware, plan, firing.trigger))
        return [position.trades[trade.trade_id]]

    def _refuse_entry(self, position: TradingPosition, plan: TradePlan, cash: Decimal | None) -> str:
        """Return why a waiting entry cannot be made now, "" when it can."""
        cash = self._portfolio.reserve.quantity if cash is None else cash
        market = plan.pair.get_pricing_pair()
        if self.is_problematic_pair(market):
            return f"{market.get_ticker()} is blacklisted"
        is_second = position.is_pending() and self._position_to_keep(plan.pair) is not None
        if is_second and TradeFlag.ignore_open not in plan.flags:
            return f"{plan.pair.get_ticker()} has another open position"
        if plan.reserve - cash > cash * FLOAT_ROUNDING:
            does = "is secured with" if plan.pair.is_short() else "buys for"
            return f"it {does} {plan.reserve} {plan.reserve_currency.token_symbol} but cash is {cash}"
        return ""

    def _plan_now(self, position: TradingPosition, plan: TradePlan) -> tuple[TradePlan, str]:
        """Return a plan with the size and the prices of now, and why it cannot be made, "" when it can."""
        pair, dust = plan.pair, DUST.close_epsilon(plan.pair.kind)
        if plan.quantity > 0:
            pricing = self.pricing_model.get_buy_price(self.timestamp, pair, float(plan.reserve))
            quantity = plan.reserve / Decimal(pricing.price)
            return replace(plan, quantity=quantity, pricing=pricing), "" if quantity > dust else "it buys nothing"
        available = position.get_available_trading_quantity()
        quantity = available if plan.closing else min(-plan.quantity, available)
        if quantity <= dust:
            return plan, "nothing is left to sell"
        if available - quantity <= dust:
            quantity = available
        is_closing = quantity == available
        pricing = self.pricing_model.get_sell_price(self.timestamp, pair, float(quantity))
        plan = replace(
            plan,
            quantity=-quantity,
            reserve=quantity * Decimal(pricing.price),
            pricing=pricing,
            closing=is_closing,
            flags=plan.flags - CLOSING - REDUCING | (CLOSING if is_closing else REDUCING),
        )
        return plan, ""

    def _plan_later_sell(
        self,
        position: TradingPosition,
        quantity: Decimal,
        *,
        is_closing: bool,
        notes: str | None = None,
        slippage_tolerance: float | None = None,
        flags: frozenset[TradeFlag] | None = None,
    ) -> TradeExecution:
        pricing = self.pricing_model.get_sell_price(self.timestamp, position.pair, float(quantity))
        if flags is None:
            flags = LAST_TAKE_PROFIT if is_closing else PARTIAL_TAKE_PROFIT
        return self._plan_sell(position, quantity, pricing, flags, slippage_tolerance, notes=notes, closing=is_closing)

    def _close_later(
        self,
        position: TradingPosition,
        trigger_price: float | None,
        notes: str | None,
        slippage_tolerance: float | None,
        flags: Iterable[TradeFlag],
    ) -> list[TradeExecution]:
        """Let a full take profit wait at a mid price, or give a pending position up."""
        if trigger_price is None:
            if not position.is_pending():
                raise InvalidTrade(
                    f"close_position(pending=True) of {position} needs a trigger_price to wait for, and without one "
                    "gives up a position that is pending: leave pending out to close it now"
                )
            self.cancel_waiting_trades(position)
            return []
        if not is_changeable(position, is_later=True):
            raise InvalidTrade(f"Cannot close {position} later: it is neither open nor pending")
        trigger = closing_trigger(position, trigger_price)
        quantity = position.get_quantity(planned=True) + position.get_pending_quantity()
        trade = self._plan_later_sell(
            position,
            quantity,
            is_closing=True,
            notes=notes,
            slippage_tolerance=slippage_tolerance,
            flags=CLOSING | frozenset(flags),
        )
        self._let_wait(trade, trigger)
        return [trade]


def _read_level(level: object) -> tuple[object, Decimal, bool]:
    if not isinstance(level, tuple | list) or len(level) != 3 or not isinstance(level[2], bool):
        raise InvalidTrade(f"A take-profit level is (price, datetime or timedelta; quantity; close), got {level!r}")
    return level[0], level[1], level[2]
