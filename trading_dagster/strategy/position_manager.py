"""PositionManager: how a decision opens, changes and closes positions.

It plans only: every action returns trades, and decide_trades must return them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from trading_dagster.domain.error import (
    InvalidTrade,
    NotEnoughCashForBuys,
    TooSmallTrade,
)
from trading_dagster.domain.event import PairIntroduced, PositionOpened, TradePlanned, TriggersMoved
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.money import DUST, FLOAT_ROUNDING, SELL_OVERSHOOT_EPSILON, ZERO, exact
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import (
    MAX_SLIPPAGE_TOLERANCE,
    NO_FLAGS,
    TradeExecution,
    TradeFlag,
    TradePlan,
    TradePricing,
    TradeType,
)
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.position_query import PositionQueries, PricingModel
from trading_dagster.strategy.trigger import NO_LEVELS, TriggerLevels, opening_levels

logger = logging.getLogger(__name__)

DEFAULT_SLIPPAGE_TOLERANCE = 0.017
OPENING = frozenset({TradeFlag.open, TradeFlag.increase})
INCREASING = frozenset({TradeFlag.increase})
REDUCING = frozenset({TradeFlag.reduce})
CLOSING = frozenset({TradeFlag.close})


class PositionManager(PositionQueries):
    """Plans the trades of one decision."""

    def __init__(
        self,
        timestamp: datetime | DecisionClock,
        universe: TradingStrategyUniverse,
        state: State,
        pricing_model: PricingModel,
        default_slippage_tolerance: float = DEFAULT_SLIPPAGE_TOLERANCE,
        routing_model: object = None,
        routing_state: object = None,
    ) -> None:
        """Plan at a naive UTC time, or at whatever a clock shows."""
        super().__init__(timestamp, universe, state, pricing_model)
        self.default_slippage_tolerance = _checked_slippage(default_slippage_tolerance)
        self.routing_model = routing_model
        self.routing_state = routing_state
        self._equity_of: tuple[tuple[int, int, int], float] | None = None

    # -- spot -----------------------------------------------------------------------------------------------------

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
        pricing = self.pricing_model.get_buy_price(self.timestamp, pair, float(value))
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

        ``weight`` is the position's target share of the portfolio; triggers are fractions as in open_spot.

        Raises:
            InvalidTrade: wrong sign or weight, blacklisted pair, more sold than there is, impossible levels, or a
                position that is closed or on another pair.
        """
        pair = self._tradable(pair)
        _refuse_waiting_trades(pending, trigger_price)
        if dollar_delta == 0 or dollar_delta != dollar_delta:  # noqa: PLR0124 - NaN is not equal to itself
            raise InvalidTrade(
                f"adjust_position({pair.get_ticker()}) needs a dollar_delta other than {dollar_delta}: "
                "above 0 to buy, below to sell"
            )
        if not 0 <= weight <= 1:
            raise InvalidTrade(f"adjust_position({pair.get_ticker()}) needs 0 <= weight <= 1, got {weight}")
        if position is not None and (position.pair != pair or not position.is_open()):
            raise InvalidTrade(f"adjust_position({pair.get_ticker()}) cannot change {position}: give an open one on it")
        flags = frozenset(flags)
        if dollar_delta > 0:
            self._refuse_blacklisted(pair)
            if TradeFlag.ignore_open in flags or (position is not None and _is_planned_to_close(position)):
                position = None
            else:
                position = position or self._position_to_keep(pair)
            pricing = self.pricing_model.get_buy_price(self.timestamp, pair, dollar_delta)
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
            if quantity_delta is None or not quantity_delta < 0:
                raise InvalidTrade(
                    f"adjust_position({pair.get_ticker()}) sells for {dollar_delta} USD: "
                    f"give quantity_delta as a negative number of tokens, got {quantity_delta}"
                )
            position = position or self._position_to_keep(pair) or self._portfolio.get_open_position_for_pair(pair)
            if position is None:
                raise InvalidTrade(
                    f"adjust_position({pair.get_ticker()}) sells, but there is no open position: "
                    "check get_current_position_for_pair() first"
                )
            quantity = _sellable(position, -exact(quantity_delta, "quantity_delta"))
            pricing = self.pricing_model.get_sell_price(self.timestamp, pair, float(quantity))
            levels = _asked_levels(pair, pricing.mid_price, stop_loss, take_profit, trailing_stop_loss)
            trade = self._plan_sell(
                position, quantity, pricing, REDUCING | flags, slippage_tolerance, notes=notes, other_data=other_data
            )
        if levels is not NO_LEVELS:
            self._adjust_levels(trade, levels, override_stop_loss)
        return [trade]

    def close_position(
        self,
        position: TradingPosition,
        trade_type: TradeType | None = None,
        notes: str | None = None,
        slippage_tolerance: float | None = None,
        flags: Iterable[TradeFlag] = NO_FLAGS,
        pending: bool = False,
    ) -> list[TradeExecution]:
        """Sell everything available; no trades, with a warning, when nothing is left to sell."""
        _refuse_waiting_trades(pending)
        if not position.is_spot():
            raise InvalidTrade(f"Cannot close {position}: positions of kind {position.pair.kind.value} come later")
        return self.close_spot_position(position, trade_type, notes, slippage_tolerance, flags)

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
        if available <= 0:
            logger.warning("Nothing is left to sell of %s at %s", position, self.timestamp)
            return []
        quantity = available if quantity is None else _sellable(position, exact(quantity, "quantity"))
        is_closing = quantity == available
        pricing = self.pricing_model.get_sell_price(self.timestamp, position.pair, float(quantity))
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

    def close_all(self, credit_supply: bool = True) -> list[TradeExecution]:
        """Close every open position, without the credit ones if asked; a position must be open."""
        if not self._portfolio.open_positions:
            raise InvalidTrade("close_all(): no position is open; check is_any_open() first")
        trades: list[TradeExecution] = []
        for position in list(self._portfolio.open_positions.values()):
            if credit_supply or not position.is_credit_supply():
                trades += self.close_position(position)
        return trades

    def update_stop_loss(self, position: TradingPosition, stop_loss: float, trailing: bool = False) -> None:
        """Set the stop-loss level, a mid price; with ``trailing`` only upward and only for spot.

        Raises:
            InvalidTrade: the level is not a price above 0, the position is not open, or trailing a position not spot.
        """
        if not 0 < stop_loss < math.inf:
            raise InvalidTrade(f"update_stop_loss({position}) needs a price above 0, got {stop_loss}")
        if not position.is_open():
            raise InvalidTrade(f"update_stop_loss(): {position} is not open; check position.is_open() first")
        if trailing:
            if not position.is_spot():
                raise InvalidTrade(f"update_stop_loss(trailing=True) is for spot positions, got {position}")
            if position.stop_loss is not None and stop_loss < position.stop_loss:
                return
        if stop_loss == position.stop_loss:
            return
        mid = self.pricing_model.get_mid_price(self.timestamp, position.pair)
        levels = TriggerLevels(stop_loss, position.take_profit, position.trailing_stop_loss_pct)
        self._set_levels(position, levels, mid)

    def check_enough_cash(self, trades: Iterable[TradeExecution]) -> None:
        """Raise NotEnoughCashForBuys when buys need more than cash and sells bring."""
        trades = list(trades)
        buys = sum((t.planned_reserve for t in trades if t.is_buy()), ZERO)
        sells = sum((t.planned_reserve for t in trades if t.is_sell()), ZERO)
        cash = self._portfolio.reserve.quantity
        if buys - cash - sells > (cash + sells) * FLOAT_ROUNDING:
            raise NotEnoughCashForBuys(
                f"Buys need {buys} but there is cash {cash} and sells bring {sells}, "
                f"{buys - cash - sells} too little. Trades:\n" + "\n".join(f"  {t}" for t in trades)
            )

    def log(self, msg: str, level: int = logging.INFO, prefix: str = "{timestamp}: ") -> None:
        """Write to the log and to the messages of the visualisation."""
        logger.log(level, "%s%s", prefix.format(timestamp=self.timestamp), msg)
        self.state.visualisation.add_message(self.timestamp, msg)

    # -- planning -------------------------------------------------------------------------------------------------

    def _tradable(self, pair: TradingPairIdentifier | HumanReadableTradingPairDescription) -> TradingPairIdentifier:
        """Return the universe's own pair, whose id finds its candles; raises UnknownPair, InvalidTrade."""
        pair = self.strategy_universe.resolve_pair(pair)
        if pair.is_leverage() or pair.is_credit_supply():
            raise InvalidTrade(f"{pair} is not bought and sold on a market: give its spot pair")
        return pair

    def _refuse_blacklisted(self, pair: TradingPairIdentifier) -> None:
        if not self.state.is_good_pair(pair):
            raise InvalidTrade(f"{pair.get_ticker()} is blacklisted: check is_problematic_pair() first")

    def _position_to_keep(self, pair: TradingPairIdentifier) -> TradingPosition | None:
        """Return the open position on a pair that no trade planned in this cycle closes, or None."""
        first = self._portfolio.get_open_position_for_pair(pair)
        if first is None or not _is_planned_to_close(first):
            return first
        same = (p for p in self._portfolio.open_positions.values() if p.pair == pair)
        return next((p for p in same if not _is_planned_to_close(p)), None)

    def _open_position(self, pair: TradingPairIdentifier, notes: str | None) -> TradingPosition:
        state, portfolio = self.state, self._portfolio
        at = self._clock.aware
        if pair.get_identifier() not in state.known_pairs:
            state.record(PairIntroduced(at, pair))
        position_id = portfolio.next_position_id
        state.record(PositionOpened(at, position_id, pair, self._equity_now(), notes))
        return portfolio.open_positions[position_id]

    def _equity_now(self) -> float:
        """Return total equity; planning moves nothing, so it is calculated once for all positions planned together."""
        portfolio = self._portfolio
        key = (self._clock.timestamp_us, portfolio.trade_count, portfolio.next_balance_update_id)
        if self._equity_of is None or self._equity_of[0] != key:
            self._equity_of = (key, portfolio.calculate_total_equity())
        return self._equity_of[1]

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
        _refuse_dust(pair, quantity)
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
        _refuse_dust(position.pair, quantity)
        return self._plan(
            position,
            -quantity,
            quantity * Decimal(pricing.price),
            pricing,
            flags,
            self._slippage(slippage_tolerance),
            notes=notes,
            trade_type=trade_type,
            closing=closing,
            other_data=other_data,
        )

    def _plan(
        self,
        position: TradingPosition,
        quantity: Decimal,
        reserve: Decimal,
        pricing: TradePricing,
        flags: frozenset[TradeFlag],
        slippage_tolerance: float,
        *,
        notes: str | None,
        trade_type: TradeType = TradeType.rebalance,
        closing: bool = False,
        other_data: Mapping[str, Any] | None = None,
    ) -> TradeExecution:
        trade_id = self._portfolio.next_trade_id
        plan = TradePlan(
            trade_id,
            position.position_id,
            position.pair,
            trade_type,
            quantity,
            reserve,
            pricing,
            position.reserve_currency,
            slippage_tolerance,
            closing,
            flags,
            notes,
            dict(other_data) if other_data else {},
        )
        self.state.record(TradePlanned(self._clock.aware, plan))
        return position.trades[trade_id]

    def _slippage(self, asked: float | None) -> float:
        return self.default_slippage_tolerance if asked is None else _checked_slippage(asked)

    def _adjust_levels(self, trade: TradeExecution, asked: TriggerLevels, override_stop_loss: bool) -> None:
        position = self._portfolio.open_positions[trade.position_id]
        keep_stop = asked.stop_loss is None or (position.stop_loss is not None and not override_stop_loss)
        trailing = asked.trailing_stop_loss_pct
        levels = TriggerLevels(
            stop_loss=position.stop_loss if keep_stop else asked.stop_loss,
            take_profit=position.take_profit if asked.take_profit is None else asked.take_profit,
            trailing_stop_loss_pct=position.trailing_stop_loss_pct if trailing is None else trailing,
        )
        if levels != TriggerLevels(position.stop_loss, position.take_profit, position.trailing_stop_loss_pct):
            self._set_levels(position, levels, trade.planned_mid_price)

    def _set_levels(self, position: TradingPosition, levels: TriggerLevels, mid: float) -> None:
        self.state.record(
            TriggersMoved(
                self._clock.aware,
                position.position_id,
                mid,
                levels.stop_loss,
                levels.take_profit,
                levels.trailing_stop_loss_pct,
            )
        )


def _refuse_waiting_trades(pending: bool, trigger_price: float | None = None) -> None:
    if pending or trigger_price is not None:
        raise InvalidTrade(
            f"Trades that wait for a trigger are not supported yet: got pending={pending}, "
            f"trigger_price={trigger_price}; leave both out to trade at once"
        )


def _asked_levels(
    pair: TradingPairIdentifier,
    mid: float,
    stop_loss: float | None,
    take_profit: float | None,
    trailing_stop_loss: float | None,
) -> TriggerLevels:
    """Return the levels asked of adjust_position; its trailing stop gets its level at the first check."""
    is_short = pair.is_short()
    asked = opening_levels(mid, is_short=is_short, stop_loss_pct=stop_loss, take_profit_pct=take_profit)
    if trailing_stop_loss is None:
        return asked
    opening_levels(mid, is_short=is_short, trailing_stop_loss_pct=trailing_stop_loss)
    return TriggerLevels(asked.stop_loss, asked.take_profit, trailing_stop_loss)


def _refuse_dust(pair: TradingPairIdentifier, quantity: Decimal) -> None:
    dust = DUST.close_epsilon(pair.kind)
    if quantity <= dust:
        raise TooSmallTrade(
            f"A trade of {quantity} {pair.base.token_symbol} is not above the dust limit {dust}: skip it"
        )


def _sellable(position: TradingPosition, quantity: Decimal) -> Decimal:
    """Return how much of a wanted quantity to sell: an excess that is only a float's rounding is cut."""
    available = position.get_available_trading_quantity()
    if not 0 < quantity <= available + max(SELL_OVERSHOOT_EPSILON, available * FLOAT_ROUNDING):
        raise InvalidTrade(f"Cannot sell {quantity} of {position}: {available} is available")
    return min(quantity, available)


def _is_planned_to_close(position: TradingPosition) -> bool:
    """Tell whether the trades planned in this cycle bring the position to zero."""
    return position.get_quantity() > 0 and position.get_available_trading_quantity() <= 0


def _checked_slippage(tolerance: float) -> float:
    if not 0 <= tolerance < MAX_SLIPPAGE_TOLERANCE:
        raise InvalidTrade(
            f"slippage_tolerance is {tolerance}: it is a fraction from 0 to below {MAX_SLIPPAGE_TOLERANCE}, "
            "0.02 allows 2 %"
        )
    return tolerance
