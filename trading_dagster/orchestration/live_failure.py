"""Tell a person when a live run fails."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from trading_dagster.domain.message import MessageKind
from trading_dagster.orchestration.live_alarm import send_alarm
from trading_dagster.orchestration.live_unit import DECISION_TAG, PREFIX, STRATEGY_TAG, LiveUnit

NAME = "live_failures"


def build_failure_sensor(units: Sequence[LiveUnit]) -> dg.SensorDefinition:
    """Return the sensor that sends an alarm for every run of a deployment that failed; it begins turned on."""
    by_id = {unit.id: unit for unit in units}

    @dg.run_failure_sensor(
        name=NAME,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=5,
        description="Sends an alarm when a live run fails.",
    )
    def failures(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        unit = by_id.get(find_deployment(context.dagster_run) or "")
        if unit is None:
            return dg.SkipReason(f"{context.dagster_run.job_name} is no live run")
        run = context.dagster_run
        send_alarm(
            unit, MessageKind.failure, f"run {run.run_id[:8]} of {run.job_name} failed", describe_failure(context)
        )
        return None

    return failures


def find_deployment(run: dg.DagsterRun) -> str | None:
    """Return the id of the deployment that a run belongs to, also one of assets that somebody materialized by hand."""
    tagged = run.tags.get(STRATEGY_TAG)
    if tagged is not None:
        return tagged.partition("/")[0]
    keys = run.asset_selection or frozenset()
    return next((key.path[1] for key in keys if key.path[0] == PREFIX and len(key.path) == 3), None)


def describe_failure(context: dg.RunFailureSensorContext) -> str:
    """Return which run failed at which step and why."""
    run = context.dagster_run
    lines = [f"Run {run.run_id}, decision time {run.tags.get(DECISION_TAG, 'none')}"]
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        said = data.user_failure_data.description if data.user_failure_data is not None else None
        error = data.error
        while error is not None and error.cause is not None:
            error = error.cause
        reason = said or ("" if error is None else error.message.strip())
        lines.append(f"{event.step_key}: {reason or 'no message'}")
    if len(lines) == 1:
        lines.append(context.failure_event.message or "It ended without a message: was its process killed?")
    return "\n".join(lines)
