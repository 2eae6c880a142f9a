"""The command ``optimise``: the best parameters of a strategy file, looked for by proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from trading_dagster.charts.grid_curve import (
    visualise_grid_search_equity_curves,
    visualise_single_grid_search_result_benchmark,
)
from trading_dagster.charts.optimisation import (
    visualise_optimisation,
    visualise_parameter_importance,
    visualise_parameter_slices,
)
from trading_dagster.charts.search_page import SearchParts, write_search_page
from trading_dagster.cli.backtest import BacktestRequest, refuse_unwritable
from trading_dagster.cli.grid_search import OF_THE_UNIVERSE, build_common_universe
from trading_dagster.domain.error import BadInput, SearchFailed
from trading_dagster.market.source import CandleSource
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.research.grid_table import render_grid_search_result_table
from trading_dagster.research.objective import OBJECTIVES, MinTradeCountFilter
from trading_dagster.research.optimiser import OptimiserOptions, optimise_strategy
from trading_dagster.research.optimiser_result import OptimiserResult, analyse_optimiser_result
from trading_dagster.research.search_space import SearchSpace, prepare_optimiser_parameters
from trading_dagster.storage.file import write_text
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameter_text import is_choice, is_dimension, parse_choices, parse_dimensions
from trading_dagster.strategy.parameters import StrategyParameters

SHOWN = ("Optim", "Positions", "CAGR", "Max DD", "Sharpe", "Sortino", "Calmar", "Win rate", "Time in market")
FIXED = (*OF_THE_UNIVERSE, "backtest_start", "backtest_end")
SHOWN_FAILURES = 5


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What was asked for on the command line."""

    strategy: StrategyModule
    parameters: StrategyParameters
    options: OptimiserOptions
    objective: str
    source: CandleSource | None

    @classmethod
    def parse(
        cls,
        file: Path,
        start: str | None,
        end: str | None,
        cash: float | None,
        data: Path | None,
        pairs: Sequence[str],
        settings: Sequence[str],
        *,
        objective: str,
        iterations: int,
        min_trades: int,
        batch: int | None,
        seed: int,
        rounding: str,
        timeout: float,
        workers: int | None,
        results: Path | None,
    ) -> SearchRequest:
        """Read the options; raises BadInput naming the option, its value and what to write instead."""
        if objective not in OBJECTIVES:
            raise BadInput(f"--objective {objective}: use one of {', '.join(OBJECTIVES)}")
        try:
            step = Decimal(rounding)
        except InvalidOperation:
            raise BadInput(f"--rounding is {rounding!r}: give a number such as 0.01") from None
        single = [setting for setting in settings if not is_choice(setting) and not is_dimension(setting)]
        request = BacktestRequest.parse(file, start, end, cash, data, pairs, single)
        parameters = request.strategy.parameters
        given = {"backtest_start": request.start, "backtest_end": request.end, "initial_cash": request.cash}
        changed = parameters.replace(
            **parse_choices(filter(is_choice, settings), parameters),
            **parse_dimensions(filter(is_dimension, settings), parameters),
            **{name: value for name, value in given.items() if value is not None},
        )
        try:
            prepared = prepare_optimiser_parameters(changed)
        except BadInput as error:
            raise BadInput(f'{file}: {error}; on the command line --set "NAME=Integer(5,50)"') from None
        searched = SearchSpace(prepared, step).names
        if refused := [name for name in FIXED if name in searched]:
            raise BadInput(f"--set {refused[0]}: a search has one universe and range; run one for each value")
        options = OptimiserOptions(
            iterations=iterations,
            search_func=OBJECTIVES[objective],
            result_filter=MinTradeCountFilter(min_trades),
            batch_size=batch,
            rounding=step,
            timeout_s=timeout or None,
            seed=seed,
            max_workers=workers,
            result_path=results,
        )
        return cls(request.strategy, prepared, options, objective, request.source)

    def build_universe(self) -> TradingStrategyUniverse:
        """Build the universe with the first value of every dimension: none of them has a part in it."""
        space = SearchSpace(self.parameters, self.options.rounding)
        first = space.parameters_at(tuple(axis.low for axis in space.axes.values()))
        return build_common_universe(self.strategy, [first], self.source)


def run_optimise(
    request: SearchRequest, top: int, table: Path | None, report: Path | None, *, show_progress: bool
) -> None:
    """Run the search, print the best points, and write what was asked for."""
    refuse_unwritable("--report", report)
    refuse_unwritable("--table", table)
    universe = request.build_universe()
    found = optimise_strategy(request.strategy, universe, request.parameters, request.options, progress=show_progress)
    print_found(found, top)
    everything = analyse_optimiser_result(found, max_search_results=len(found.tried), exclude_filtered=False)
    if table is not None:
        typer.echo(f"Table: {write_text(everything.to_csv(), table).absolute()}")
    if report is not None:
        subtitle = f"{len(found.tried)} points, looking for {request.objective}"
        parts = draw_found(found, universe, everything, request.objective)
        typer.echo(f"Report: {write_search_page(report, request.strategy.name, subtitle, parts).absolute()}")


def print_found(found: OptimiserResult, top: int) -> None:
    """Print how many points there are, the best of them, what matters, and why others failed."""
    typer.echo(
        f"\n{found.get_combination_count()} points, {found.get_cached_count()} of them from earlier searches, "
        f"{found.get_failed_count()} failed, {found.get_filtered_count()} filtered\n"
    )
    failed = [each.result for each in found.tried if each.result is not None and not each.result.has_result()]
    for each in failed[:SHOWN_FAILURES]:
        lines = str(each.exception).splitlines() or [""]
        typer.echo(f"Failed {each.get_label()}: {type(each.exception).__name__}: {lines[0]}", err=True)
    if found.best is None:
        raise SearchFailed(found.explain_no_best())
    best = analyse_optimiser_result(found, max_search_results=top)
    typer.echo(render_grid_search_result_table(best)[list(SHOWN)].to_string())
    if found.importances:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in found.importances.items())
        typer.echo(f"\nWhat tells good points from the rest: {shares}")
    deflated = found.get_deflated_sharpe()
    typer.echo(f"Probability that the best Sharpe ratio is more than the luck of so many tries: {deflated:.0%}")
    typer.echo("\nThe best of many is better than it will be: try walk-forward, which trades what comes after.")


def draw_found(
    found: OptimiserResult, universe: TradingStrategyUniverse, everything: pd.DataFrame, objective: str
) -> SearchParts:
    """Return the figures and the table of a search by their headings."""
    parts: dict[str, Any] = {
        "Progress": visualise_optimisation(found.history, name=objective),
        "Importance": visualise_parameter_importance(found.importances),
        "Parameters": visualise_parameter_slices(everything.rename(columns={"Optim": objective}), objective),
    }
    best = None if found.best is None else found.best.result
    if best is not None:
        parts["Best point"] = visualise_single_grid_search_result_benchmark(best, universe)
    parts["All points"] = visualise_grid_search_equity_curves(found.get_results_as_grid_search_results())
    parts["Table"] = everything
    return parts
