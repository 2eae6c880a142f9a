"""The command ``live divergence``: how far a deployment is from the backtest on the same candles, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trading_dagster.strategy.parameter_text import parse_time


def add_divergence(app: typer.Typer) -> None:
    """Add the command to the commands of live trading."""

    @app.command("divergence")
    def divergence(
        deployment: Annotated[
            str, typer.Argument(metavar="DEPLOYMENT", help="YAML file of a deployment, or its id.", show_default=False)
        ],
        home: Annotated[
            Path | None,
            typer.Option("--home", help="Dagster home with the live files; DAGSTER_HOME or .dagster by default."),
        ] = None,
        end: Annotated[str | None, typer.Option(help="Exclusive end of the decisions compared, UTC.")] = None,
        html: Annotated[Path | None, typer.Option(help="Draw both equity curves into this file.")] = None,
        save: Annotated[Path | None, typer.Option(help="Write the tables into this folder, as CSV.")] = None,
        node: Annotated[
            bool, typer.Option("--node/--no-node", help="Ask a node for pool prices right before each fill.")
        ] = True,
        no_progress: Annotated[bool, typer.Option("--no-progress", help="Draw no progress bars.")] = False,
    ) -> None:
        """Compare a deployment's ledger with the backtest on the same candles, and explain each difference."""
        from trading_dagster.cli.divergence_run import run_divergence

        until = None if end is None else parse_time("--end", end)
        run_divergence(deployment, home, until, html, save, ask_node=node, show_progress=not no_progress)
