"""The schedules of a deployment, by the wall clock in UTC: cycles, and the checks between them.

Dagster does not catch up: after an outage only the newest missed tick comes, however old it is. It is traded until the
next decision time; the run that follows records the decision times that were missed.
"""

from datetime import UTC, datetime

import dagster as dg

from trading_dagster.domain.time import to_naive
from trading_dagster.live.deployment_time import CycleOffset
from trading_dagster.live.progress import read_progress
from trading_dagster.orchestration.failure import explain_failures
from trading_dagster.orchestration.live_run import cycle_request, find_unfinished
from trading_dagster.orchestration.live_timing import Due, is_check_due, judge_tick, write_check_cron, write_cycle_cron
from trading_dagster.orchestration.live_unit import LiveUnit

Tick = dg.RunRequest | dg.SkipReason


def initial_status(unit: LiveUnit) -> dg.DefaultScheduleStatus:
    """Return whether schedules begin turned on: only when the deployment's file says so."""
    return dg.DefaultScheduleStatus.RUNNING if unit.deployment.autostart else dg.DefaultScheduleStatus.STOPPED


def build_cycle_schedule(unit: LiveUnit, job_name: str) -> dg.ScheduleDefinition | None:
    """Return the schedule that begins a deployment's cycles; None where a sensor does.

    Raises:
        BadConfiguration: Cycles are shorter than a minute, or the offset is not of whole minutes or too long.
    """
    if not isinstance(unit.deployment.trigger, CycleOffset) or unit.deployment.is_replay:
        return None
    duration = unit.module.parameters.cycle_duration
    offset = unit.deployment.offset(duration.to_timedelta())

    @dg.schedule(
        name=unit.name("schedule"),
        job_name=job_name,
        cron_schedule=write_cycle_cron(duration, offset),
        execution_timezone="UTC",
        default_status=initial_status(unit),
        description=f"Begins a cycle of {unit.id} every {duration.value}, {offset} after the decision time.",
        tags=unit.tags,
    )
    def cycle(context: dg.ScheduleEvaluationContext) -> Tick:
        scheduled_at = to_naive(context.scheduled_execution_time.astimezone(UTC))
        with explain_failures():
            live = unit.observe()
            due = judge_tick(duration, offset, scheduled_at, live.now(), read_progress(live))
        return cycle_request(unit, due.decision_at) if isinstance(due, Due) else dg.SkipReason(due.reason)

    return cycle


def build_check_schedule(unit: LiveUnit, job_name: str, minutes: int) -> dg.ScheduleDefinition:
    """Return the schedule that runs a check every so many minutes; a tick is left out while one still runs."""

    @dg.schedule(
        name=f"{job_name}_schedule",
        job_name=job_name,
        cron_schedule=write_check_cron(minutes),
        execution_timezone="UTC",
        default_status=initial_status(unit),
        description=f"Runs {job_name} every {minutes} minutes.",
        tags=unit.tags,
    )
    def check(context: dg.ScheduleEvaluationContext) -> Tick:
        scheduled_at = context.scheduled_execution_time
        if not is_check_due(minutes, scheduled_at):
            return dg.SkipReason(f"it runs every {minutes} minutes, which cron cannot say: not at this one")
        if (datetime.now(UTC) - scheduled_at).total_seconds() >= 60 * minutes:
            return dg.SkipReason("the tick was missed, the next one does")
        running = find_unfinished(context.instance, job_name)
        if running is not None:
            return dg.SkipReason(f"the run {running} of this job is not finished")
        return dg.RunRequest()

    return check
