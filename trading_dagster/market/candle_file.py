"""One file of candles: its columns, bucket and pairs, read in batches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import acero, csv

from trading_dagster.domain.error import BadInput, CandleContractBroken, MarketDataMissing
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us
from trading_dagster.market.contract import Candles
from trading_dagster.market.exchange import split_ticker
from trading_dagster.market.panel import OHLCV, Integers

FORMATS = {".parquet": "parquet", ".csv": "csv", ".gz": "csv", ".feather": "feather", ".arrow": "feather"}
TIME_NAMES = ("timestamp", "date", "datetime", "time", "open_time", "__index_level_0__")
FILE_NAME_PAIR = re.compile(r"^([A-Za-z0-9.]+)[-_]([A-Za-z0-9.]+)$")
NO_TOKEN = re.compile(r"(?:\d+|candles?|ohlcv?|klines?|\d+(?:s|m|min|h|d|w|mo))", re.IGNORECASE)
"""What files are called by, but tokens are not: dates, widths of candles."""
ONE_SECOND = timedelta(seconds=1)
BATCH_ROWS = 1 << 18
DELIMITERS = (",", ";", "\t", "|")
LONGEST_LINE = 4096


@dataclass(frozen=True, slots=True)
class FilePair:
    """A pair in a file: how its rows are marked (see `CandleFile`), what it is called, and its span."""

    key: tuple[Any, ...]
    pair: str
    exchange: str | None
    first_us: int
    last_us: int
    row_count: int


class CandleFile:
    """A Parquet, CSV or Feather file with timestamp, open, high, low, close, volume and a way to tell pairs apart.

    Column names are matched without regard to case. Columns of CSV are told apart by commas, else by the first of
    semicolon, tab and bar that the first line has. Pairs are told apart by ``pair`` ("BASE/QUOTE" or
    "BASE/QUOTE@venue") or ``pair_id``, and by ``exchange`` if there; a file with neither holds one pair, named by the
    argument or by the file, as in BTC-USD.csv.

    Args:
        path: The file.
        pair: Name of the only pair, "BASE/QUOTE", where the file does not say it.

    Raises:
        MarketDataMissing: No such file.
        CandleContractBroken: Not readable, or columns missing.
    """

    def __init__(self, path: Path, pair: str | None = None) -> None:
        self.path = path
        self._only_pair = pair
        self._pairs: tuple[FilePair, ...] | None = None  # no cached_property: in Python 3.11 its lock is for all files
        if not path.is_file():
            raise MarketDataMissing(f"path {path}: there is no such file; give a file or folder of candles")
        kind = FORMATS.get(path.suffix.lower())
        if kind is None:
            hint = " (a .zip needs a mapping, or unpack it)" if path.suffix.lower() == ".zip" else ""
            raise BadInput(
                f"path {path}: cannot read {path.suffix or 'this kind of'} files; use {', '.join(FORMATS)}{hint}"
            )
        if path.stat().st_size == 0:
            raise CandleContractBroken(f"path {path}: not readable as {kind}: the file is empty; write it again")
        try:
            self._data = ds.dataset(path, format=csv_format(path) if kind == "csv" else kind)
        except (pa.ArrowInvalid, OSError) as error:
            raise CandleContractBroken(f"path {path}: not readable as {kind}: {error}; write the file again") from error
        self._names = {name.strip().lower(): name for name in self._data.schema.names}
        refuse_twice([name.strip().lower() for name in self._data.schema.names], path)
        self._time = next((self._names[name] for name in TIME_NAMES if name in self._names), None)
        missing = [name for name in OHLCV if name not in self._names]
        if self._time is None or missing:
            wanted = ", ".join(missing if self._time is not None else ["timestamp", *missing])
            raise CandleContractBroken(
                f"path {path}: column {wanted} is missing, columns are {self._data.schema.names}: "
                f"candles need timestamp (UTC, open), {', '.join(OHLCV)}"
            )
        self._time_type = self._data.schema.field(self._time).type
        self._check_times()
        mark = next((self._names[name] for name in ("pair", "pair_id") if name in self._names), None)
        self._marks = [name for name in (mark, self._names.get("exchange")) if name is not None]

    def _check_times(self) -> None:
        kind = self._time_type
        if pa.types.is_null(kind):
            raise MarketDataMissing(f"path {self.path}: there are no candles in it")
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            raise CandleContractBroken(
                f"path {self.path}: {self._time} is a number ({kind}): say what it counts in a mapping (--mapping), "
                "as time_unit s, ms or us, or write times in UTC like 2024-01-31 13:00"
            )
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            raise CandleContractBroken(
                f"path {self.path}: {self._time} is a text that cannot be read as a time: write times in UTC like "
                "2024-01-31 13:00, or say in a mapping file (--mapping, time_format) how they are written"
            )
        check_time_type(kind, f"path {self.path}")

    @property
    def has_tvl(self) -> bool:
        """Tell whether there is a column ``tvl``."""
        return "tvl" in self._names

    @property
    def pairs(self) -> tuple[FilePair, ...]:
        """Return the pairs of the file, sorted by venue and name; they are looked for once."""
        if self._pairs is None:
            self._pairs = self._find_pairs()
        return self._pairs

    def _find_pairs(self) -> tuple[FilePair, ...]:
        prefix = "hash_" if self._marks else ""
        wanted = [("time", prefix + how, None, how) for how in ("min", "max", "count")]
        columns = {name: pc.field(name) for name in [*self._marks, self._time]}
        plan = [
            acero.Declaration("scan", acero.ScanNodeOptions(self._data, columns=columns)),
            acero.Declaration("project", acero.ProjectNodeOptions(list(columns.values()), [*self._marks, "time"])),
            acero.Declaration("aggregate", acero.AggregateNodeOptions(wanted, keys=self._marks or None)),
        ]
        found = []
        with self._damage_named():
            rows = acero.Declaration.from_sequence(plan).to_table()
        for key, first, last, count in zip(
            zip(*(rows[name].to_pylist() for name in self._marks), strict=True) if self._marks else [()],
            to_us(rows["min"].fill_null(0), self.path).tolist(),
            to_us(rows["max"].fill_null(0), self.path).tolist(),
            rows["count"].to_pylist(),
            strict=True,
        ):
            if count:
                pair, exchange = self._name_of(key)
                found.append(FilePair(key, pair, exchange, first, last, count))
        return tuple(sorted(found, key=lambda item: (item.exchange or "", item.pair)))

    def infer_bucket(self) -> TimeBucket:
        """Return the most frequent step between candles of the pair with most of them.

        Raises:
            MarketDataMissing: The file is empty.
            BadInput: There is no such step, or it is no bucket.
        """
        if not self.pairs:
            raise MarketDataMissing(f"path {self.path}: there are no candles in it")
        largest = max(self.pairs, key=lambda item: item.row_count)
        frames = self.read([largest], from_unix_us(largest.first_us), from_unix_us(largest.last_us + 1), ())
        times = np.unique(np.concatenate([frame["timestamp"].to_numpy().astype(np.int64) for frame in frames]))
        steps, counts = np.unique(np.diff(times), return_counts=True)
        if not len(steps):
            raise BadInput(f"path {self.path}: one candle does not tell the time bucket: give bucket=")
        return bucket_of(timedelta(microseconds=int(steps[counts.argmax()])), self.path)

    def read(
        self, pairs: Sequence[FilePair], start: datetime, end: datetime, columns: Sequence[str] = OHLCV
    ) -> Iterator[Candles]:
        """Yield rows of the pairs that open in [start, end) as frames of timestamp, pair and the columns.

        Raises:
            CandleContractBroken: A column is not numeric or the file is damaged.
        """
        distinct = list(dict.fromkeys(item.pair for item in pairs))
        places = {pair: place for place, pair in enumerate(distinct)}
        codes = {item.key: places[item.pair] for item in pairs}
        names = pd.Index(distinct, dtype="str")
        first_us, end_us = to_unix_us(start), to_unix_us(end)
        scanner = self._data.scanner(
            columns=[*self._marks, self._time, *(self._names[name] for name in columns)],
            filter=self._coarse_filter(pairs, start, end),
            batch_size=BATCH_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
        )
        with self._damage_named():
            for batch in scanner.to_batches():
                times = to_us(batch[self._time], self.path)
                code = self._codes(batch, codes)
                frame = pd.DataFrame(
                    {
                        "timestamp": pd.DatetimeIndex(times.view("datetime64[us]")),
                        "pair": pd.Categorical.from_codes(np.maximum(code, 0), names),
                        **{name: self._floats(batch, name) for name in columns},
                    },
                    copy=False,
                )
                wanted = (code >= 0) & (times >= first_us) & (times < end_us)
                if wanted.any():
                    yield frame if wanted.all() else frame[wanted]

    def _codes(self, batch: pa.RecordBatch, codes: dict[tuple[Any, ...], int]) -> Integers:
        """Return the code of each row's mark, -1 for marks not asked for."""
        encoded = [batch[name].dictionary_encode() for name in self._marks]
        places: Integers = np.zeros(batch.num_rows, dtype=np.int64)
        for column in encoded:
            places = places * len(column.dictionary) + column.indices.to_numpy(zero_copy_only=False)
        keys = product(*(column.dictionary.to_pylist() for column in encoded))
        known: Integers = np.asarray([codes.get(key, -1) for key in keys], dtype=np.int64)[places]
        return known

    def _floats(self, batch: pa.RecordBatch, name: str) -> Any:
        column = batch[self._names[name]]
        kind = column.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
            first = column[0].as_py() if len(column) else None
            raise CandleContractBroken(
                f"path {self.path}: column {name} has type {kind}, first value {first!r}: convert it to float64"
                + (', or say decimal: "," in a mapping (--mapping)' if "," in str(first) else "")
            )
        return pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)

    def _coarse_filter(self, pairs: Sequence[FilePair], start: datetime, end: datetime) -> ds.Expression:
        """Return a filter that lets through at least the rows asked for, so that row groups can be skipped."""
        rows = pc.scalar(True)
        for place, name in enumerate(self._marks):
            kind = self._data.schema.field(name).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            values = pa.array(sorted({item.key[place] for item in pairs}), kind)
            rows &= pc.field(name).isin(values)
        if pa.types.is_timestamp(self._time_type):
            zone = UTC if self._time_type.tz else None
            low = pa.scalar(start.replace(microsecond=0, tzinfo=zone), self._time_type)
            high = pa.scalar((end + ONE_SECOND).replace(microsecond=0, tzinfo=zone), self._time_type)
            rows &= (pc.field(self._time) >= low) & (pc.field(self._time) < high)
        return rows

    def _name_of(self, key: tuple[Any, ...]) -> tuple[str, str | None]:
        """Return pair and venue of a row mark."""
        marks = dict(zip((name.lower() for name in self._marks), key, strict=True))
        exchange: str | None = marks.get("exchange")
        if "pair" in marks:
            pair, _, venue = str(marks["pair"] or "").partition("@")
            check_pair(pair, self.path)
            return pair, exchange or venue or None
        if "pair_id" in marks:
            return f"{marks['pair_id']}/USD", exchange
        named = FILE_NAME_PAIR.match(self.path.name.split(".")[0])
        named = None if named is not None and any(map(NO_TOKEN.fullmatch, named.groups())) else named
        if self._only_pair is None and named is None:
            raise BadInput(
                f"path {self.path}: neither a column pair nor the file name says which pair it is: add the column, "
                "give pair='BASE/QUOTE', or name the file like BTC-USD.csv"
            )
        pair = self._only_pair or "/".join(named.groups() if named else ())
        check_pair(pair, self.path)
        return pair, exchange

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise CandleContractBroken(f"path {self.path}: not readable: {error}; write the file again") from error


def bucket_of(step: timedelta, path: Path) -> TimeBucket:
    """Return the bucket of a width that the times of a file have; raises BadInput."""
    try:
        return TimeBucket.from_timedelta(step)
    except BadInput as error:
        raise BadInput(
            f"path {path}: most candles are {step} apart. {error}; check how times are read (time_unit), or give the "
            "bucket in a mapping file"
        ) from error


def check_pair(pair: str, path: Path) -> None:
    """Refuse a name that is not BASE/QUOTE; raises BadInput with the file."""
    try:
        split_ticker(pair)
    except BadInput as error:
        raise BadInput(f"path {path}: {error}") from error


def refuse_twice(names: Sequence[str], path: Path) -> None:
    """Refuse a file in which two columns have one name that candles need; raises CandleContractBroken."""
    counts = Counter(names)
    twice = [name for name in (*TIME_NAMES, *OHLCV, "pair", "pair_id", "exchange") if counts[name] > 1]
    if twice:
        raise CandleContractBroken(
            f"path {path}: {counts[twice[0]]} columns are called {twice[0]}, whatever the case: rename all but one"
        )


def csv_delimiter(first_line: bytes, decimal: str = ".") -> str:
    """Return what tells the columns of a CSV file apart; it is not what its decimals begin with."""
    line = first_line.decode("utf-8", errors="replace")
    marks = [mark for mark in DELIMITERS if mark != decimal]
    return next((mark for mark in marks if mark in line), marks[0])


def csv_format(path: Path) -> ds.CsvFileFormat:
    """Return how a CSV file is to be read."""
    with pa.input_stream(path) as stream:
        first_line = stream.read(LONGEST_LINE).partition(b"\n")[0]
    return ds.CsvFileFormat(parse_options=csv.ParseOptions(delimiter=csv_delimiter(first_line)))


def check_time_type(kind: pa.DataType, source_name: str) -> None:
    """Refuse a column that does not hold naive or UTC times; raises CandleContractBroken."""
    if pa.types.is_date(kind) or (pa.types.is_timestamp(kind) and kind.tz in (None, "UTC", "+00:00", "Etc/UTC")):
        return
    raise CandleContractBroken(
        f"{source_name}: timestamp has type {kind}: write it as a timestamp in UTC, the open time of the candle"
    )


def to_us(times: pa.Array | pa.ChunkedArray, path: Path) -> Integers:
    """Return Arrow times as microseconds since 1970; raises CandleContractBroken for missing or finer ones."""
    if times.null_count:
        raise CandleContractBroken(f"path {path}: timestamp is missing in {times.null_count} rows: drop these rows")
    zone = getattr(times.type, "tz", None)
    try:
        exact = pc.cast(times, pa.timestamp("us", zone)).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise CandleContractBroken(
            f"path {path}: timestamp is finer than a microsecond ({error}): label candles by their open time"
        ) from error
    whole = exact.combine_chunks() if isinstance(exact, pa.ChunkedArray) else exact
    microseconds: Integers = whole.to_numpy(zero_copy_only=False)
    return microseconds
