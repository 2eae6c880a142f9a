"""Write files so that a reader, or a restart after a crash, sees the old or the new one and never a part."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if os.name == "posix":
    import fcntl

TEMPORARY_SUFFIX = ".tmp"


def write_atomically(path: Path, write: Callable[[Path], None], turn: Callable[[], None] = lambda: None) -> None:
    """Let ``write`` make a temporary file beside ``path``, flush it to disk and rename it.

    A crash leaves the old file and perhaps a hidden ``*.tmp`` that everybody ignores. ``turn`` is called when only the
    renaming is left; when it raises, the file stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        write(temporary)
        sync(temporary)
        turn()
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json_atomically(path: Path, content: Any) -> None:
    """Write JSON with sorted keys atomically."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def temporary_beside(path: Path) -> Path:
    """Return a new hidden name in the same folder."""
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}")


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file while the block runs; the system frees it when the process dies.

    Where the system has no such locks, the caller must see to it that there is one writer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        if os.name == "posix":
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf8")
