"""Why two trades of the same decision got different prices: each price in steps, whose differences add up exactly.

An executed price is a sum of steps, in reserve per base token:

    data      the mid price the decision was made at: of a candle, or of a pool at a block
    fee       what liquidity providers take from a trade too small to move the price
    impact    what the size of the trade adds by moving the price
    tax       what the token takes from a transfer, where the pair's data names it
    move      how the mid price moved between quote and fill; known only where the mid price at the fill is
    slippage  the rest between quote and fill; where the mid price at the fill is not known, its move is in here

Steps are fractions made of the floats in the ledger, so that nothing is lost to rounding: the differences of the steps
of two prices sum to the difference of the prices, to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.trade import TradeExecution, TradePricing
from trading_dagster.execution.costed_loan import given_impact, is_loan_swap, is_quoted
from trading_dagster.pricing.market_impact import impact_of

NOTHING = Fraction(0)
STEPS = ("data", "fee", "impact", "tax", "move", "slippage")


@dataclass(frozen=True, slots=True)
class PriceSteps:
    """A price, or a difference of prices, as a sum; reserve per base token, see the module for each."""

    data: Fraction
    fee: Fraction = NOTHING
    impact: Fraction = NOTHING
    tax: Fraction = NOTHING
    move: Fraction = NOTHING
    slippage: Fraction = NOTHING

    @property
    def total(self) -> Fraction:
        """Return the price."""
        return self.data + self.fee + self.impact + self.tax + self.move + self.slippage

    def __sub__(self, other: PriceSteps) -> PriceSteps:
        """Return the difference step by step."""
        return PriceSteps(*(getattr(self, name) - getattr(other, name) for name in STEPS))

    def scaled(self, factor: Fraction) -> PriceSteps:
        """Return every step times a number."""
        return PriceSteps(*(getattr(self, name) * factor for name in STEPS))


def explain_quote(pricing: TradePricing) -> PriceSteps:
    """Return the steps of a quoted price; they sum to ``pricing.price``.

    A price of a pool has a block number: its pools keep the fee from what goes in, so a trade too small to move the
    price pays mid / (1 - fee) or gets mid x (1 - fee). A candle's price is mid x (1 +- fee), and the impact where
    a strategy's costs have one; the fee has the token's tax in it.
    """
    mid, price = Fraction(pricing.mid_price), Fraction(pricing.price)
    fee, tax = Fraction(pricing.pair_fee), Fraction(pricing.token_tax_percent or 0)
    side = 1 if pricing.side else -1
    if pricing.block_number is None:
        taxed = side * mid * tax if tax <= fee else NOTHING
        impact = NOTHING
        if impact_of(pricing):
            impact = price - Fraction(pricing.mid_price * (1 + side * pricing.pair_fee))
        return PriceSteps(data=mid, fee=price - mid - taxed - impact, impact=impact, tax=taxed)
    if not (fee < 1 and tax < 1):
        raise InvalidTrade(f"A quote has a fee of {pricing.pair_fee} and a tax of {pricing.token_tax_percent}")
    before_tax = price * (1 - tax) if pricing.side else price / (1 - tax)
    without_impact = mid / (1 - fee) if pricing.side else mid * (1 - fee)
    return PriceSteps(data=mid, fee=without_impact - mid, impact=before_tax - without_impact, tax=price - before_tax)


def is_valued(trade: TradeExecution) -> bool:
    """Tell whether a trade changes a short at the price its debt was last valued at: no market was asked for one."""
    return is_loan_swap(trade) and not is_quoted(trade.price_structure)


def _explain_valuation(trade: TradeExecution) -> PriceSteps:
    """Return the steps of the price of such a trade: a valuation is a bid, which has the fee in it."""
    pricing = trade.price_structure
    side, mid = 1 if pricing.side else -1, Fraction(pricing.mid_price)
    impact = side * Fraction(given_impact(trade)) / Fraction(abs(trade.planned_quantity))
    return PriceSteps(data=mid, fee=Fraction(pricing.price) - mid - impact, impact=impact)


def explain_fill(trade: TradeExecution, mid_at_fill: float | None = None) -> PriceSteps:
    """Return the steps of an executed trade's price; they sum to ``trade.executed_price``.

    Args:
        trade: The trade.
        mid_at_fill: The mid price right before the fill, reserve per base token; None when it is not known.

    Raises:
        InvalidTrade: The trade was not executed.
    """
    executed = trade.executed_price
    if executed is None:
        raise InvalidTrade(f"{trade} was not executed: it has no price to explain")
    quote = _explain_valuation(trade) if is_valued(trade) else explain_quote(trade.price_structure)
    if mid_at_fill is None and trade.charges.delay and trade.executed_quantity:
        mid_at_fill = trade.planned_mid_price + trade.charges.delay / float(trade.executed_quantity)
    move = NOTHING if mid_at_fill is None else Fraction(mid_at_fill) - quote.data
    slippage = Fraction(executed) - quote.total - move
    return PriceSteps(quote.data, quote.fee, quote.impact, quote.tax, move, slippage)
