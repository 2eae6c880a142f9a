"""How far a deployment's ledger is, read without its lease: for those who plan runs and those who watch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from trading_dagster.domain.event import CycleCompleted, CycleSkipped
from trading_dagster.domain.time import from_unix_us
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.storage.ledger_store import LedgerStore
from trading_dagster.storage.strategy_ledger import StrategyLedger

CHUNK = 256


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a ledger stands; times are naive UTC.

    Attributes:
        last_decision_at: The newest decision time that was decided or skipped, None before the first.
        open_decision_at: A decision time that was decided and whose cycle is not completed.
    """

    last_decision_at: datetime | None = None
    open_decision_at: datetime | None = None

    def has_passed(self, decision_at: datetime) -> bool:
        """Tell whether a decision time was decided or skipped."""
        return self.last_decision_at is not None and decision_at <= self.last_decision_at


def read_progress(live: LiveStrategy) -> Progress:
    """Return where a deployment's ledger stands; its cost does not grow with the ledger."""
    state = StrategyLedger(live.store, live.id).load()
    if state is None:
        return Progress()
    return Progress(state.last_decision_at, None if state.decision is None else state.decision.decision_at)


def find_cycle_end(store: LedgerStore, strategy_id: str) -> datetime | None:
    """Return when the last cycle ended or was skipped, naive UTC by the deployment's clock; None before the first."""
    end = store.head(strategy_id)
    names = (CycleCompleted.__name__, CycleSkipped.__name__)
    while end > 0:
        begin = max(0, end - CHUNK)
        for row in reversed(store.read(strategy_id, begin)):
            if row.type in names:
                return from_unix_us(row.at_us)
        end = begin
    return None


def list_missed(progress: Progress, decision_at: datetime, cycle: timedelta) -> tuple[int, datetime, datetime] | None:
    """Return how many decision times were missed before one, and the first and last of them; None for none."""
    last = progress.last_decision_at
    if last is None or decision_at - last <= cycle:
        return None
    count = (decision_at - last) // cycle - (0 if (decision_at - last) % cycle else 1)
    return count, decision_at - count * cycle, decision_at - cycle
