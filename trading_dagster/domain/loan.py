"""A loan: collateral, what is borrowed against it, the interest of both, and the arithmetic that follows.

Collateral is lent out and earns interest; borrowed tokens are sold at once, and what they brought is collateral too.
Amounts are exact, prices are USD. Nothing here changes: every change makes a new loan.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.value import value

YEAR = timedelta(days=365)


@value
class LoanChange:
    """What a trade does to the loan of its position.

    Attributes:
        collateral_allocation: Reserve tokens that move from cash into collateral; below 0 back to cash.
        collateral_consumption: Reserve tokens that selling borrowed tokens adds to collateral; below 0 what buying them
            back takes from it.
        claimed_interest: How much of the collateral's interest goes with it, reserve tokens.
        repaid_interest: How much of the debt's interest is repaid, borrowed tokens.
        liquidation_price: Mid price at which the loan is liquidated afterwards, before fees; None without debt.
    """

    collateral_allocation: Decimal = ZERO
    collateral_consumption: Decimal = ZERO
    claimed_interest: Decimal = ZERO
    repaid_interest: Decimal = ZERO
    liquidation_price: float | None = None

    @property
    def collateral_change(self) -> Decimal:
        """Return what the trade adds to all collateral, interest included; reserve tokens."""
        return self.collateral_allocation + self.collateral_consumption


@value
class InterestTracker:
    """The interest of one side of a loan, in its tokens.

    Attributes:
        opening_amount: What the side began with.
        accrued: All interest so far.
        settled: How much of it was claimed (collateral) or repaid (debt).
        last_event_at: Up to when it accrued, naive UTC.
    """

    opening_amount: Decimal
    accrued: Decimal
    settled: Decimal
    last_event_at: datetime

    @property
    def outstanding(self) -> Decimal:
        """Return what accrued and is not settled."""
        return self.accrued - self.settled


@value
class LoanSide:
    """One side of a loan: ``quantity`` is the principal in tokens, ``last_usd_price`` USD a token."""

    asset: AssetIdentifier
    quantity: Decimal
    interest: InterestTracker
    last_usd_price: float = 1.0

    @property
    def total(self) -> Decimal:
        """Return principal and outstanding interest, in tokens: the balance of the protocol's token."""
        return self.quantity + self.interest.outstanding

    def get_usd_value(self) -> float:
        """Return the principal in USD."""
        return float(self.quantity) * self.last_usd_price

    def get_usd_interest(self) -> float:
        """Return the outstanding interest in USD."""
        return float(self.interest.outstanding) * self.last_usd_price

    def accrue(self, quantity: Decimal, at: datetime) -> LoanSide:
        """Return the side with more interest, accrued up to a time."""
        tracker = self.interest
        return replace(self, interest=replace(tracker, accrued=tracker.accrued + quantity, last_event_at=at))

    def change(self, principal: Decimal, settled: Decimal) -> LoanSide:
        """Return the side with its principal changed and some of its interest settled."""
        tracker = replace(self.interest, settled=self.interest.settled + settled)
        return replace(self, quantity=self.quantity + principal, interest=tracker)


@value
class Loan:
    """The loan of a position; ``borrowed`` is None for a credit supply."""

    pair: TradingPairIdentifier
    collateral: LoanSide
    borrowed: LoanSide | None

    @classmethod
    def begin(cls, pair: TradingPairIdentifier, change: LoanChange, quantity: Decimal, at: datetime) -> Loan:
        """Return the loan that the first trade of a position makes; arguments as in ``apply``."""
        collateral_asset = pair.base if pair.is_credit_supply() else pair.quote
        collateral = _begin_side(collateral_asset, change.collateral_change, at)
        return cls(pair, collateral, None if pair.is_credit_supply() else _begin_side(pair.base, -quantity, at))

    def apply(self, change: LoanChange, quantity: Decimal) -> Loan:
        """Return the loan after a trade: below 0 ``quantity`` tokens were borrowed, above 0 they were repaid."""
        collateral = self.collateral.change(change.collateral_change + change.claimed_interest, change.claimed_interest)
        borrowed = self.borrowed
        if borrowed is not None:
            borrowed = borrowed.change(change.repaid_interest - quantity, change.repaid_interest)
        return Loan(self.pair, collateral, borrowed)

    def accrue(self, asset: AssetIdentifier, quantity: Decimal, at: datetime) -> Loan:
        """Return the loan after interest on the side of a token; raises BadInput when it has no such side."""
        if asset == self.collateral.asset:
            return Loan(self.pair, self.collateral.accrue(quantity, at), self.borrowed)
        if self.borrowed is not None and asset == self.borrowed.asset:
            return Loan(self.pair, self.collateral, self.borrowed.accrue(quantity, at))
        raise BadInput(f"Interest of {asset} does not belong to the loan of {self.pair}")

    def correct(self, asset: AssetIdentifier, quantity: Decimal) -> Loan:
        """Return the loan after its principal on the side of a token was corrected."""
        if self.borrowed is not None and asset == self.borrowed.asset:
            return Loan(self.pair, self.collateral, self.borrowed.change(quantity, ZERO))
        return Loan(self.pair, self.collateral.change(quantity, ZERO), self.borrowed)

    def at_price(self, price: float) -> Loan:
        """Return the loan with its debt at a price, USD a token."""
        borrowed = self.borrowed
        return self if borrowed is None else Loan(self.pair, self.collateral, replace(borrowed, last_usd_price=price))

    # -- value and health -----------------------------------------------------------------------------------------

    def get_collateral_value(self, include_interest: bool = False) -> float:
        """Return the collateral in USD."""
        side = self.collateral
        return side.get_usd_value() + (side.get_usd_interest() if include_interest else 0.0)

    def get_borrow_value(self, include_interest: bool = False) -> float:
        """Return the debt in USD."""
        side = self.borrowed
        if side is None:
            return 0.0
        return side.get_usd_value() + (side.get_usd_interest() if include_interest else 0.0)

    def get_collateral_interest(self) -> float:
        """Return the interest earned and not claimed, USD."""
        return self.collateral.get_usd_interest()

    def get_borrow_interest(self) -> float:
        """Return the interest owed and not repaid, USD."""
        return 0.0 if self.borrowed is None else self.borrowed.get_usd_interest()

    def get_net_interest(self) -> float:
        """Return interest earned less interest owed, USD."""
        return self.get_collateral_interest() - self.get_borrow_interest()

    def get_net_asset_value(self, include_interest: bool = True) -> float:
        """Return what is left when the debt is paid, USD."""
        return self.get_collateral_value(include_interest) - self.get_borrow_value(include_interest)

    def get_loan_to_value(self) -> float:
        """Return debt / collateral, principals only."""
        collateral = self.get_collateral_value()
        return self.get_borrow_value() / collateral if collateral else 0.0

    def get_leverage(self) -> float:
        """Return debt / net asset value; infinite when nothing is left."""
        borrowed, left = self.get_borrow_value(), self.get_net_asset_value()
        if not borrowed:
            return 0.0
        return borrowed / left if left > 0 else math.inf

    def get_liquidation_threshold(self) -> float:
        """Return the fraction of the collateral's value at which the loan is liquidated; raises BadInput."""
        return liquidation_threshold_of(self.collateral.asset)

    def get_health_factor(self) -> float:
        """Return liquidation threshold x collateral / debt as Aave does, interest included; infinite without debt."""
        debt = self.get_borrow_value(include_interest=True)
        if not debt:
            return math.inf
        return self.get_liquidation_threshold() * self.get_collateral_value(include_interest=True) / debt

    def get_liquidation_price(self) -> float | None:
        """Return the price of the borrowed token at which the health factor is 1, None without debt."""
        if self.borrowed is None or self.borrowed.total <= 0:
            return None
        collateral = float(self.collateral.total) * self.collateral.last_usd_price
        return self.get_liquidation_threshold() * collateral / float(self.borrowed.total)

    # -- targets --------------------------------------------------------------------------------------------------

    def calculate_collateral_for_target_leverage(self, leverage: float, borrowed_quantity: Decimal) -> Decimal:
        """Return the collateral at which a debt of a quantity has a leverage: B x (1 + 1 / L), reserve tokens."""
        return collateral_for_leverage(self._debt_value(borrowed_quantity), leverage)

    def calculate_collateral_for_target_ltv(self, loan_to_value: float, borrowed_quantity: Decimal) -> Decimal:
        """Return the collateral at which a debt of a quantity has a loan-to-value ratio: B / v, reserve tokens."""
        if not 0 < loan_to_value < 1:
            raise BadInput(f"The loan-to-value ratio is {loan_to_value}: it is a fraction between 0 and 1")
        return self._debt_value(borrowed_quantity) / Decimal(loan_to_value)

    def _debt_value(self, quantity: Decimal) -> Decimal:
        if self.borrowed is None:
            raise BadInput(f"{self.pair} has no debt: there is no target collateral for it")
        return quantity * Decimal(self.borrowed.last_usd_price)


def collateral_for_leverage(borrow_value: Decimal, leverage: float) -> Decimal:
    """Return the collateral of a debt at a leverage: B x (1 + 1 / L); same unit as the debt."""
    if not leverage > 0:
        raise BadInput(f"The leverage is {leverage}: it must be above 0")
    return borrow_value * (1 + 1 / Decimal(leverage))


def liquidation_threshold_of(collateral: AssetIdentifier) -> float:
    """Return the liquidation threshold of a collateral token, or of the token it stands for; raises BadInput."""
    threshold = collateral.liquidation_threshold
    if threshold is None and collateral.underlying is not None:
        threshold = collateral.underlying.liquidation_threshold
    if threshold is None or not 0 < threshold < 1:
        raise BadInput(
            f"{collateral} has liquidation threshold {threshold}: set liquidation_threshold of the lending reserve to "
            "the fraction of collateral value at which the protocol liquidates, such as 0.85"
        )
    return threshold


def max_short_leverage(collateral: AssetIdentifier) -> float:
    """Return the leverage of a short at which its loan would be liquidated at once: lt / (1 - lt)."""
    threshold = liquidation_threshold_of(collateral)
    return threshold / (1 - threshold)


def estimate_interest(start: datetime, end: datetime, quantity: Decimal, rate: float) -> Decimal:
    """Return what a quantity grows to at a compound yearly rate of 1 or more: quantity x rate^((end - start) / 365 d).

    Raises:
        BadInput: The rate is below 1 (1.05 means 5 % a year), or the end lies before the start.
    """
    if not rate >= 1:
        raise BadInput(f"The rate is {rate}: it is a growth factor of 1 or more, 1.05 means 5 % a year")
    if end < start:
        raise BadInput(f"Interest from {start} to {end}: the end lies before the start")
    return quantity * Decimal(rate ** ((end - start) / YEAR))


def _begin_side(asset: AssetIdentifier, quantity: Decimal, at: datetime) -> LoanSide:
    return LoanSide(asset, quantity, InterestTracker(quantity, ZERO, ZERO, at))
