"""The command ``grid-search``: a strategy file with every combination of some parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import typer

from trading_dagster.backtest.plan import universe_input
from trading_dagster.charts.heat_map import visualise_heatmap_2d
from trading_dagster.cli.backtest import BacktestRequest, refuse_unwritable
from trading_dagster.domain.error import BadInput
from trading_dagster.market.source import CandleSource
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.research.grid_combination import GridCombination, prepare_grid_combinations
from trading_dagster.research.grid_result import GridSearchResult
from trading_dagster.research.grid_search import search_grid
from trading_dagster.research.grid_table import COLUMNS, analyse_grid_search_result, render_grid_search_result_table
from trading_dagster.research.search_setting import OF_THE_UNIVERSE
from trading_dagster.storage.file import write_text
from trading_dagster.strategy.execution_context import ExecutionContext, ExecutionMode
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameter_text import is_choice, parse_choices
from trading_dagster.strategy.parameters import StrategyParameters, require_for_backtest

SHOWN = ("Positions", "CAGR", "Max DD", "Sharpe", "Sortino", "Calmar", "Win rate", "Time in market")
SHOWN_FAILURES = 5


@dataclass(frozen=True, slots=True)
class GridRequest:
    """What was asked for on the command line."""

    backtest: BacktestRequest
    combinations: Sequence[GridCombination]

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
        results: Path | None,
    ) -> GridRequest:
        """Read the options; raises BadInput naming the option, its value and what to write instead."""
        single = [setting for setting in settings if not is_choice(setting)]
        request = BacktestRequest.parse(file, start, end, cash, data, pairs, single)
        parameters = request.strategy.parameters
        changes = parse_choices((setting for setting in settings if is_choice(setting)), parameters)
        chosen = parameters.replace(**changes, **request.given)
        combinations = prepare_grid_combinations(chosen, results)
        searched = combinations[0].searched
        if not searched:
            raise BadInput(
                f"There is nothing to search in {file}: give values with --set NAME=[A,B], or as a list in Parameters"
            )
        if unsupported := [name for name in OF_THE_UNIVERSE if name in searched]:
            raise BadInput(f"--set {unsupported[0]}: one search has one universe; run a search for each value")
        return cls(request, combinations)


def run_grid_request(
    request: GridRequest,
    workers: int | None,
    metric: str,
    top: int,
    table: Path | None,
    heat_map: Path | None,
    *,
    show_progress: bool,
) -> None:
    """Run the search, print the best combinations, and write what was asked for."""
    if metric not in COLUMNS:
        raise BadInput(f"--metric {metric}: use one of {', '.join(COLUMNS)}")
    refuse_unwritable("--table", table)
    refuse_unwritable("--heat-map", heat_map)
    searched = request.combinations[0].searched
    if heat_map is not None and len(searched) < 2:
        raise BadInput(f"--heat-map needs two searched parameters, there is {searched[0]} alone")
    every = [each.parameters for each in request.combinations]
    universe = build_common_universe(request.backtest.strategy, every, request.backtest.source)
    found = search_grid(
        request.backtest.strategy, universe, request.combinations, max_workers=workers, progress=show_progress
    )
    analysed = analyse_grid_search_result(found)
    print_best(found, analysed, metric, top)
    if table is not None:
        typer.echo(f"Table: {write_text(analysed.to_csv(), table).absolute()}")
    if heat_map is not None:
        figure = visualise_heatmap_2d(analysed, searched[0], searched[1], metric)
        page = figure.to_html(include_plotlyjs=True, full_html=True)
        typer.echo(f"Heat map: {write_text(page, heat_map).absolute()}")


def build_common_universe(
    strategy: StrategyModule, every: Sequence[StrategyParameters], source: CandleSource | None
) -> TradingStrategyUniverse:
    """Build one universe for all combinations: over the longest range, otherwise with the first one's parameters."""
    for parameters in every:
        require_for_backtest(parameters)
    widest = every[0].replace(
        backtest_start=min(each.backtest_start for each in every), backtest_end=max(each.backtest_end for each in every)
    )
    context = ExecutionContext(
        mode=ExecutionMode.backtesting,
        engine_version=strategy.engine_version,
        grid_search=True,
        parameters=widest,
    )
    return strategy.build_universe(universe_input(widest, context, source))


def print_best(found: Sequence[GridSearchResult], analysed: pd.DataFrame, metric: str, top: int) -> None:
    """Print how many combinations there are, the best of them, and why others failed."""
    failed = [each for each in found if not each.has_result()]
    cached = sum(each.cached for each in found)
    typer.echo(f"\n{len(found)} combinations, {cached} of them from earlier searches, {len(failed)} failed\n")
    shown = [metric, *(name for name in SHOWN if name != metric)]
    best = analysed.sort_values(metric, ascending=False, kind="stable", na_position="last").head(top)
    typer.echo(render_grid_search_result_table(best)[shown].to_string())
    for each in failed[:SHOWN_FAILURES]:
        lines = str(each.exception).splitlines() or [""]
        typer.echo(f"\nFailed {each.get_label()}: {type(each.exception).__name__}: {lines[0]}", err=True)
    typer.echo("\nThe best of many is better than it will be: try its neighbours, and a range it was not chosen on.")
