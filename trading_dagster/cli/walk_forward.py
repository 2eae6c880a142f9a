"""The command ``walk-forward``: what choosing parameters on the past would have brought in the time after."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import pandas as pd
import typer

from trading_dagster.cli.backtest import print_summary, refuse_unwritable
from trading_dagster.cli.optimise import SearchRequest
from trading_dagster.research.search_report import write_walk_forward_report
from trading_dagster.research.walk_forward import WalkForwardOptions, walk_strategy_forward
from trading_dagster.research.walk_forward_result import WalkForwardResult
from trading_dagster.storage.file import write_text

FRACTIONS = ("Return", "CAGR", "Max DD", "Deflated Sharpe")


def run_walk_forward(
    request: SearchRequest,
    train: timedelta,
    test: timedelta,
    table: Path | None,
    report: Path | None,
    save: Path | None,
    *,
    is_anchored: bool,
    show_progress: bool,
) -> None:
    """Walk forward, print the windows and the trading out of sample, and write what was asked for."""
    for option, path in (("--report", report), ("--table", table), ("--save", save)):
        refuse_unwritable(option, path)
    universe = request.build_universe()
    walk = WalkForwardOptions(train, test, is_anchored)
    result = walk_strategy_forward(
        request.strategy, universe, request.parameters, request.options, walk, progress=show_progress
    )
    print_walk(result)
    if table is not None:
        typer.echo(f"Table: {write_text(result.table.to_csv(), table).absolute()}")
    if report is not None:
        typer.echo(f"Report: {write_walk_forward_report(report, request.objective, result).absolute()}")
    if save is not None:
        typer.echo(f"Saved to {result.backtest.save(save).absolute()}")


def print_walk(result: WalkForwardResult) -> None:
    """Print the table of windows, and the key figures of what was traded out of sample."""
    typer.echo(f"\n{len(result.steps)} windows; IS: in sample, OOS: out of sample\n")
    typer.echo(render_windows(result.table).to_string())
    kept = sum(step.is_kept for step in result.steps)
    if kept:
        typer.echo(f"\nIn {kept} windows no point could be chosen: they kept the parameters of the one before.")
    print_summary(result.backtest)
    efficiency = result.efficiency
    text = "-, as the growth in sample is not above 0" if math.isnan(efficiency) else f"{efficiency:.2f}"
    typer.echo(f"Efficiency, CAGR out of sample ÷ in sample: {text}")


def render_windows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of windows as text, a column a window."""
    columns = [str(name) for name in table.columns]
    shown = {
        f"#{number}": [_cell(name, value) for name, value in zip(columns, row, strict=True)]
        for number, row in zip(table.index, table.itertuples(index=False, name=None), strict=True)
    }
    return pd.DataFrame(shown, index=columns)


def _cell(column: str, value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}" if value == value.normalize() else f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "-"
    is_measure = column.startswith(("IS ", "OOS ")) or column in ("Optim", "Efficiency", *FRACTIONS)
    if not is_measure:
        return f"{value:g}"
    return f"{value:.2%}" if column.removeprefix("IS ").removeprefix("OOS ") in FRACTIONS else f"{value:.2f}"
