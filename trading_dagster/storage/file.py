"""Files that are either whole or absent: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trading_dagster.statistics.table import Table


def write_atomically(path: Path, write: Callable[[Path], Any]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, sync it and put it there; a crash leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def write_bytes(content: bytes, path: Path) -> Path:
    """Write bytes."""
    return write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_text(text: str, path: Path) -> Path:
    """Write text as UTF-8."""
    return write_bytes(text.encode(), path)


def write_frame(frame: pd.DataFrame, path: Path) -> Path:
    """Write a frame as Parquet, whole or not at all; the index is not kept."""
    return write_atomically(path, lambda temporary: frame.to_parquet(temporary, index=False, compression="zstd"))


ARROW_TYPES: dict[str, pa.DataType] = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "str": pa.string(),
    "datetime64[us]": pa.timestamp("us"),
    "timedelta64[us]": pa.duration("us"),
}


def table_to_parquet(table: Table) -> bytes:
    """Return a table as a Parquet file; equal tables give equal bytes."""
    columns = {name: pa.array(table.columns[name], type=ARROW_TYPES[dtype]) for name, dtype in table.types.items()}
    texts = [name for name, dtype in table.types.items() if dtype == "str"]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", use_dictionary=texts, write_statistics=False)
    return bytes(sink.getvalue())
