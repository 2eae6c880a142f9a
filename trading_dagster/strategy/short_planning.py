"""Planning shorts: borrowing a token against collateral, selling it, changing the loan and paying it back."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from trading_dagster.domain.error import InvalidTrade, LiquidationRisked
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.loan import Loan, LoanChange, liquidation_threshold_of, max_short_leverage
from trading_dagster.domain.money import DUST, FLOAT_ROUNDING, SELL_OVERSHOOT_EPSILON, ZERO, exact
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import NO_FLAGS, TradeExecution, TradeFlag, TradePricing, TradeType
from trading_dagster.domain.value import value as value_class
from trading_dagster.strategy.position_query import ImpactModel
from trading_dagster.strategy.trade_planning import (
    CLOSING,
    INCREASING,
    OPENING,
    REDUCING,
    TradePlanning,
    refuse_dust,
)
from trading_dagster.strategy.trigger import NO_LEVELS, opening_levels

logger = logging.getLogger(__name__)

IMPACT_USD = "price_impact_usd"
"""What a trade at no market's price has in its ``other_data``: what its size alone costs."""


@value_class
class ShortLevels:
    """Where a short is to be closed: fractions of a mid price, mirrored; None for none."""

    stop_loss_pct: float | None = None
    take_profit_pct: float | None = None
    trailing_stop_loss_pct: float | None = None


@value_class
class ShortSale:
    """What opening a short comes to at a mid price: tokens borrowed, their price, and the loan."""

    mid: float
    quantity: Decimal
    pricing: TradePricing
    change: LoanChange


class ShortPlanning(TradePlanning):
    """Plans shorts on a lending protocol; give the spot pair of the token to sell."""

    def open_short(
        self,
        pair: TradingPairIdentifier | HumanReadableTradingPairDescription,
        value: float | Decimal,
        leverage: float = 1.0,
        take_profit_pct: float | None = None,
        stop_loss_pct: float | None = None,
        trailing_stop_loss_pct: float | None = None,
        notes: str | None = None,
        flags: Iterable[TradeFlag] = NO_FLAGS,
        slippage_tolerance: float | None = None,
    ) -> list[TradeExecution]:
        """Borrow tokens worth ``value`` x ``leverage`` USD against ``value`` USD of cash, and sell them.

        What they bring is collateral, too. Levels are fractions as in open_spot, mirrored: 0.95 stops 5 % above.

        Raises:
            InvalidTrade: value not above 0, leverage out of range, blacklisted pair, a short on it is open, or a stop
                loss farther than liquidation.
            LiquidationRisked: The fee would bring the loan to its liquidation threshold at once.
            NoLendingData: The universe has no lending market of a token of the pair.
        """
        levels = ShortLevels(stop_loss_pct, take_profit_pct, trailing_stop_loss_pct)
        return [self._open_short(pair, value, leverage, levels, notes=notes, flags=flags, tolerance=slippage_tolerance)]

    def _open_short(
        self,
        pair: TradingPairIdentifier | HumanReadableTradingPairDescription,
        value: float | Decimal,
        leverage: float,
        asked: ShortLevels,
        *,
        notes: str | None,
        flags: Iterable[TradeFlag],
        tolerance: float | None,
        levels_from: float | None = None,
    ) -> TradeExecution:
        """Plan a short whose levels are fractions of a mid price, the market's of now by default."""
        spot = self.strategy_universe.resolve_pair(pair)
        short = self.strategy_universe.get_shorting_pair(spot)
        if not value > 0:
            raise InvalidTrade(f"open_short({spot.get_ticker()}) needs a value above 0 USD, got {value}")
        self._refuse_blacklisted(spot)
        flags = frozenset(flags)
        existing = self._position_to_keep(short)
        if existing is not None and TradeFlag.ignore_open not in flags:
            raise InvalidTrade(
                f"A short on {spot.get_ticker()} is open already: {existing}; use adjust_short() to change it"
            )
        largest = max_short_leverage(short.quote)
        if not 0 < leverage < largest:
            raise InvalidTrade(f"Max short leverage for {short.quote.token_symbol} is {largest}, got {leverage}")
        sale = self._quote_short(short, exact(value, "value"), Decimal(leverage))
        levels = opening_levels(
            sale.pricing.mid_price if levels_from is None else levels_from,
            is_short=True,
            stop_loss_pct=asked.stop_loss_pct,
            trailing_stop_loss_pct=asked.trailing_stop_loss_pct,
            take_profit_pct=asked.take_profit_pct,
        )
        _refuse_late_stop("stop_loss_pct", asked.stop_loss_pct, sale.change.liquidation_price, sale.mid)
        _refuse_late_stop(
            "trailing_stop_loss_pct", asked.trailing_stop_loss_pct, sale.change.liquidation_price, sale.mid
        )
        refuse_risk(Loan.begin(short, sale.change, -sale.quantity, self.timestamp), sale.mid)
        slippage_tolerance = self._slippage(tolerance)
        trade = self._plan(
            self._open_position(short, notes),
            -sale.quantity,
            sale.change.collateral_allocation,
            sale.pricing,
            OPENING | flags,
            slippage_tolerance,
            notes=notes,
            loan=sale.change,
        )
        if levels is not NO_LEVELS:
            self._set_levels(self._portfolio.open_positions[trade.position_id], levels, sale.pricing.mid_price)
        return trade

    def _quote_short(self, short: TradingPairIdentifier, reserve: Decimal, leverage: Decimal) -> ShortSale:
        """Return what borrowing ``reserve`` x ``leverage`` USD of tokens and selling them comes to now."""
        spot = short.get_pricing_pair()
        mid = self.pricing_model.get_mid_price(self.timestamp, spot)
        quantity = reserve * leverage / Decimal(mid)
        refuse_dust(short, quantity)
        pricing = self.pricing_model.get_sell_price(self.timestamp, spot, float(quantity))
        change = LoanChange(
            collateral_allocation=reserve,
            collateral_consumption=quantity * Decimal(pricing.price),
            liquidation_price=_liquidation_price(short, reserve * (leverage + 1), quantity),
        )
        return ShortSale(mid, quantity, pricing, change)

    def adjust_short(
        self,
        position: TradingPosition,
        new_value: float | Decimal,
        notes: str | None = None,
        trade_type: TradeType = TradeType.rebalance,
        minimum_rebalance_trade_threshold: float = 0.0,
    ) -> list[TradeExecution]:
        """Bring a short's net asset value to ``new_value`` USD at its leverage; no trades for less than the threshold.

        Bigger: the difference moves from cash into collateral and more is borrowed. Smaller: debt is paid back from
        collateral until new value x leverage at mid is owed, and the difference returns to cash. Both at the price the
        debt was last valued at, without a fee; where the strategy's costs have a price impact, worsened by it.

        Raises:
            InvalidTrade: new_value not above 0, or the position is not an open short.
            LiquidationRisked: The loan would be liquidated at once.
        """
        loan = self._loan_to_change(position)
        borrowed = loan.borrowed
        if borrowed is None or not borrowed.quantity:
            raise InvalidTrade(
                f"adjust_short(): {position} owes no principal, so it has no leverage to keep: use close_position()"
            )
        if not new_value > 0:
            raise InvalidTrade(
                f"adjust_short({position}) needs a new_value above 0 USD, got {new_value}: "
                "use close_position() to end it"
            )
        target = exact(new_value, "new_value")
        change_usd = target - exact(loan.get_net_asset_value(), "net asset value")
        if not change_usd or abs(change_usd) < exact(minimum_rebalance_trade_threshold, "threshold"):
            return []
        mid = self.pricing_model.get_mid_price(self.timestamp, position.pair)
        price, leverage = Decimal(borrowed.last_usd_price), exact(loan.get_leverage(), "leverage")
        if change_usd > 0:
            quantity = -change_usd * leverage / price
        else:
            quantity = max(borrowed.quantity - target * leverage / Decimal(mid), ZERO)
        debt = borrowed.quantity - quantity
        impact = self._impact_on(position, quantity, mid)
        moved = borrowed.last_usd_price * (1 + impact) if quantity > 0 else borrowed.last_usd_price / (1 + impact)
        change = LoanChange(
            collateral_allocation=change_usd,
            collateral_consumption=-quantity * (Decimal(moved) if impact else price),
            liquidation_price=_liquidation_price(position.pair, target * (leverage + 1), debt),
        )
        refuse_risk(loan.apply(change, quantity), mid)
        pricing = TradePricing(moved, mid, 0.0, 0.0, quantity > 0, self.timestamp)
        cost = abs(moved - borrowed.last_usd_price) * abs(float(quantity))
        flags = INCREASING if change_usd > 0 else REDUCING
        return [
            self._plan(
                position,
                quantity,
                abs(change_usd),
                pricing,
                flags,
                self._slippage(None),
                notes=notes,
                trade_type=trade_type,
                other_data={IMPACT_USD: cost} if impact else None,
                loan=change,
            )
        ]

    def _impact_on(self, position: TradingPosition, quantity: Decimal, mid: float) -> float:
        """Return the price impact of selling or buying back tokens of a short, a fraction; 0 where costs have none."""
        model = self.pricing_model
        if not quantity or not isinstance(model, ImpactModel):
            return 0.0
        return model.get_price_impact(self.timestamp, position.pair.get_pricing_pair(), abs(float(quantity)) * mid)

    def close_short(
        self,
        position: TradingPosition,
        quantity: float | Decimal | None = None,
        notes: str | None = None,
        trade_type: TradeType | None = None,
        slippage_tolerance: float | None = None,
        flags: Iterable[TradeFlag] = NO_FLAGS,
    ) -> list[TradeExecution]:
        """Buy back what is owed, interest included, from collateral; what is left returns to cash.

        With ``quantity`` fewer tokens than are owed are repaid, principal first, and the rest of the collateral stays.

        Raises:
            InvalidTrade: The position is no open short, or more is repaid than is owed.
        """
        if position.is_pending():
            raise InvalidTrade(
                f"Cannot close {position}: it waits for its first trade; close_position(pending=True) gives it up"
            )
        owed = -position.get_available_trading_quantity()
        if owed <= 0 and position.is_open() and position.is_short():
            loan = position.loan
            if loan is not None and loan.collateral.total > DUST.collateral and not position.unfinished_trade_count:
                return [self._release(position, loan, notes, trade_type or TradeType.rebalance, frozenset(flags))]
            logger.warning("Nothing is left to repay of %s at %s", position, self.timestamp)
            return []
        loan = self._loan_to_change(position)
        repaid = owed if quantity is None else _repayable(position, exact(quantity, "quantity"), owed)
        quote = self.pricing_model.get_buy_price(
            self.timestamp, position.pair.get_pricing_pair(), float(repaid) * self._mid_of(position)
        )
        cost, pricing = price_repayment(repaid, quote)
        is_closing = repaid == owed
        change = _close_change(loan, repaid, cost) if is_closing else _repay_change(loan, repaid, cost)
        if not is_closing:
            change = replace(change, liquidation_price=loan.apply(change, repaid).get_liquidation_price())
        return [
            self._plan(
                position,
                repaid,
                -change.collateral_allocation,
                pricing,
                (CLOSING if is_closing else REDUCING) | frozenset(flags),
                self._slippage(slippage_tolerance),
                notes=notes,
                trade_type=trade_type or TradeType.rebalance,
                closing=is_closing,
                loan=change,
            )
        ]

    def _release(
        self,
        position: TradingPosition,
        loan: Loan,
        notes: str | None,
        trade_type: TradeType,
        flags: frozenset[TradeFlag],
    ) -> TradeExecution:
        """Plan taking out what collateral is left of a short that owes nothing any more."""
        mid, out = self._mid_of(position), loan.collateral.total
        return self._plan(
            position,
            ZERO,
            out,
            TradePricing(mid, mid, 0.0, 0.0, True, self.timestamp),
            CLOSING | flags,
            self._slippage(None),
            notes=notes,
            trade_type=trade_type,
            closing=True,
            loan=LoanChange(collateral_allocation=-out, claimed_interest=loan.collateral.interest.outstanding),
        )

    def close_short_position(self, position: TradingPosition, *args: Any, **kwargs: Any) -> list[TradeExecution]:
        """Do what close_short does, under its old name."""
        return self.close_short(position, *args, **kwargs)

    def liquidate(self, position: TradingPosition, mid: float, penalty: float) -> list[TradeExecution]:
        """Plan what the protocol does to a breached loan: all debt is paid from collateral at mid x (1 + penalty).

        What collateral is left returns to cash; when it does not suffice nothing is left, and the rest of the debt is
        the protocol's loss.
        """
        loan = self._loan_to_change(position, is_liquidation=True)
        borrowed = loan.borrowed
        assert borrowed is not None, f"{position} has no debt to be liquidated for"
        cost = min(borrowed.total * Decimal(mid) * (1 + Decimal(penalty)), loan.collateral.total)
        health = loan.at_price(mid).get_health_factor()
        change = _close_change(loan, borrowed.total, cost)
        price = float(cost / borrowed.total)
        return [
            self._plan(
                position,
                borrowed.total,
                -change.collateral_allocation,
                TradePricing(price, mid, 0.0, price / mid - 1, True, self.timestamp),
                CLOSING,
                self._slippage(None),
                notes=f"liquidated: health factor {health:.6f} at mid {mid}, penalty {penalty:.2%}",
                trade_type=TradeType.liquidation,
                closing=True,
                other_data={"liquidation_penalty_usd": float(cost) - float(borrowed.total) * mid},
                loan=change,
            )
        ]

    def _mid_of(self, position: TradingPosition) -> float:
        return self.pricing_model.get_mid_price(self.timestamp, position.pair)

    def _loan_to_change(self, position: TradingPosition, *, is_liquidation: bool = False) -> Loan:
        loan = position.loan
        if not position.is_short() or not position.is_open():
            raise InvalidTrade(f"{position} is no open short; check is_short() and is_open() first")
        if loan is None or (position.unfinished_trade_count and not is_liquidation):
            raise InvalidTrade(
                f"{position} has a trade planned in this cycle: its loan can be changed again when that was executed"
            )
        return loan


def price_repayment(repaid: Decimal, quote: TradePricing) -> tuple[Decimal, TradePricing]:
    """Return what buying tokens back takes from collateral, and its price: the pool keeps its fee of what goes in."""
    fee = quote.pair_fee
    cost = repaid * Decimal(quote.price / ((1 + fee) * (1 - fee)))
    tax = quote.token_tax_percent
    return cost, replace(quote, lp_fee=float(cost) * fee, token_tax=None if tax is None else float(cost) * tax)


def _close_change(loan: Loan, repaid: Decimal, cost: Decimal) -> LoanChange:
    """Return what paying all debt does to a loan."""
    assert loan.borrowed is not None
    assert repaid == loan.borrowed.total, f"{repaid} is not all of {loan.borrowed.total}"
    return LoanChange(
        collateral_allocation=-(loan.collateral.total - cost),
        collateral_consumption=-cost,
        claimed_interest=loan.collateral.interest.outstanding,
        repaid_interest=loan.borrowed.interest.outstanding,
    )


def _repay_change(loan: Loan, repaid: Decimal, cost: Decimal) -> LoanChange:
    """Return what paying a part of the debt does to a loan: what the principal does not cover is interest."""
    assert loan.borrowed is not None
    return LoanChange(collateral_consumption=-cost, repaid_interest=max(repaid - loan.borrowed.quantity, ZERO))


def _repayable(position: TradingPosition, quantity: Decimal, owed: Decimal) -> Decimal:
    """Return how much of a wanted quantity to repay: an excess that is only a float's rounding is cut."""
    if not 0 < quantity <= owed + max(SELL_OVERSHOOT_EPSILON, owed * FLOAT_ROUNDING):
        raise InvalidTrade(f"Cannot repay {quantity} of {position}: {owed} is owed")
    return min(quantity, owed)


def _liquidation_price(pair: TradingPairIdentifier, collateral: Decimal, debt: Decimal) -> float | None:
    """Return the mid price at which a loan is liquidated, before fees; None without debt."""
    return liquidation_threshold_of(pair.quote) * float(collateral) / float(debt) if debt > 0 else None


def refuse_risk(loan: Loan, mid: float) -> None:
    """Raise LiquidationRisked for a loan that would be liquidated at once at a mid price."""
    health = loan.at_price(mid).get_health_factor()
    if health <= 1:
        raise LiquidationRisked(
            f"The loan of {loan.pair.get_ticker()} would have health factor {health:.4f} at mid {mid} and be "
            "liquidated at once (it must stay above 1): choose a lower leverage"
        )


def _refuse_late_stop(name: str, pct: float | None, liquidation_price: float | None, mid: float) -> None:
    """Refuse a stop that comes only after the protocol has liquidated the loan."""
    if pct is None or liquidation_price is None:
        return
    distance = (liquidation_price - mid) / mid
    if 1 - pct >= distance:
        raise InvalidTrade(f"{name} must be bigger than liquidation distance {1 - distance:.4f}, got {pct}")
