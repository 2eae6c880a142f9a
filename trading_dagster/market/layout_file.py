"""One file of another program, read by its `FileLayout` into the form that candles have here."""

from __future__ import annotations

import codecs
import io
import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import product
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.feather as pf
import pyarrow.parquet as pq
from pandas.tseries.api import guess_datetime_format

from trading_dagster.domain.error import BadInput, CandleContractBroken, MarketDataMissing
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.candle_file import (
    FORMATS,
    LONGEST_LINE,
    TIME_NAMES,
    FilePair,
    bucket_of,
    check_pair,
    csv_delimiter,
    refuse_twice,
)
from trading_dagster.market.contract import Candles, timestamps_us
from trading_dagster.market.file_layout import UNITS, FileLayout
from trading_dagster.market.panel import OHLCV, ONE_US, Integers

KEPT_ROWS = 4_000_000
"""How many candles of such files are kept, about 60 bytes each."""

LATEST_SECONDS, LATEST_MILLISECONDS, LATEST_MICROSECONDS = 10**11, 10**14, 10**17
"""Numbers below these are seconds, milliseconds, or microseconds, until the year 5138."""

LATEST_US = 10**17
NUMBER = re.compile(r"[-+]?\d*[.,]?\d+(?:[eE][-+]?\d+)?")


class Shelf:
    """Keeps frames of files that are asked for again and again, up to a number of rows; several threads may ask."""

    def __init__(self, most_rows: int = KEPT_ROWS) -> None:
        self._most_rows = most_rows
        self._frames: WeakKeyDictionary[LayoutFile, Candles] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def get(self, file: LayoutFile, read: Callable[[], Candles]) -> Candles:
        """Return what was kept of a file, else read it."""
        with self._lock:
            kept = self._frames.get(file)
        if kept is not None:
            return kept
        frame = read()
        with self._lock:
            rows = sum(map(len, self._frames.values()))
            if file not in self._frames and rows + len(frame) <= self._most_rows:
                self._frames[file] = frame
        return frame


class LayoutFile:
    """A file whose columns, pairs or times another program named; see `CandleFile` for what it gives.

    What was read is kept as long as a `Shelf` has room for it, else it is read anew for each question.

    Args:
        path: The file.
        layout: What it means.
        shelf: Where frames are kept; one for all files of a source.

    Raises:
        CandleContractBroken: Not readable, or not as the layout says.
    """

    has_tvl = False

    def __init__(self, path: Path, layout: FileLayout, shelf: Shelf | None = None) -> None:
        self.path = path
        self._shelf = shelf or Shelf()
        self._layout = layout
        self._found: tuple[FilePair, ...] | None = None

    @property
    def pairs(self) -> tuple[FilePair, ...]:
        """Return the pairs of the file, sorted by venue and name; they are looked for once."""
        if self._found is None:
            self._found = self._find_pairs(self._load())
        return self._found

    def _find_pairs(self, frame: Candles) -> tuple[FilePair, ...]:
        found = []
        for (venue, pair), own in frame.groupby(["exchange", "pair"], sort=True, observed=True):
            times = own["timestamp"].astype("datetime64[us]").astype(np.int64)
            span = (int(times.min()), int(times.max()))
            found.append(FilePair((venue, pair), str(pair), str(venue) or None, *span, len(own)))
        return tuple(found)

    def infer_bucket(self) -> TimeBucket:
        """Return the width of the candles: the layout's, or the most frequent step; raises BadInput."""
        if self._layout.bucket is not None:
            return self._layout.bucket
        frame = self._load()
        if not len(frame):
            raise MarketDataMissing(f"path {self.path}: there are no candles in it")
        largest = max(self.pairs, key=lambda item: item.row_count)
        times = frame.loc[frame["pair"] == largest.pair, "timestamp"].drop_duplicates().sort_values()
        steps = times.diff().dropna()
        if not len(steps):
            raise BadInput(f"path {self.path}: one candle does not tell the time bucket: give bucket in the mapping")
        return bucket_of(steps.mode().iloc[0].to_pytimedelta(), self.path)

    def read(
        self, pairs: Sequence[FilePair], start: datetime, end: datetime, columns: Sequence[str] = OHLCV
    ) -> Iterator[Candles]:
        """Yield rows of the pairs that open in [start, end) as frames of timestamp, pair and the columns."""
        frame = self._load()
        keys = {item.key for item in pairs}
        venues, names = frame["exchange"].cat, frame["pair"].cat
        marks = product(venues.categories, names.categories)
        is_asked = np.asarray([mark in keys for mark in marks], dtype=np.bool_)
        codes = venues.codes.to_numpy(dtype=np.int64) * len(names.categories) + names.codes.to_numpy(dtype=np.int64)
        during = ((frame["timestamp"] >= start) & (frame["timestamp"] < end)).to_numpy()
        inside = frame[is_asked[codes] & during]
        if len(inside):
            yield inside[["timestamp", "pair", *columns]].reset_index(drop=True)

    def _load(self) -> Candles:
        return self._shelf.get(self, self._parse)

    def _parse(self) -> Candles:
        layout = self._layout
        table = self._read_table()
        mapped = {layout.names[name] for name in map(str, table.columns) if name in layout.names}
        own = [name in layout.names or name.strip().lower() not in mapped for name in map(str, table.columns)]
        table = table.loc[:, own]  # a column that the layout names is meant, not one that happens to be called so
        table.columns = pd.Index([layout.names.get(name, name).strip().lower() for name in map(str, table.columns)])
        refuse_twice(list(table.columns), self.path)
        time = next((name for name in TIME_NAMES if name in table.columns), None)
        missing = [name for name in OHLCV if name not in table.columns]
        if time is None or missing:
            wanted = ", ".join(missing if time is not None else ["timestamp", *missing])
            raise CandleContractBroken(
                f"path {self.path}: column {wanted} is missing, columns are {list(table.columns)}: say in columns of "
                "the mapping what the file calls it"
            )
        columns = {"timestamp": pd.DatetimeIndex(self._times(table[time]).view("datetime64[us]"))}
        frame = pd.DataFrame(columns).assign(pair=self._pairs(table).array)
        has_venue = "exchange" in table.columns
        venue = table["exchange"].astype("str").astype("category") if has_venue else _constant(layout.exchange, table)
        frame["exchange"] = venue.array
        for name in OHLCV:
            try:
                frame[name] = table[name].to_numpy(dtype=np.float64, na_value=np.nan)
            except (TypeError, ValueError) as error:
                raise CandleContractBroken(
                    f"path {self.path}: column {name} is not numeric: {error}; a decimal comma is told "
                    'by decimal: "," in the mapping'
                ) from error
        return frame

    def _pairs(self, table: pd.DataFrame) -> pd.Series:
        layout = self._layout
        if "pair" not in table.columns:
            if layout.pair is None:
                raise BadInput(f"path {self.path}: neither a column nor the mapping says which pair it is: give pair")
            return _constant(layout.pair, table)
        named = table["pair"].astype("str")
        renamed = {name: layout.pairs.get(name, name) for name in named.unique()}
        for pair in renamed.values():
            check_pair(pair, self.path)
        return named.map(renamed).astype("category")

    def _times(self, column: pd.Series) -> Integers:
        """Return the open times, microseconds since 1970."""
        where, time_format = f"path {self.path}", self._layout.time_format
        shift = self._layout.shift // ONE_US
        if pd.api.types.is_numeric_dtype(column.dtype):
            missing = int(column.isna().sum())
            if missing:
                raise CandleContractBroken(f"{where}: timestamp is missing in {missing} rows: drop these rows")
            if time_format is None:
                return _count_us(column.to_numpy(), self._layout.unit, where) - shift
            column = column.astype("int64").astype("str")
        times = column
        if not pd.api.types.is_datetime64_any_dtype(column.dtype):
            try:
                times = _parse_texts(column, time_format)
            except (ValueError, TypeError) as error:
                said = str(error).partition(". You might")[0]
                raise CandleContractBroken(
                    f"{where}: times cannot be read: {said}; say in time_format of the mapping how they are "
                    "written, such as %d/%m/%Y %H:%M"
                ) from error
        return timestamps_us(pd.DataFrame({"timestamp": times}), where) - shift

    def _read_table(self) -> pd.DataFrame:
        path, header = self.path, self._layout.header
        try:
            if path.suffix == ".json":
                rows = json.loads(path.read_text(encoding="utf-8"))
                return pd.DataFrame([row[: len(header or ())] for row in rows], columns=list(header or ()))
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    parts = [_read_csv(archive.read(name), self._layout) for name in _tables_in(archive)]
                return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
            kind = FORMATS.get(path.suffix.lower())
            if kind == "parquet":
                return pd.DataFrame(pq.read_table(path).to_pandas())
            if kind == "feather":
                return pd.DataFrame(pf.read_table(path).to_pandas())
            content = path.read_bytes()
            return _read_csv(pa.input_stream(path).read() if path.suffix == ".gz" else content, self._layout)
        except (pa.ArrowException, OSError, ValueError, zipfile.BadZipFile, IndexError) as error:
            raise CandleContractBroken(f"path {path}: not readable: {error}; write the file again") from error


def _count_us(numbers: np.ndarray, unit: str | None, source_name: str) -> Integers:
    """Return times written as numbers as microseconds since 1970, whole ones."""
    wide = numbers.astype(np.float64)
    scale = np.full(len(wide), 1.0 if unit is None else UNITS[unit])
    if unit is None:
        limits = (LATEST_SECONDS, LATEST_MILLISECONDS, LATEST_MICROSECONDS)
        scale = np.asarray([UNITS[name] for name in ("s", "ms", "us", "ns")])[np.digitize(wide, limits)]
    counted = np.rint(wide * scale)
    outside = np.flatnonzero(~(np.abs(counted) < LATEST_US))
    if len(outside):
        raise CandleContractBroken(
            f"{source_name}: timestamp {numbers[outside[0]]!r} is no time when read in {unit or 'any unit'}: say in "
            "time_unit of the mapping what it counts"
        )
    microseconds: Integers = counted.astype(np.int64)
    return microseconds


def _parse_texts(column: pd.Series, time_format: str | None) -> pd.Series:
    """Return times written as text; ValueError where day and month could be taken for each other."""
    if time_format is not None:
        return pd.to_datetime(column, utc=True, format=time_format)
    try:
        return pd.to_datetime(column, utc=True, format="ISO8601")
    except ValueError:
        first = str(column.dropna().iloc[0])
    ways = (False,) if first[:4].isdigit() else (False, True)  # the month follows a year that comes first
    guesses = {guess_datetime_format(first, dayfirst=is_day_first) for is_day_first in ways}
    if len(guesses) > 1 or None in guesses:
        raise ValueError(f"{first!r} may be read in several ways")
    return pd.to_datetime(column, utc=True, format=guesses.pop())


def _constant(name: str | None, table: pd.DataFrame) -> pd.Series:
    return pd.Series(pd.Categorical.from_codes(np.zeros(len(table), dtype=np.int8), pd.Index([name or ""])))


def _tables_in(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of the CSV files in an archive, sorted; ValueError without any."""
    names = sorted(name for name in archive.namelist() if name.lower().endswith(".csv"))
    own = [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))]
    if not own:
        raise ValueError(f"there is no .csv file in it, only {archive.namelist()[:3]}")
    return own


def _read_csv(content: bytes, layout: FileLayout) -> pd.DataFrame:
    """Read a CSV file; one with a layout's columns may still have a line of names."""
    header = layout.header
    content = content.removeprefix(codecs.BOM_UTF8)
    first_line = content[:LONGEST_LINE].partition(b"\n")[0]
    delimiter = csv_delimiter(first_line, layout.decimal)
    names = None if header is None or not _has_number(first_line, delimiter) else list(header)
    table = pc.read_csv(
        io.BytesIO(content),
        read_options=pc.ReadOptions(column_names=names),
        parse_options=pc.ParseOptions(delimiter=delimiter),
        convert_options=pc.ConvertOptions(decimal_point=layout.decimal),
    )
    if header is not None and names is None and len(table.column_names) == len(header):
        table = table.rename_columns(list(header))
    return pd.DataFrame(table.to_pandas())


def _has_number(line: bytes, delimiter: str) -> bool:
    """Tell whether a line of a CSV file has a price in it, rather than names of columns."""
    fields = line.decode("utf-8", errors="replace").split(delimiter)
    return any(NUMBER.fullmatch(each.strip().strip("\"'")) for each in fields)
