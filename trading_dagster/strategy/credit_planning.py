"""Planning credit supply: lending out the reserve while nothing else needs it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from decimal import Decimal

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.loan import LoanChange
from trading_dagster.domain.money import DUST, FLOAT_ROUNDING, SELL_OVERSHOOT_EPSILON, ZERO, exact
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import NO_FLAGS, TradeExecution, TradeFlag, TradePricing, TradeType
from trading_dagster.market.lending import ReserveLike
from trading_dagster.strategy.trade_planning import (
    CLOSING,
    INCREASING,
    OPENING,
    REDUCING,
    TradePlanning,
    refuse_dust,
)

logger = logging.getLogger(__name__)

DEFAULT_CASH_CHANGE_TOLERANCE_USD = 50.0


class CreditPlanning(TradePlanning):
    """Plans credit supply positions: price 1, no fee, worth principal and interest."""

    def open_credit_supply_position_for_reserves(
        self,
        amount: float | Decimal,
        flags: Iterable[TradeFlag] = NO_FLAGS,
        notes: str | None = None,
        lending_reserve_identifier: ReserveLike | None = None,
    ) -> list[TradeExecution]:
        """Lend out an amount of the reserve; several supplies add up in one position.

        Raises:
            InvalidTrade: The amount is not above 0.
            NoLendingData: The universe has no lending market of the reserve.
        """
        pair = self.strategy_universe.get_credit_supply_pair(lending_reserve_identifier)
        if not amount > 0:
            raise InvalidTrade(f"A credit supply needs an amount above 0 {pair.quote.token_symbol}, got {amount}")
        self._refuse_blacklisted(pair)
        flags = frozenset(flags)
        position = None if TradeFlag.ignore_open in flags else self._position_to_keep(pair)
        return [self._supply(pair, position, exact(amount, "amount"), flags, notes)]

    def adjust_credit_supply_position(
        self,
        position: TradingPosition,
        new_value: float | Decimal | None = None,
        delta: float | Decimal | None = None,
        notes: str | None = None,
    ) -> list[TradeExecution]:
        """Bring a credit supply to ``new_value`` USD, or change it by ``delta`` USD; no trades when nothing changes."""
        self._require_credit(position)
        if (new_value is None) == (delta is None):
            raise InvalidTrade(f"Give new_value or delta, got new_value={new_value}, delta={delta}")
        if delta is not None:
            change = exact(delta, "delta")
        else:
            change = exact(new_value or 0, "new_value") - position.get_quantity()
        if not change:
            return []
        if change > 0:
            return [self._supply(position.pair, position, change, NO_FLAGS, notes)]
        return self.close_credit_supply_position(position, quantity=-change, notes=notes)

    def close_credit_supply_position(
        self,
        position: TradingPosition,
        quantity: float | Decimal | None = None,
        notes: str | None = None,
        trade_type: TradeType | None = None,
        flags: Iterable[TradeFlag] = NO_FLAGS,
    ) -> list[TradeExecution]:
        """Take back what was lent with its interest; with ``quantity`` fewer tokens, principal first."""
        self._require_credit(position)
        loan = position.loan
        available = position.get_available_trading_quantity()
        if loan is None or available <= 0:
            logger.warning("Nothing is left to take back of %s at %s", position, self.timestamp)
            return []
        amount = available if quantity is None else exact(quantity, "quantity")
        if not 0 < amount <= available + max(SELL_OVERSHOOT_EPSILON, available * FLOAT_ROUNDING):
            raise InvalidTrade(f"Cannot take back {amount} of {position}: {available} is available")
        amount = min(amount, available)
        is_closing = amount == available
        interest = loan.collateral.interest.outstanding
        claimed = interest if is_closing else min(max(amount - loan.collateral.quantity, ZERO), interest)
        return [
            self._plan(
                position,
                -amount,
                amount,
                self._credit_pricing(is_supply=False),
                (CLOSING if is_closing else REDUCING) | frozenset(flags),
                self._slippage(None),
                notes=notes,
                trade_type=trade_type or TradeType.rebalance,
                closing=is_closing,
                loan=LoanChange(collateral_allocation=-amount, claimed_interest=claimed),
            )
        ]

    def add_cash_to_credit_supply(self, cash: float, min_usd_threshold: float = 1.0) -> list[TradeExecution]:
        """Lend out more of the cash; no trades below the threshold."""
        if not cash > 0:
            raise InvalidTrade(f"add_cash_to_credit_supply() needs cash above 0 USD, got {cash}")
        return [] if cash < min_usd_threshold else self.open_credit_supply_position_for_reserves(cash)

    def calculate_credit_flow_needed(
        self,
        trades: Iterable[TradeExecution],
        allocation_pct: float,
        buffer_pct: float = 0.01,
        lending_reserve_identifier: ReserveLike | None = None,
    ) -> float:
        """Return USD to take back from credit supply so that spot trades can be paid; below 0 USD to lend out.

        (buys - (1 - buffer) x sells) + (NAV x (1 - allocation) - cash), at most what the credit supply is worth.

        Args:
            trades: What the cycle plans; only spot trades count.
            allocation_pct: The share of the portfolio not kept as cash, above 0.30.
            buffer_pct: By how much sells may bring less than planned.
            lending_reserve_identifier: Which lending market; None takes that of the reserve.
        """
        if not 0.30 < allocation_pct <= 1:
            raise InvalidTrade(f"allocation_pct is {allocation_pct}: it is a fraction above 0.30, 0.95 keeps 5 % cash")
        trades = [trade for trade in trades if trade.is_spot()]
        buys = sum(float(trade.planned_reserve) for trade in trades if trade.is_buy())
        sells = sum(float(trade.planned_reserve) for trade in trades if trade.is_sell())
        portfolio = self._portfolio
        cash_needed = portfolio.get_net_asset_value() * (1 - allocation_pct) - portfolio.get_cash()
        flow = buys - (1 - buffer_pct) * sells + cash_needed
        if flow <= 0:
            return flow
        position = self._credit_position(lending_reserve_identifier)
        return min(flow, 0.0 if position is None else position.get_value())

    def manage_credit_flow(
        self,
        flow: float,
        lending_reserve_identifier: ReserveLike | None = None,
        cash_change_tolerance_usd: float = DEFAULT_CASH_CHANGE_TOLERANCE_USD,
    ) -> list[TradeExecution]:
        """Take ``flow`` USD back from credit supply, or lend out -``flow``.

        What is taken back ends the position: it is closed, and the rest is lent out in a new one. Less than the
        tolerance is not taken back; lending out knows no tolerance.
        """
        if not flow:
            return []
        if flow < 0:
            amount = exact(-flow, "flow")
            if amount <= DUST.collateral:
                return []
            return self.open_credit_supply_position_for_reserves(
                amount, lending_reserve_identifier=lending_reserve_identifier
            )
        position = self._credit_position(lending_reserve_identifier)
        if flow < cash_change_tolerance_usd or position is None:
            return []
        rest = position.get_quantity() - exact(flow, "flow")
        trades = self.close_credit_supply_position(position)
        if rest > DUST.collateral:
            trades += self.open_credit_supply_position_for_reserves(
                rest, flags={TradeFlag.ignore_open}, lending_reserve_identifier=lending_reserve_identifier
            )
        return trades

    def _credit_position(self, identifier: ReserveLike | None) -> TradingPosition | None:
        return self._portfolio.get_open_position_for_pair(self.strategy_universe.get_credit_supply_pair(identifier))

    def _supply(
        self,
        pair: TradingPairIdentifier,
        position: TradingPosition | None,
        amount: Decimal,
        flags: frozenset[TradeFlag],
        notes: str | None,
    ) -> TradeExecution:
        refuse_dust(pair, amount)
        own = INCREASING if position is not None else OPENING
        if position is None:
            position = self._open_position(pair, notes)
        return self._plan(
            position,
            amount,
            amount,
            self._credit_pricing(is_supply=True),
            own | flags,
            self._slippage(None),
            notes=notes,
            loan=LoanChange(collateral_allocation=amount),
        )

    def _credit_pricing(self, *, is_supply: bool) -> TradePricing:
        return TradePricing(1.0, 1.0, 0.0, 0.0, is_supply, self.timestamp)

    def _require_credit(self, position: TradingPosition) -> None:
        if not position.is_credit_supply() or not position.is_open():
            raise InvalidTrade(f"{position} is no open credit supply; check is_credit_supply() and is_open() first")
