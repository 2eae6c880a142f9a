"""What the ledger books for a loan trade: flows of the wallet in its receipts, never amounts of the plan.

When nothing of a side is left in the pool, the ledger's side ends at exactly 0: what the last transaction moved beyond
what was known is interest of the time since it was read last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.event import DustKept, Event, InterestAccrued, TradeExecuted
from trading_dagster.domain.loan import Loan, LoanChange, LoanSide, liquidation_threshold_of
from trading_dagster.domain.money import ZERO, from_units
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.transaction import Outcome
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.evm.loan_intent import LoanTokens
from trading_dagster.evm.loan_progress import LoanGoal, LoanProgress

ROUNDING_UNITS = 2
"""What the pool may keep of a supply that is taken out again: it rounds in its own favour."""


@dataclass(frozen=True, slots=True)
class LoanFill:
    """What a loan trade did, in tokens.

    Attributes:
        allocation: Reserve from cash into the loan, below 0 back to cash.
        consumption: Reserve that sales brought into collateral, below 0 what purchases took from it.
        repaid: Base tokens paid back, below 0 borrowed.
        dust: Base tokens left over in the wallet, below 0 used up.
        price: Reserve a base token in the swaps; None without any.
        is_collateral_gone: Whether nothing of the position's collateral is left in the pool.
        is_debt_gone: Whether the position owes nothing any more.
    """

    allocation: Decimal
    consumption: Decimal
    repaid: Decimal
    dust: Decimal
    price: float | None
    is_collateral_gone: bool
    is_debt_gone: bool

    @property
    def collateral_change(self) -> Decimal:
        """Return what came into the pool less what came out."""
        return self.allocation + self.consumption

    @property
    def is_nothing(self) -> bool:
        """Tell whether all is as before: of a new loan nothing is left, or what was taken out is in the pool again.

        What the pool's own rounding took of a new loan may be missing.
        """
        is_back = (self.is_collateral_gone and self.is_debt_gone) or not self.allocation
        return is_back and not self.consumption and not self.repaid and not self.dust


def read_loan_fill(goal: LoanGoal, progress: LoanProgress, tokens: LoanTokens) -> LoanFill:
    """Return the fill of the steps that ended."""

    def reserve(units: int) -> Decimal:
        return from_units(units, tokens.reserve.decimals)

    def base(units: int) -> Decimal:
        return ZERO if tokens.base is None else from_units(units, tokens.base.decimals)

    swapped = progress.sold or progress.bought
    left = progress.supplied - progress.withdrawn
    is_taken_back = goal.is_new and progress.withdrawn > 0 and left <= ROUNDING_UNITS
    return LoanFill(
        allocation=reserve(goal.deposit - progress.reserve_in_hand(goal)),
        consumption=reserve(progress.proceeds - progress.cost),
        repaid=base(progress.repaid - progress.borrowed),
        dust=base(progress.base_in_hand(goal) - goal.base_in_hand),
        price=float(reserve(progress.proceeds or progress.cost) / base(swapped)) if swapped else None,
        is_collateral_gone=progress.is_collateral_gone or is_taken_back,
        is_debt_gone=progress.is_debt_gone or (goal.is_new and not progress.borrowed),
    )


def list_fill_events(
    state: State,
    trade: TradeExecution,
    fill: LoanFill,
    *,
    at: datetime,
    outcome: Outcome,
    gas_cost: Decimal,
    gas_usd: float | None,
    is_complete: bool,
) -> Iterator[Event]:
    """Yield what is to be recorded, in order, one after the other was; ``at`` is aware UTC."""
    position = state.portfolio.get_position_by_id(trade.position_id)
    before = position.loan
    if before is not None and fill.is_collateral_gone:
        gain = -fill.collateral_change - before.collateral.total
        yield from list_interest(state, trade.position_id, before.collateral, gain, at)
    if before is not None and before.borrowed is not None and fill.is_debt_gone:
        gain = fill.repaid - before.borrowed.total
        yield from list_interest(state, trade.position_id, before.borrowed, gain, at)
    yield _executed(trade, position.loan, fill, at, outcome, gas_cost, gas_usd, is_complete=is_complete)
    if fill.dust:
        tokens = trade.pair.base.underlying
        assert tokens is not None, "a trade that leaves base tokens borrows some"
        yield DustKept(at, trade.trade_id, trade.position_id, tokens, fill.dust)
    loan = position.loan
    if before is None and fill.is_collateral_gone and loan is not None and loan.collateral.total:
        yield from list_interest(state, trade.position_id, loan.collateral, -loan.collateral.total, at)


def list_interest(
    state: State, position_id: int, side: LoanSide, quantity: Decimal, at: datetime, notes: str | None = None
) -> Iterator[InterestAccrued]:
    """Yield the event of a side's interest, none when there is none; ``at`` is aware UTC."""
    if not quantity:
        return
    update = BalanceUpdate(
        balance_update_id=state.portfolio.next_balance_update_id,
        cause=BalanceUpdateCause.interest,
        position_type=BalanceUpdatePositionType.open_position,
        asset=side.asset,
        quantity=quantity,
        old_balance=side.total,
        usd_value=float(quantity) * side.last_usd_price,
        block_mined_at=to_naive(at),
        strategy_cycle_included_at=state.last_decision_at,
        previous_update_at=side.interest.last_event_at,
        position_id=position_id,
        notes=notes,
    )
    yield InterestAccrued(at, update)


def _executed(
    trade: TradeExecution,
    loan: Loan | None,
    fill: LoanFill,
    at: datetime,
    outcome: Outcome,
    gas_cost: Decimal,
    gas_usd: float | None,
    *,
    is_complete: bool,
) -> TradeExecuted:
    plan = trade.plan
    assert plan.loan is not None, f"{trade} changes a loan"
    is_short = trade.pair.is_short()
    borrowed = None if loan is None else loan.borrowed
    claimed = _settled(None if loan is None else loan.collateral, plan.loan.claimed_interest, fill.is_collateral_gone)
    repaid = _settled(borrowed, plan.loan.repaid_interest, fill.is_debt_gone)
    if not is_complete:
        claimed = claimed if fill.is_collateral_gone else ZERO
        repaid = repaid if fill.is_debt_gone else ZERO
    collateral = (ZERO if loan is None else loan.collateral.total) + fill.collateral_change
    debt = (ZERO if borrowed is None else borrowed.total) - fill.repaid
    level = None
    if is_short and debt > 0:
        level = liquidation_threshold_of(trade.pair.quote) * float(collateral) / float(debt)
    change = LoanChange(fill.allocation, fill.consumption, claimed, repaid, level)
    fee = trade.pair.get_pricing_pair().fee or 0.0
    swapped = float(fill.consumption) / (1 - fee) if fill.consumption > 0 else -float(fill.consumption)
    return TradeExecuted(
        at,
        trade.trade_id,
        trade.position_id,
        fill.repaid if is_short else fill.collateral_change,
        abs(fill.allocation),
        trade.planned_price if fill.price is None else fill.price,
        swapped * fee if is_short else 0.0,
        outcome.tx_hash,
        outcome.block_number,
        gas_cost,
        change,
        gas_usd,
    )


def _settled(side: LoanSide | None, planned: Decimal, is_gone: bool) -> Decimal:
    """Return how much of a side's interest goes with what was moved."""
    if side is None:
        return ZERO
    outstanding = side.interest.outstanding
    return outstanding if is_gone else max(ZERO, min(planned, outstanding))
