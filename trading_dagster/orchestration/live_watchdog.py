"""The watchdog: alarms when a cycle is overdue, ends runs that hang, closes runs whose process is gone."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from trading_dagster.domain.error import TradingDagsterError
from trading_dagster.domain.message import MessageKind
from trading_dagster.live.progress import Progress, read_progress
from trading_dagster.orchestration.live_alarm import send_alarm
from trading_dagster.orchestration.live_process import find_process
from trading_dagster.orchestration.live_unit import STRATEGY_TAG, LiveUnit

logger = logging.getLogger(__name__)

NAME = "live_watchdog"
INTERVAL_S = 15
MARGIN = timedelta(minutes=15)
PATIENCE = timedelta(seconds=10)
"""How long a run that was told to end may take, before its process is killed."""
RUNNING = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


@dataclass(frozen=True, slots=True)
class WatchCursor:
    """What the watchdog remembers: overdue decision times it told of, by deployment; when it told runs to end."""

    alarmed: dict[str, str] = field(default_factory=dict)
    ending: dict[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> WatchCursor:
        """Return the cursor of a text; a new one for none, and for one of another version: alarms come once more."""
        if not text:
            return cls()
        try:
            fields = json.loads(text)
            return cls({str(k): str(v) for k, v in fields["alarmed"].items()}, dict(fields["ending"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("The watchdog's cursor %s is none of this version (%s): it begins anew", text[:200], error)
            return cls()

    def __str__(self) -> str:
        """Return it as JSON."""
        return json.dumps({"alarmed": self.alarmed, "ending": self.ending}, sort_keys=True)


def build_watchdog(units: Sequence[LiveUnit]) -> dg.SensorDefinition:
    """Return the sensor that watches all deployments. It begins turned on; it asks for no runs."""

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alarms when a live cycle is overdue; ends live runs that hang or whose process is gone.",
    )
    def watchdog(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor, notes = WatchCursor.parse(context.cursor), []
        for unit in units:
            cursor, found = watch(unit, context.instance, cursor, datetime.now(UTC))
            notes += found
        reason = "\n".join(notes) or f"{len(units)} deployments are as they must be"
        return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=str(cursor))

    return watchdog


def watch(
    unit: LiveUnit, instance: dg.DagsterInstance, cursor: WatchCursor, now: datetime
) -> tuple[WatchCursor, list[str]]:
    """Look after one deployment once; returns what to remember and what was found, in words.

    Args:
        unit: The deployment.
        instance: The Dagster home.
        cursor: What was remembered.
        now: The present by the wall clock, aware UTC.
    """
    cursor, notes = _end_stuck_runs(unit, instance, cursor, now)
    try:
        late = find_overdue(unit, instance)
    except TradingDagsterError as error:
        late = f"it cannot be looked at: {error}"
    if late is None:
        alarmed = {name: told for name, told in cursor.alarmed.items() if name != unit.id}
        return replace(cursor, alarmed=alarmed), notes
    key = late.partition(";")[0]
    if cursor.alarmed.get(unit.id) != key:
        send_alarm(unit, MessageKind.watchdog, "a cycle is overdue", late)
        cursor = replace(cursor, alarmed={**cursor.alarmed, unit.id: key})
    return cursor, [*notes, f"{unit.id}: {late}"]


def find_overdue(unit: LiveUnit, instance: dg.DagsterInstance) -> str | None:
    """Return why a deployment is late, None when it is not, is turned off or never decided."""
    if not is_turned_on(unit, instance):
        return None
    live = unit.observe()
    cycle = live.cycle_duration.to_timedelta()
    patience = 2 * cycle + MARGIN * unit.deployment.speed
    return judge_overdue(read_progress(live), live.now(), cycle, patience)


def judge_overdue(progress: Progress, now: datetime, cycle: timedelta, patience: timedelta) -> str | None:
    """Return why cycles are late, None when they are not; times are naive UTC, what is before ``;`` stays the same."""
    if progress.open_decision_at is not None and now - progress.open_decision_at > patience - cycle:
        return f"the cycle of {progress.open_decision_at} did not end; it is {now}"
    if progress.last_decision_at is not None and now - progress.last_decision_at > patience:
        return f"nothing was decided after {progress.last_decision_at}; it is {now}, cycles last {cycle}"
    return None


def is_turned_on(unit: LiveUnit, instance: dg.DagsterInstance) -> bool:
    """Tell whether the sensor or schedule that begins a deployment's cycles is turned on."""
    names = {unit.name(what) for what in ("data", "timer", "schedule")}
    return any(state.is_running for state in instance.all_instigator_state() if state.instigator_name in names)


def _end_stuck_runs(
    unit: LiveUnit, instance: dg.DagsterInstance, cursor: WatchCursor, now: datetime
) -> tuple[WatchCursor, list[str]]:
    notes, ending = [], dict(cursor.ending)
    for tag in (unit.id, f"{unit.id}/trigger_check"):
        wanted = dg.RunsFilter(tags={STRATEGY_TAG: tag}, statuses=list(RUNNING))
        for record in instance.get_run_records(wanted):
            run = record.dagster_run
            began = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp(), UTC)
            note = _end_run(unit, instance, run, now - began, ending, now)
            if note is not None:
                notes.append(f"{unit.id}: {note}")
                send_alarm(unit, MessageKind.watchdog, f"run {run.run_id[:8]} was ended", note)
    running = {run_id: since for run_id, since in ending.items() if _is_running(instance, run_id)}
    return replace(cursor, ending=running), notes


def _end_run(
    unit: LiveUnit,
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    age: timedelta,
    ending: dict[str, float],
    now: datetime,
) -> str | None:
    """Do what is next about a run: nothing, close it, tell it to end, kill it; returns what was done."""
    process = find_process(run)
    label = f"run {run.run_id} of {run.job_name}"
    if process is not None and process.is_alive() is False and age > PATIENCE:
        instance.report_run_failed(run, f"The process {process} that ran it is gone.")
        return f"{label} was closed: its process {process} is gone"
    timeout = unit.deployment.run_timeout(unit.module.parameters.cycle_duration.to_timedelta())
    if age <= timeout:
        return None
    told_at = ending.get(run.run_id)
    if told_at is None:
        ending[run.run_id] = now.timestamp()
        _terminate(instance, run)
        return f"{label} takes {age}, longer than {timeout}: it was told to end"
    if now.timestamp() - told_at < PATIENCE.total_seconds():
        return None
    killed = process is not None and process.kill()
    instance.report_run_failed(run, "The watchdog ended it: it did not end when told to.")
    return f"{label} did not end when told to: it was closed{f' and process {process} killed' if killed else ''}"


def _terminate(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    try:
        instance.run_coordinator.cancel_run(run.run_id)
    except Exception as error:  # noqa: BLE001 - whatever a launcher raises, the next look kills the process
        logger.warning("Run %s could not be told to end: %s", run.run_id, error)


def _is_running(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and not run.is_finished
