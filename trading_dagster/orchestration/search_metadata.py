"""What the Dagster UI shows of a search for parameters, while it runs and when it is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from trading_dagster.charts.figure_picture import paint_figure
from trading_dagster.charts.optimisation import visualise_optimisation, visualise_walk_forward
from trading_dagster.domain.error import SearchFailed
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.orchestration.key_figure import frame_to_markdown
from trading_dagster.orchestration.metadata import MAX_ROWS, Metadata, describe_result, picture
from trading_dagster.orchestration.search_asset import SearchConfig
from trading_dagster.research.grid_table import render_grid_search_result_table
from trading_dagster.research.objective import OptimiserSearchResult
from trading_dagster.research.optimiser import describe_best
from trading_dagster.research.optimiser_result import OptimiserResult, analyse_optimiser_result
from trading_dagster.research.search_report import tabulate_all, write_optimiser_report, write_walk_forward_report
from trading_dagster.research.walk_forward_result import WalkForwardResult, WalkForwardStep
from trading_dagster.storage.file import write_text

SHOWN = ["Optim", "Positions", "CAGR", "Max DD", "Sharpe", "Calmar", "Win rate"]


def log_batch(
    context: dg.AssetExecutionContext, config: SearchConfig
) -> Callable[[Sequence[OptimiserSearchResult]], None]:
    """Return what logs how far an optimisation is."""
    return lambda tried: context.log.info(f"{len(tried)} of {config.iterations} points, {describe_best(tried)}")


def log_window(context: dg.AssetExecutionContext) -> Callable[[WalkForwardStep], None]:
    """Return what logs what each window of a walk-forward chose."""
    return lambda step: context.log.info(f"Window {step.window.label}: {_text(step.chosen)}")


def describe_optimisation(
    found: OptimiserResult, universe: TradingStrategyUniverse, name: str, objective: str, folder: Path
) -> Metadata:
    """Write table and report of an optimisation; returns where they are, the best points, numbers and a picture.

    Raises:
        SearchFailed: No point can be chosen.
    """
    best = found.best
    if best is None or best.combination is None or best.result is None:
        raise SearchFailed(found.explain_no_best())
    report = write_optimiser_report(folder / "optimisation.html", name, objective, found, universe)
    write_text(tabulate_all(found).to_csv(), folder / "optimisation.csv")
    table = render_grid_search_result_table(analyse_optimiser_result(found, MAX_ROWS))[SHOWN].reset_index()
    figure = visualise_optimisation(found.history, name=objective)
    numbers = {
        "points": found.get_combination_count(),
        "points_from_earlier_searches": found.get_cached_count(),
        "points_failed": found.get_failed_count(),
        "points_filtered": found.get_filtered_count(),
        f"best_{objective}": best.get_original_value(),
        "deflated_sharpe": found.get_deflated_sharpe(),
        **{f"importance_{each}": share for each, share in found.importances.items()},
    }
    return {
        "best": _text(best.combination.get_searched()),
        "table": dg.MetadataValue.md(frame_to_markdown(table)),
        "progress": picture(paint_figure(figure), "Progress of the search"),
        **_finite(numbers),
        **_where(report),
    }


def describe_walk_forward(result: WalkForwardResult, objective: str, folder: Path) -> Metadata:
    """Write table and report of a walk-forward; returns where they are, the windows, key figures and pictures."""
    report = write_walk_forward_report(folder / "walk_forward.html", objective, result)
    write_text(result.table.to_csv(), folder / "walk_forward.csv")
    figure = visualise_walk_forward(result.equity_curve, result.table)
    return {
        **describe_result(result.backtest),
        "windows": dg.MetadataValue.md(frame_to_markdown(result.table.reset_index().map(_cell))),
        "equity_of_windows": picture(paint_figure(figure), "Equity out of sample"),
        "last_choice": _text(result.steps[-1].chosen),
        **_finite({"window_count": len(result.steps), "efficiency": result.efficiency}),
        **_where(report),
    }


def _text(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def _cell(value: Any) -> Any:
    return f"{value:.3g}" if isinstance(value, float) else value


def _finite(numbers: Mapping[str, float]) -> Metadata:
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _where(report: Path) -> Metadata:
    return {"path": dg.MetadataValue.path(report), "url": dg.MetadataValue.url(report.absolute().as_uri())}
