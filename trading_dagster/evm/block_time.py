"""Which bar each block falls into, exactly, from the times of few blocks.

Times never fall along a chain. So when two blocks fall into one bar, all blocks between them do, whatever their times:
only around the ends of bars are headers read, by bisection. Nothing is interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from trading_dagster.domain.error import NodeAnswerInvalid
from trading_dagster.domain.time import TimeBucket
from trading_dagster.evm.word import Integers
from trading_dagster.market.contract import floor_to_bucket
from trading_dagster.market.event_file import read_columns, write_columns

US = 1_000_000
UNKNOWN = -1


class BlockTimes:
    """Times of blocks, read once each and kept in a file.

    Args:
        read: Returns the time of a block by its number, seconds since 1970.
        path: Where they are kept between runs; None keeps them in memory.
    """

    def __init__(self, read: Callable[[int], int], path: Path | None = None) -> None:
        self._read = read
        self._path = path
        self._known: dict[int, int] = {}
        self._saved = 0
        if path is not None and path.is_file():
            columns = read_columns(path)
            self._known = dict(zip(columns["block"].tolist(), columns["time"].tolist(), strict=True))
            self._saved = len(self._known)

    def learn(self, times: Mapping[int, int]) -> None:
        """Take times that are known from elsewhere."""
        self._known.update(times)

    def forget_after(self, block: int) -> None:
        """Forget the times of blocks after one, as a reorg may have changed them."""
        self._known = {number: time for number, time in self._known.items() if number <= block}

    def save(self) -> None:
        """Write what became known since."""
        if self._path is not None and len(self._known) != self._saved:
            numbers = sorted(self._known)
            times = np.asarray([self._known[number] for number in numbers], np.int64)
            write_columns(self._path, {"block": np.asarray(numbers, np.int64), "time": times}, {})
            self._saved = len(self._known)

    def time_of(self, block: int) -> int:
        """Return the time of a block, seconds since 1970."""
        if block not in self._known:
            self._known[block] = self._read(block)
        return self._known[block]

    def bars_of(self, blocks: Integers, times: Integers, bucket: TimeBucket) -> Integers:
        """Return the open of the bar of each block, microseconds since 1970.

        Args:
            blocks: Ascending.
            times: Of the blocks, seconds since 1970; -1 where not known.
            bucket: Width of the bars.

        Raises:
            NodeAnswerInvalid: Times fall along the chain.
        """
        if not len(blocks):
            return np.empty(0, np.int64)
        numbers, places, inverse = np.unique(blocks, return_index=True, return_inverse=True)
        own = times[places].copy()
        for row in np.flatnonzero(own == UNKNOWN).tolist():
            own[row] = self._known.get(int(numbers[row]), UNKNOWN)
        self._ask(own, numbers, 0)
        self._ask(own, numbers, len(own) - 1)
        bars: Integers = np.full(len(own), np.iinfo(np.int64).min, np.int64)
        known = np.flatnonzero(own != UNKNOWN)
        if (np.diff(own[known]) < 0).any():
            raise NodeAnswerInvalid("The node's blocks have times that fall along the chain: read them again")
        bars[known] = floor_to_bucket(own[known] * US, bucket)
        pending = [(int(a), int(b)) for a, b in pairwise(known.tolist()) if b - a > 1]
        while pending:
            first, last = pending.pop()
            if bars[first] == bars[last]:
                bars[first : last + 1] = bars[first]
            elif last - first > 1:
                middle = (first + last) // 2
                self._ask(own, numbers, middle)
                if not own[first] <= own[middle] <= own[last]:
                    raise NodeAnswerInvalid(f"Block {numbers[middle]} has time {own[middle]}, out of order")
                bars[middle] = floor_to_bucket(own[middle : middle + 1] * US, bucket)[0]
                pending += [(first, middle), (middle, last)]
        return bars[inverse]

    def _ask(self, own: Integers, numbers: Integers, row: int) -> None:
        if own[row] == UNKNOWN:
            own[row] = self.time_of(int(numbers[row]))


def find_first_block(read: Callable[[int], int], head: int, moment: int) -> int:
    """Return the first block whose time is at or after a moment, by bisection; ``head + 1`` when there is none yet.

    Args:
        read: Returns the time of a block by its number, seconds since 1970.
        head: The newest block.
        moment: Seconds since 1970.
    """
    low, high = 0, head + 1
    while low < high:
        middle = (low + high) // 2
        if read(middle) < moment:
            low = middle + 1
        else:
            high = middle
    return low
