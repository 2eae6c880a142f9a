"""The lake: all market data as Parquet files by source, bucket and month, read through in-memory DuckDB.

``<lake>/<source>/<bucket>/<YYYY-MM>.parquet``. Each file is replaced in one rename and describes itself in its footer
(`MonthContent`); ``manifest.json`` beside them repeats the hashes for people and other tools. There is no database
file, so any number of processes may read while one writes.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb
import pandas as pd

from trading_dagster.domain.error import BadInput, MarketDataMissing
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us
from trading_dagster.market.availability import CandleAvailability, Now, read_stored_availability, utc_now
from trading_dagster.market.contract import Candles, bucket_width_us
from trading_dagster.market.market_key import market_key
from trading_dagster.market.month_file import (
    EXTRA_COLUMNS,
    TVL_COLUMNS,
    Interval,
    MonthContent,
    find_renames,
    has_tvl,
    hash_rows,
    read_footer,
    read_month,
)
from trading_dagster.market.month_reader import read_rows
from trading_dagster.market.panel import OHLCV, PRICE_COLUMNS
from trading_dagster.market.side_by_side import choose_workers, map_in_order
from trading_dagster.market.source import Market

LAKE_VARIABLE = "TRADING_DAGSTER_LAKE"
DEFAULT_LAKE = Path(".trading-dagster") / "lake"
MONTH_FILES = "[0-9][0-9][0-9][0-9]-[0-9][0-9].parquet"
BATCH_ROWS = 250_000
ROWS_AT_ONCE = 4_000_000
"""How many candles are read at once, about 100 bytes each in memory, in up to `MOST_WORKERS` threads."""

MOST_WORKERS = 4
LAKE_VIEW = """
CREATE VIEW candles AS SELECT
    parse_path(filename)[-3] AS source, parse_path(filename)[-2] AS bucket,
    split_part(split_part(market, '@', 2), ' ', 1) AS exchange, split_part(market, '@', 1) AS pair,
    market, timestamp, open, high, low, close, volume, {extra}
FROM (SELECT * FROM {months} UNION ALL BY NAME ({none}))
"""
NO_EXTRA = f"SELECT {', '.join(f'NULL::DOUBLE AS {name}' for name in EXTRA_COLUMNS)} LIMIT 0"


class Lake:
    """A folder of candles.

    Args:
        folder: None takes the environment variable TRADING_DAGSTER_LAKE, or ./.trading-dagster/lake.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = Path(folder or os.environ.get(LAKE_VARIABLE) or DEFAULT_LAKE)

    def list_sources(self) -> list[str]:
        """Return the names of the sources that have candles here, sorted."""
        return sorted({path.parent.parent.name for path in self._files()})

    def source(self, name: str, *, now: Now = utc_now) -> LakeSource:
        """Return what the lake has of a source, as a source; raises MarketDataMissing.

        Args:
            name: Of the source.
            now: The clock that tells which candles are closed.
        """
        known = self.list_sources()
        if folder_name(name) not in known:
            raise MarketDataMissing(
                f"source {name!r} is not in the lake {self.folder}, which has {', '.join(known) or 'nothing'}; "
                "import it first"
            )
        return LakeSource(self, folder_name(name), now=now)

    def content_hash(self, source: str, bucket: TimeBucket) -> str:
        """Return a hash of all candles of a source and bucket; equal exactly when they are equal."""
        digest = hashlib.blake2b(digest_size=16)
        for path, content in self.read_contents(source, bucket):
            digest.update(f"{path.name} {content.content_hash}\n".encode())
        return digest.hexdigest()

    def read_contents(self, source: str, bucket: TimeBucket | None = None) -> list[tuple[Path, MonthContent]]:
        """Return the month files of a source and their footers, sorted; raises CandleContractBroken."""
        return [(path, read_footer(path)) for path in self._files(folder_name(source), bucket)]

    def find_damaged(self) -> list[Path]:
        """Return the files whose candles do not match the hash in their footer."""
        return [
            path
            for path in self._files()
            if hash_rows(read_month(path, as_stored=True)) != read_footer(path).content_hash
        ]

    def query(self, sql: str) -> pd.DataFrame:
        """Return the result of SQL over the view ``candles``.

        It has source, bucket, exchange, pair, market, timestamp (UTC), open, high, low, close, volume, and what only
        some sources have, NULL elsewhere: tvl_open, tvl_high, tvl_low, tvl_close (USD), buys, sells.

        Raises:
            MarketDataMissing: The lake is empty.
            BadInput: The SQL is wrong.
        """
        files = [str(path) for path in self._files()]
        if not files:
            raise MarketDataMissing(f"the lake {self.folder} is empty: import candles first")
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(
                LAKE_VIEW.format(months=months_sql(files), extra=", ".join(EXTRA_COLUMNS), none=NO_EXTRA)
            )
            try:
                result = connection.sql(sql)
                if result is None:
                    raise BadInput(f"sql {sql!r} gives no table; ask with SELECT")
                return pd.DataFrame(result.to_arrow_table().to_pandas())
            except duckdb.Error as error:
                raise BadInput(f"sql {sql!r}: {error}") from error

    def month_path(self, source: str, bucket: TimeBucket, month: str) -> Path:
        """Return where the candles of a month ("2018-01") are or will be."""
        return self.folder / folder_name(source) / bucket.value / f"{month}.parquet"

    def _files(self, source: str = "*", bucket: TimeBucket | None = None) -> list[Path]:
        return sorted(self.folder.glob(f"{source}/{'*' if bucket is None else bucket.value}/{MONTH_FILES}"))


class LakeSource:
    """The candles that a lake has of one source; see `CandleSource`."""

    def __init__(self, lake: Lake, source: str, *, now: Now = utc_now) -> None:
        self.lake = lake
        self.name = source
        self._now = now

    def list_markets(self) -> Sequence[Market]:
        """Return the markets of all buckets, sorted by bucket width, venue and pair."""
        return _join_markets(self.lake.read_contents(self.name))

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the candles that open in [start, end) in frames of bounded size; see `CandleSource`.

        They come market by market in the order of their names here (`market_key`), each in the order of time, however
        the markets are given and the months are cut.
        """
        files = self._files(markets, start, end)
        yield from self._load(markets, (to_unix_us(start), to_unix_us(end)), [files] if files else [], OHLCV)

    def load_unordered(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the same month by month, each market by market and in the order of time; see `UnorderedSource`."""
        files = self._files(markets, start, end)
        yield from self._load(markets, (to_unix_us(start), to_unix_us(end)), [[file] for file in files], OHLCV)

    def list_liquidity(self) -> Sequence[Market]:
        """Return the markets in whose files there is TVL; see `LiquiditySource`."""
        return _join_markets([item for item in self.lake.read_contents(self.name) if has_tvl(item[0])])

    def load_liquidity(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the TVL of bars that open in [start, end), where it is known, in the order of `load_candles`."""
        files = [path for path in self._files(markets, start, end) if has_tvl(path)]
        for frame in self._load(markets, (to_unix_us(start), to_unix_us(end)), [files] if files else [], TVL_COLUMNS):
            yield frame.dropna().rename(columns=dict(zip(TVL_COLUMNS, PRICE_COLUMNS, strict=True)))

    def month_files(self, bucket: TimeBucket, start: datetime, end: datetime) -> list[str]:
        """Return the files that have the candles of [start, end), all markets of a bucket."""
        months = months_between(to_unix_us(start), to_unix_us(end))
        paths = [self.lake.month_path(self.name, bucket, month) for month, _ in months]
        return [str(path) for path in paths if path.is_file()]

    def _files(self, markets: Sequence[Market], start: datetime, end: datetime) -> list[Path]:
        buckets = dict.fromkeys(market.bucket for market in markets)
        return [Path(file) for bucket in buckets for file in self.month_files(bucket, start, end)]

    def _load(
        self, markets: Sequence[Market], asked: Interval, groups: Sequence[Sequence[Path]], names: Sequence[str]
    ) -> Iterator[Candles]:
        """Yield the rows of each group of files after the other, those of a group in order."""
        by_key = {market_key(market): market for market in markets}
        pairs = pd.Index(sorted({market.pair for market in markets}), dtype="str")
        workers = choose_workers(None, MOST_WORKERS)
        parts = [
            (files, keys)
            for files in groups
            for keys in _parts(by_key, _span_of(files, asked), ROWS_AT_ONCE // workers)
        ]
        read = map_in_order(
            lambda part: read_rows(*part, asked, names), parts, max(1, min(workers, len(parts))), ahead=1
        )
        for (_, keys), rows in zip(parts, read, strict=True):
            own = pairs.get_indexer(pd.Index([by_key[key].pair for key in keys]))
            for first in range(0, len(rows.codes), BATCH_ROWS):
                part = slice(first, first + BATCH_ROWS)
                yield pd.DataFrame(
                    {
                        "timestamp": rows.times_us[part].view("datetime64[us]"),
                        "pair": pd.Categorical.from_codes(own[rows.codes[part]], pairs),
                        **{name: rows.columns[name][part] for name in names},
                    },
                    copy=False,
                )

    def read_availability(
        self, pairs: Sequence[HumanReadableTradingPairDescription], bucket: TimeBucket
    ) -> Sequence[CandleAvailability]:
        """Return what is closed of each pair; see `read_stored_availability`."""
        return read_stored_availability(self, pairs, bucket, self._now())


def _join_markets(contents: Sequence[tuple[Path, MonthContent]]) -> tuple[Market, ...]:
    """Return each market of month files with its whole span."""
    found: dict[tuple[TimeBucket, str], Market] = {}
    for _, content in contents:
        for coverage in content.coverages:
            market = coverage.market
            key = (market.bucket, market_key(market))
            known = found.get(key)
            if coverage.row_count == 0:
                continue
            found[key] = replace(market, first_at=known.first_at) if known is not None else market
    return tuple(found[key] for key in sorted(found, key=lambda key: (key[0].to_timedelta(), key[1])))


def _span_of(files: Sequence[Path], asked: Interval) -> Interval:
    """Return the part of a span that months, in the order of time, have."""
    first, last = (datetime.strptime(path.stem, "%Y-%m") for path in (files[0], files[-1]))  # noqa: DTZ007 - UTC
    end = last.replace(year=last.year + last.month // 12, month=last.month % 12 + 1)
    return max(asked[0], to_unix_us(first)), min(asked[1], to_unix_us(end))


def _parts(markets: Mapping[str, Market], asked: Interval, most_rows: int) -> Iterator[list[str]]:
    """Yield the names of markets, sorted, in parts of at most as many candles, or of one market."""
    part: list[str] = []
    count = 0
    for key in sorted(markets):
        market = markets[key]
        first, last = max(asked[0], to_unix_us(market.first_at)), min(asked[1], to_unix_us(market.end_at))
        rows = max(0, (last - first) // bucket_width_us(market.bucket))
        if part and count + rows > most_rows:
            yield part
            part, count = [], 0
        part.append(key)
        count += rows
    if part:
        yield part


def folder_name(source: str) -> str:
    """Return the folder of a source: its name in letters of any script, digits, dots, underscores and dashes."""
    return re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", source)).strip("-.") or "source"


def months_between(start_us: int, end_us: int) -> Iterator[tuple[str, Interval]]:
    """Yield name and interval of each month that [start, end) touches."""
    moment = from_unix_us(start_us).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while start_us < end_us and to_unix_us(moment) < end_us:
        following = moment.replace(year=moment.year + moment.month // 12, month=moment.month % 12 + 1)
        yield moment.strftime("%Y-%m"), (to_unix_us(moment), to_unix_us(following))
        moment = following


def months_sql(files: Sequence[str]) -> str:
    """Return the rows of month files as a table in SQL, with the ``filename`` of each and today's names of markets."""
    renames = [(file, *pair) for file in files for pair in find_renames(Path(file)).items()]
    rows = f"read_parquet({sql_files(files)}, filename = true, union_by_name = true)"
    if not renames:
        return rows
    lists = ", ".join(
        f"unnest({sql_list(values)}) AS {name}"
        for name, values in zip(("file", "old", "new"), zip(*renames, strict=True), strict=True)
    )
    return (
        f"(SELECT month.* REPLACE (coalesce(renamed.new, month.market) AS market) FROM {rows} AS month "  # noqa: S608
        f"LEFT JOIN (SELECT {lists}) AS renamed ON month.filename = renamed.file AND month.market = renamed.old)"
    )


def sql_files(files: Sequence[str]) -> str:
    """Return files as a list in SQL that names them and no others: what DuckDB takes for a pattern is quoted."""
    return sql_list([re.sub(r"[*?\[]", r"[\g<0>]", file) for file in files])


def sql_list(values: Sequence[str]) -> str:
    """Return texts as a list in SQL."""
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"[{quoted}]"
