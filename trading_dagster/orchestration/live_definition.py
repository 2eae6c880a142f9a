"""The Dagster definitions of the deployments found: jobs, schedules and sensors; see live_asset for the assets."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from trading_dagster.domain.error import BadConfiguration, BadInput
from trading_dagster.live.deployment_file import find_deployment_files, read_deployments
from trading_dagster.orchestration.live_asset import build_cycle_job
from trading_dagster.orchestration.live_failure import build_failure_sensor
from trading_dagster.orchestration.live_job import build_check_jobs, build_operator_jobs
from trading_dagster.orchestration.live_schedule import build_check_schedule, build_cycle_schedule
from trading_dagster.orchestration.live_sensor import build_check_sensor, build_cycle_sensor
from trading_dagster.orchestration.live_unit import LiveUnit
from trading_dagster.orchestration.live_watchdog import build_watchdog

logger = logging.getLogger(__name__)


def find_units(files: Iterable[Path] | None = None) -> list[LiveUnit]:
    """Return the deployments that can be used; the others are logged as errors, so that one does not stop the rest."""
    try:
        found = find_deployment_files() if files is None else list(files)
    except BadConfiguration as error:
        logger.error("No deployments: %s", error)  # noqa: TRY400 - the message says it all
        return []
    units = []
    for deployment in read_deployments(found):
        if isinstance(deployment, BadConfiguration):
            logger.error("Deployment left out: %s", deployment)
            continue
        try:
            unit = LiveUnit(deployment)
            build_cycle_schedule(unit, unit.group)
        except BadInput as error:
            logger.error("Deployment left out: %s: %s", deployment.file, error)  # noqa: TRY400 - the message says it all
            continue
        units.append(unit)
    return units


def build_live_jobs(units: Sequence[LiveUnit]) -> list[Any]:
    """Return the jobs of deployments: cycles, checks, and what an operator orders."""
    jobs: list[Any] = []
    for unit in units:
        jobs += [build_cycle_job(unit), *build_check_jobs(unit), *build_operator_jobs(unit)]
    return jobs


def build_live_schedules(units: Sequence[LiveUnit]) -> list[dg.ScheduleDefinition]:
    """Return the schedules of deployments that go by the wall clock."""
    schedules: list[dg.ScheduleDefinition] = []
    for unit in units:
        schedule = build_cycle_schedule(unit, unit.group)
        schedules += [] if schedule is None else [schedule]
        if not unit.deployment.is_replay:
            schedules += [build_check_schedule(unit, unit.name(what), every) for what, every in _regular_checks(unit)]
    return schedules


def build_live_sensors(units: Sequence[LiveUnit]) -> list[dg.SensorDefinition]:
    """Return the sensors of deployments, and those that watch all of them; none when there are no deployments."""
    sensors: list[dg.SensorDefinition] = [build_watchdog(units), build_failure_sensor(units)] if units else []
    for unit in units:
        sensor = build_cycle_sensor(unit, unit.group)
        sensors += [] if sensor is None else [sensor]
        if unit.deployment.is_replay:
            sensors += [build_check_sensor(unit, unit.name(what), every) for what, every in _regular_checks(unit)]
    return sensors


def _regular_checks(unit: LiveUnit) -> Iterator[tuple[str, int]]:
    """Yield what is done between cycles and every how many minutes."""
    deployment = unit.deployment
    every = {
        "trigger_check": deployment.trigger_check_minutes,
        "revaluation": deployment.revaluation_minutes,
        "treasury": deployment.treasury_minutes,
    }
    yield from ((what, minutes) for what, minutes in every.items() if minutes)
