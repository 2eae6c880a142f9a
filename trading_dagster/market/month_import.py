"""Add to one month of the lake what it lacks: read, repair as asked, check, write.

What a repair touched is kept beside the month in ``<month>.repairs.parquet``, as the source had it. That file is
written first: a process killed in between repeats the step and writes the same again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trading_dagster.domain.error import CandleContractBroken
from trading_dagster.domain.time import from_unix_us, to_unix_us
from trading_dagster.market.atomic_file import write_atomically
from trading_dagster.market.contract import Candles, check_candles, timestamps_us
from trading_dagster.market.market_key import market_key
from trading_dagster.market.month_file import (
    VERSION,
    Coverage,
    Interval,
    MonthContent,
    as_markets,
    extra_columns,
    find_renames,
    in_order,
    join_intervals,
    missing_intervals,
    read_footer,
    read_month,
    rename_markets,
    write_month,
)
from trading_dagster.market.month_merge import MARKS, count_differing, has_holes, known_rows, leave_out, split_pieces
from trading_dagster.market.panel import OHLCV
from trading_dagster.market.repair import RepairRule, repair_candles
from trading_dagster.market.source import CandleSource, FiledSource, Market, RemoteSource, group_markets

Piece = tuple[Interval, list[Market]]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How candles are taken in.

    Args:
        rules: What may be repaired; candles that break the contract after that are refused.
        checkpoint_s: After how many seconds what was read so far is written, so that an interrupted download keeps it.
        turn: Called when files are ready to be put into place; it waits for the months before.
        replace: Read what is there already again, and put what the source has today in its place.
    """

    rules: Sequence[RepairRule] = ()
    checkpoint_s: float = 60.0
    turn: Callable[[], None] = lambda: None
    replace: bool = False


@dataclass(slots=True)
class MonthReport:
    """What an import did to a month; ``rows_replaced``: of those that were there, how many are other ones now."""

    rows_added: int = 0
    rows_replaced: int = 0
    rows_dropped: int = 0
    rows_changed: int = 0
    is_written: bool = False


@dataclass(slots=True)
class _Pending:
    """What was read and is not written yet."""

    frames: list[Candles] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)


def import_month(
    path: Path, source: CandleSource, markets: Sequence[Market], asked: Interval, options: ImportOptions
) -> MonthReport:
    """Add to a month file what it lacks; the caller holds its lock.

    Args:
        path: The month file.
        source: Where the candles are.
        markets: Of one bucket.
        asked: Times within the month.
        options: How candles are taken in.

    Raises:
        CandleContractBroken: The source's candles cannot be trusted; what was written before stays.
    """
    content = read_footer(path) if path.is_file() else MonthContent("", 0, ())
    known = {market_key(coverage.market): coverage for coverage in content.coverages}
    wanted: dict[Interval, list[Market]] = {}
    for market in markets:
        span = (max(asked[0], to_unix_us(market.first_at)), min(asked[1], to_unix_us(market.end_at)))
        held = known.get(market_key(market))
        is_whole = held is None or options.replace or (isinstance(source, FiledSource) and has_holes(held))
        for interval in missing_intervals(span, () if is_whole or held is None else held.covered):
            wanted.setdefault(interval, []).append(market)
    report, pending = MonthReport(), _Pending()
    for interval, members in _pieces(source, wanted):
        pending.frames += _read_piece(source, interval, members)
        pending.pieces.append((interval, members))
        if time.monotonic() - pending.since >= options.checkpoint_s:
            _write_pending(path, source, pending, options, report)
            pending = _Pending()
    if pending.pieces:
        _write_pending(path, source, pending, options, report)
    return report


def repairs_path(month: Path) -> Path:
    """Return where the rows are that repairs of a month touched."""
    return month.with_name(f"{month.stem}.repairs.parquet")


def read_repairs(month: Path) -> Candles:
    """Return the rows that repairs of a month touched, with rule and action; empty when there are none."""
    path = repairs_path(month)
    if not path.is_file():
        return pd.DataFrame()
    try:
        frame = pq.read_table(path).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise CandleContractBroken(
            f"path {path}: not readable ({error}); delete it, and the month beside it"
        ) from error
    frame["timestamp"] = frame["timestamp"].dt.tz_localize(None)
    return rename_markets(frame, find_renames(month)) if month.is_file() else pd.DataFrame(frame)


def rename_repairs(month: Path) -> None:
    """Bring the record of repairs of a month that an older version wrote up to date; before the month itself is."""
    if repairs_path(month).is_file() and find_renames(month):
        _store_repairs(month, read_repairs(month))


def _pieces(source: CandleSource, wanted: dict[Interval, list[Market]]) -> Iterator[Piece]:
    """Yield what to ask for at once: one market of a remote source, all that fit into one question of another."""
    for interval, members in wanted.items():
        groups = [[market] for market in members] if isinstance(source, RemoteSource) else group_markets(members)
        for group in groups:
            yield interval, group


def _read_piece(source: CandleSource, interval: Interval, members: Sequence[Market]) -> list[Candles]:
    start, end = (from_unix_us(edge) for edge in interval)
    keys = {market.pair: market_key(market) for market in members}
    names = sorted(keys.values())
    place_of_key = {key: place for place, key in enumerate(names)}
    places = {pair: place_of_key[key] for pair, key in keys.items()}
    frames = []
    for frame in source.load_candles(members, start, end):
        is_inside = ((frame["timestamp"] >= start) & (frame["timestamp"] < end)).to_numpy()
        inside = frame if is_inside.all() else frame[is_inside]
        codes, pairs = pd.factorize(inside["pair"])
        place_of = np.asarray([places[str(pair)] for pair in pairs], dtype=np.int64)
        own = inside[["timestamp", *OHLCV, *extra_columns(inside)]]
        frames.append(own.assign(market=pd.Categorical.from_codes(place_of[codes], pd.Index(names))))
    return frames


def _write_pending(
    path: Path, source: CandleSource, pending: _Pending, options: ImportOptions, report: MonthReport
) -> None:
    """Repair, check and write what was read."""
    bucket = pending.pieces[0][1][0].bucket
    fresh = _join(pending.frames) if pending.frames else _no_rows()
    old = read_footer(path) if path.is_file() else MonthContent("", 0, ())
    stored = read_month(path) if old.row_count else None
    is_filling = isinstance(source, FiledSource) and not options.replace
    if stored is not None and is_filling:
        fresh = leave_out(fresh, stored, read_repairs(path))
        if not len(fresh) and not _asks_more(old, pending.pieces):
            return
    inside, outside = None, stored
    if stored is not None and options.replace:
        inside, outside = split_pieces(stored, pending.pieces)
    repaired = repair_candles(fresh.rename(columns={"market": "pair"}), bucket, options.rules, source.name)
    try:
        check_candles(repaired.frame, bucket, source.name, any_order=True)
    except CandleContractBroken:
        _check_files(source, pending.pieces, options.rules)
        raise
    if options.rules or options.replace:
        options.turn()
        pieces = () if stored is not None and is_filling else pending.pieces
        _write_repairs(path, repaired.touched.rename(columns={"pair": "market"}), pieces)
    good = repaired.frame.rename(columns={"pair": "market"})
    if old.version < VERSION:
        options.turn()
        rename_repairs(path)
    frame = in_order(_join([outside, good]) if outside is not None and len(outside) else good)
    write_month(path, bucket, frame, list(_coverages(frame, old, pending.pieces)), turn=options.turn)
    report.rows_added += len(good) if inside is None else int((~known_rows(good, inside, MARKS)).sum())
    report.rows_replaced += 0 if inside is None else count_differing(inside, good)
    report.rows_dropped += repaired.dropped_count
    report.rows_changed += repaired.changed_count
    report.is_written = True


def _asks_more(old: MonthContent, pieces: Sequence[Piece]) -> bool:
    """Tell whether pieces reach beyond what a month covers."""
    known = {market_key(item.market): item.covered for item in old.coverages}
    return any(
        missing_intervals(interval, known.get(market_key(market), ()))
        for interval, members in pieces
        for market in members
    )


def _check_files(source: CandleSource, pieces: Sequence[Piece], rules: Sequence[RepairRule]) -> None:
    """Raise for the first file whose candles are broken by themselves."""
    if not isinstance(source, FiledSource):
        return
    for (start, end), members in pieces:
        for path, frames in source.load_by_file(members, from_unix_us(start), from_unix_us(end)):
            for frame in frames:
                own = repair_candles(frame, members[0].bucket, rules, source.name).frame
                check_candles(own, members[0].bucket, f"path {path}", any_order=True)


def _write_repairs(month: Path, touched: Candles, pieces: Sequence[Piece]) -> None:
    """Replace the record of repairs in the times that were read."""
    old = read_repairs(month)
    if len(old):
        keep = np.ones(len(old), dtype=np.bool_)
        for (start, end), members in pieces:
            inside = (old["timestamp"] >= from_unix_us(start)) & (old["timestamp"] < from_unix_us(end))
            keep &= ~(inside & old["market"].isin([market_key(market) for market in members])).to_numpy()
        kept = old[keep]
        again = known_rows(kept, touched, ("market", "timestamp", "rule"))
        touched = pd.concat([kept[~again], touched], ignore_index=True)
    if not len(touched):
        repairs_path(month).unlink(missing_ok=True)
        return
    _store_repairs(month, touched)


def _store_repairs(month: Path, touched: Candles) -> None:
    touched = touched.sort_values(["market", "timestamp", "rule"], kind="stable", ignore_index=True)
    columns = ["market", "timestamp", *OHLCV, *extra_columns(touched), "rule", "action"]
    table = pa.Table.from_pandas(
        touched[columns].assign(timestamp=touched["timestamp"].dt.tz_localize("UTC")), preserve_index=False
    ).replace_schema_metadata(None)
    write_atomically(repairs_path(month), lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def _coverages(frame: Candles, old: MonthContent, pieces: Sequence[Piece]) -> Iterator[Coverage]:
    """Yield what a month of rows in order covers once the pieces are in it."""
    asked: dict[str, list[Interval]] = {market_key(item.market): list(item.covered) for item in old.coverages}
    latest = {market_key(item.market): item.market for item in old.coverages}
    for interval, members in pieces:
        for market in members:
            asked.setdefault(market_key(market), []).append(interval)
            latest[market_key(market)] = market
    held: dict[str, tuple[Market, int]] = {}
    codes, times = frame["market"].cat.codes.to_numpy(), timestamps_us(frame, "month")
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]][: len(codes)])
    ends = np.r_[starts[1:], len(codes)][: len(starts)]
    names = frame["market"].cat.categories.to_list()
    for code, first, last, size in zip(codes[starts], times[starts], times[ends - 1], ends - starts, strict=True):
        key = str(names[code])
        own = replace(latest[key], first_at=from_unix_us(int(first)), last_at=from_unix_us(int(last)))
        held[key] = own, int(size)
    for key, market in latest.items():
        here, count = held.get(key, (market, 0))
        yield Coverage(here, count, join_intervals(asked[key]))


def _join(frames: Sequence[Candles]) -> Candles:
    """Return the rows of frames; their markets stay a categorical, whichever each of them has."""
    kinds = [frame["market"].dtype for frame in frames]
    if isinstance(kinds[0], pd.CategoricalDtype) and all(kind == kinds[0] for kind in kinds):
        return pd.concat(frames, ignore_index=True)
    names = {str(name) for frame in frames for name in as_markets(frame["market"]).cat.categories}
    return pd.concat([frame.assign(market=as_markets(frame["market"], names)) for frame in frames], ignore_index=True)


def _no_rows() -> Candles:
    empty = {"timestamp": pd.DatetimeIndex([]).as_unit("us"), **dict.fromkeys(OHLCV, np.empty(0))}
    return pd.DataFrame(empty).assign(market=pd.Series([], dtype="str"))
