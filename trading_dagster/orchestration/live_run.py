"""Runs of live jobs: how a cycle's run is asked for, and which runs are not finished."""

from __future__ import annotations

from datetime import datetime

import dagster as dg

from trading_dagster.orchestration.live_unit import DECISION_TAG, SKIP_TAG, LiveUnit

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def cycle_request(unit: LiveUnit, decision_at: datetime, skip_reason: str | None = None) -> dg.RunRequest:
    """Ask for the run of a decision time, naive UTC: to decide it, or to record that it is skipped."""
    key = f"{unit.id}:{decision_at.isoformat()}"
    tags = {DECISION_TAG: decision_at.isoformat()}
    if skip_reason is None:
        return dg.RunRequest(run_key=key, tags=tags)
    return dg.RunRequest(run_key=f"{key}:skip", tags={**tags, SKIP_TAG: skip_reason})


def find_unfinished(instance: dg.DagsterInstance, job_name: str) -> str | None:
    """Return the id of a run of a job that is not finished, None for none."""
    found = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=list(UNFINISHED)), limit=1)
    return found[0].run_id if found else None
