"""Beginning in the middle of a ledger: a State from totals and the events that still matter.

A live cycle is often a fresh process, and must not replay all that ever happened. Of what a ledger adds up to

- totals (cash, counters, dust, times) are in a checkpoint,
- pairs, flows of money and blacklisted tokens are folded again from their own, few events,
- positions that are open, pending or frozen are folded again from their events,
- what interest made of their loans is in the checkpoint: it accrues in every cycle,
- positions that ended, and values a strategy stored, are fetched when somebody asks for them.

The result equals the replay of the whole ledger. What it costs grows with the events of live positions and the number
of flows, not with the number of cycles or ended positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.archive import ArchivedPositions, PositionArchive
from trading_dagster.domain.error import LedgerError
from trading_dagster.domain.event import BalanceUpdated, DataSaved, Event, StateCreated, TradeStarted
from trading_dagster.domain.loan import InterestTracker, Loan, LoanSide
from trading_dagster.domain.position import Marks
from trading_dagster.domain.run_range import OpenDecision
from trading_dagster.domain.state import State

PLENTY = Decimal(10) ** 24
"""Cash while old events are folded again: no buy of theirs lacks money, and the totals replace it afterwards."""


@dataclass(frozen=True, slots=True)
class SideTotals:
    """One side of a loan, in its tokens; ``accrued_at`` is naive UTC."""

    quantity: Decimal
    opening_amount: Decimal
    accrued: Decimal
    settled: Decimal
    accrued_at: datetime

    @classmethod
    def of(cls, side: LoanSide) -> SideTotals:
        """Return the totals of a side."""
        tracker = side.interest
        return cls(side.quantity, tracker.opening_amount, tracker.accrued, tracker.settled, tracker.last_event_at)

    def restore(self, side: LoanSide) -> LoanSide:
        """Return a side of the same token with these totals."""
        tracker = InterestTracker(self.opening_amount, self.accrued, self.settled, self.accrued_at)
        return LoanSide(side.asset, self.quantity, tracker, side.last_usd_price)


@dataclass(frozen=True, slots=True)
class LoanTotals:
    """A loan; ``borrowed`` is None for a credit supply."""

    collateral: SideTotals
    borrowed: SideTotals | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Totals of a ledger up to an event.

    Attributes:
        at: Time of the newest event, aware UTC.
        cycle: Number of the next cycle.
        last_cycle_at: Decision time of the last cycle; naive UTC, as all times below.
        last_updated_at: When the last cycle ended.
        ready_at: From when the strategy counts as started.
        last_decision_at: The newest live decision time that was decided or skipped.
        decision: The live cycle that decided and is not completed.
        cash: Reserve tokens.
        next_position_id: As in Portfolio, like the counters below.
        dust: Left-overs of closed positions, by asset identifier.
        reserve_synced_at: When cash last changed without a trade.
        treasury_updated_at: When a balance last changed without a trade.
        treasury_cycle_at: The cycle that was included in.
        share_count: Shares of the strategy.
        live_position_ids: Positions that did not end.
        allocations: Buys of live positions that took another amount than planned out of cash, by trade id.
        loans: Loans of live positions, by position id: they hold all interest up to the checkpoint.
        interest_synced_at: Up to when interest accrued.
        closed_count: How many positions closed.
        expired_count: How many positions were dropped before their first trade began.
    """

    at: datetime
    cycle: int
    last_cycle_at: datetime | None
    last_updated_at: datetime | None
    ready_at: datetime | None
    last_decision_at: datetime | None
    decision: OpenDecision | None
    cash: Decimal
    next_position_id: int
    next_trade_id: int
    next_balance_update_id: int
    trade_count: int
    dust: Mapping[str, Decimal]
    reserve_synced_at: datetime | None
    treasury_updated_at: datetime | None
    treasury_cycle_at: datetime | None
    share_count: Decimal | None
    live_position_ids: tuple[int, ...]
    allocations: Mapping[int, Decimal]
    loans: Mapping[int, LoanTotals]
    interest_synced_at: datetime | None
    closed_count: int
    expired_count: int


@dataclass(frozen=True, slots=True)
class Archives:
    """Where a restored state finds what its checkpoint leaves out."""

    closed: PositionArchive
    expired: PositionArchive
    load_data: Callable[[], Iterable[DataSaved]]


def take_checkpoint(state: State, allocations: Mapping[int, Decimal]) -> Checkpoint:
    """Return the totals of a state whose buys took these amounts out of cash where they differ from the plan."""
    portfolio, treasury = state.portfolio, state.sync.treasury
    live = (*portfolio.open_positions, *portfolio.pending_positions, *portfolio.frozen_positions)
    return Checkpoint(
        at=state.clock_at(),
        cycle=state._cycle,
        last_cycle_at=state._last_cycle_at,
        last_updated_at=state.last_updated_at,
        ready_at=state.ready_at,
        last_decision_at=state.last_decision_at,
        decision=state.decision,
        cash=portfolio.reserve.quantity,
        next_position_id=portfolio.next_position_id,
        next_trade_id=portfolio.next_trade_id,
        next_balance_update_id=portfolio.next_balance_update_id,
        trade_count=portfolio.trade_count,
        dust={asset.get_identifier(): quantity for asset, quantity in portfolio.dust.items()},
        reserve_synced_at=portfolio.reserve.last_sync_at,
        treasury_updated_at=treasury.last_updated_at,
        treasury_cycle_at=treasury.last_cycle_at,
        share_count=treasury.share_count,
        live_position_ids=tuple(sorted(live)),
        allocations=dict(allocations),
        loans={p.position_id: _totals_of(loan) for p in portfolio.loan_positions.values() if (loan := p.loan)},
        interest_synced_at=state.sync.interest_last_sync_at,
        closed_count=len(portfolio.closed_positions),
        expired_count=len(portfolio.expired_positions),
    )


def restore_state(
    created: StateCreated,
    checkpoint: Checkpoint,
    events: Iterable[Event],
    latest_data: Iterable[DataSaved],
    archives: Archives,
    marks: Marks | None = None,
) -> State:
    """Return the state at a checkpoint.

    Args:
        created: The first event of the ledger.
        checkpoint: Its totals.
        events: In order: pairs, flows, blacklisted tokens, and all events of live positions up to the checkpoint.
        latest_data: The newest value of each name that a strategy stored.
        archives: What is fetched later.
        marks: Prices to value positions with.
    """
    state = State(created, marks)
    live = set(checkpoint.live_position_ids)
    state.is_restoring = True
    for event in events:
        if isinstance(event, BalanceUpdated) and event.update.position_id not in (None, *live):
            state.sync.treasury.note_flow(event.update)
        else:
            _fold_again(state, event, checkpoint.allocations)
    portfolio, treasury = state.portfolio, state.sync.treasury
    found = {*portfolio.open_positions, *portfolio.pending_positions, *portfolio.frozen_positions}
    if found != live:
        raise LedgerError(f"The checkpoint has live positions {sorted(live)}, their events give {sorted(found)}")
    state.is_restoring = False
    for position_id, totals in checkpoint.loans.items():
        position = portfolio.loan_positions[position_id]
        loan = position.loan
        if loan is None:
            raise LedgerError(f"The checkpoint has a loan of {position}, its events give none")
        position.restore_loan(_restore_loan(loan, totals))
    traded = [asset for pair in state.known_pairs.values() for asset in (pair.base, pair.quote)]
    underlying = [asset.underlying for asset in traded if asset.underlying is not None]
    assets = {asset.get_identifier(): asset for asset in (*underlying, *traded)}
    portfolio.dust = {assets[key]: quantity for key, quantity in checkpoint.dust.items()}
    portfolio.reserve.quantity = checkpoint.cash
    portfolio.reserve.last_sync_at = portfolio.reserve.last_pricing_at = checkpoint.reserve_synced_at
    portfolio.next_position_id = checkpoint.next_position_id
    portfolio.next_trade_id = checkpoint.next_trade_id
    portfolio.next_balance_update_id = checkpoint.next_balance_update_id
    portfolio.trade_count = checkpoint.trade_count
    portfolio.closed_positions = ArchivedPositions(archives.closed, checkpoint.closed_count)
    portfolio.expired_positions = ArchivedPositions(archives.expired, checkpoint.expired_count)
    treasury.last_updated_at = checkpoint.treasury_updated_at
    treasury.last_cycle_at = checkpoint.treasury_cycle_at
    treasury.share_count = checkpoint.share_count
    state.sync.interest_last_sync_at = checkpoint.interest_synced_at
    state._cycle = checkpoint.cycle
    state._last_cycle_at = checkpoint.last_cycle_at
    state.last_updated_at = checkpoint.last_updated_at
    state.ready_at = checkpoint.ready_at
    state.last_decision_at = checkpoint.last_decision_at
    state.decision = checkpoint.decision
    state._now = checkpoint.at
    state.other_data.restore(latest_data, archives.load_data)
    state.take_events()
    return state


def fold_ended_positions(
    created: StateCreated, events: Iterable[Event], allocations: Mapping[int, Decimal], marks: Marks
) -> State:
    """Return a state that holds nothing but the positions of some events; only its positions mean anything."""
    state = State(created, marks)
    for event in events:
        _fold_again(state, event, allocations)
    return state


def _totals_of(loan: Loan) -> LoanTotals:
    borrowed = None if loan.borrowed is None else SideTotals.of(loan.borrowed)
    return LoanTotals(SideTotals.of(loan.collateral), borrowed)


def _restore_loan(loan: Loan, totals: LoanTotals) -> Loan:
    borrowed = loan.borrowed
    if borrowed is not None and totals.borrowed is not None:
        borrowed = totals.borrowed.restore(borrowed)
    return Loan(loan.pair, totals.collateral.restore(loan.collateral), borrowed)


def _fold_again(state: State, event: Event, allocations: Mapping[int, Decimal]) -> None:
    """Fold an event out of its context; a buy takes out of cash what it took then."""
    cash = PLENTY
    if isinstance(event, TradeStarted):
        cash = allocations.get(event.trade_id, PLENTY)
    state.portfolio.reserve.quantity = cash
    state.apply(event)
