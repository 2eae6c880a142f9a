"""The command ``port``: rewrites a strategy written for trade-executor."""

from __future__ import annotations

from pathlib import Path

import typer

from trading_dagster.domain.error import BadInput, StrategyModuleNotValid
from trading_dagster.porting.notebook import port_notebook
from trading_dagster.porting.rewrite import port_module
from trading_dagster.storage.file import write_bytes


def run_port(file: Path, output: Path | None, *, only_checks: bool) -> bool:
    """Port a file and print what is left; tell whether nothing is left, and with ``only_checks`` nothing to do."""
    if only_checks and output is not None:
        raise BadInput("--check writes nothing: leave out --output")
    if not file.is_file():
        raise StrategyModuleNotValid(f"Strategy file {file} does not exist: check the path (looked in {Path.cwd()})")
    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrategyModuleNotValid(f"{file} is not UTF-8: {error}") from error
    is_notebook = file.suffix == ".ipynb"
    ported = port_notebook(text, str(file)) if is_notebook else port_module(text, str(file))
    target = output or file
    has_changed = ported.text != text
    for finding in ported.findings:
        typer.echo(f"{file if only_checks else target}: {finding}")
    if only_checks:
        typer.echo(f"{file}: {'would be changed' if has_changed else 'nothing to change'}{_left(ported.findings)}")
        return not (has_changed or ported.findings)
    if has_changed or output is not None:
        write_bytes(ported.text.encode("utf-8"), target.resolve())
    done = f"ported to {target}" if output else "ported" if has_changed else "nothing to change"
    typer.echo(f"{file}: {done}{_left(ported.findings)}")
    return not ported.findings


def _left(findings: tuple[object, ...]) -> str:
    return f", {len(findings)} left to do by hand" if findings else ""
