"""A file or a folder of files as a candle source, the embedded sample among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from trading_dagster.domain.error import MarketDataMissing
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us
from trading_dagster.market.availability import CandleAvailability, Now, read_stored_availability, utc_now
from trading_dagster.market.candle_file import FORMATS, CandleFile, FilePair
from trading_dagster.market.contract import Candles
from trading_dagster.market.exchange import format_description
from trading_dagster.market.file_layout import FileLayout, is_other_dump, recognise
from trading_dagster.market.layout_file import LayoutFile, Shelf
from trading_dagster.market.side_by_side import choose_workers, map_in_order
from trading_dagster.market.source import Market

UNNAMED_VENUE = "file"
SAMPLE_NAME = "sample"
"""What feeds and strategies call the embedded sample."""

SAMPLE_FOLDER = Path(__file__).parent / "sample"


OneFile: TypeAlias = CandleFile | LayoutFile
Part = tuple[OneFile, FilePair]


@dataclass(eq=False)
class OpenFile:
    """A file as it was when it was opened: ``mark`` is its time of change and its size."""

    mark: tuple[int, int]
    file: OneFile
    _bucket: TimeBucket | None = None

    @property
    def bucket(self) -> TimeBucket:
        """Return the width of the candles, found out from their times once."""
        if self._bucket is None:
            self._bucket = self.file.infer_bucket()
        return self._bucket


class FileSource:
    """Candles of Parquet, CSV or Feather files; see `CandleFile` for their columns.

    Files that were added or replaced since are read again whenever the markets are listed, so that the source can serve
    live trading on a folder into which something else writes.

    Args:
        path: A file, or a folder whose files are all read, subfolders too.
        bucket: Width of the candles; None finds out from the times of each file.
        exchange: Venue of pairs for which the file names none.
        pair: "BASE/QUOTE" of a single file that does not say it.
        fee: Trading fee of all pairs as a fraction; None leaves it unknown.
        name: For messages; None takes the path.
        now: The clock that tells which candles are closed.
        layout: What columns and pairs of the files mean; None recognises dumps of freqtrade and Binance by their
            names and takes other files as they are.

    Raises:
        MarketDataMissing: No such file or folder, or nothing in it.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        bucket: TimeBucket | None = None,
        exchange: str | None = None,
        pair: str | None = None,
        fee: float | None = None,
        name: str | None = None,
        now: Now = utc_now,
        layout: FileLayout | None = None,
    ) -> None:
        self._layout = layout
        self.path = Path(path)
        self.name = name or str(path)
        self._bucket = bucket
        self._exchange = exchange or UNNAMED_VENUE
        self._fee = fee
        self._pair = pair
        self._now = now
        self._shelf = Shelf()
        self._files: dict[Path, OpenFile] = {}
        self._parts: dict[tuple[str, str, TimeBucket], list[Part]] | None = None
        self._open_files()

    def list_markets(self) -> Sequence[Market]:
        """Return the pairs of all files, sorted by venue and pair."""
        self._open_files()
        return tuple(
            Market(
                chain_id=ChainId.centralised_exchange,
                exchange_slug=exchange,
                pair=pair,
                bucket=bucket,
                first_at=from_unix_us(min(item.first_us for _, item in found)),
                last_at=from_unix_us(max(item.last_us for _, item in found)),
                fee=self._fee,
            )
            for (exchange, pair, bucket), found in sorted(
                self._contents().items(), key=lambda part: (part[0][:2], part[0][2].value)
            )
        )

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the candles that open in [start, end) in frames of bounded size; see `CandleSource`."""
        for _, frames in self.load_by_file(markets, start, end):
            yield from frames

    def load_by_file(
        self, markets: Sequence[Market], start: datetime, end: datetime
    ) -> Iterator[tuple[Path, Iterator[Candles]]]:
        """Yield each file with its candles that open in [start, end)."""
        contents = self._contents()
        by_file: dict[Path, tuple[OneFile, list[FilePair]]] = {}
        start_us, end_us = to_unix_us(start), to_unix_us(end)
        for market in markets:
            key = (market.exchange_slug, market.pair, market.bucket)
            if market.chain_id is not ChainId.centralised_exchange or key not in contents:
                raise MarketDataMissing(
                    f"{self.name}: no candles of {format_description(market.description)} in {market.bucket.value}"
                )
            for file, item in contents[key]:
                if item.first_us >= end_us or item.last_us < start_us:
                    continue
                by_file.setdefault(file.path, (file, []))[1].append(item)
        for path, (file, items) in by_file.items():
            yield path, file.read(items, start, end)

    def read_availability(
        self, pairs: Sequence[HumanReadableTradingPairDescription], bucket: TimeBucket
    ) -> Sequence[CandleAvailability]:
        """Return what is closed of each pair; see `read_stored_availability`."""
        return read_stored_availability(self, pairs, bucket, self._now())

    def _open_files(self) -> None:
        """Open what is new or was replaced."""
        files = {}
        for path in find_files(self.path):
            status = path.stat() if path.is_file() else None
            mark = (0, 0) if status is None else (status.st_mtime_ns, status.st_size)
            known = self._files.get(path)
            is_same = known is not None and known.mark == mark
            files[path] = known if known is not None and is_same else OpenFile(mark, self._open(path))
        if files != self._files:
            self._files, self._parts = files, None

    def _open(self, path: Path) -> OneFile:
        layout = self._layout or recognise(path)
        if layout is None:
            return CandleFile(path, self._pair)
        if not path.is_file():
            raise MarketDataMissing(f"path {path}: there is no such file; give a file or folder of candles")
        return LayoutFile(path, replace(layout, pair=self._pair or layout.pair), self._shelf)

    def _contents(self) -> dict[tuple[str, str, TimeBucket], list[Part]]:
        """Return what each pair has in which file, by venue, pair and bucket."""
        if self._parts is None:
            parts: dict[tuple[str, str, TimeBucket], list[Part]] = {}
            for known, bucket in map_in_order(self._look_into, self._files.values(), choose_workers(None)):
                for item in known.file.pairs:
                    key = (item.exchange or self._exchange, item.pair, bucket)
                    parts.setdefault(key, []).append((known.file, item))
            self._parts = parts
        return self._parts

    def _look_into(self, known: OpenFile) -> tuple[OpenFile, TimeBucket]:
        """Find out the pairs of a file and the width of their candles."""
        return known, self._bucket or known.bucket


class EmbeddedSample:
    """The candles that come with the package: BTC/USD of Coinbase hourly; BTC, ETH, LTC/USD of Bitstamp daily."""

    name = "embedded sample"

    def __init__(self, *, now: Now = utc_now) -> None:
        self._now = now

    @cached_property
    def _sources(self) -> dict[str, FileSource]:
        return {
            "bitstamp": FileSource(
                SAMPLE_FOLDER / "sample_btc_eth_ltc_1d.parquet", bucket=TimeBucket.d1, exchange="bitstamp"
            ),
            "coinbase": FileSource(SAMPLE_FOLDER / "sample_btc_1h.parquet", bucket=TimeBucket.h1, exchange="coinbase"),
        }

    def list_markets(self) -> Sequence[Market]:
        """Return the four markets."""
        return tuple(market for source in self._sources.values() for market in source.list_markets())

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the candles that open in [start, end); see `CandleSource`."""
        for slug in dict.fromkeys(market.exchange_slug for market in markets):
            if slug not in self._sources:
                raise MarketDataMissing(f"{self.name}: no candles of {slug}: there are {', '.join(self._sources)}")
            own = [market for market in markets if market.exchange_slug == slug]
            yield from self._sources[slug].load_candles(own, start, end)

    def read_availability(
        self, pairs: Sequence[HumanReadableTradingPairDescription], bucket: TimeBucket
    ) -> Sequence[CandleAvailability]:
        """Return what is closed of each pair; see `read_stored_availability`."""
        return read_stored_availability(self, pairs, bucket, self._now())


def find_files(path: Path) -> list[Path]:
    """Return the candle files at a path, sorted, hidden ones left out; raises MarketDataMissing or BadInput."""
    if not path.is_dir():
        return [path]
    found = sorted(
        file
        for file in path.rglob("*")
        if (file.suffix.lower() in FORMATS or recognise(file) is not None)
        and not is_other_dump(file)
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not found:
        raise MarketDataMissing(f"path {path}: no {', '.join(FORMATS)} file in this folder; give a file of candles")
    return found
