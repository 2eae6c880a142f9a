"""Write what a search came to as one page: figures and table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from trading_dagster.charts.grid_curve import (
    visualise_grid_search_equity_curves,
    visualise_single_grid_search_result_benchmark,
)
from trading_dagster.charts.optimisation import (
    visualise_optimisation,
    visualise_parameter_importance,
    visualise_parameter_slices,
    visualise_walk_forward,
)
from trading_dagster.charts.search_page import write_search_page
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.research.optimiser_result import OptimiserResult, analyse_optimiser_result
from trading_dagster.research.walk_forward_result import WalkForwardResult


def write_optimiser_report(
    path: Path, name: str, objective: str, found: OptimiserResult, universe: TradingStrategyUniverse
) -> Path:
    """Write how a search went, what matters, the best point beside holding, and the table; returns where."""
    table = tabulate_all(found)
    parts: dict[str, Any] = {
        "Progress": visualise_optimisation(found.history, name=objective),
        "Importance": visualise_parameter_importance(found.importances),
        "Parameters": visualise_parameter_slices(table.rename(columns={"Optim": objective}), objective),
    }
    best = None if found.best is None else found.best.result
    if best is not None:
        parts["Best point"] = visualise_single_grid_search_result_benchmark(best, universe)
    parts["All points"] = visualise_grid_search_equity_curves(found.get_results_as_grid_search_results())
    parts["Table"] = table
    return write_search_page(path, name, f"{len(found.tried)} points, looking for {objective}", parts)


def write_walk_forward_report(path: Path, objective: str, result: WalkForwardResult) -> Path:
    """Write the equity out of sample and the table of windows; returns where."""
    parts: dict[str, Any] = {
        "Equity out of sample": visualise_walk_forward(result.equity_curve, result.table),
        "Windows": result.table,
    }
    subtitle = f"{len(result.steps)} windows, looking for {objective}"
    return write_search_page(path, result.backtest.plan.name, subtitle, parts)


def tabulate_all(found: OptimiserResult) -> pd.DataFrame:
    """Return the table of all points, those that may not be chosen last."""
    return analyse_optimiser_result(found, max_search_results=len(found.tried), exclude_filtered=False)
