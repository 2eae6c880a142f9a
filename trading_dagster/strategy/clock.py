"""The decision time that all views of a strategy end at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from trading_dagster.domain.time import from_unix_us, to_aware


class DecisionClock:
    """A position on the grid of decision times; views share one clock and never look past it.

    Attributes:
        grid_us: All decision times of the run, microseconds since 1970, ascending.
        index: Number of the current decision time in the grid, from 0.
        timestamp_us: The current decision time, microseconds since 1970.
        first_cycle: Number of the cycle at the grid's first decision time, from 1.
    """

    __slots__ = ("_aware", "_timestamp", "first_cycle", "grid_us", "index", "timestamp_us")

    def __init__(self, grid_us: Sequence[int], first_cycle: int = 1) -> None:
        """Stand at the first decision time of the grid."""
        self.grid_us = grid_us
        self.first_cycle = first_cycle
        self._timestamp: datetime | None = None
        self._aware: datetime | None = None
        self.index = 0
        self.timestamp_us = grid_us[0]

    def move(self, index: int) -> None:
        """Stand at decision time number ``index``."""
        self.index = index
        self.timestamp_us = self.grid_us[index]
        self._timestamp = self._aware = None

    def stand_at(self, timestamp_us: int) -> None:
        """Stand at an instant that need not be on the grid, as trigger checks do."""
        self.timestamp_us = timestamp_us
        self._timestamp = self._aware = None

    @property
    def cycle(self) -> int:
        """Return the number of the current cycle, from 1."""
        return self.index + self.first_cycle

    @property
    def timestamp(self) -> datetime:
        """Return the current decision time, naive UTC."""
        timestamp = self._timestamp
        if timestamp is None:
            timestamp = self._timestamp = from_unix_us(self.timestamp_us)
        return timestamp

    @property
    def aware(self) -> datetime:
        """Return the current decision time as events carry it, aware UTC; the same object until the clock moves."""
        aware = self._aware
        if aware is None:
            aware = self._aware = to_aware(self.timestamp)
        return aware
