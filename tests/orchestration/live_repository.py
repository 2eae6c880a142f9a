"""The live job of a test's deployment as Dagster loads it again, for re-execution."""

from functools import cache
from pathlib import Path

import dagster as dg
from orchestration.live_deployment import STRATEGY as STRATEGY_FILE
from orchestration.live_deployment import make_unit

from trading_dagster.live.clock import ManualClock
from trading_dagster.orchestration.live_asset import build_live_assets
from trading_dagster.orchestration.live_definition import build_live_jobs
from trading_dagster.orchestration.live_unit import LiveUnit

__all__ = ["STRATEGY_FILE", "make_definitions", "make_live_job", "unit_of"]


@cache
def unit_of(folder: str) -> tuple[LiveUnit, ManualClock]:
    return make_unit(Path(folder))


def make_definitions(unit: LiveUnit) -> dg.Definitions:
    return dg.Definitions(assets=build_live_assets(unit), jobs=build_live_jobs([unit]), executor=dg.in_process_executor)


def make_live_job(folder: str) -> dg.JobDefinition:
    unit, _ = unit_of(folder)
    return make_definitions(unit).resolve_job_def(unit.group)
