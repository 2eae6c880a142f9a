"""Values of all pairs at one decision time, prepared for blocks of decision times."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from trading_dagster.domain.error import LookaheadRefused
from trading_dagster.domain.time import from_unix_us
from trading_dagster.market.panel import Flags, Floats, Integers
from trading_dagster.strategy.indicator_rule import Outcome, Rows

BLOCK_CELLS = 4_000_000
"""Largest number of values kept for one question: 32 MB."""

Find: TypeAlias = Callable[[int, Integers], tuple[Rows, Floats]]
"""(pair id, decision times) → rows to read, and the values to read them from."""


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    first: int
    values: Floats
    is_refused: Flags


class CrossSections:
    """Reads one value for each pair; a question is answered for many decision times at once.

    Args:
        pair_ids: Order of the values.
        grid_us: All decision times.
    """

    def __init__(self, pair_ids: Sequence[int], grid_us: Integers) -> None:
        self._pair_ids = tuple(pair_ids)
        self._grid_us = grid_us
        self._blocks: dict[Hashable, _Block] = {}
        self._length = max(1, min(len(grid_us), BLOCK_CELLS // max(1, len(self._pair_ids))))

    def read(self, key: Hashable, what: str, moment: int, find: Find) -> Floats:
        """Return the values of all pairs at decision time number ``moment``.

        Raises:
            LookaheadRefused: The bars asked for close after the decision time.
        """
        block = self._blocks.get(key)
        if block is None or not 0 <= moment - block.first < len(block.values):
            block = self._blocks[key] = self._prepare(moment // self._length * self._length, find)
        if block.is_refused[moment - block.first]:
            decided_at = from_unix_us(int(self._grid_us[moment]))
            raise LookaheadRefused(
                f"{what} was asked for bars that close after the decision time {decided_at}: use index=-1 or less"
            )
        values: Floats = block.values[moment - block.first]
        return values

    def _prepare(self, first: int, find: Find) -> _Block:
        grid_us = self._grid_us[first : first + self._length]
        values = np.full((len(grid_us), len(self._pair_ids)), np.nan)
        is_refused = np.zeros(len(grid_us), dtype=np.bool_)
        for column, pair_id in enumerate(self._pair_ids):
            rows, source = find(pair_id, grid_us)
            values[:, column] = rows.take(source)
            is_refused |= rows.outcome == Outcome.refused
        values.flags.writeable = False
        return _Block(first, values, is_refused)
