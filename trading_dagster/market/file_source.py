"""A file or a folder of files as a candle source, the embedded sample among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path

from trading_dagster.domain.error import MarketDataMissing
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket, from_unix_us
from trading_dagster.market.candle_file import FORMATS, CandleFile, FilePair
from trading_dagster.market.contract import Candles
from trading_dagster.market.exchange import format_description
from trading_dagster.market.source import Market

UNNAMED_VENUE = "file"
SAMPLE_FOLDER = Path(__file__).parent / "sample"


class FileSource:
    """Candles of Parquet, CSV or Feather files; see `CandleFile` for their columns.

    Args:
        path: A file, or a folder whose files are all read, subfolders too.
        bucket: Width of the candles; None finds out from the times of each file.
        exchange: Venue of pairs for which the file names none.
        pair: "BASE/QUOTE" of a single file that does not say it.
        fee: Trading fee of all pairs as a fraction; None leaves it unknown.
        name: For messages; None takes the path.

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
    ) -> None:
        self.path = Path(path)
        self.name = name or str(path)
        self._bucket = bucket
        self._exchange = exchange or UNNAMED_VENUE
        self._fee = fee
        self._files = [CandleFile(file, pair) for file in find_files(self.path)]

    @cached_property
    def _contents(self) -> dict[Market, list[tuple[CandleFile, FilePair]]]:
        parts: dict[tuple[str, str, TimeBucket], list[tuple[CandleFile, FilePair]]] = {}
        for file in self._files:
            bucket = self._bucket or file.infer_bucket()
            for item in file.pairs:
                parts.setdefault((item.exchange or self._exchange, item.pair, bucket), []).append((file, item))
        return {
            Market(
                chain_id=ChainId.centralised_exchange,
                exchange_slug=exchange,
                pair=pair,
                bucket=bucket,
                first_at=from_unix_us(min(item.first_us for _, item in found)),
                last_at=from_unix_us(max(item.last_us for _, item in found)),
                fee=self._fee,
            ): found
            for (exchange, pair, bucket), found in sorted(
                parts.items(), key=lambda part: (part[0][:2], part[0][2].value)
            )
        }

    def list_markets(self) -> Sequence[Market]:
        """Return the pairs of all files, sorted by venue and pair."""
        return tuple(self._contents)

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the candles that open in [start, end) in frames of bounded size; see `CandleSource`."""
        by_file: dict[Path, tuple[CandleFile, list[FilePair]]] = {}
        for market in markets:
            if market not in self._contents:
                raise MarketDataMissing(
                    f"{self.name}: no candles of {format_description(market.description)} in {market.bucket.value}"
                )
            for file, item in self._contents[market]:
                by_file.setdefault(file.path, (file, []))[1].append(item)
        for file, items in by_file.values():
            yield from file.read(items, start, end)


class EmbeddedSample:
    """The candles that come with the package: BTC/USD of Coinbase hourly; BTC, ETH, LTC/USD of Bitstamp daily."""

    name = "embedded sample"

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


def find_files(path: Path) -> list[Path]:
    """Return the candle files at a path, sorted, hidden ones left out; raises MarketDataMissing or BadInput."""
    if not path.is_dir():
        return [path]
    found = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in FORMATS and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not found:
        raise MarketDataMissing(f"path {path}: no {', '.join(FORMATS)} file in this folder; give a file of candles")
    return found
