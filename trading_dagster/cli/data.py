"""The commands ``data import`` and ``data check``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import typer

from trading_dagster.domain.error import BadConfiguration, CandleContractBroken
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import check_candles
from trading_dagster.market.file_source import FileSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.quality import quality_report
from trading_dagster.market.source import group_markets

MOST_ROWS = 60


def run_import(
    file: Path,
    name: str | None,
    lake_folder: Path | None,
    exchange: str | None,
    pair: str | None,
    *,
    drop_broken: bool,
    show_progress: bool,
) -> None:
    """Copy candles of a file into the lake and say what was written."""
    lake = Lake(lake_folder)
    source = FileSource(file, exchange=exchange, pair=pair)
    label = name or file.name.split(".")[0]
    try:
        report = import_candles(lake, source, name=label, drop_broken=drop_broken, progress=show_progress)
    except OSError as error:
        raise BadConfiguration(f"lake {lake.folder}: {error}: choose another folder with --lake") from error
    typer.echo(
        f"{report.rows_added:,} candles added to {lake.folder / label} in {len(report.months_written)} files"
        + (f", {report.rows_dropped:,} broken ones left out" if report.rows_dropped else "")
    )


def run_check(file: Path, exchange: str | None, pair: str | None) -> bool:
    """Print the quality of every pair; tell whether all candles keep the contract."""
    clean = True
    for bucket, frame in _read(FileSource(file, exchange=exchange, pair=pair)):
        report = quality_report(frame, bucket, str(file))
        with pd.option_context("display.width", 250, "display.max_columns", 50, "display.max_rows", MOST_ROWS):
            typer.echo(f"{file}: {len(frame):,} candles of {bucket.value}\n{report.to_string(index=False)}")
        try:
            check_candles(frame, bucket, str(file), any_order=True)
        except CandleContractBroken as error:
            clean = False
            typer.echo(f"Broken: {error}", err=True)
    if clean:
        typer.echo("All candles keep the contract.")
    return clean


def _read(source: FileSource) -> Iterator[tuple[TimeBucket, pd.DataFrame]]:
    for group in group_markets(source.list_markets()):
        start = min(market.first_at for market in group)
        end = max(market.end_at for market in group)
        frames = [frame.assign(pair=frame["pair"].astype("str")) for frame in source.load_candles(group, start, end)]
        yield group[0].bucket, pd.concat(frames, ignore_index=True)
