"""The command ``demo``: the example strategy, partition by partition, in a local Dagster home."""

from __future__ import annotations

from pathlib import Path

import typer

from trading_dagster.cli.backtest import print_summary
from trading_dagster.orchestration.driver import backtest_in_home
from trading_dagster.orchestration.home import DEFAULT_HOME
from trading_dagster.orchestration.progress import SilentProgress, TerminalProgress
from trading_dagster.orchestration.strategy_file import find_demo_strategy
from trading_dagster.strategy.module import load_strategy_file


def run_demo(home: Path, *, show_progress: bool) -> None:
    """Materialize the whole backtest of the example strategy and say where its results are."""
    strategy = load_strategy_file(find_demo_strategy())
    typer.echo(f"Backtesting {strategy.path} on the embedded candles, recorded in the Dagster home {home.absolute()}")
    progress = TerminalProgress() if show_progress else SilentProgress()
    result, folder = backtest_in_home(strategy, home, progress)
    print_summary(result)
    option = "" if home == DEFAULT_HOME else f" --home {home}"
    typer.echo(f"Report: {folder.report}")
    typer.echo(f"Lineage, partitions, checks and pictures in the Dagster UI: trading-dagster up{option}")
