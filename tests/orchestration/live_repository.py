"""The live job of a test's deployment as Dagster loads it again, for re-execution."""

from functools import cache
from pathlib import Path

import dagster as dg
from orchestration.live_deployment import make_unit

from trading_dagster.live.clock import ManualClock
from trading_dagster.orchestration.live_asset import build_cycle_job, build_live_assets
from trading_dagster.orchestration.live_unit import LiveUnit


@cache
def unit_of(folder: str) -> tuple[LiveUnit, ManualClock]:
    return make_unit(Path(folder))


def make_live_job(folder: str) -> dg.JobDefinition:
    unit, _ = unit_of(folder)
    definitions = dg.Definitions(
        assets=build_live_assets(unit), jobs=[build_cycle_job(unit)], executor=dg.in_process_executor
    )
    return definitions.resolve_job_def(unit.group)
