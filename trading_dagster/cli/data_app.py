"""The commands ``trading-dagster data ...``: fill the lake, check it, ask it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Candles: bring them into the lake, check and repair them, ask questions in SQL.",
)

EXIT_FAILED = 1
LakeFolder = Annotated[
    Path | None, typer.Option("--lake", help="Folder of the lake; TRADING_DAGSTER_LAKE or .trading-dagster/lake.")
]
Name = Annotated[str | None, typer.Option(help="Name of the source in the lake; the file's or exchange's by default.")]
Venue = Annotated[str | None, typer.Option(help="Venue of pairs for which the file names none.")]
OnePair = Annotated[str | None, typer.Option(help="BASE/QUOTE of a file that does not say it.")]
Mapping = Annotated[Path | None, typer.Option(help="YAML file that says what columns and pairs of the files mean.")]
Start = Annotated[str | None, typer.Option(help="First candle, UTC: 2018-01-01 or 2018-01-01T12:00.")]
End = Annotated[str | None, typer.Option(help="Exclusive end, UTC.")]
DropBroken = Annotated[
    bool, typer.Option("--drop-broken", help="Leave out candles that break the contract instead of refusing.")
]
Repair = Annotated[
    list[str] | None,
    typer.Option(help="A repair rule; may be repeated. What it touches is kept. An unknown name lists them all."),
]
Replace = Annotated[bool, typer.Option("--replace", help="Put what the source says today in place of what is there.")]
Workers = Annotated[int | None, typer.Option(help="How many months are imported at once; one a core by default.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="Draw no progress bars.")]


@data_app.command("import")
def import_data(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File or folder of candles.", show_default=False)],
    name: Name = None,
    lake: LakeFolder = None,
    exchange: Venue = None,
    pair: OnePair = None,
    mapping: Mapping = None,
    drop_broken: DropBroken = False,
    repair: Repair = None,
    replace: Replace = False,
    workers: Workers = None,
    no_progress: NoProgress = False,
) -> None:
    """Copy candles of files into the lake, only what is missing."""
    from trading_dagster.cli.data import ImportRequest, open_files, run_import

    request = ImportRequest.parse(
        repair or [], drop_broken=drop_broken, show_progress=not no_progress, workers=workers, replace=replace
    )
    run_import(open_files(file, exchange, pair, mapping), name or file.name.split(".")[0], lake, request)


@data_app.command("download")
def download_data(
    pairs: Annotated[
        list[str] | None, typer.Argument(metavar="[BASE/QUOTE]...", help="Pairs; all without any.")
    ] = None,
    source: Annotated[str, typer.Option(help="exchange, or trading_strategy: the data service.")] = "exchange",
    exchange: Annotated[str, typer.Option(help="Id of the exchange in ccxt.")] = "binance",
    chain: Annotated[str, typer.Option(help="Of trading_strategy: slug of the pairs' chain.")] = "",
    pair_file: Annotated[
        Path | None, typer.Option(help="Of trading_strategy: table of its pairs, downloaded when it is not there.")
    ] = None,
    key_env: Annotated[
        str, typer.Option(help="Of trading_strategy: environment variable that holds the key.")
    ] = "TRADING_STRATEGY_API_KEY",
    bucket: Annotated[str, typer.Option(help="Width of the candles: 1m, 5m, 1h, 1d ...")] = "1h",
    start: Start = None,
    end: End = None,
    name: Name = None,
    lake: LakeFolder = None,
    api_url: Annotated[str | None, typer.Option(help="Base of the public interface, for a mirror.")] = None,
    drop_broken: DropBroken = False,
    repair: Repair = None,
    replace: Replace = False,
    no_progress: NoProgress = False,
) -> None:
    """Download candles into the lake, only what is missing; run it again to bring them up to date."""
    from trading_dagster.cli.data import ImportRequest, ServiceRequest, run_download, run_service_download
    from trading_dagster.domain.error import BadInput

    request = ImportRequest.parse(
        repair or [],
        drop_broken=drop_broken,
        show_progress=not no_progress,
        start=start,
        end=end,
        replace=replace,
    )
    if source == "trading_strategy":
        service = ServiceRequest(pairs or [], chain, pair_file, key_env, api_url)
        run_service_download(service, bucket, name, lake, request)
        return
    if source != "exchange":
        raise BadInput(f"--source is {source!r}: use exchange or trading_strategy")
    run_download(exchange, pairs or [], bucket, name, lake, request, api_url=api_url)


@data_app.command("check")
def check_data(
    what: Annotated[
        str, typer.Argument(metavar="FILE|SOURCE", help="File or folder of candles, or a source in the lake.")
    ],
    against: Annotated[
        str | None, typer.Option(help="File or lake source with the same pairs, to compare the clocks with.")
    ] = None,
    exchange: Venue = None,
    pair: OnePair = None,
    mapping: Mapping = None,
    lake: LakeFolder = None,
    picture: Annotated[Path | None, typer.Option(help="Write a picture of what exists to this PNG file.")] = None,
) -> None:
    """Report the quality of candles by pair; exit code 1 when some break the contract."""
    from trading_dagster.cli.data import open_files, open_lake_or_files
    from trading_dagster.cli.data_check import run_check

    source = open_files(Path(what), exchange, pair, mapping) if Path(what).exists() else open_lake_or_files(what, lake)
    reference = None if against is None else open_lake_or_files(against, lake)
    if not run_check(source, reference, picture):
        raise typer.Exit(EXIT_FAILED)


@data_app.command("list")
def list_data(
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="List the markets of this source; all sources without.")
    ] = None,
    lake: LakeFolder = None,
) -> None:
    """List what is in the lake: sources, widths of candles, spans."""
    from trading_dagster.cli.data import run_list

    run_list(source, lake)


@data_app.command("compact")
def compact_data(
    source: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help="Only this source.")] = None,
    lake: LakeFolder = None,
    no_progress: NoProgress = False,
) -> None:
    """Bring the lake to the newest version, compress it tightly, remove what killed writers left."""
    from trading_dagster.cli.data import run_compact

    if not run_compact(source, lake, show_progress=not no_progress):
        raise typer.Exit(EXIT_FAILED)


@data_app.command("sql")
def ask_data(
    sql: Annotated[str | None, typer.Argument(metavar="[SQL]", help="One question; without it a prompt opens.")] = None,
    lake: LakeFolder = None,
    artefacts: Annotated[
        Path | None, typer.Option(help="Folder of backtests; that of the Dagster home by default.")
    ] = None,
    ledger: Annotated[
        str | None, typer.Option(help="Ledger of live trading: a SQLite file, or the URL of a database.")
    ] = None,
    output: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    views: Annotated[bool, typer.Option("--views", help="List the views and their columns.")] = False,
) -> None:
    """Ask in SQL: candles, coverage and repairs of the lake, results of backtests, the ledger of live trading."""
    from trading_dagster.cli.data_sql import run_sql

    run_sql(sql, lake, artefacts, ledger, output, only_views=views)
