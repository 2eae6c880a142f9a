"""The command ``check-bias``: whether a strategy looks into the future."""

from __future__ import annotations

import typer

from trading_dagster.cli.backtest import BacktestRequest
from trading_dagster.research.bias import check_bias


def run_bias_check(request: BacktestRequest, *, show_progress: bool) -> bool:
    """Print the report and tell whether the strategy is clean."""
    report = check_bias(
        request.strategy,
        start=request.start,
        end=request.end,
        client=request.source,
        progress=show_progress,
    )
    typer.echo(str(report))
    return report.is_clean
