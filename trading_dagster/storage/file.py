"""Artefact files: texts, frames and tables, each either whole or absent."""

from __future__ import annotations

from collections.abc import Mapping
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


def parquet_to_table(content: bytes, types: Mapping[str, str]) -> Table:
    """Return the table of a Parquet file that `tables_to_parquet` made of columns of these types."""
    stored = pq.read_table(pa.BufferReader(content))
    columns = {
        name: stored[name].to_pylist() if dtype == "str" else stored[name].to_numpy() for name, dtype in types.items()
    }
    return Table(columns, types)
