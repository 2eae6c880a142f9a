"""The schedules and sensors of deployments: what begins cycles and checks, the watchdog, the failure alarm."""

from collections.abc import Sequence

import dagster as dg

from trading_dagster.orchestration.live_definition import build_live_schedules, build_live_sensors
from trading_dagster.orchestration.live_unit import LiveUnit


def live_schedules(units: Sequence[LiveUnit]) -> list[dg.ScheduleDefinition]:
    """Return the schedules of deployments."""
    return build_live_schedules(units)


def live_sensors(units: Sequence[LiveUnit]) -> list[dg.SensorDefinition]:
    """Return the sensors of deployments."""
    return build_live_sensors(units)
