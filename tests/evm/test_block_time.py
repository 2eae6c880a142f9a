"""Blocks fall into the bars of their own times, though few times are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import NodeAnswerInvalid
from trading_dagster.domain.time import TimeBucket
from trading_dagster.evm.block_time import US, BlockTimes
from trading_dagster.market.contract import floor_to_bucket

STEPS = st.lists(st.integers(0, 5_000), min_size=1, max_size=60)


@given(STEPS, st.data())
def test_bars_are_those_of_the_blocks_own_times(steps: list[int], data: st.DataObject) -> None:
    times = 1_700_000_000 + np.cumsum(np.asarray(steps, np.int64))
    blocks = np.sort(np.asarray(data.draw(st.lists(st.integers(0, len(steps) - 1), max_size=40)), np.int64))
    is_told = np.asarray(data.draw(st.lists(st.booleans(), min_size=len(blocks), max_size=len(blocks))), bool)
    known = BlockTimes(lambda number: int(times[number]))
    bars = known.bars_of(blocks, np.where(is_told, times[blocks], -1), TimeBucket.h1)
    assert bars.tolist() == floor_to_bucket(times[blocks] * US, TimeBucket.h1).tolist()


def test_few_times_are_read_and_none_twice(tmp_path: Path) -> None:
    asked: list[int] = []

    def read(number: int) -> int:
        asked.append(number)
        return 1_700_000_000 + 12 * number

    blocks = np.arange(100_000, dtype=np.int64)
    unknown = np.full(len(blocks), -1)
    times = BlockTimes(read, tmp_path / "times.parquet")
    bars = times.bars_of(blocks, unknown, TimeBucket.d1)
    assert len(np.unique(bars)) == 15
    assert len(asked) < 15 * 18
    times.save()
    again = BlockTimes(read, tmp_path / "times.parquet")
    count = len(asked)
    assert (again.bars_of(blocks, unknown, TimeBucket.d1) == bars).all()
    assert len(asked) == count


def test_times_that_fall_are_refused() -> None:
    with pytest.raises(NodeAnswerInvalid, match="fall along the chain"):
        BlockTimes(lambda _: 0).bars_of(np.asarray([1, 2]), np.asarray([200, 100]), TimeBucket.h1)
