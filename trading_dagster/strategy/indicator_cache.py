"""Indicator results kept between runs, on disk or in memory."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trading_dagster.strategy.indicator_calculation import IndicatorTask
from trading_dagster.strategy.indicator_key import IndicatorKeys
from trading_dagster.strategy.indicator_result import (
    EMPTY_INDEX,
    Column,
    IndicatorResult,
    candle_index,
)

logger = logging.getLogger(__name__)


class MemoryIndicatorCache:
    """Keeps results in this process: combinations of a grid search share what they have in common."""

    def __init__(self) -> None:
        self._keys = IndicatorKeys()
        self._results: dict[str, IndicatorResult] = {}
        self.hits = 0
        self.misses = 0

    def key_of(self, task: IndicatorTask) -> str | None:
        """Return the key of a task, None when its result must not be kept."""
        return self._keys.key_of(task)

    def load(self, key: str, task: IndicatorTask) -> IndicatorResult | None:  # noqa: ARG002 - part of the port
        """Return a kept result, or None."""
        found = self._results.get(key)
        self.hits, self.misses = self.hits + (found is not None), self.misses + (found is None)
        return found

    def save(self, key: str, task: IndicatorTask, result: IndicatorResult) -> None:  # noqa: ARG002 - part of the port
        """Keep a result."""
        self._results[key] = result


class DiskIndicatorCache:
    """Keeps results in a folder, one file each; safe to share between processes.

    A file is a sequence of ``.npy`` arrays: checksum of the rest, description as JSON, index if it is not that of the
    candles, columns. It is written to a temporary name and renamed; a file that does not match its checksum is treated
    as absent and written anew.

    Args:
        folder: Made when it does not exist; may be deleted at any time.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._keys = IndicatorKeys()
        self.hits = 0
        self.misses = 0

    def key_of(self, task: IndicatorTask) -> str | None:
        """Return the key of a task, None when its result must not be kept."""
        return self._keys.key_of(task)

    def path_of(self, key: str) -> Path:
        """Return the file of a key."""
        return self.folder / key[:2] / f"{key}.npy"

    def load(self, key: str, task: IndicatorTask) -> IndicatorResult | None:
        """Return the result kept under a key, None when there is none or its file is damaged."""
        try:
            raw = self.path_of(key).read_bytes()
        except OSError:
            raw = b""
        result = _decode(raw, task) if raw else None
        if raw and result is None:
            logger.warning("Indicator cache file %s is damaged: calculating anew", self.path_of(key))
        self.hits, self.misses = self.hits + (result is not None), self.misses + (result is None)
        return result

    def save(self, key: str, task: IndicatorTask, result: IndicatorResult) -> None:
        """Write a result; without effect when its values have no exact file form, or the folder cannot be written."""
        raw = _encode(result, task)
        if raw is None:
            return
        path = self.path_of(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(raw)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            logger.warning("Cannot write indicator cache file %s: %s", path, error)


def _encode(result: IndicatorResult, task: IndicatorTask) -> bytes | None:
    objects: dict[str, list[Any]] = {}
    arrays: dict[str, Column] = {}
    for name, column in result.columns.items():
        if column.dtype.hasobject:
            objects[name] = column.tolist()
        else:
            arrays[name] = column
    description = {
        "indicator": task.definition.label,
        "columns": list(result.columns),
        "arrays": list(arrays),
        "objects": objects,
        "is_frame": result.is_frame,
        "width_us": result.width_us,
        "is_aligned": result.is_aligned,
        "empty_reason": result.empty_reason,
        "rows": len(result),
    }
    try:
        text = json.dumps(description)
    except (TypeError, ValueError):
        return None
    if objects and not _is_same(json.loads(text)["objects"], objects):
        return None
    body = io.BytesIO()
    _write_array(body, np.frombuffer(text.encode(), dtype=np.uint8))
    if not result.is_aligned:
        _write_array(body, result.times_us)
    for column in arrays.values():
        _write_array(body, column)
    return _seal(body.getbuffer()) + body.getvalue()


def _decode(raw: bytes, task: IndicatorTask) -> IndicatorResult | None:
    body = memoryview(raw)[SEAL_BYTES:]
    if raw[:SEAL_BYTES] != _seal(body):
        return None
    file = io.BytesIO(body)
    try:
        about = json.loads(_read_array(file).tobytes())
        if about["is_aligned"]:
            index = candle_index(task.candles, task.pair_id)
        else:
            index = pd.DatetimeIndex(_read_array(file).view("datetime64[us]"), name="timestamp")
        arrays = {name: _read_array(file) for name in about["arrays"]}
    except (ValueError, EOFError, KeyError, OSError):
        return None
    if index is None or len(index) != about["rows"]:
        return None
    columns = {n: arrays[n] if n in arrays else _object_array(about["objects"][n]) for n in about["columns"]}
    return IndicatorResult(
        index if about["rows"] else EMPTY_INDEX,
        columns,
        is_frame=about["is_frame"],
        width_us=about["width_us"],
        is_aligned=about["is_aligned"],
        empty_reason=about["empty_reason"],
    )


def _write_array(file: io.BytesIO, array: Column) -> None:
    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def _read_array(file: io.BytesIO) -> Column:
    array: Column = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _seal(body: memoryview) -> bytes:
    """Return the array of the body's checksum as it stands at the beginning of the file."""
    file = io.BytesIO()
    _write_array(file, np.frombuffer(hashlib.blake2b(body, digest_size=16).digest(), dtype=np.uint8))
    return file.getvalue()


SEAL_BYTES = len(_seal(memoryview(b"")))


def _object_array(values: list[Any]) -> Column:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _is_same(loaded: object, kept: object) -> bool:
    """Tell whether JSON gave back exactly what was put in, types included."""
    if type(loaded) is not type(kept):
        return False
    if isinstance(loaded, dict) and isinstance(kept, dict):
        return list(loaded) == list(kept) and all(_is_same(loaded[key], kept[key]) for key in loaded)
    if isinstance(loaded, list) and isinstance(kept, list):
        return len(loaded) == len(kept) and all(map(_is_same, loaded, kept))
    return loaded == kept
