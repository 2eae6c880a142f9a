"""The command ``backtest``: one strategy file, in one piece, without Dagster."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import typer

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.cli.setting import parse_pair
from trading_dagster.domain.error import BadConfiguration, ParameterMissing
from trading_dagster.market.file_source import FileSource
from trading_dagster.market.source import CandleSource
from trading_dagster.orchestration.key_figure import calculate_key_figures, format_table, key_figure_rows
from trading_dagster.strategy.module import StrategyModule, load_strategy_file
from trading_dagster.strategy.parameter_text import parse_settings, parse_time


@dataclass(frozen=True, slots=True)
class BacktestRequest:
    """What was asked for on the command line; ``source`` None is the embedded sample."""

    strategy: StrategyModule
    start: datetime | None = None
    end: datetime | None = None
    cash: float | None = None
    source: CandleSource | None = None

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
    ) -> BacktestRequest:
        """Read the options; raises BadInput naming the option, its value and what to write instead."""
        strategy = load_strategy_file(file)
        changes = parse_settings(settings, strategy.parameters)
        if pairs:
            if "pairs" not in strategy.parameters:
                raise ParameterMissing(
                    f"--pair {pairs[0]}: {file} has no parameter 'pairs': add it, or leave --pair out"
                )
            changes["pairs"] = tuple(map(parse_pair, pairs))
        return cls(
            strategy=strategy.with_parameters(changes),
            start=None if start is None else parse_time("--start", start),
            end=None if end is None else parse_time("--end", end),
            cash=cash,
            source=None if data is None else FileSource(data),
        )

    @property
    def given(self) -> dict[str, datetime | float]:
        """Return the range and cash that were asked for, under the names they have in Parameters."""
        asked = {"backtest_start": self.start, "backtest_end": self.end, "initial_cash": self.cash}
        return {name: value for name, value in asked.items() if value is not None}


def run_request(
    request: BacktestRequest, report: Path | None, save: Path | None, charts: Path | None = None, *, show_progress: bool
) -> None:
    """Run the backtest, print its key figures, and write what was asked for."""
    for option, path in (("--report", report), ("--save", save), ("--charts", charts)):
        refuse_unwritable(option, path)
    if charts is not None and request.strategy.create_charts is None:
        raise BadConfiguration(
            f"--charts {charts}: {request.strategy.name} has no create_charts: add it, see docs/charts.md"
        )
    result = run_backtest(
        request.strategy,
        start=request.start,
        end=request.end,
        initial_cash=request.cash,
        client=request.source,
        progress=show_progress,
    )
    print_summary(result)
    if report is not None:
        typer.echo(f"Report: {result.report(report).absolute()}")
    if save is not None:
        typer.echo(f"Saved to {result.save(save).absolute()}")
    if charts is not None:
        write_charts(result, charts)


def write_charts(result: BacktestResult, folder: Path) -> None:
    """Write the strategy's charts into a folder, and say which of them failed and why."""
    files = result.save_charts(folder)
    typer.echo(f"Charts: {files[0].absolute()} and {len(files) - 1} pictures and tables beside it")
    for rendered in result.rendered_charts:
        if rendered.error:
            typer.echo(f"Warning: {rendered.error.splitlines()[0]}", err=True)


def print_summary(result: BacktestResult) -> None:
    """Print range, pairs and the table of key figures."""
    plan, pairs = result.plan, [pair.get_ticker() for pair in result.universe.pairs]
    shown = ", ".join(pairs) if len(pairs) <= 6 else f"{len(pairs)} pairs"
    typer.echo(f"\n{plan.name}: {shown}, {plan.start} to {plan.end} UTC, {plan.cycle_count:,} decisions\n")
    typer.echo(format_table(key_figure_rows(result, calculate_key_figures(result))))
    typer.echo("")


def refuse_unwritable(option: str, path: Path | None) -> None:
    """Say before the backtest that its output cannot be written, not after."""
    if path is None:
        return
    examples = {"--report": "report.html", "--table": "table.csv", "--heat-map": "heat_map.html"}
    if option in examples and path.is_dir():
        raise BadConfiguration(f"{option} {path} is a folder: name a file such as {path / examples[option]}")
    if option in {"--save", "--charts"} and path.exists() and not path.is_dir():
        raise BadConfiguration(f"{option} {path} is a file: name a folder")
    existing = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    if existing != path.absolute() and not existing.is_dir():
        raise BadConfiguration(f"{option} {path}: {existing} is a file, not a folder: choose another place")
    try:
        if existing.is_file():
            existing.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise BadConfiguration(
            f"{option} {path} cannot be written ({error.strerror or error}): choose another place"
        ) from error
