"""Columns of events in a Parquet file that describes itself in its footer, replaced in one rename."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trading_dagster.domain.error import CandleContractBroken
from trading_dagster.market.atomic_file import write_atomically

FOOTER_KEY = b"trading_dagster"
Column: TypeAlias = npt.NDArray[Any]
"""One number a row, or bytes of one length a row (uint8 of shape (n, length))."""


def write_columns(path: Path, columns: Mapping[str, Column], about: Mapping[str, Any]) -> None:
    """Write columns of equal length, and JSON that describes them, atomically."""
    table = pa.table({name: _to_arrow(values) for name, values in columns.items()})
    footer = {FOOTER_KEY: json.dumps(about, sort_keys=True).encode()}
    write_atomically(
        path, lambda temporary: pq.write_table(table.replace_schema_metadata(footer), temporary, compression="zstd")
    )


def read_about(path: Path) -> dict[str, Any]:
    """Return the description of a file; raises CandleContractBroken when it is damaged."""
    try:
        about: dict[str, Any] = json.loads((pq.read_metadata(path).metadata or {})[FOOTER_KEY])
    except (pa.ArrowInvalid, OSError, KeyError, ValueError) as error:
        raise CandleContractBroken(f"path {path}: no file of events ({error}); delete it, read again") from error
    return about


def read_columns(path: Path) -> dict[str, Column]:
    """Return the columns of a file; raises CandleContractBroken when it is damaged."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise CandleContractBroken(f"path {path}: not readable ({error}); delete it, read again") from error
    return {name: _to_numpy(table[name].combine_chunks()) for name in table.column_names}


def _to_arrow(values: Column) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    count, width = values.shape
    content = pa.py_buffer(np.ascontiguousarray(values).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), count, [None, content])


def _to_numpy(array: Any) -> Column:
    if not pa.types.is_fixed_size_binary(array.type):
        values: Column = array.to_numpy(zero_copy_only=False)
        return values
    width, content = array.type.byte_width, array.buffers()[1]
    start = array.offset * width
    whole = np.frombuffer(content, np.uint8) if content is not None else np.empty(0, np.uint8)
    return whole[start : start + len(array) * width].reshape(len(array), width)
