"""Planning trades with loans straight on a state: for tests, repairs and code that brings its own prices."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.event import Event, PairIntroduced, PositionOpened, TradePlanned
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.loan import LoanChange, liquidation_threshold_of
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.time import to_aware
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradePlan, TradePricing, TradeType


class PlanningState(Protocol):
    """What is planned on: a State."""

    portfolio: Portfolio
    known_pairs: dict[str, TradingPairIdentifier]

    def record(self, event: Event) -> None:
        """Fold an event and keep it."""
        ...


def plan_short_trade(
    state: PlanningState,
    *,
    at: datetime,
    pair: TradingPairIdentifier,
    quantity: Decimal,
    allocation: Decimal | None,
    consumption: Decimal | None,
    pricing: TradePricing,
    trade_type: TradeType,
    closing: bool,
    notes: str | None,
    flags: Iterable[TradeFlag],
) -> tuple[TradingPosition, TradeExecution, bool]:
    """Plan a change of a short's loan; see State.trade_short for what is left out."""
    if not pair.is_short():
        raise InvalidTrade(f"trade_short({pair}): give the pair of a short (get_shorting_pair() of its spot pair)")
    position = state.portfolio.get_open_position_for_pair(pair)
    loan = None if position is None else position.loan
    if consumption is None:
        consumption = -quantity * Decimal(pricing.price)
    change = LoanChange(allocation or ZERO, consumption)
    if closing:
        if loan is None or loan.borrowed is None or quantity != loan.borrowed.total:
            raise InvalidTrade(f"trade_short(closing=True) repays {quantity} of {position}: repay all that is owed")
        change = LoanChange(
            collateral_allocation=-(loan.collateral.total + consumption) if allocation is None else allocation,
            collateral_consumption=consumption,
            claimed_interest=loan.collateral.interest.outstanding,
            repaid_interest=loan.borrowed.interest.outstanding,
        )
    else:
        collateral = (ZERO if loan is None else loan.collateral.quantity) + change.collateral_change
        debt = (ZERO if loan is None or loan.borrowed is None else loan.borrowed.quantity) - quantity
        if collateral < 0 or debt < 0:
            raise InvalidTrade(f"trade_short({pair}) would leave collateral {collateral} and debt {debt}")
        if debt:
            level = liquidation_threshold_of(pair.quote) * float(collateral) / float(debt)
            change = LoanChange(change.collateral_allocation, consumption, liquidation_price=level)
    return _plan(
        state,
        at,
        pair,
        position,
        quantity=quantity,
        pricing=pricing,
        change=change,
        trade_type=trade_type,
        closing=closing,
        notes=notes,
        flags=flags,
    )


def plan_credit_supply(
    state: PlanningState,
    *,
    at: datetime,
    pair: TradingPairIdentifier,
    quantity: Decimal,
    trade_type: TradeType,
    closing: bool,
    notes: str | None,
    flags: Iterable[TradeFlag],
) -> tuple[TradingPosition, TradeExecution, bool]:
    """Plan lending out more of the reserve, or taking some back; see State.supply_credit."""
    if not pair.is_credit_supply():
        raise InvalidTrade(f"supply_credit({pair}): give the pair of a credit supply (get_credit_supply_pair())")
    position = state.portfolio.get_open_position_for_pair(pair)
    loan = None if position is None else position.loan
    claimed = ZERO
    if quantity < 0:
        if loan is None or -quantity > loan.collateral.total:
            raise InvalidTrade(f"supply_credit() takes {-quantity} back of {position}: there is not that much")
        interest = loan.collateral.interest.outstanding
        claimed = interest if closing else min(max(-quantity - loan.collateral.quantity, ZERO), interest)
    return _plan(
        state,
        at,
        pair,
        position,
        quantity=quantity,
        pricing=TradePricing(1.0, 1.0, 0.0, 0.0, quantity > 0, at),
        change=LoanChange(collateral_allocation=quantity, claimed_interest=claimed),
        trade_type=trade_type,
        closing=closing,
        notes=notes,
        flags=flags,
    )


def _plan(
    state: PlanningState,
    at: datetime,
    pair: TradingPairIdentifier,
    position: TradingPosition | None,
    *,
    quantity: Decimal,
    pricing: TradePricing,
    change: LoanChange,
    trade_type: TradeType,
    closing: bool,
    notes: str | None,
    flags: Iterable[TradeFlag],
) -> tuple[TradingPosition, TradeExecution, bool]:
    portfolio, aware = state.portfolio, to_aware(at)
    is_new = position is None
    if position is None:
        if pair.get_identifier() not in state.known_pairs:
            state.record(PairIntroduced(aware, pair))
        position_id = portfolio.next_position_id
        state.record(PositionOpened(aware, position_id, pair, portfolio.calculate_total_equity(), notes))
        position = portfolio.open_positions[position_id]
    reserve: AssetIdentifier = position.reserve_currency
    trade_id = portfolio.next_trade_id
    plan = TradePlan(
        trade_id,
        position.position_id,
        pair,
        trade_type,
        quantity,
        abs(change.collateral_allocation),
        pricing,
        reserve,
        closing=closing,
        flags=frozenset(flags),
        notes=notes,
        loan=change,
    )
    state.record(TradePlanned(aware, plan))
    return position, position.trades[trade_id], is_new
