"""Imports without garbage collection, which takes a third of their time and finds nothing in what stays for ever."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_import() -> Iterator[None]:
    """Turn garbage collection off while the block imports; what is there then is not looked at until the end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # or duckdb reports what is not collected as leaks
        if was_enabled:
            gc.enable()
