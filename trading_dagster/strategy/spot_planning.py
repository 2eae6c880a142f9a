"""Planning spot trades: opening, changing and closing positions that hold the token."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.money import FLOAT_ROUNDING, SELL_OVERSHOOT_EPSILON, exact
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import NO_FLAGS, TradeExecution, TradeFlag, TradePricing, TradeType
from trading_dagster.strategy.trade_planning import (
    CLOSING,
    INCREASING,
    OPENING,
    REDUCING,
    is_planned_to_close,
    refuse_dust,
)
from trading_dagster.strategy.trigger import NO_LEVELS, TriggerLevels, opening_levels
from trading_dagster.strategy.vault_planning import VaultPlanning, refuse_settling
from trading_dagster.strategy.waiting_rule import (
    PARTIAL_TAKE_PROFIT,
    adjusting_trigger,
    is_changeable,
    require_planned,
)

logger = logging.getLogger(__name__)


class SpotPlanning(VaultPlanning):
    """Plans trades on spot markets."""

    def open_spot(
        self,
        pair: TradingPairIdentifier | HumanReadableTradingPairDescription,
        value: float | Decimal,
        take_profit_pct: float | None = None,
        stop_loss_pct: float | None = None,
        trailing_stop_loss_pct: float | None = None,
        stop_loss_usd: float | None = None,
        notes: str | None = None,
        slippage_tolerance: float | None = None,
        flags: Iterable[TradeFlag] = NO_FLAGS,
        take_profit_usd: float | None = None,
    ) -> list[TradeExecution]:
        """Buy a pair for ``value`` USD at the ask and set its triggers.

        Raises:
            InvalidTrade: value not above 0, blacklisted pair, a position is open on it, impossible levels.
            CandleSampleUnavailable: the pair has no price now.
        """
        pair = self._tradable(pair)
        if not value > 0:
            raise InvalidTrade(
                f"open_spot({pair.get_ticker()}) needs a value above 0 USD, got {value}: skip the trade when there is "
                "nothing to buy for"
            )
        self._refuse_blacklisted(pair)
        flags = frozenset(flags)
        existing = self._position_to_keep(pair)
        if existing is not None and TradeFlag.ignore_open not in flags:
            raise InvalidTrade(
                f"{pair.get_ticker()} has an open position already: {existing}; use adjust_position() to change it"
            )
        pricing = self.pricing_model.get_buy_price(self._clock.timestamp, pair, float(value))
        levels = opening_levels(
            pricing.mid_price,
            stop_loss_pct=stop_loss_pct,
            stop_loss_usd=stop_loss_usd,
            trailing_stop_loss_pct=trailing_stop_loss_pct,
            take_profit_pct=take_profit_pct,
            take_profit_usd=take_profit_usd,
        )
        reserve = exact(value, "value")
        trade = self._plan_buy(pair, None, reserve, pricing, OPENING | flags, slippage_tolerance, notes=notes)
        if levels is not NO_LEVELS:
            self._set_levels(self._portfolio.open_positions[trade.position_id], levels, pricing.mid_price)
        return [trade]

    def open_1x_long(self, *args: Any, **kwargs: Any) -> list[TradeExecution]:
        """Do what open_spot does, under its old name."""
        return self.open_spot(*args, **kwargs)

    def adjust_position(
        self,
        pair: TradingPairIdentifier | HumanReadableTradingPairDescription,
        dollar_delta: float,
        quantity_delta: float | Decimal | None,
        weight: float,
        stop_loss: float | None = None,
        take_profit: float | None = None,
        trailing_stop_loss: float | None = None,
        slippage_tolerance: float | None = None,
        override_stop_loss: bool = False,
        notes: str | None = None,
        flags: Iterable[TradeFlag] = NO_FLAGS,
        pending: bool = False,
        position: TradingPosition | None = None,
        trigger_price: float | None = None,
        other_data: Mapping[str, Any] | None = None,
    ) -> list[TradeExecution]:
        """Buy for ``dollar_delta`` USD when above 0, sell ``|quantity_delta|`` tokens when below.

        ``weight`` is the position's target share of the portfolio; triggers are fractions as in open_spot. With
        ``pending`` the trade waits until the mid price is at ``trigger_price`` or above: a buy is a market-limit
        entry, a sell a partial take profit, and decide_trades does not return it. ``position`` may be pending then.

        Raises:
            InvalidTrade: wrong sign or weight, blacklisted pair, more sold than there is, impossible levels, or a
                position that is closed or on another pair.
        """
        pair = self._tradable(pair)
        if dollar_delta == 0 or dollar_delta != dollar_delta:  # noqa: PLR0124 - NaN is not equal to itself
            raise InvalidTrade(
                f"adjust_position({pair.get_ticker()}) needs a dollar_delta other than {dollar_delta}: "
                "above 0 to buy, below to sell"
            )
        if not 0 <= weight <= 1:
            raise InvalidTrade(f"adjust_position({pair.get_ticker()}) needs 0 <= weight <= 1, got {weight}")
        trigger = adjusting_trigger(pair, pending, trigger_price, is_buy=dollar_delta > 0)
        if position is not None and not (position.pair == pair and is_changeable(position, is_later=pending)):
            raise InvalidTrade(f"adjust_position({pair.get_ticker()}) cannot change {position}: give an open one on it")
        flags = frozenset(flags)
        if dollar_delta > 0:
            self._refuse_blacklisted(pair)
            if TradeFlag.ignore_open in flags or (position is not None and is_planned_to_close(position)):
                position = None
            else:
                position = position or self._position_to_keep(pair)
            pricing = self.pricing_model.get_buy_price(self._clock.timestamp, pair, dollar_delta)
            levels = _asked_levels(pair, pricing.mid_price, stop_loss, take_profit, trailing_stop_loss)
            trade = self._plan_buy(
                pair,
                position,
                exact(dollar_delta, "dollar_delta"),
                pricing,
                (OPENING if position is None else INCREASING) | flags,
                slippage_tolerance,
                notes=notes,
                other_data=other_data,
            )
        else:
            position = position or self._position_to_reduce(pair)
            quantity = self._quantity_to_sell(position, dollar_delta, quantity_delta, is_later=pending)
            pricing = self.pricing_model.get_sell_price(self._clock.timestamp, pair, float(quantity))
            levels = _asked_levels(pair, pricing.mid_price, stop_loss, take_profit, trailing_stop_loss)
            flags |= PARTIAL_TAKE_PROFIT if pending else REDUCING
            trade = self._plan_sell(
                position, quantity, pricing, flags, slippage_tolerance, notes=notes, other_data=other_data
            )
        if levels is not NO_LEVELS:
            self._adjust_levels(trade, levels, override_stop_loss)
        if trigger is not None:
            self._let_wait(trade, trigger)
        return [trade]

    def _position_to_reduce(self, pair: TradingPairIdentifier) -> TradingPosition:
        position = self._position_to_keep(pair) or self._portfolio.get_open_position_for_pair(pair)
        if position is None:
            raise InvalidTrade(
                f"adjust_position({pair.get_ticker()}) sells, but there is no open position: "
                "check get_current_position_for_pair() first"
            )
        return position

    def _quantity_to_sell(
        self, position: TradingPosition, dollar_delta: float, quantity_delta: float | Decimal | None, *, is_later: bool
    ) -> Decimal:
        """Return how many tokens to sell: not more than there are, or than the position is planned to have."""
        if quantity_delta is None or not quantity_delta < 0:
            raise InvalidTrade(
                f"adjust_position({position.pair.get_ticker()}) sells for {dollar_delta} USD: "
                f"give quantity_delta as a negative number of tokens, got {quantity_delta}"
            )
        quantity = -exact(quantity_delta, "quantity_delta")
        return require_planned(position, quantity) if is_later else _sellable(position, quantity)

    def close_spot_position(
        self,
        position: TradingPosition,
        trade_type: TradeType | None = None,
        notes: str | None = None,
        slippage_tolerance: float | None = None,
        flags: Iterable[TradeFlag] = NO_FLAGS,
        quantity: Decimal | None = None,
    ) -> list[TradeExecution]:
        """Sell a spot position at the bid; with ``quantity`` fewer tokens than there are, reduce it."""
        if not position.is_open():
            raise InvalidTrade(f"Cannot close {position}: it is not open; check position.is_open() first")
        available = position.get_available_trading_quantity()
        if position.pair.is_vault() and position.is_settling():
            logger.warning("%s waits for its vault to settle an order at %s: not closed", position, self.timestamp)
            return []
        if available <= 0:
            logger.warning("Nothing is left to sell of %s at %s", position, self.timestamp)
            return []
        quantity = available if quantity is None else _sellable(position, exact(quantity, "quantity"))
        is_closing = quantity == available
        pricing = self.pricing_model.get_sell_price(self._clock.timestamp, position.pair, float(quantity))
        return [
            self._plan_sell(
                position,
                quantity,
                pricing,
                (CLOSING if is_closing else REDUCING) | frozenset(flags),
                slippage_tolerance,
                trade_type=trade_type or TradeType.rebalance,
                closing=is_closing,
                notes=notes,
            )
        ]

    def _tradable(self, pair: TradingPairIdentifier | HumanReadableTradingPairDescription) -> TradingPairIdentifier:
        """Return the universe's own pair, whose id finds its candles; raises UnknownPair, InvalidTrade."""
        pair = self.strategy_universe.resolve_pair(pair)
        if pair.has_loan:
            raise InvalidTrade(f"{pair} is not bought and sold on a market: give its spot pair")
        return pair

    def _plan_buy(
        self,
        pair: TradingPairIdentifier,
        position: TradingPosition | None,
        reserve: Decimal,
        pricing: TradePricing,
        flags: frozenset[TradeFlag],
        slippage_tolerance: float | None,
        *,
        notes: str | None,
        other_data: Mapping[str, Any] | None = None,
    ) -> TradeExecution:
        """Plan a buy; without a position open one, after everything that can be refused was checked."""
        quantity = reserve / Decimal(pricing.price)
        refuse_dust(pair, quantity)
        if pair.is_vault():
            self._refuse_closed_deposit(pair, float(reserve))
            held = position or self._portfolio.get_open_position_for_pair(pair)
            if held is not None and TradeFlag.ignore_open not in flags:
                refuse_settling(held)
        tolerance = self._slippage(slippage_tolerance)
        if position is None:
            position = self._open_position(pair, notes)
        return self._plan(position, quantity, reserve, pricing, flags, tolerance, notes=notes, other_data=other_data)

    def _plan_sell(
        self,
        position: TradingPosition,
        quantity: Decimal,
        pricing: TradePricing,
        flags: frozenset[TradeFlag],
        slippage_tolerance: float | None,
        *,
        notes: str | None,
        trade_type: TradeType = TradeType.rebalance,
        closing: bool = False,
        other_data: Mapping[str, Any] | None = None,
    ) -> TradeExecution:
        refuse_dust(position.pair, quantity)
        reserve = quantity * Decimal(pricing.price)
        if position.pair.is_vault():
            refuse_settling(position)
            if trade_type is not TradeType.delisting:  # limits are those of a vault that is there
                self._refuse_closed_redemption(position.pair, float(reserve))
        return self._plan(
            position,
            -quantity,
            reserve,
            pricing,
            flags,
            self._slippage(slippage_tolerance),
            notes=notes,
            trade_type=trade_type,
            closing=closing,
            other_data=other_data,
        )


def _asked_levels(
    pair: TradingPairIdentifier,
    mid: float,
    stop_loss: float | None,
    take_profit: float | None,
    trailing_stop_loss: float | None,
) -> TriggerLevels:
    """Return the levels asked of adjust_position; its trailing stop gets its level at the first check."""
    if stop_loss is take_profit is trailing_stop_loss is None:
        return NO_LEVELS
    is_short = pair.is_short()
    asked = opening_levels(mid, is_short=is_short, stop_loss_pct=stop_loss, take_profit_pct=take_profit)
    if trailing_stop_loss is None:
        return asked
    opening_levels(mid, is_short=is_short, trailing_stop_loss_pct=trailing_stop_loss)
    return TriggerLevels(asked.stop_loss, asked.take_profit, trailing_stop_loss)


def _sellable(position: TradingPosition, quantity: Decimal) -> Decimal:
    """Return how much of a wanted quantity to sell: an excess that is only a float's rounding is cut."""
    available = position.get_available_trading_quantity()
    if not 0 < quantity <= available + max(SELL_OVERSHOOT_EPSILON, available * FLOAT_ROUNDING):
        raise InvalidTrade(f"Cannot sell {quantity} of {position}: {available} is available")
    return min(quantity, available)
