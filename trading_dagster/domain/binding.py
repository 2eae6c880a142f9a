"""What a live ledger is bound to, and whether it was ended: folded from its events, apart from what it counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from trading_dagster.domain.error import LedgerError
from trading_dagster.domain.event import LedgerBound, LedgerEnded
from trading_dagster.domain.purse import Purse
from trading_dagster.domain.time import to_naive


@dataclass(slots=True)
class Binding:
    """Whose money a ledger counts, None in backtests and before its first live step; ``ended_at`` is naive UTC."""

    purse: Purse | None = None
    ended_at: datetime | None = None
    end_reason: str = ""

    def bind(self, event: LedgerBound) -> None:
        """Fold; raises LedgerError for a ledger that is bound to something else."""
        if self.purse is not None and self.purse != event.purse:
            raise LedgerError(f"The ledger counts the money of {self.purse}, it cannot count that of {event.purse} too")
        self.purse = event.purse

    def end(self, event: LedgerEnded) -> None:
        """Fold; a ledger ends once."""
        if self.ended_at is not None:
            raise LedgerError(f"The ledger was ended at {self.ended_at} already")
        self.ended_at, self.end_reason = to_naive(event.at), f"{event.by}: {event.reason}"
