"""Positions that ended long ago, fetched when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Protocol

from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.position import TradingPosition


class PositionArchive(Protocol):
    """Where ended positions of one kind (closed or expired) are kept; in order of ending."""

    def list_ids(self) -> Sequence[int]:
        """Return the ids of all positions."""
        ...

    def has(self, position_id: int) -> bool:
        """Tell whether there is a position of that id, without listing them all."""
        ...

    def list_ids_of_pair(self, pair: TradingPairIdentifier) -> Sequence[int]:
        """Return the ids of the positions on a pair, perhaps with some on similar pairs."""
        ...

    def find_newest_id(self) -> int | None:
        """Return the position that ended last, the largest id of equals."""
        ...

    def load(self, position_ids: Sequence[int]) -> Sequence[TradingPosition]:
        """Return positions as they are now, in the order asked for."""
        ...


class ArchivedPositions(MutableMapping[int, TradingPosition]):
    """Positions by id in order of ending: those in an archive, loaded once each on demand, then newer ones."""

    def __init__(self, archive: PositionArchive, archived_count: int) -> None:
        """Begin with the ``archived_count`` positions of an archive, none of them loaded."""
        self._archive = archive
        self._archived_count = archived_count
        self._ids: dict[int, None] | None = None
        self._loaded: dict[int, TradingPosition] = {}
        self._newer: dict[int, TradingPosition] = {}

    def __len__(self) -> int:
        """Return how many there are; loads nothing."""
        return self._archived_count + len(self._newer)

    def __iter__(self) -> Iterator[int]:
        """Yield ids; loads no position."""
        yield from self._archived_ids()
        yield from self._newer

    def __reversed__(self) -> Iterator[int]:
        """Yield ids from the newest on; the archive is asked only when the newer ones are through."""
        yield from reversed(self._newer)
        yield from reversed(self._archived_ids())

    def __contains__(self, position_id: object) -> bool:
        """Tell whether there is such a position; loads none."""
        if position_id in self._newer or position_id in self._loaded:
            return True
        if self._ids is not None or not self._archived_count:
            return position_id in self._archived_ids()
        return isinstance(position_id, int) and self._archive.has(position_id)

    def __getitem__(self, position_id: int) -> TradingPosition:
        """Return a position."""
        if position_id in self._newer:
            return self._newer[position_id]
        if position_id not in self:
            raise KeyError(position_id)
        return self._load([position_id])[0]

    def __setitem__(self, position_id: int, position: TradingPosition) -> None:
        """Add a position that ended now."""
        self._newer[position_id] = position

    def __delitem__(self, position_id: int) -> None:
        """Refuse: what ended stays."""
        raise TypeError(f"Position #{position_id} ended and cannot be taken away")

    def values(self) -> list[TradingPosition]:  # type: ignore[override]
        """Return all positions, loading at once those that are missing."""
        return [*self._load(list(self._archived_ids())), *self._newer.values()]

    def get_in_memory(self) -> list[TradingPosition]:
        """Return the positions that were loaded or ended since; loads none."""
        return [*self._loaded.values(), *self._newer.values()]

    def get_of_pair(self, pair: TradingPairIdentifier) -> list[TradingPosition]:
        """Return the positions on a pair, loading only those."""
        archived = self._load(self._archive.list_ids_of_pair(pair)) if self._archived_count else []
        return [p for p in (*archived, *self._newer.values()) if p.pair == pair]

    def get_newest_candidates(self) -> list[TradingPosition]:
        """Return positions among which is the one that ended last, loading at most one."""
        newest = self._archive.find_newest_id() if self._archived_count else None
        return [*([] if newest is None else self._load([newest])), *self._newer.values()]

    def _archived_ids(self) -> dict[int, None]:
        if self._ids is None:
            self._ids = dict.fromkeys(self._archive.list_ids() if self._archived_count else ())
        return self._ids

    def _load(self, position_ids: Sequence[int]) -> list[TradingPosition]:
        missing = [position_id for position_id in position_ids if position_id not in self._loaded]
        if missing:
            self._loaded.update((p.position_id, p) for p in self._archive.load(missing))
        return [self._loaded[position_id] for position_id in position_ids]
