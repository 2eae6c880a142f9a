"""What a planned loan trade wants done on the chain: its tokens, the way its swaps go, and amounts in units."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.loan import Loan
from trading_dagster.domain.money import ZERO, to_units_down
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.evm.aave_v3 import ALL
from trading_dagster.evm.loan_progress import LoanGoal
from trading_dagster.evm.loan_runner import LoanJob
from trading_dagster.evm.swap_intent import mark_trade, trade_intent_id
from trading_dagster.evm.trade_route import RouteTable


@dataclass(frozen=True, slots=True)
class LoanTokens:
    """The tokens of a loan pair: what is supplied and its aToken, what is borrowed and its debt token."""

    reserve: AssetIdentifier
    collateral: AssetIdentifier
    base: AssetIdentifier | None
    debt: AssetIdentifier | None


def is_loan(trade: TradeExecution) -> bool:
    """Tell whether a trade changes a loan, or lends out the reserve."""
    return trade.plan.loan is not None


def loan_tokens(pair: TradingPairIdentifier, reserve: AssetIdentifier) -> LoanTokens:
    """Return the tokens of a pair; raises InvalidTrade when they are not those of a loan against the reserve."""
    if pair.is_credit_supply():
        collateral, debt = pair.base, None
    elif pair.is_short():
        collateral, debt = pair.quote, pair.base
    else:
        raise InvalidTrade(f"{pair} is no loan that can be traded on a chain: only shorts and credit supply are")
    if collateral.underlying != reserve:
        raise InvalidTrade(f"The collateral of {pair} is {collateral.underlying}, it must be the reserve {reserve}")
    base = None if debt is None else debt.underlying
    if debt is not None and base is None:
        raise InvalidTrade(f"The debt token {debt} of {pair} has no underlying token: correct the lending reserve")
    return LoanTokens(reserve, collateral, base, debt)


def make_job(
    state: State, trade: TradeExecution, routes: RouteTable, max_slippage: float, *, is_begun: bool = True
) -> LoanJob:
    """Return what is to be run for a loan trade; the same from its start until it ends.

    Before it began, the plan's reserve stands for what leaves cash. Raises InvalidTrade when it cannot be run.
    """
    position = state.portfolio.get_position_by_id(trade.position_id)
    tokens = loan_tokens(trade.pair, routes.reserve_asset)
    spot = trade.pair.underlying_spot_pair
    is_bought = trade.planned_quantity > 0
    needs_swap = tokens.base is not None and bool(trade.planned_quantity)
    route = routes.route_of(spot, is_bought) if needs_swap and spot is not None else None
    allocated = trade.allocated if is_begun else trade.plan.allocation
    goal = _make_goal(state, trade, position, tokens, allocated, max_slippage)
    return LoanJob(trade_intent_id(state.name, trade.trade_id), goal, route, mark_trade(state, trade))


def _owes(loan: Loan, tokens: LoanTokens) -> bool:
    borrowed = loan.borrowed
    return borrowed is not None and borrowed.asset == tokens.debt and bool(borrowed.total)


def _make_goal(
    state: State,
    trade: TradeExecution,
    position: TradingPosition,
    tokens: LoanTokens,
    allocated: Decimal,
    max_slippage: float,
) -> LoanGoal:
    plan, loan, decimals = trade.plan, position.loan, tokens.reserve.decimals
    change = plan.loan
    assert change is not None, f"{trade} changes a loan"
    around = [p for p in state.portfolio.loan_positions.values() if p is not position]
    others = [p.loan for p in around if p.loan is not None]
    is_alone = not any(other.collateral.asset == tokens.collateral and other.collateral.total for other in others)
    debtor = next((p for p in around if p.loan is not None and _owes(p.loan, tokens)), None)
    if debtor is not None:
        raise InvalidTrade(
            f"{trade} would owe {tokens.base}, which {debtor} owes already: all debt of a token is one debt of the "
            "wallet, so there is one short of a token at a time; close that position, or change it with adjust_short()"
        )
    quantity, is_short = plan.quantity, tokens.base is not None
    repay = to_units_down(quantity, tokens.base.decimals) if tokens.base is not None and quantity > 0 else 0
    if is_short and quantity > 0 and change.collateral_allocation > 0:
        raise InvalidTrade(f"{trade} pays back debt and adds collateral: do it in two trades")
    out = -(min(change.collateral_allocation, ZERO) + min(change.collateral_consumption, ZERO))
    withdraw = to_units_down(out, decimals)
    if plan.closing and loan is not None:
        withdraw = ALL if is_alone else to_units_down(loan.collateral.total, decimals)
        repay = ALL if loan.borrowed is not None and loan.borrowed.total else 0
    dust = state.portfolio.dust.get(tokens.base, ZERO) if tokens.base is not None else ZERO
    return LoanGoal(
        reserve=tokens.reserve.address,
        base="" if tokens.base is None else tokens.base.address,
        deposit=to_units_down(allocated, decimals),
        borrow=to_units_down(-quantity, tokens.base.decimals) if tokens.base is not None and quantity < 0 else 0,
        repay=repay,
        withdraw=withdraw,
        price=_limit_price(trade, tokens) if is_short else Fraction(0),
        slippage=_slippage(trade, max_slippage),
        base_in_hand=0 if tokens.base is None else to_units_down(dust, tokens.base.decimals),
        is_new=loan is None,
        is_alone=is_alone,
    )


def _limit_price(trade: TradeExecution, tokens: LoanTokens) -> Fraction:
    """Return the worse of the planned price and mid price with the pool's fee, in units of reserve a unit of base.

    Adjustments are planned at the price the debt was valued at, without a fee, and are swapped all the same.
    """
    assert tokens.base is not None, "only shorts have a price"
    pricing, spot = trade.plan.pricing, trade.pair.get_pricing_pair()
    fee, planned, mid = Fraction(spot.fee or 0), Fraction(pricing.price), Fraction(pricing.mid_price)
    worse = max(planned, mid * (1 + fee)) if trade.planned_quantity > 0 else min(planned, mid * (1 - fee))
    return worse * Fraction(10) ** (tokens.reserve.decimals - tokens.base.decimals)


def _slippage(trade: TradeExecution, max_slippage: float) -> Fraction:
    tolerance = trade.slippage_tolerance
    return Fraction(max_slippage if tolerance is None else min(tolerance, max_slippage))
