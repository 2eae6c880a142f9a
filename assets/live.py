"""The live assets and jobs of deployments."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from trading_dagster.orchestration.live_asset import build_live_assets
from trading_dagster.orchestration.live_definition import build_live_jobs
from trading_dagster.orchestration.live_unit import LiveUnit


def live_assets(units: Sequence[LiveUnit]) -> list[dg.AssetsDefinition]:
    """Return the assets of deployments: universe, indicators, decisions, trades, statistics of each."""
    return [asset for unit in units for asset in build_live_assets(unit)]


def live_jobs(units: Sequence[LiveUnit]) -> list[Any]:
    """Return the jobs of deployments: cycles, checks, what an operator orders."""
    return build_live_jobs(units)
