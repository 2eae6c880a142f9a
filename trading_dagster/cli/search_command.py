"""The commands that search parameters by proposals: ``optimise`` and ``walk-forward``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trading_dagster.cli.option import Cash, DataFile, End, NoProgress, Pairs, Start, StrategyFile
from trading_dagster.strategy.parameter_text import parse_period

Searched = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=RANGE",
        help="Integer(5,50), Real(0.5,1) or Categorical(A,B) to search, or one value to change; may be repeated.",
    ),
]
Objective = Annotated[str, typer.Option(help="What to look for: sharpe, profit, calmar, max-drawdown ...")]
Iterations = Annotated[int, typer.Option(help="Points to try.")]
MinTrades = Annotated[int, typer.Option(help="Choose only points with more trades than this.")]
Batch = Annotated[
    int | None, typer.Option(help="Points that are proposed at once; one for each process, but 4 at least, by default.")
]
Seed = Annotated[int, typer.Option(help="Same seed and batch, same points.")]
Rounding = Annotated[str, typer.Option(help="What numbers of Real are multiples of.")]
Timeout = Annotated[float, typer.Option(help="Seconds that a backtest may take; 0 is no limit.")]
Workers = Annotated[int | None, typer.Option(help="Processes; one a processor core by default.")]
Results = Annotated[Path | None, typer.Option(help="Folder that keeps results: an interrupted search goes on from it.")]


def add_search_commands(app: typer.Typer) -> None:
    """Add the commands to the command line."""

    @app.command("optimise")
    def optimise(
        file: StrategyFile,
        start: Start = None,
        end: End = None,
        cash: Cash = None,
        data: DataFile = None,
        pair: Pairs = None,
        settings: Searched = None,
        objective: Objective = "sharpe",
        iterations: Iterations = 100,
        min_trades: MinTrades = 50,
        batch: Batch = None,
        seed: Seed = 1,
        rounding: Rounding = "0.01",
        timeout: Timeout = 600.0,
        workers: Workers = None,
        results: Results = None,
        top: Annotated[int, typer.Option(help="Show so many points.")] = 20,
        table: Annotated[Path | None, typer.Option(help="Write the table of all points to this CSV file.")] = None,
        report: Annotated[Path | None, typer.Option(help="Write figures and table to this HTML file.")] = None,
        no_progress: NoProgress = False,
    ) -> None:
        """Look for the best parameters by proposals, where there are too many to try them all."""
        from trading_dagster.cli.optimise import SearchRequest, run_optimise
        from trading_dagster.research.search_setting import SearchSetting

        search = SearchSetting(
            objective=objective, iterations=iterations, min_trades=min_trades, batch_size=batch, seed=seed,
            rounding=rounding, timeout_s=timeout, max_workers=workers, result_path=results,
        )  # fmt: skip
        request = SearchRequest.parse(file, start, end, cash, data, pair or [], settings or [], search)
        run_optimise(request, top, table, report, show_progress=not no_progress)

    @app.command("walk-forward")
    def walk_forward(
        file: StrategyFile,
        train: Annotated[str, typer.Option(help="Length of what parameters are chosen on: 180d.", show_default=False)],
        test: Annotated[str, typer.Option(help="Length of what is traded with them: 60d.", show_default=False)],
        start: Start = None,
        end: End = None,
        cash: Cash = None,
        data: DataFile = None,
        pair: Pairs = None,
        settings: Searched = None,
        anchored: Annotated[bool, typer.Option("--anchored", help="Choose on everything since the start.")] = False,
        objective: Objective = "sharpe",
        iterations: Iterations = 50,
        min_trades: MinTrades = 50,
        batch: Batch = None,
        seed: Seed = 1,
        rounding: Rounding = "0.01",
        timeout: Timeout = 600.0,
        workers: Workers = None,
        results: Results = None,
        table: Annotated[Path | None, typer.Option(help="Write the table of windows to this CSV file.")] = None,
        report: Annotated[Path | None, typer.Option(help="Write figure and table to this HTML file.")] = None,
        save: Annotated[
            Path | None, typer.Option(help="Write tables and report of the trading out of sample into this folder.")
        ] = None,
        no_progress: NoProgress = False,
    ) -> None:
        """Choose parameters on one range, trade the next with them, and move on: what would that have brought?"""
        from trading_dagster.cli.optimise import SearchRequest
        from trading_dagster.cli.walk_forward import run_walk_forward
        from trading_dagster.research.search_setting import SearchSetting

        lengths = parse_period(f"--train {train}", train), parse_period(f"--test {test}", test)
        search = SearchSetting(
            objective=objective, iterations=iterations, min_trades=min_trades, batch_size=batch, seed=seed,
            rounding=rounding, timeout_s=timeout, max_workers=workers, result_path=results,
        )  # fmt: skip
        request = SearchRequest.parse(file, start, end, cash, data, pair or [], settings or [], search)
        run_walk_forward(request, *lengths, table, report, save, is_anchored=anchored, show_progress=not no_progress)
