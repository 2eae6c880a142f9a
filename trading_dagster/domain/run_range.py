"""Where a run stands: its range, its clock and the live decision that is not completed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from trading_dagster.domain.time import CycleDuration


@dataclass(slots=True)
class BacktestData:
    """The range of a backtest; naive UTC, end exclusive. ``ready_at``: from here it counts as strategy start."""

    start_at: datetime
    end_at: datetime
    decision_cycle_duration: CycleDuration
    ready_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenDecision:
    """A live cycle that decided and is not completed. ``decision_at`` is naive UTC, trades are in running order."""

    cycle: int
    decision_at: datetime
    trade_ids: tuple[int, ...]
    position_ids: tuple[int, ...]


class CycleClock(Protocol):
    """What tells which cycle of a run it is."""

    index: int
    grid_us: Sequence[int]
