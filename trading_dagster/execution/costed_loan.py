"""What selling borrowed tokens and buying them back costs: the worsened price, the loan that follows, what each took.

The costs sum to what the swap brings less, or takes more, than its tokens are worth at the mid price of the decision:

    sale       quantity x mid - what is added to collateral
    purchase   what is taken from collateral - quantity x mid
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.loan import LoanChange
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.trade import TradeCharges, TradeExecution, TradePricing
from trading_dagster.domain.value import value
from trading_dagster.pricing.market_impact import impact_of, price_without_impact
from trading_dagster.strategy.position_query import PricingModel
from trading_dagster.strategy.short_planning import IMPACT_USD, price_repayment


@value
class LoanSwap:
    """A swap of a short: what it does to the loan, its executed price and fee, what it cost without gas."""

    change: LoanChange
    pricing: TradePricing
    charges: TradeCharges


def is_loan_swap(trade: TradeExecution) -> bool:
    """Tell whether a trade sells borrowed tokens, or buys them back; what a liquidator does is no swap of ours."""
    change = trade.plan.loan
    if change is None or not trade.pair.is_short():
        return False
    return bool(change.collateral_consumption) and not trade.is_liquidation()


def lost_to_impact(trade: TradeExecution) -> float:
    """Return the fraction of a planned swap's value that its own size costs."""
    pricing, change = trade.price_structure, trade.plan.loan
    if is_quoted(pricing) or change is None:
        impact = impact_of(pricing)
        return impact / (1 + impact)
    impact_usd, swapped = given_impact(trade), abs(float(change.collateral_consumption))
    return impact_usd / (swapped if trade.is_buy() else swapped + impact_usd)


def swap_loan(trade: TradeExecution, quoted: TradePricing, slippage: float, collateral: Decimal) -> LoanSwap:
    """Return what becomes of a planned swap.

    Args:
        trade: The trade; its quantity stays.
        quoted: Its price now, with fee and impact: the planned one, unless it was delayed.
        slippage: How much worse than that it is filled, a fraction.
        collateral: Reserve tokens there are: what they, and the cash that was planned for it, cannot pay is not paid.
    """
    plan, planned = trade.plan, trade.plan.pricing
    change = plan.loan
    assert change is not None, f"{trade} has no loan"
    side = 1 if quoted.side else -1
    at_quote = change.collateral_consumption
    if quoted is not planned:
        at_quote = at_quote * Decimal(quoted.price) / Decimal(planned.price)
    consumption = at_quote * (1 + side * Decimal(slippage)) if slippage else at_quote
    price = quoted.price * (1 + side * slippage)
    allocation = change.collateral_allocation
    there = collateral + (max(allocation, ZERO) if plan.closing else min(allocation, ZERO))
    least = min(-there, change.collateral_consumption)
    if consumption < least:
        price *= float(least / consumption)
        consumption = least
    if plan.closing:  # what the swap takes more is missing in what returns to cash
        allocation += change.collateral_consumption - consumption
    slipped = float(at_quote - consumption)  # below 0 where a delay made it cost more than there is
    return LoanSwap(
        replace(change, collateral_allocation=allocation, collateral_consumption=consumption),
        replace(quoted, price=price),
        TradeCharges(
            impact=_impact_usd(trade, quoted),
            slippage=max(slipped, 0.0),
            delay=side * (quoted.mid_price - planned.mid_price) * abs(float(plan.quantity)) + min(slipped, 0.0),
        ),
    )


def requote_short(trade: TradeExecution, pricing: PricingModel, timestamp: datetime, quantity: Decimal) -> TradePricing:
    """Return the price of a planned swap at another time, naive UTC: the market's, or the given one moved with it."""
    planned, market = trade.price_structure, trade.pair.get_pricing_pair()
    mid = pricing.get_mid_price(timestamp, market)
    if not is_quoted(planned):
        return replace(planned, price=planned.price * (mid / planned.mid_price), mid_price=mid, read_at=timestamp)
    if not trade.is_buy():
        return pricing.get_sell_price(timestamp, market, float(quantity))
    return price_repayment(quantity, pricing.get_buy_price(timestamp, market, float(quantity) * mid))[1]


def _impact_usd(trade: TradeExecution, quoted: TradePricing) -> float:
    if not is_quoted(quoted):
        return given_impact(trade) * (quoted.price / trade.planned_price)
    impact = impact_of(quoted)
    if not impact:
        return 0.0
    a_token = quoted.mid_price * impact if quoted.side else price_without_impact(quoted) - quoted.price
    return a_token * abs(float(trade.planned_quantity))


def is_quoted(pricing: TradePricing) -> bool:
    """Tell whether a market was asked for a price: an adjusted short is priced by its last valuation instead."""
    return bool(pricing.path) or pricing.block_number is not None


def given_impact(trade: TradeExecution) -> float:
    """Return what the size of a planned trade costs whose price no market was asked for, USD."""
    return float(trade.other_data.get(IMPACT_USD, 0.0))
