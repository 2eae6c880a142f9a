"""What a live ledger tells about the past: which decision times were traded or skipped, and what stood in the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.error import LedgerError
from trading_dagster.domain.event import (
    BalanceUpdated,
    CycleCompleted,
    CycleDecided,
    CycleSkipped,
    Event,
    PositionFrozen,
    PositionUnfrozen,
)
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive, to_unix_us
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.treasury import BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.storage.event_codec import EventDecoder
from trading_dagster.storage.ledger_store import LedgerStore, Sample

FLOWS = frozenset(
    {BalanceUpdateCause.deposit, BalanceUpdateCause.redemption, BalanceUpdateCause.deposit_and_redemption}
)


@dataclass(frozen=True, slots=True)
class PastDecision:
    """A cycle that decided; times are naive UTC, ``completed_at`` None when it never ended."""

    cycle: int
    decision_at: datetime
    decided_at: datetime
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FrozenTime:
    """A position that was put aside, naive UTC; ``until`` None when it still is."""

    pair: TradingPairIdentifier
    since: datetime
    until: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Money that was put in (above 0) or taken out; reserve tokens, at the step that booked it, naive UTC."""

    at: datetime
    amount: Decimal


@dataclass(frozen=True)
class LedgerHistory:
    """A ledger read as a whole.

    Attributes:
        state: What it adds up to.
        decisions: Cycles that decided, by decision time.
        skipped: Why decision times got no decision.
        decision_of: Decision time of each trade that a cycle decided, by trade id.
        frozen: When positions were put aside.
        flows: Deposits and redemptions of reserve.
        samples: Equity over time.
    """

    state: State
    decisions: Mapping[datetime, PastDecision]
    skipped: Mapping[datetime, str]
    decision_of: Mapping[int, datetime]
    frozen: Sequence[FrozenTime]
    flows: Sequence[Flow]
    samples: Sequence[Sample]

    @property
    def first_decision_at(self) -> datetime:
        """Return the first decision time that was decided or skipped; raises LedgerError when there is none."""
        times = [*self.decisions, *self.skipped]
        if not times:
            raise LedgerError(f"{self.state.name} has not decided anything yet: run a cycle first")
        return min(times)

    @property
    def last_decision_at(self) -> datetime:
        """Return the last decision time that was decided or skipped; raises LedgerError when there is none."""
        return max(self.first_decision_at, *self.decisions, *self.skipped)

    @property
    def trades(self) -> list[TradeExecution]:
        """Return every trade that was ever planned, also those that never ran, by id."""
        portfolio = self.state.portfolio
        positions = (*portfolio.get_all_positions(pending=True), *portfolio.expired_positions.values())
        return sorted((t for position in positions for t in position.trades.values()), key=lambda t: t.trade_id)

    def time_of(self, trade: TradeExecution) -> datetime:
        """Return the decision time of a trade; of one that no cycle decided when it was planned, naive UTC."""
        return self.decision_of.get(trade.trade_id, trade.opened_at)

    def why_skipped(self, at: datetime) -> str | None:
        """Return why a decision time got no decision, None when it got one or nothing is recorded about it.

        Decision times that were missed in a row are recorded once, with the last of them.
        """
        if at in self.decisions:
            return None
        later = min((time for time in (*self.decisions, *self.skipped) if time >= at), default=at)
        return self.skipped.get(later)

    def find_frozen(self, pair: TradingPairIdentifier, at: datetime) -> FrozenTime | None:
        """Return what kept a pair from being traded at a time."""
        found = (f for f in self.frozen if f.pair == pair and f.since <= at and (f.until is None or at < f.until))
        return next(found, None)

    def equity_after(self, decision: PastDecision) -> float | None:
        """Return the equity that a cycle recorded at its end, USD; None when it never ended."""
        if decision.completed_at is None:
            return None
        first, last = to_unix_us(decision.decided_at), to_unix_us(decision.completed_at)
        found = [sample.equity for sample in self.samples if first <= sample.at_us <= last]
        return found[-1] if found else None


def read_history(store: LedgerStore, strategy_id: str, pairs: Iterable[TradingPairIdentifier] = ()) -> LedgerHistory:
    """Read a whole ledger; raises LedgerError when there is none.

    Args:
        store: Where it is kept.
        strategy_id: Whose ledger it is.
        pairs: Pairs of a universe, which the history then refers to.
    """
    rows = store.read(strategy_id)
    if not rows:
        raise LedgerError(f"{strategy_id} has no ledger: check the id, and that it is the ledger it trades with")
    events = EventDecoder(pairs).decode_all(row.body for row in rows)
    return fold_history(list(events), store.read_samples(strategy_id))


def fold_history(events: Sequence[Event], samples: Sequence[Sample] = ()) -> LedgerHistory:
    """Return what the events of a ledger tell."""
    state = State.replay(events)
    decisions: dict[datetime, PastDecision] = {}
    skipped: dict[datetime, str] = {}
    decision_of: dict[int, datetime] = {}
    frozen: dict[int, tuple[datetime, str]] = {}
    past_frozen: list[tuple[int, datetime, datetime | None, str]] = []
    flows: list[Flow] = []
    newest: PastDecision | None = None
    for event in events:
        at = to_naive(event.at)
        if isinstance(event, CycleDecided):
            decision_at = to_naive(event.decision_at)
            newest = decisions[decision_at] = PastDecision(event.cycle, decision_at, at)
            decision_of |= dict.fromkeys(event.trade_ids, decision_at)
        elif isinstance(event, CycleCompleted) and newest is not None and event.cycle == newest.cycle:
            decisions[newest.decision_at] = PastDecision(newest.cycle, newest.decision_at, newest.decided_at, at)
        elif isinstance(event, CycleSkipped):
            skipped[to_naive(event.decision_at)] = event.reason
        elif isinstance(event, PositionFrozen):
            frozen.setdefault(event.position_id, (at, event.reason))
        elif isinstance(event, PositionUnfrozen) and event.position_id in frozen:
            since, reason = frozen.pop(event.position_id)
            past_frozen.append((event.position_id, since, at, reason))
        elif isinstance(event, BalanceUpdated):
            update = event.update
            if update.position_type is BalanceUpdatePositionType.reserve and update.cause in FLOWS:
                flows.append(Flow(update.strategy_cycle_included_at or at, update.quantity))
    past_frozen += [(position_id, since, None, reason) for position_id, (since, reason) in frozen.items()]
    return LedgerHistory(
        state=state,
        decisions=decisions,
        skipped=skipped,
        decision_of=decision_of,
        frozen=[_frozen_time(state, *each) for each in past_frozen],
        flows=flows,
        samples=samples,
    )


def _frozen_time(state: State, position_id: int, since: datetime, until: datetime | None, reason: str) -> FrozenTime:
    position = state.portfolio.get_position_by_id(position_id)
    return FrozenTime(position.pair, since, until or position.closed_at, reason)
