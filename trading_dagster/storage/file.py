"""Artefact files: texts, frames and tables, each either whole or absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trading_dagster.market.atomic_file import write_atomically
from trading_dagster.statistics.table import Table


def write_bytes(content: bytes, path: Path) -> Path:
    """Write bytes, whole or not at all."""
    write_atomically(path, lambda temporary: _fill(temporary, content))
    return path


def write_text(text: str, path: Path) -> Path:
    """Write text as UTF-8."""
    return write_bytes(text.encode(), path)


def write_frame(frame: pd.DataFrame, path: Path) -> Path:
    """Write a frame as Parquet, whole or not at all; the index is not kept."""
    write_atomically(path, lambda temporary: frame.to_parquet(temporary, index=False, compression="zstd"))
    return path


def _fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)


ARROW_TYPES: dict[str, pa.DataType] = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "str": pa.string(),
    "datetime64[us]": pa.timestamp("us"),
    "timedelta64[us]": pa.duration("us"),
}


def tables_to_parquet(tables: Sequence[Table]) -> list[bytes]:
    """Return tables of the same types as Parquet files: together sooner, but each the same as it would be alone."""
    types = tables[0].types
    joined = Table.join(tables, types).columns
    rows = pa.table({name: pa.array(joined[name], type=ARROW_TYPES[dtype]) for name, dtype in types.items()})
    has_durations = "timedelta64[us]" in types.values()
    files, begin = [], 0
    for table in tables:
        sink = pa.BufferOutputStream()
        # Dictionaries, statistics and a copy of the schema cost more than they save in the small tables of a partition;
        # only durations have no Parquet type of their own.
        with pq.ParquetWriter(
            sink,
            rows.schema,
            compression="snappy",
            use_dictionary=False,
            write_statistics=False,
            store_schema=has_durations,
        ) as writer:
            writer.write_table(rows.slice(begin, len(table)))
        files.append(bytes(sink.getvalue()))
        begin += len(table)
    return files


def parquet_to_table(content: bytes, types: Mapping[str, str]) -> Table:
    """Return the table of a Parquet file that `tables_to_parquet` made of columns of these types."""
    stored = pq.read_table(pa.BufferReader(content))
    columns = {
        name: stored[name].to_pylist() if dtype == "str" else stored[name].to_numpy() for name, dtype in types.items()
    }
    return Table(columns, types)
