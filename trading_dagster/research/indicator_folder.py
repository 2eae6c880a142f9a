"""Indicators that the backtests of a search share, in a folder that does not grow without end."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from trading_dagster.strategy.indicator_cache import DiskIndicatorCache
from trading_dagster.strategy.indicator_calculation import IndicatorTask
from trading_dagster.strategy.indicator_result import IndicatorResult

FOLDER_LIMIT = 4 * 2**30
"""Bytes beyond which what was not used for longest is deleted."""


class SharedIndicatorCache(DiskIndicatorCache):
    """A cache on disk that marks what is used, so that what is not can be deleted."""

    def load(self, key: str, task: IndicatorTask) -> IndicatorResult | None:
        """Return the result kept under a key, None when there is none."""
        result = super().load(key, task)
        if result is not None:
            with suppress(OSError):
                os.utime(self.path_of(key))
        return result


def prune_indicators(folder: Path, limit: int = FOLDER_LIMIT) -> None:
    """Delete what was not used for longest until the rest is within a limit; call it while nobody reads."""
    files = [(status.st_mtime_ns, status.st_size, path) for path in folder.rglob("*.npy") if (status := path.stat())]
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= limit:
            return
        path.unlink()
        total -= size
