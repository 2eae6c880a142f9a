"""What the assets of a live cycle do, as plain functions that may be run again at any point."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import require_naive_utc
from trading_dagster.live.cycle import (
    CycleReport,
    complete_cycle,
    decide_cycle,
    execute_cycle,
    skip_cycle,
)
from trading_dagster.live.progress import list_missed, read_progress
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import calculate, load_universe
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.orchestration.live_unit import LiveUnit
from trading_dagster.strategy.indicator_cache import DiskIndicatorCache
from trading_dagster.strategy.indicator_result import IndicatorResults


@dataclass(frozen=True, slots=True)
class CycleStart:
    """What the first step found; ``skipped`` says why the decision time gets no decision, None when it does."""

    decision_at: datetime
    universe: TradingStrategyUniverse
    missed: int
    skipped: str | None


def read_decision_time(text: str, live: LiveStrategy) -> datetime:
    """Return a decision time as it travels in tags and config, naive UTC.

    Raises:
        BadInput: It is no time, in the future, or not on the strategy's grid.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"decision_at is {text!r}: write a UTC time such as 2024-01-31T12:00:00") from None
    at = require_naive_utc(at, "decision_at is")
    newest = live.newest_decision_at()
    if live.cycle_duration.round_down(at) != at:
        raise BadInput(
            f"decision_at is {text}, no decision time of {live.cycle_duration.value} cycles: "
            f"the one before is {live.cycle_duration.round_down(at).isoformat()}"
        )
    if at > newest:
        raise BadInput(f"decision_at is {text}, in the future: the newest decision time is {newest.isoformat()}")
    return at


def start_cycle(unit: LiveUnit, decision_at: datetime, skip_reason: str | None = None) -> CycleStart:
    """Load the universe of a decision time and keep it; record the decision times that were missed, and this if late.

    A decision time that was decided before is started again whatever its age, so that its cycle can be finished.

    Args:
        unit: The deployment.
        decision_at: The decision time, naive UTC.
        skip_reason: Why it is to be recorded as skipped, None when it is to be decided.
    """
    live = unit.open()
    progress = read_progress(live)
    universe = load_universe(live, decision_at)
    cycle = live.cycle_duration.to_timedelta()
    missed = None if progress.has_passed(decision_at) else list_missed(progress, decision_at, cycle)
    count = 0
    if missed is not None:
        count, first, last = missed
        reason = f"{count} decision times from {first} to {last} were missed: nothing ran"
        skip_cycle(live, universe, last, reason)
    late_by = live.now() - decision_at
    is_late = late_by > unit.deployment.max_decision_delay(cycle)
    if not progress.has_passed(decision_at) and (is_late or skip_reason is not None):
        reason = skip_reason or f"it would have been decided {late_by} late"
        skip_cycle(live, universe, decision_at, reason)
        unit.home.write_pairs(unit.id, universe, unit.edition)  # a pair that is gone now is not waited for again
        return CycleStart(decision_at, universe, count, reason)
    unit.home.write_universe(unit.id, decision_at, universe, unit.edition)
    return CycleStart(decision_at, universe, count, None)


def load_cycle(unit: LiveUnit, decision_at: datetime) -> tuple[LiveStrategy, TradingStrategyUniverse]:
    """Return the strategy and the universe that the first step kept; loaded again where that is gone."""
    live = unit.open()
    universe = unit.home.read_universe(unit.id, decision_at)
    if universe is None:
        universe = load_universe(live, decision_at)
        unit.home.write_universe(unit.id, decision_at, universe, unit.edition)
    cache = DiskIndicatorCache(unit.home.cycle_folder(unit.id, decision_at) / "indicators")
    return replace(live, indicator_store=cache), universe


def calculate_step(unit: LiveUnit, decision_at: datetime) -> tuple[TradingStrategyUniverse, IndicatorResults]:
    """Calculate the indicators of a decision time and keep them for the steps after it."""
    live, universe = load_cycle(unit, decision_at)
    return universe, calculate(live, universe)


def decide_step(unit: LiveUnit, decision_at: datetime) -> CycleReport:
    """Decide, once."""
    live, universe = load_cycle(unit, decision_at)
    return decide_cycle(live, universe, calculate(live, universe), decision_at)


def execute_step(unit: LiveUnit, decision_at: datetime) -> CycleReport:
    """Execute what was decided; waits while a person may still approve it."""
    live, universe = load_cycle(unit, decision_at)
    return execute_cycle(live, universe, decision_at)


def complete_step(unit: LiveUnit, decision_at: datetime) -> CycleReport:
    """End the cycle: accounts checked, equity sampled."""
    live, universe = load_cycle(unit, decision_at)
    return complete_cycle(live, universe, calculate(live, universe), decision_at)
