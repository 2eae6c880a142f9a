"""Files that are either whole or absent: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd


def write_atomically(path: Path, write: Callable[[Path], Any]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, then put it there; a crash leaves the old file."""
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
    """Write a frame as Parquet; equal frames give equal bytes."""
    return write_atomically(path, lambda temporary: frame.to_parquet(temporary, index=False, compression="zstd"))
