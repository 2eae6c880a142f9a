"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StrategyFile = Annotated[Path, typer.Argument(metavar="FILE", help="The strategy file.", show_default=False)]
Start = Annotated[str | None, typer.Option(help="First decision, UTC: 2018-01-01 or 2018-01-01T12:00.")]
End = Annotated[str | None, typer.Option(help="Exclusive end, UTC.")]
Cash = Annotated[float | None, typer.Option(help="Initial cash, USD.")]
DataFile = Annotated[
    Path | None, typer.Option("--data", help="File or folder of candles; the embedded sample by default.")
]
Pairs = Annotated[
    list[str] | None, typer.Option("--pair", help="BASE/QUOTE or BASE/QUOTE@venue; may be given several times.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a parameter; may be repeated.")
]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Draw no progress bars.")]
Home = Annotated[Path, typer.Option("--home", help="Folder of the local Dagster home.")]
DEFAULT_HOME = Path(".dagster")
