"""One process that trades a deployment: cycles, trigger checks and the rest on their times, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from trading_dagster.live.cycle import CycleReport, CycleStatus, complete_cycle, decide_cycle, execute_cycle, skip_cycle
from trading_dagster.live.deployment import Deployment
from trading_dagster.live.deployment_time import CycleOffset, DataAvailability
from trading_dagster.live.message import failure_message
from trading_dagster.live.progress import find_cycle_end, list_missed, read_progress
from trading_dagster.live.revaluation import revalue, sync_treasury
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.live.universe import calculate, describe_pairs, load_universe
from trading_dagster.market.availability import AvailabilitySource
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.orchestration.live_availability import Poll, PollCursor, judge_poll
from trading_dagster.orchestration.live_timing import Due, judge_offset, judge_since_end

logger = logging.getLogger(__name__)

IDLE_S = 1.0
"""How long the process sleeps when nothing is due, seconds."""
PAUSE_S = 15.0
"""How long a job that failed is left alone, seconds."""


TRIGGER_CHECK = "trigger check"


class Stopped(Exception):
    """The process was asked to stop."""


@dataclass(slots=True)
class Job:
    """Something done every so often; ``next_at`` is naive UTC of the strategy's clock."""

    name: str
    every: timedelta
    run: Callable[[], object]
    next_at: datetime


class LiveWorker:
    """Runs the jobs of one deployment until it is told to stop; an error of one job leaves the others alone.

    Nothing is kept in memory that matters: another process, or Dagster, may take over at any moment.
    """

    def __init__(
        self,
        deployment: Deployment,
        live: LiveStrategy,
        *,
        is_stopping: Callable[[], bool],
        wait: Callable[[float], object],
    ) -> None:
        """Take a deployment.

        Args:
            deployment: Says when.
            live: Says what.
            is_stopping: Asked between steps.
            wait: Waits some seconds by the wall clock, less when the process is to stop.
        """
        self.deployment = deployment
        self.live = live
        self.completed = 0
        self._is_stopping = is_stopping
        self._wait = wait
        self._cursor = PollCursor()
        self._cycle_after = live.now()
        self._universe: TradingStrategyUniverse | None = None
        self._jobs = list(self._make_jobs())

    def run(self, max_cycles: int | None = None) -> int:
        """Work until asked to stop, or for some cycles; returns how many ended."""
        try:
            while max_cycles is None or self.completed < max_cycles:
                self._stop_here()
                is_idle = not self._run_due_cycle()
                for job in self._jobs:
                    self._stop_here()
                    if self.live.now() >= job.next_at:
                        self._attempt(job.name, job.run)
                        job.next_at = max(job.next_at + job.every, self.live.now())
                        is_idle = False
                if is_idle:
                    self._wait(IDLE_S)
        except Stopped:
            logger.info("%s stops as it was asked to", self.live.id)
        return self.completed

    def _make_jobs(self) -> Iterator[Job]:
        now, deployment, live = self.live.now(), self.deployment, self.live
        for name, minutes, run in (
            (TRIGGER_CHECK, deployment.trigger_check_minutes, check_triggers),
            ("revaluation", deployment.revaluation_minutes, revalue),
            ("treasury sync", deployment.treasury_minutes, sync_treasury),
        ):
            if minutes:
                every = timedelta(minutes=minutes)
                yield Job(name, every, partial(run, live), now + every)

    def _stop_here(self) -> None:
        if self._is_stopping():
            raise Stopped

    def _attempt(self, name: str, job: Callable[[], object]) -> bool:
        """Run a job; an error is logged, and told by the step in which it happened. Tells whether it went well."""
        try:
            job()
        except Stopped:
            raise
        except Exception:
            logger.exception("%s: %s failed; the other jobs go on", self.live.id, name)
            return False
        return True

    # -- cycles ---------------------------------------------------------------------------------------------------

    def _run_due_cycle(self) -> bool:
        if self.live.now() < self._cycle_after:
            return False
        due: list[datetime] = []
        is_well = self._attempt("looking for a due cycle", lambda: due.extend(self._find_due()))
        for decision_at in due:
            is_well = self._attempt(f"the cycle of {decision_at}", partial(self._run_cycle, decision_at))
        speed, trigger = self.deployment.speed, self.deployment.trigger
        poll_s = trigger.poll_seconds if isinstance(trigger, DataAvailability) else 0.0
        pause_s = max(poll_s, IDLE_S * speed) if is_well else PAUSE_S * speed
        self._cycle_after = self.live.now() + timedelta(seconds=pause_s)
        return bool(due)

    def _find_due(self) -> list[datetime]:
        """Return the decision time whose cycle is to be run now, if any."""
        live, trigger, now = self.live, self.deployment.trigger, self.live.now()
        progress, duration = read_progress(live), live.cycle_duration
        length = duration.to_timedelta()
        if isinstance(trigger, DataAvailability):
            return self._poll(now) or _or_open(progress.open_decision_at)
        if isinstance(trigger, CycleOffset):
            outcome = judge_offset(duration, self.deployment.offset(length), now, progress)
        else:
            outcome = judge_since_end(duration, find_cycle_end(live.store, live.id), now, progress)
        return [outcome.decision_at] if isinstance(outcome, Due) else _or_open(progress.open_decision_at)

    def _poll(self, now: datetime) -> list[datetime]:
        live, source = self.live, self.live.source
        length = live.cycle_duration.to_timedelta()
        progress, newest = read_progress(live), live.newest_decision_at()
        if progress.has_passed(newest):
            self._cursor = PollCursor()
            return []
        if not isinstance(source, AvailabilitySource):
            return [newest]
        if self._universe is None:
            self._universe = self._load(newest)
        pairs = source.read_availability(describe_pairs(self._universe), self._universe.time_bucket)
        poll = Poll(now, newest, length, self.deployment.max_data_delay(length), progress, pairs)
        outcome = judge_poll(self._cursor, poll)
        self._cursor = outcome.cursor
        if outcome.skip_at is not None:
            skip_cycle(live, self._load(outcome.skip_at), outcome.skip_at, outcome.reason)
        return [] if outcome.run_at is None else [outcome.run_at]

    def _run_cycle(self, decision_at: datetime) -> None:
        live = self.live
        universe = self._universe = self._load(decision_at)
        if self._skip_what_passed(decision_at, universe):
            return
        indicators = calculate(live, universe)
        steps: list[Callable[[], CycleReport]] = [
            partial(decide_cycle, live, universe, indicators, decision_at),
            partial(execute_cycle, live, universe, decision_at, self._wait_for_approval),
            partial(complete_cycle, live, universe, indicators, decision_at),
        ]
        for step in steps:
            self._stop_here()
            report = step()
            for note in report.notes:
                logger.warning("%s: %s", live.id, note)
            logger.info("%s: cycle %s of %s: %s", live.id, report.cycle, decision_at, report.status.value)
            if report.status is CycleStatus.skipped:
                return
        self.completed += 1

    def _skip_what_passed(self, decision_at: datetime, universe: TradingStrategyUniverse) -> bool:
        """Record the decision times that were missed; tells whether this one is too late, too."""
        live = self.live
        progress, length = read_progress(live), live.cycle_duration.to_timedelta()
        if progress.has_passed(decision_at):
            return False
        missed = list_missed(progress, decision_at, length)
        if missed is not None:
            count, first, last = missed
            skip_cycle(live, universe, last, f"{count} decision times from {first} to {last} were missed: nothing ran")
        late_by = live.now() - decision_at
        if late_by <= self.deployment.max_decision_delay(length):
            return False
        skip_cycle(live, universe, decision_at, f"it would have been decided {late_by} too late")
        return True

    def _wait_for_approval(self, seconds: float) -> None:
        self._stop_here()
        for job in self._jobs:
            if job.name == TRIGGER_CHECK and self.live.now() >= job.next_at:
                self._attempt(job.name, job.run)
                job.next_at = max(job.next_at + job.every, self.live.now())
        self._wait(seconds)

    def _load(self, at: datetime) -> TradingStrategyUniverse:
        live = self.live
        try:
            return load_universe(live, at)
        except Exception as error:
            live.reporter.report(failure_message(live.id, "loading the universe", error, live.clock.now()))
            raise


def _or_open(decision_at: datetime | None) -> list[datetime]:
    """Return the decision time of a cycle that an earlier process left open: it is gone on with."""
    return [] if decision_at is None else [decision_at]
