"""What the command ``data sql`` does: one question, or a prompt that takes one after the other."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import typer

from trading_dagster.domain.error import BadInput
from trading_dagster.market.lake import Lake
from trading_dagster.storage.query import QueryPlaces, QuerySession, open_session

FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "table": lambda frame: frame.to_string(index=False),
    "csv": lambda frame: frame.to_csv(index=False).rstrip(),
    "json": lambda frame: str(frame.to_json(orient="records", date_format="iso")),
}
WELCOME = "End a question with ;  Views: .views  Leave: .exit or Ctrl-D"
ARTEFACTS_VARIABLE = "TRADING_DAGSTER_ARTEFACTS"
MOST_ROWS = 1_000


def run_sql(
    sql: str | None, lake: Path | None, artefacts: Path | None, ledger: str | None, output: str, *, only_views: bool
) -> None:
    """Answer one question, or those of a prompt; raises BadInput for a wrong one that was given as argument."""
    if output not in FORMATS:
        raise BadInput(f"--format is {output!r}: use one of {', '.join(FORMATS)}")
    home = Path(os.environ.get("DAGSTER_HOME") or ".dagster")
    results = artefacts or Path(os.environ.get(ARTEFACTS_VARIABLE) or home / "artefacts")
    places = QueryPlaces(Lake(lake), results if results.is_dir() else None, ledger)
    wide = pd.option_context(
        "display.width", 250, "display.max_columns", 60, "display.max_rows", MOST_ROWS, "display.max_colwidth", 80
    )
    with open_session(places) as session, wide:
        if only_views:
            typer.echo(FORMATS[output](session.list_views()))
        elif sql is not None:
            typer.echo(FORMATS[output](session.query(sql)))
        else:
            prompt(session, sys.stdin, FORMATS[output])


def prompt(session: QuerySession, lines: Iterable[str], show: Callable[[pd.DataFrame], str]) -> None:
    """Answer questions until the input ends; a wrong one is told, and the next is asked for."""
    typer.echo(WELCOME)
    waiting = ""
    typer.echo("sql> ", nl=False)
    for line in lines:
        text = line.strip()
        if not waiting and text == ".exit":
            return
        if not waiting and text == ".views":
            typer.echo(show(session.list_views()))
        else:
            waiting = f"{waiting} {text}".strip()
            if waiting.endswith(";"):
                try:
                    typer.echo(show(session.query(waiting)))
                except BadInput as error:
                    typer.echo(f"Error: {error}", err=True)
                waiting = ""
        typer.echo("...> " if waiting else "sql> ", nl=False)
    typer.echo("")
