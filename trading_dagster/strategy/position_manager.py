"""PositionManager: how a decision opens, changes and closes positions.

It plans only: every action returns trades, and decide_trades must return them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from decimal import Decimal

from trading_dagster.domain.error import InvalidTrade, NotEnoughCashForBuys, VaultClosed
from trading_dagster.domain.money import FLOAT_ROUNDING, ZERO, exact
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import NO_FLAGS, TradeExecution, TradeFlag, TradeType
from trading_dagster.strategy.credit_planning import CreditPlanning
from trading_dagster.strategy.trigger import TriggerLevels
from trading_dagster.strategy.waiting_rule import is_changeable
from trading_dagster.strategy.waiting_short import WaitingShortPlanning

logger = logging.getLogger(__name__)

TRIGGERED = frozenset({TradeFlag.triggered})


class PositionManager(WaitingShortPlanning, CreditPlanning):
    """Plans the trades of one decision."""

    def close_position(
        self,
        position: TradingPosition,
        trade_type: TradeType | None = None,
        notes: str | None = None,
        slippage_tolerance: float | None = None,
        flags: Iterable[TradeFlag] = NO_FLAGS,
        pending: bool = False,
        trigger_price: float | None = None,
    ) -> list[TradeExecution]:
        """Sell everything available, pay a short's debt back, or take back what was lent.

        No trades, with a warning, when nothing is left. With ``pending`` a position that is pending is given up, and no
        trades are returned; with ``trigger_price`` as well the sell waits until the mid price is there or above, and
        decide_trades does not return it.
        """
        if pending:
            return self._close_later(position, trigger_price, notes, slippage_tolerance, flags)
        if trigger_price is not None:
            raise InvalidTrade(f"close_position(trigger_price={trigger_price}) waits: give pending=True, too")
        if position.is_pending():
            raise InvalidTrade(
                f"Cannot close {position}: it waits for its first trade; close_position(pending=True) gives it up"
            )
        if position.is_spot() or position.is_vault():
            return self.close_spot_position(position, trade_type, notes, slippage_tolerance, flags)
        if position.is_short():
            return self.close_short(
                position, notes=notes, trade_type=trade_type, slippage_tolerance=slippage_tolerance, flags=flags
            )
        if position.is_credit_supply():
            return self.close_credit_supply_position(position, notes=notes, trade_type=trade_type, flags=flags)
        raise InvalidTrade(f"Cannot close {position}: positions of kind {position.pair.kind.value} come later")

    def close_fired(self, position: TradingPosition, fired: TradeType, mid: float) -> list[TradeExecution]:
        """Close a position whose stop loss or take profit fired at a mid price.

        No trades while its vault gives less than that back: the trigger fires again when it does.
        """
        level = position.stop_loss if fired is TradeType.stop_loss else position.take_profit
        notes = f"{fired.value} at level {level}, mid {mid}"
        try:
            return self.close_position(position, trade_type=fired, notes=notes, flags=TRIGGERED)
        except VaultClosed as error:
            logger.info("%s of %s cannot close it: %s", notes, position, error)
            return []

    def close_all(self, credit_supply: bool = True) -> list[TradeExecution]:
        """Close every open position, without the credit ones if asked; a position must be open.

        Positions whose vault has an order that did not settle are left, with a warning; so are those that wait for
        their first trade, which `close_position(pending=True)` gives up.

        Raises:
            VaultClosed: A vault gives less back now; nothing is planned then.
            CandleSampleUnavailable: A position has no price now; nothing is planned then.
        """
        if not self._portfolio.open_positions:
            raise InvalidTrade("close_all(): no position is open; check is_any_open() first")
        chosen = [p for p in self._portfolio.open_positions.values() if credit_supply or not p.is_credit_supply()]
        if len(chosen) > 1:  # before the first is planned, all must be closable
            for position in chosen:
                self._require_closable(position)
        return [trade for position in chosen for trade in self.close_position(position)]

    def _require_closable(self, position: TradingPosition) -> None:
        """Raise what closing a position would raise."""
        available = position.get_available_trading_quantity()
        if not available or position.is_credit_supply() or (position.is_vault() and position.is_settling()):
            return
        if position.is_short():
            self._loan_to_change(position)
        market = position.pair.get_pricing_pair()
        price = self.pricing_model.get_sell_price(self.timestamp, market, float(abs(available))).price
        if position.is_vault():
            self._refuse_closed_redemption(position.pair, float(available * Decimal(price)))

    def update_stop_loss(self, position: TradingPosition, stop_loss: float, trailing: bool = False) -> None:
        """Set the stop-loss level, a mid price; with ``trailing`` only upward and only for spot.

        Raises:
            InvalidTrade: the level is not a price above 0, the position is not open, or trailing a position not spot.
        """
        if not 0 < stop_loss < math.inf:
            raise InvalidTrade(f"update_stop_loss({position}) needs a price above 0, got {stop_loss}")
        if not is_changeable(position, is_later=True):
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
        """Raise NotEnoughCashForBuys when buys, supplies and shorts need more than cash, sells and releases bring.

        Cash that waits to be redeemed, `get_pending_redemptions`, is no cash for buys, and so is what a vault pays in a
        later cycle.
        """
        trades = list(trades)
        buys = sum((t.plan.allocation for t in trades), ZERO)
        released = (t for t in trades if not t.plan.allocation and not t.pair.is_async_vault())
        sells = sum((t.planned_reserve for t in released), ZERO)
        cash = self._portfolio.reserve.quantity
        pending = exact(self.get_pending_redemptions(), "pending redemptions")
        if buys and buys + pending - cash - sells > (cash + sells) * FLOAT_ROUNDING:
            owed = f", {pending} of it for pending redemptions" if pending else ""
            raise NotEnoughCashForBuys(
                f"Buys need {buys} but there is cash {cash} and sells bring {sells}{owed}, "
                f"{buys + pending - cash - sells} too little. Trades:\n" + "\n".join(f"  {t}" for t in trades)
            )

    def log(self, msg: str, level: int = logging.INFO, prefix: str = "{timestamp}: ") -> None:
        """Write to the log and to the messages of the visualisation."""
        logger.log(level, "%s%s", prefix.format(timestamp=self.timestamp), msg)
        self.state.visualisation.add_message(self.timestamp, msg)
