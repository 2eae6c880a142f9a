"""The command ``optimise``: the best parameters of a strategy file, looked for by proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from trading_dagster.cli.backtest import BacktestRequest, refuse_unwritable
from trading_dagster.cli.grid_search import build_common_universe
from trading_dagster.domain.error import SearchFailed
from trading_dagster.market.source import CandleSource
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.research.grid_table import render_grid_search_result_table
from trading_dagster.research.optimiser import OptimiserOptions, optimise_strategy
from trading_dagster.research.optimiser_result import OptimiserResult, analyse_optimiser_result
from trading_dagster.research.search_report import tabulate_all, write_optimiser_report
from trading_dagster.research.search_setting import SearchSetting
from trading_dagster.research.search_space import SearchSpace
from trading_dagster.storage.file import write_text
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameter_text import is_choice, is_dimension
from trading_dagster.strategy.parameters import StrategyParameters

SHOWN = ("Optim", "Positions", "CAGR", "Max DD", "Sharpe", "Sortino", "Calmar", "Win rate", "Time in market")
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
        search: SearchSetting,
    ) -> SearchRequest:
        """Read the options; raises BadInput naming the option, its value and what to write instead."""
        single = [setting for setting in settings if not is_choice(setting) and not is_dimension(setting)]
        request = BacktestRequest.parse(file, start, end, cash, data, pairs, single)
        changed = request.strategy.parameters.replace(**request.given)
        prepared, options = search.read(changed, [setting for setting in settings if setting not in single])
        return cls(request.strategy, prepared, options, search.objective, request.source)

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
    if table is not None:
        typer.echo(f"Table: {write_text(tabulate_all(found).to_csv(), table).absolute()}")
    if report is not None:
        path = write_optimiser_report(report, request.strategy.name, request.objective, found, universe)
        typer.echo(f"Report: {path.absolute()}")


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
