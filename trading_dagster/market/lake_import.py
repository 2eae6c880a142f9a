"""Bring candles from a source into the lake, only what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as change
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from tqdm.auto import tqdm

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket, to_unix_us
from trading_dagster.market.atomic_file import exclusive, write_json_atomically
from trading_dagster.market.lake import MONTH_FILES, Lake, months_between
from trading_dagster.market.month_file import Interval, read_digest
from trading_dagster.market.month_import import ImportOptions, MonthReport, import_month
from trading_dagster.market.repair import DROP_BROKEN, RepairRule
from trading_dagster.market.side_by_side import Turns, choose_workers, map_in_order
from trading_dagster.market.source import CandleSource, Market, RemoteSource, find_markets

MANIFEST = "manifest.json"
LOCK = ".lock"
LONGEST_MONTH = timedelta(days=31)
ROWS_AT_ONCE = 4_000_000
"""How many candles the months imported at once may have together, about 250 bytes each in memory."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import changed; ``rows_replaced``: of those that were there, how many are other ones now, or gone."""

    rows_added: int
    rows_dropped: int
    months_written: tuple[Path, ...]
    rows_changed: int = 0
    rows_replaced: int = 0


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
    rules: Sequence[RepairRule] = (),
    checkpoint_s: float = 60.0,
    replace: bool = False,
    workers: int | None = None,
    progress: bool = False,
) -> ImportReport:
    """Copy from a source what the lake does not have yet, some months side by side.

    Of files that is every candle at whose time the lake has none, so a hole is filled once some file has its candles;
    of other sources, the times that it was not asked for yet. Candles that are there stay as they are.

    What has been read and checked is written when its month is complete, or after a while; an interrupted import
    continues there. Each month has one writer at a time, so that several processes may import at once. Of a remote
    source only candles that will not change any more are taken, one month after the other. The lake is the same, to the
    byte, whatever the number of workers.

    Args:
        lake: Where candles go.
        source: Where candles come from.
        name: Name in the lake, None for the source's own.
        bucket: Only this one; None for all that the source has.
        pairs: Only these; None for all.
        start_at: Only candles that open at or after, naive UTC.
        end_at: Only candles that open before, naive UTC.
        drop_broken: Drop candles that break the contract, leaving gaps, instead of refusing the import.
        rules: Other repairs; what they touch is kept beside the month, see `repair`.
        checkpoint_s: After how many seconds an unfinished month is written, seconds.
        replace: Read again what the lake has of these markets, and put in its place what the source says today: for
            a source that was corrected. Candles that it has no more are removed within its span.
        workers: How many months are read, checked and written at once, in threads; None takes one a core. Fewer are
            used where months are so large that they would hold more than `ROWS_AT_ONCE` candles in memory.
        progress: Show a progress bar.

    Raises:
        CandleContractBroken: The source's candles cannot be trusted; the months before stay imported, none after is.
        UnknownPair: The source has no such pair.
        BadInput: The source has no such bucket, or ``workers`` is below 1.
    """
    wanted_workers = choose_workers(workers)
    markets = _select(source, bucket, pairs)
    chosen = tuple(rule for rule in RepairRule if rule in {*rules, *(DROP_BROKEN if drop_broken else ())})
    options = ImportOptions(chosen, checkpoint_s, replace=replace)
    total = ImportReport(0, 0, ())
    for width in dict.fromkeys(market.bucket for market in markets):
        own = [market for market in markets if market.bucket is width]
        start, end = start_at, end_at
        if isinstance(source, RemoteSource):
            own, closed = list(source.measure(own)), source.closed_until(width)
            end = closed if end is None else min(end, closed)
        first, last = min(market.first_at for market in own), max(market.end_at for market in own)
        span = (to_unix_us(max(first, start or first)), to_unix_us(min(last, end or last)))
        months = list(months_between(*span))
        begin = partial(_import_month, lake, source, own, name or source.name, span, options, Turns())
        at_once = 1 if isinstance(source, RemoteSource) else choose_workers(wanted_workers, _months_at_once(own))
        done = map_in_order(begin, enumerate(months), at_once)
        label = f"Importing {width.value} candles"
        for path, found in tqdm(done, total=len(months), desc=label, unit="month", disable=not progress):
            total = ImportReport(
                total.rows_added + found.rows_added,
                total.rows_dropped + found.rows_dropped,
                (*total.months_written, path) if found.is_written else total.months_written,
                total.rows_changed + found.rows_changed,
                total.rows_replaced + found.rows_replaced,
            )
        if months:
            folder = lake.month_path(name or source.name, width, months[0][0]).parent
            with exclusive(folder / LOCK):
                write_manifest(folder)
    return total


def _import_month(
    lake: Lake,
    source: CandleSource,
    markets: Sequence[Market],
    name: str,
    span: Interval,
    options: ImportOptions,
    turns: Turns,
    item: tuple[int, tuple[str, Interval]],
) -> tuple[Path, MonthReport]:
    place, (month, whole) = item
    path = lake.month_path(name, markets[0].bucket, month)
    asked = (max(whole[0], span[0]), min(whole[1], span[1]))
    with turns.hold(place) as turn, exclusive(month_lock(path)):
        return path, import_month(path, source, markets, asked, change(options, turn=turn))


def _months_at_once(markets: Sequence[Market]) -> int:
    """Return how many months of these markets may be held in memory."""
    in_a_month = len(markets) * (LONGEST_MONTH // markets[0].bucket.to_timedelta())
    return ROWS_AT_ONCE // max(1, in_a_month)


def month_lock(path: Path) -> Path:
    """Return the lock that the writer of a month file holds."""
    return path.with_name(f".{path.stem}{LOCK}")


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


def write_manifest(folder: Path) -> None:
    """Write the hashes of a folder's months for people and other tools; the caller holds the folder's lock."""
    entries = {}
    for path in sorted(folder.glob(MONTH_FILES)):
        content_hash, row_count = read_digest(path)
        entries[path.name] = {"content_hash": content_hash, "row_count": row_count}
    if entries:
        write_json_atomically(folder / MANIFEST, entries)
