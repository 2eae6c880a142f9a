"""Values a strategy keeps from cycle to cycle, and what may be kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any, Protocol

from trading_dagster.domain.error import SerialisationRefused
from trading_dagster.domain.event import DataSaved, Event

MAX_SAFE_INTEGER = 2**53
_PLAIN = (str, bool, int, float, Decimal, datetime, timedelta, NoneType)


def require_storable(value: Any, name: str) -> None:
    """Raise SerialisationRefused unless a value is plain data that a ledger gives back equal.

    Plain data: None, text, truth values, integers up to 2^53, finite floats, Decimals, naive datetimes, timedeltas, and
    lists, tuples and mappings of these.
    """
    if isinstance(value, list | tuple):
        for item in value:
            require_storable(item, name)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            require_storable(key, name)
            require_storable(item, name)
    elif isinstance(value, Enum):
        return
    elif not isinstance(value, _PLAIN) and not hasattr(value, "item"):
        raise SerialisationRefused(f"{name!r} holds a {type(value).__name__}, {value!r}: keep plain data instead")
    elif isinstance(value, float | Decimal) and not math.isfinite(value):
        raise SerialisationRefused(f"{name!r} holds {value}: keep None or a finite number instead")
    elif isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        raise SerialisationRefused(f"{name!r} holds the integer {value}, above 2^53: keep it as text instead")
    elif isinstance(value, datetime) and value.tzinfo is not None:
        raise SerialisationRefused(f"{name!r} holds the zone-aware {value}: keep a naive datetime that means UTC")


class Recorder(Protocol):
    """What the values are recorded by: the state."""

    def record(self, event: Event) -> None:
        """Fold an event and keep it for the store."""
        ...

    def clock_at(self) -> datetime:
        """Return the time of the newest event, aware UTC."""
        ...


class OtherData:
    """Values a strategy keeps from cycle to cycle."""

    def __init__(self, state: Recorder) -> None:
        """Belong to a state."""
        self._state = state
        self._data: dict[int, dict[str, Any]] = {}
        self._latest: dict[str, Any] = {}
        self._load_older: Callable[[], Iterable[DataSaved]] | None = None

    @property
    def data(self) -> dict[int, dict[str, Any]]:
        """Return all values by cycle and name."""
        if self._load_older is not None:
            newer, self._data = self._data, {}
            for event in self._load_older():
                self._data.setdefault(event.cycle, {})[event.name] = event.value
            for cycle, values in newer.items():
                self._data.setdefault(cycle, {}).update(values)
            self._load_older = None
        return self._data

    def save(self, cycle: int, name: str, value: Any) -> None:
        """Store a value of plain data under a name; raises SerialisationRefused for what no ledger can keep."""
        require_storable(value, name)
        at = self._state.clock_at()
        self._state.record(DataSaved(at=at, cycle=cycle, name=name, value=deepcopy(value)))

    def load_latest(self, name: str) -> Any:
        """Return the newest value ever stored under a name, None if there is none; a copy, save it to change it."""
        return deepcopy(self._latest.get(name))

    def apply(self, event: DataSaved) -> None:
        """Fold an event; only State calls this."""
        self._data.setdefault(event.cycle, {})[event.name] = event.value
        self._latest[event.name] = event.value

    def restore(self, latest: Iterable[DataSaved], load_older: Callable[[], Iterable[DataSaved]]) -> None:
        """Begin with the newest values and fetch all older ones on demand; only a checkpoint calls this."""
        self._latest = {event.name: event.value for event in latest}
        self._load_older = load_older
