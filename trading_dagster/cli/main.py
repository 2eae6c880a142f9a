"""The entry point ``trading-dagster``: which commands there are, and how their errors are told.

Commands import what they need when they run, so that ``backtest`` does not wait for Dagster or plotly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from trading_dagster.cli.data_app import data_app
from trading_dagster.cli.data_chain import export_rates, import_chain
from trading_dagster.cli.live import live_app
from trading_dagster.cli.option import (
    DEFAULT_HOME,
    Cash,
    DataFile,
    End,
    Home,
    NoProgress,
    Pairs,
    Settings,
    Start,
    StrategyFile,
)
from trading_dagster.cli.search_command import add_search_commands
from trading_dagster.domain.error import BadInput, TradingDagsterError

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2


class ErrorShell(TyperGroup):
    """Tells an error of the engine in one message: exit code 2 for bad input, 1 for everything else."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; with --debug errors keep their traceback."""
        try:
            return super().invoke(ctx)
        except TradingDagsterError as error:
            if ctx.params.get("debug"):
                raise
            typer.echo(f"Error: {error}", err=True)
            ctx.exit(EXIT_BAD_INPUT if isinstance(error, BadInput) else EXIT_FAILED)


app = typer.Typer(
    cls=ErrorShell,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Algorithmic trading: one strategy file, backtested and traded live, on Dagster.",
)
data_app.command("chain")(import_chain)
data_app.command("rates")(export_rates)
app.add_typer(data_app, name="data")
app.add_typer(live_app, name="live")


@app.callback()
def main_options(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False) -> None:
    """Algorithmic trading: one strategy file, backtested and traded live, on Dagster."""
    del debug  # read by ErrorShell


@app.command()
def demo(home: Home = DEFAULT_HOME, no_progress: NoProgress = False) -> None:
    """Backtest the example strategy on embedded real candles, as Dagster assets in a local home."""
    from trading_dagster.cli.demo import run_demo

    run_demo(home, show_progress=not no_progress)


@app.command()
def backtest(
    file: StrategyFile,
    start: Start = None,
    end: End = None,
    cash: Cash = None,
    data: DataFile = None,
    pair: Pairs = None,
    settings: Settings = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report to this file.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write tables, metrics and report into this folder.")] = None,
    charts: Annotated[
        Path | None, typer.Option(help="Write the strategy's own charts into this folder: HTML, PNG, CSV.")
    ] = None,
    no_progress: NoProgress = False,
) -> None:
    """Backtest a strategy file in one piece and print its key figures."""
    from trading_dagster.cli.backtest import BacktestRequest, run_request

    request = BacktestRequest.parse(file, start, end, cash, data, pair or [], settings or [])
    run_request(request, report, save, charts, show_progress=not no_progress)


@app.command("grid-search")
def grid_search(
    file: StrategyFile,
    start: Start = None,
    end: End = None,
    cash: Cash = None,
    data: DataFile = None,
    pair: Pairs = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=[A,B]", help="Values to search, or one to change; may be repeated."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder that keeps results: an interrupted search goes on from it.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one a processor core by default.")] = None,
    metric: Annotated[str, typer.Option(help="Column of the table to order by.")] = "Sharpe",
    top: Annotated[int, typer.Option(help="Show so many combinations.")] = 20,
    table: Annotated[Path | None, typer.Option(help="Write the whole table to this CSV file.")] = None,
    heat_map: Annotated[Path | None, typer.Option(help="Write a heat map to this HTML file.")] = None,
    no_progress: NoProgress = False,
) -> None:
    """Backtest every combination of some parameters and print the best."""
    from trading_dagster.cli.grid_search import GridRequest, run_grid_request

    request = GridRequest.parse(file, start, end, cash, data, pair or [], settings or [], results)
    run_grid_request(request, workers, metric, top, table, heat_map, show_progress=not no_progress)


add_search_commands(app)


@app.command("check-bias")
def check_bias(
    file: StrategyFile,
    start: Start = None,
    end: End = None,
    data: DataFile = None,
    pair: Pairs = None,
    settings: Settings = None,
    no_progress: NoProgress = False,
) -> None:
    """Find out whether a strategy looks into the future; exit code 1 when it does."""
    from trading_dagster.cli.backtest import BacktestRequest
    from trading_dagster.cli.bias import run_bias_check

    request = BacktestRequest.parse(file, start, end, None, data, pair or [], settings or [])
    if not run_bias_check(request, show_progress=not no_progress):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def port(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Strategy file or notebook.", show_default=False)],
    output: Annotated[Path | None, typer.Option(help="Write here and leave FILE as it is.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; only say what porting would do.")] = False,
) -> None:
    """Rewrite a strategy written for trade-executor; exit code 1 when something is left to do by hand."""
    from trading_dagster.cli.port import run_port

    if not run_port(file, output, only_checks=check):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def up(
    home: Home = DEFAULT_HOME,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 3000,
) -> None:
    """Open the Dagster UI with its daemon on the local home; stop it with Ctrl-C."""
    from trading_dagster.cli.up import serve

    serve(home, host, port)


@app.command()
def version() -> None:
    """Print the version."""
    from trading_dagster import __version__

    typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
