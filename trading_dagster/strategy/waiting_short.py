"""Planning shorts that open when a price is reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.error import LiquidationRisked, TooSmallTrade
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.loan import Loan
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import NO_FLAGS, TradeExecution, TradeFlag, TradePlan
from trading_dagster.domain.trigger import TriggerCondition
from trading_dagster.strategy.short_planning import ShortLevels, ShortPlanning, refuse_risk
from trading_dagster.strategy.waiting_planning import WaitingPlanning
from trading_dagster.strategy.waiting_rule import limit_trigger


class WaitingShortPlanning(WaitingPlanning, ShortPlanning):
    """Plans shorts whose opening waits for a trigger; decide_trades does not return it."""

    def open_short_with_market_limit(
        self,
        pair: TradingPairIdentifier | HumanReadableTradingPairDescription,
        value: float | Decimal,
        trigger_price: float,
        expires_at: datetime | None = None,
        notes: str | None = None,
        slippage_tolerance: float | None = None,
        *,
        leverage: float = 1.0,
        condition: TriggerCondition = TriggerCondition.cross_below,
        take_profit_pct: float | None = None,
        stop_loss_pct: float | None = None,
        trailing_stop_loss_pct: float | None = None,
        flags: Iterable[TradeFlag] = NO_FLAGS,
    ) -> tuple[TradingPosition, list[TradeExecution]]:
        """Plan a short that opens when the mid price is at ``trigger_price`` or below.

        No cash is set aside: when the trade fires and cash is short, it expires with its position. So it does when the
        loan would be liquidated at once, or before its stop loss, at the price it fires at. Levels are fractions of
        ``trigger_price``, mirrored as in open_short, and hold from the opening on.

        Args:
            pair: The spot pair of the token to sell.
            value: How many USD of cash become collateral.
            trigger_price: A mid price.
            expires_at: After this time, naive UTC, it fires no more.
            notes: Kept with position and trade.
            slippage_tolerance: As in open_short.
            leverage: Tokens worth ``value`` x ``leverage`` at the mid price of the instant it fires are sold.
            condition: cross_above waits for a price at the level or above, to sell a rise.
            take_profit_pct: Mirrored fraction of the trigger price: 1.05 takes profit 5 % below it.
            stop_loss_pct: Mirrored fraction of the trigger price: 0.95 stops 5 % above it.
            trailing_stop_loss_pct: As stop_loss_pct, and trails the price.
            flags: Further flags of the trade.

        Returns:
            The pending position and its waiting trade; neither is to be returned by decide_trades.

        Raises:
            InvalidTrade: As of open_short, and for a level or time that cannot be reached.
            LiquidationRisked: As of open_short.
            NoLendingData: As of open_short.
        """
        trigger = limit_trigger(trigger_price, expires_at, condition, self.timestamp)
        levels = ShortLevels(stop_loss_pct, take_profit_pct, trailing_stop_loss_pct)
        trade = self._open_short(
            pair,
            value,
            leverage,
            levels,
            notes=notes,
            flags=flags,
            tolerance=slippage_tolerance,
            levels_from=float(trigger_price),
        )
        position = self._portfolio.open_positions[trade.position_id]
        self._let_wait(trade, trigger)
        return position, [trade]

    def _plan_now(self, position: TradingPosition, plan: TradePlan) -> tuple[TradePlan, str]:
        """Return a plan with the size and the prices of now, and why it cannot be made, "" when it can."""
        if not plan.pair.is_short():
            return super()._plan_now(position, plan)
        leverage = -plan.quantity * Decimal(plan.pricing.mid_price) / plan.reserve
        try:
            sale = self._quote_short(plan.pair, plan.reserve, leverage)
            refuse_risk(Loan.begin(plan.pair, sale.change, -sale.quantity, self.timestamp), sale.mid)
        except (LiquidationRisked, TooSmallTrade) as error:
            return plan, str(error)
        level = sale.change.liquidation_price
        if position.stop_loss is not None and level is not None and position.stop_loss >= level:
            return plan, f"it would be liquidated at {level}, before its stop loss at {position.stop_loss}"
        return replace(plan, quantity=-sale.quantity, pricing=sale.pricing, loan=sale.change), ""
