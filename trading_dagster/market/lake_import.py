"""Bring candles from a source into the lake, only what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us
from trading_dagster.market.atomic_file import exclusive, write_json_atomically
from trading_dagster.market.contract import Candles, check_candles
from trading_dagster.market.lake import MONTH_FILES, Lake, months_between
from trading_dagster.market.month_file import (
    Coverage,
    Interval,
    MonthContent,
    extra_columns,
    join_intervals,
    market_key,
    missing_intervals,
    read_footer,
    read_month,
    write_month,
)
from trading_dagster.market.panel import OHLCV
from trading_dagster.market.quality import drop_broken_candles
from trading_dagster.market.source import CandleSource, Market, find_markets, group_markets

MANIFEST = "manifest.json"
LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import changed."""

    rows_added: int
    rows_dropped: int
    months_written: tuple[Path, ...]


def import_candles(
    lake: Lake,
    source: CandleSource,
    *,
    name: str | None = None,
    bucket: TimeBucket | None = None,
    pairs: Sequence[HumanReadableTradingPairDescription] | None = None,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    drop_broken: bool = False,
    progress: bool = False,
) -> ImportReport:
    """Copy from a source what the lake does not have yet, month by month.

    A month is written when all of it has been read and checked; an interrupted import continues where it was.

    Args:
        lake: Where candles go.
        source: Where candles come from.
        name: Name in the lake, None for the source's own.
        bucket: Only this one; None for all that the source has.
        pairs: Only these; None for all.
        start_at: Only candles that open at or after, naive UTC.
        end_at: Only candles that open before, naive UTC.
        drop_broken: Drop candles that break the contract, leaving gaps, instead of refusing the import.
        progress: Show a progress bar.

    Raises:
        CandleContractBroken: The source's candles cannot be trusted; the months before stay imported.
        UnknownPair: The source has no such pair.
        BadInput: The source has no such bucket.
    """
    markets = _select(source, bucket, pairs)
    rows_added = rows_dropped = 0
    written: list[Path] = []
    for width in dict.fromkeys(market.bucket for market in markets):
        own = [market for market in markets if market.bucket is width]
        first, last = min(market.first_at for market in own), max(market.end_at for market in own)
        span = (to_unix_us(max(first, start_at or first)), to_unix_us(min(last, end_at or last)))
        months = list(months_between(*span))
        for month, whole in tqdm(months, desc=f"Importing {width.value} candles", unit="month", disable=not progress):
            path = lake.month_path(name or source.name, width, month)
            asked = (max(whole[0], span[0]), min(whole[1], span[1]))
            with exclusive(path.parent / LOCK):
                report = _import_month(path, source, own, asked, drop_broken=drop_broken)
            rows_added += report.rows_added
            rows_dropped += report.rows_dropped
            written += report.months_written
        if months:
            folder = lake.month_path(name or source.name, width, months[0][0]).parent
            with exclusive(folder / LOCK):
                _write_manifest(folder)
    return ImportReport(rows_added, rows_dropped, tuple(written))


def _select(
    source: CandleSource, bucket: TimeBucket | None, pairs: Sequence[HumanReadableTradingPairDescription] | None
) -> list[Market]:
    markets = source.list_markets()
    available = [market for market in markets if bucket in (None, market.bucket)]
    if not available:
        widths = ", ".join(sorted({market.bucket.name for market in markets})) or "nothing"
        raise BadInput(
            f"{source.name}: bucket {'of any width' if bucket is None else bucket.name} is not there; it has {widths}"
        )
    if pairs is None:
        return available
    return list(dict.fromkeys(market for pair in pairs for market in find_markets(available, pair, source.name)))


def _import_month(
    path: Path, source: CandleSource, markets: Sequence[Market], asked: Interval, *, drop_broken: bool
) -> ImportReport:
    """Add to a month file what it lacks."""
    old = read_footer(path) if path.is_file() else MonthContent("", 0, ())
    known = {market_key(coverage.market): coverage for coverage in old.coverages}
    wanted: dict[Interval, list[Market]] = {}
    for market in markets:
        span = (max(asked[0], to_unix_us(market.first_at)), min(asked[1], to_unix_us(market.end_at)))
        covered = known[market_key(market)].covered if market_key(market) in known else ()
        for interval in missing_intervals(span, covered):
            wanted.setdefault(interval, []).append(market)
    if not wanted:
        return ImportReport(0, 0, ())
    bucket = markets[0].bucket
    fresh = _read_fresh(source, wanted)
    rows_read = len(fresh)
    checked = fresh.rename(columns={"market": "pair"})
    if drop_broken:
        fresh = drop_broken_candles(checked, bucket, source.name).rename(columns={"pair": "market"})
    else:
        check_candles(checked, bucket, source.name, any_order=True)
    frame = pd.concat([read_month(path), fresh], ignore_index=True) if old.row_count else fresh
    write_month(path, bucket, frame, list(_coverages(frame, known, wanted)))
    return ImportReport(len(fresh), rows_read - len(fresh), (path,))


def _coverages(frame: Candles, known: dict[str, Coverage], wanted: dict[Interval, list[Market]]) -> Iterator[Coverage]:
    asked: dict[str, list[Interval]] = {key: list(coverage.covered) for key, coverage in known.items()}
    latest = {key: coverage.market for key, coverage in known.items()}
    for interval, members in wanted.items():
        for market in members:
            asked.setdefault(market_key(market), []).append(interval)
            latest[market_key(market)] = market
    held: dict[str, tuple[Market, int]] = {}
    for mark, times in frame.groupby("market", observed=True)["timestamp"]:
        first, last = times.min().to_pydatetime(), times.max().to_pydatetime()
        held[str(mark)] = replace(latest[str(mark)], first_at=first, last_at=last), len(times)
    for key, market in latest.items():
        here, count = held.get(key, (market, 0))
        yield Coverage(here, count, join_intervals(asked[key]))


def _read_fresh(source: CandleSource, wanted: dict[Interval, list[Market]]) -> Candles:
    frames = []
    for (start_us, end_us), members in wanted.items():
        start, end = from_unix_us(start_us), from_unix_us(end_us)
        for group in group_markets(members):
            keys = {market.pair: market_key(market) for market in group}
            for frame in source.load_candles(group, start, end):
                inside = frame[(frame["timestamp"] >= start) & (frame["timestamp"] < end)]
                frames.append(
                    inside[["timestamp", *OHLCV, *extra_columns(inside)]].assign(
                        market=inside["pair"].astype("str").map(keys)
                    )
                )
    if frames:
        return pd.concat(frames, ignore_index=True)
    empty = {"timestamp": pd.DatetimeIndex([]).as_unit("us"), **dict.fromkeys(OHLCV, np.empty(0))}
    return pd.DataFrame(empty).assign(market=pd.Series([], dtype="str"))


def _write_manifest(folder: Path) -> None:
    entries = {}
    for path in sorted(folder.glob(MONTH_FILES)):
        content = read_footer(path)
        entries[path.name] = {"content_hash": content.content_hash, "row_count": content.row_count}
    if entries:
        write_json_atomically(folder / MANIFEST, entries)
