"""What the commands ``data import``, ``data download`` and ``data compact`` do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
import typer

from trading_dagster.domain.error import BadConfiguration, BadInput
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.exchange_api import CcxtApi
from trading_dagster.market.exchange_source import ExchangeSource
from trading_dagster.market.file_source import FileSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_compaction import compact_lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.mapping_file import read_mapping
from trading_dagster.market.market_key import market_key
from trading_dagster.market.repair import DROP_BROKEN, RepairRule, parse_rules
from trading_dagster.market.source import CandleSource
from trading_dagster.market.trading_strategy_pair import default_pair_file
from trading_dagster.market.trading_strategy_source import open_trading_strategy
from trading_dagster.strategy.parameter_text import parse_time


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """How candles are taken in."""

    rules: Sequence[RepairRule]
    show_progress: bool
    start_at: datetime | None = None
    end_at: datetime | None = None
    workers: int | None = None
    replace: bool = False

    @classmethod
    def parse(
        cls,
        repairs: Sequence[str],
        *,
        drop_broken: bool,
        show_progress: bool,
        start: str | None = None,
        end: str | None = None,
        workers: int | None = None,
        replace: bool = False,
    ) -> ImportRequest:
        """Return the request that options of the command line make; raises BadInput."""
        named = [*repairs, *(rule.value for rule in DROP_BROKEN if drop_broken)]
        start_at = None if start is None else parse_time("--start", start)
        end_at = None if end is None else parse_time("--end", end)
        if start_at is not None and end_at is not None and start_at >= end_at:
            raise BadInput(f"--start {start_at} is not before --end {end_at}")
        return cls(parse_rules(named), show_progress, start_at, end_at, workers, replace)


def open_files(path: Path, exchange: str | None, pair: str | None, mapping: Path | None) -> CandleSource:
    """Return the candles of a file or folder; raises MarketDataMissing, BadInput."""
    layout = None if mapping is None else read_mapping(mapping)
    return FileSource(path, exchange=exchange, pair=pair, layout=layout)


def open_lake_or_files(name: str, lake_folder: Path | None) -> CandleSource:
    """Return the source of that name in the lake, or the candles of a file of that name."""
    return FileSource(name) if Path(name).exists() else Lake(lake_folder).source(name)


def run_import(source: CandleSource, label: str, lake_folder: Path | None, request: ImportRequest) -> None:
    """Copy candles of a source into the lake and say what was written."""
    _import(Lake(lake_folder), source, label, request)


def run_download(
    exchange: str,
    pairs: Sequence[str],
    bucket: str,
    name: str | None,
    lake_folder: Path | None,
    request: ImportRequest,
    *,
    api_url: str | None,
) -> None:
    """Download candles of an exchange into the lake."""
    source = ExchangeSource(CcxtApi(exchange, api_url=api_url), pairs=pairs or None)
    _import(Lake(lake_folder), source, name or exchange, request, parse_bucket(bucket))


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """Which pairs of the Trading Strategy data service, and how it is asked."""

    pairs: Sequence[str]
    chain: str
    pair_file: Path | None
    key_variable: str
    api_url: str | None


def run_service_download(
    service: ServiceRequest, bucket: str, name: str | None, lake_folder: Path | None, request: ImportRequest
) -> None:
    """Download candles of the Trading Strategy data service into the lake."""
    lake, width = Lake(lake_folder), parse_bucket(bucket)
    source = open_trading_strategy(
        service.pairs,
        chain=service.chain,
        pair_file=service.pair_file or default_pair_file(lake),
        api_url=service.api_url,
        key_variable=service.key_variable,
    )
    _import(lake, source, name or source.name, request, width)


def parse_bucket(text: str) -> TimeBucket:
    """Return the bucket that an option names; raises BadInput."""
    for bucket in TimeBucket:
        if text in (bucket.value, bucket.name) and bucket is not TimeBucket.not_applicable:
            return bucket
    raise BadInput(f"--bucket is {text!r}: use one of {', '.join(bucket.value for bucket in TimeBucket)}")


def run_list(source: str | None, lake_folder: Path | None) -> None:
    """Print the sources of the lake, or the markets of one."""
    lake = Lake(lake_folder)
    names = lake.list_sources() if source is None else [lake.source(source).name]
    if not names:
        typer.echo(f"The lake {lake.folder} is empty: import candles with `trading-dagster data import FILE`")
        return
    rows = []
    for name in names:
        counts: Counter[tuple[TimeBucket, str]] = Counter()
        for _, content in lake.read_contents(name):
            for coverage in content.coverages:
                counts[coverage.market.bucket, market_key(coverage.market)] += coverage.row_count
        for market in lake.source(name).list_markets():
            key, width = market_key(market), market.bucket
            shown = "" if source is None else key
            rows.append((name, width.value, shown, 1, counts[width, key], market.first_at, market.last_at))
    frame = pd.DataFrame(rows, columns=["source", "bucket", "market", "markets", "candles", "first", "last"])
    how = {"markets": "sum", "candles": "sum", "first": "min", "last": "max"}
    table = frame.groupby(["source", "bucket", "market"], sort=False, as_index=False).agg(how)
    with pd.option_context("display.width", 250, "display.max_rows", None, "display.max_colwidth", 100):
        typer.echo(table.drop(columns="market" if source is None else "markets").to_string(index=False))


def run_compact(source: str | None, lake_folder: Path | None, *, show_progress: bool) -> bool:
    """Compact the lake; tell whether no month is damaged."""
    lake = Lake(lake_folder)
    if source is not None:
        lake.source(source)
    try:
        report = compact_lake(lake, source=source, progress=show_progress)
    except OSError as error:
        raise BadConfiguration(
            f"lake {lake.folder}: {error}: its folder must be writable, with room on the disk"
        ) from error
    sizes = f"{report.bytes_before:,} bytes before, {report.bytes_after:,} after"
    typer.echo(
        f"{len(report.rewritten)} months rewritten in {lake.folder}, {len(report.migrated)} of them of an older "
        f"version, {len(report.leftovers)} leftovers removed: {sizes}"
    )
    for path in report.damaged:
        typer.echo(f"Damaged: {path}: delete it and import again", err=True)
    return not report.damaged


def _import(
    lake: Lake, source: CandleSource, label: str, request: ImportRequest, bucket: TimeBucket | None = None
) -> None:
    try:
        report = import_candles(
            lake,
            source,
            name=label,
            bucket=bucket,
            start_at=request.start_at,
            end_at=request.end_at,
            rules=request.rules,
            workers=request.workers,
            replace=request.replace,
            progress=request.show_progress,
        )
    except OSError as error:
        raise BadConfiguration(f"lake {lake.folder}: {error}: choose another folder with --lake") from error
    repairs = [f"{report.rows_dropped:,} broken ones left out"] if report.rows_dropped else []
    repairs += [f"{report.rows_changed:,} repaired"] if report.rows_changed else []
    repairs += [f"{report.rows_replaced:,} replaced"] if report.rows_replaced else []
    if not report.rows_added and not request.replace:
        repairs.append("what was there is kept; --replace reads it again, should the source have been corrected")
    typer.echo(
        f"{report.rows_added:,} candles added to {lake.folder / label} in {len(report.months_written)} files"
        + "".join(f", {text}" for text in repairs)
    )
