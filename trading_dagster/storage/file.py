"""Files that are either whole or absent: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


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
    """Write a frame as Parquet, whole or not at all."""
    return write_bytes(frame_to_parquet(frame), path)


def frame_to_parquet(frame: pd.DataFrame) -> bytes:
    """Return a frame as a Parquet file; equal frames give equal bytes. The index is not kept."""
    columns = {str(name): _to_arrow(column) for name, column in frame.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return bytes(sink.getvalue())


def _to_arrow(column: pd.Series) -> Any:
    values = column.array
    if isinstance(values, pd.arrays.ArrowStringArray):
        return pa.array(values).cast(pa.string())
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiubMm":
        return pa.array(column.to_numpy())
    return pa.array(column.tolist())
