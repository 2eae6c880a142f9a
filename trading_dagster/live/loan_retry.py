"""Plans a failed trade with a loan once more, at the price of now."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.loan import Loan, LoanChange
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import TradePlan
from trading_dagster.strategy.position_query import PricingModel


def plan_loan_again(
    position: TradingPosition, old: TradePlan, trade_id: int, pricing_model: PricingModel, now: datetime
) -> TradePlan:
    """Return a plan that opens what was to be opened, or closes what is left; ``now`` is naive UTC.

    Raises BadInput for a change of a loan that was neither: what it was to do depends on the loan as it was then.
    """
    loan = position.loan
    if loan is None:
        plan = _open_again(old, pricing_model, now)
    elif old.closing:
        plan = _close_again(position, loan, old, pricing_model, now)
    else:
        raise BadInput("it was to change a loan, not to open or close it: release it with repair, and decide anew")
    return replace(plan, trade_id=trade_id)


def _open_again(old: TradePlan, pricing_model: PricingModel, now: datetime) -> TradePlan:
    if old.pair.is_credit_supply():
        return old
    change = old.loan
    assert change is not None, "only trades with loans come here"
    pricing = pricing_model.get_sell_price(now, old.pair.get_pricing_pair(), float(-old.quantity))
    change = replace(change, collateral_consumption=-old.quantity * Decimal(pricing.price))
    return replace(old, pricing=pricing, loan=change)


def _close_again(
    position: TradingPosition, loan: Loan, old: TradePlan, pricing_model: PricingModel, now: datetime
) -> TradePlan:
    collateral, borrowed = loan.collateral, loan.borrowed
    claimed = collateral.interest.outstanding
    if borrowed is None:
        change = LoanChange(collateral_allocation=-collateral.total, claimed_interest=claimed)
        return replace(old, quantity=-collateral.total, reserve=collateral.total, loan=change)
    pair, owed = position.pair, borrowed.total
    if not owed and not collateral.total:
        raise BadInput("it holds and owes nothing: release it with repair")
    pricing, cost = old.pricing, ZERO
    if owed:
        mid = pricing_model.get_mid_price(now, pair)
        pricing = pricing_model.get_buy_price(now, pair.get_pricing_pair(), float(owed) * mid)
        cost = owed * Decimal(pricing.price)
    back = max(collateral.total - cost, ZERO)
    change = LoanChange(-back, -cost, claimed, borrowed.interest.outstanding)
    return replace(old, quantity=owed, reserve=back, pricing=pricing, loan=change)
