"""Build dense candle panels from frames or batches of rows."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import numpy as np

from trading_dagster.domain.error import BadInput, CandleContractBroken, UnknownPair
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us
from trading_dagster.market.contract import (
    Candles,
    bucket_width_us,
    numeric_columns,
    price_defects,
    timestamps_us,
)
from trading_dagster.market.panel import OHLCV, ONE_US, PRICE_COLUMNS, CandlePanel, Flags, Floats, Integers

BATCH_ROWS = 1_000_000
FILL_CELLS = 4_000_000
SPARSE_CELLS = 200_000_000
SPARSEST = 0.005
Array = TypeVar("Array", Floats, Flags)


@dataclass(frozen=True, slots=True)
class ForwardFill:
    """How gaps of a panel are filled.

    A gap bar takes the close before it as all four prices and volume 0. Never before a pair's first bar; after its
    last bar only bars that open at or before ``until``. A gap longer than the tolerance is not filled at all. Filling
    reads only earlier bars, so it shows a decision nothing of the future but whether the gap ends within tolerance.

    Args:
        until: Last open time to fill after a pair's last candle, naive UTC; None fills nothing there.
        tolerance: Longest gap to fill, as the time that has no candle; None fills any.
    """

    until: datetime | None = None
    tolerance: timedelta | None = None


class PanelBuilder:
    """Scatters rows into the dense columns of a panel, batch by batch, in any order; several threads may add at once.

    Args:
        bucket: Width of a bar.
        pair_ids: Pair of each row of the panel.
        start: Open of the first bar, naive UTC, on the grid.
        end: Exclusive end; rows outside [start, end) are ignored.
        columns: Names of the columns to keep.
        source_name: File or source, for messages.
        zero_allowed: Accept prices of zero, as TVL may be.
    """

    def __init__(
        self,
        *,
        bucket: TimeBucket,
        pair_ids: Sequence[int],
        start: datetime,
        end: datetime,
        columns: Sequence[str] = OHLCV,
        source_name: str = "candles",
        zero_allowed: bool = False,
    ) -> None:
        self.bucket = bucket
        self.pair_ids = tuple(pair_ids)
        self.source_name = source_name
        self.zero_allowed = zero_allowed
        self.start_us = to_unix_us(bucket.floor(start))
        self.width_us = bucket_width_us(bucket)
        self.bar_count = max(0, -((self.start_us - to_unix_us(end)) // self.width_us))
        self.rows_added = 0
        shape = (len(self.pair_ids), self.bar_count)
        self._columns: dict[str, Floats] = {name: np.empty(shape) for name in columns}  # gaps: see build
        self._lock = threading.Lock()
        self._exists: Flags = np.zeros(shape, dtype=np.bool_)
        self._sorted_ids: Integers = np.sort(np.asarray(self.pair_ids, dtype=np.int64))
        self._rows: Integers = np.argsort(np.asarray(self.pair_ids, dtype=np.int64))

    def add(
        self, pair_ids: Integers, times_us: Integers, columns: Mapping[str, Floats], *, is_checked: bool = False
    ) -> None:
        """Add rows; arrays of equal length. Of those that keep the candle contract already only the places are checked.

        Raises:
            CandleContractBroken: Off the grid, duplicated, not finite, not above zero, or high below low.
            UnknownPair: A pair id the panel has no row for.
        """
        for first in range(0, len(times_us), BATCH_ROWS):
            part = slice(first, first + BATCH_ROWS)
            self._add_batch(
                pair_ids[part], times_us[part], {name: columns[name][part] for name in self._columns}, is_checked
            )

    def _add_batch(
        self, pair_ids: Integers, times_us: Integers, columns: Mapping[str, Floats], is_checked: bool
    ) -> None:
        bars = (times_us - self.start_us) // self.width_us
        inside = (bars >= 0) & (bars < self.bar_count)
        if not inside.all():
            pair_ids, times_us, bars = pair_ids[inside], times_us[inside], bars[inside]
            columns = {name: values[inside] for name, values in columns.items()}
        if len(bars) == 0:
            return
        places = np.minimum(np.searchsorted(self._sorted_ids, pair_ids), len(self._sorted_ids) - 1)
        unknown = np.flatnonzero(self._sorted_ids[places] != pair_ids)
        if len(unknown):
            raise UnknownPair(
                f"{self.source_name}: pair_id {pair_ids[unknown[0]]} at {from_unix_us(int(times_us[unknown[0]]))} is "
                f"not among the pairs {list(self.pair_ids)[:20]}: drop its candles or add the pair"
            )
        if not is_checked:
            self._check(pair_ids, times_us, columns)
        cells = self._rows[places] * self.bar_count + bars
        is_ascending = bool((cells[1:] > cells[:-1]).all())
        is_dense = is_ascending and int(cells[-1] - cells[0]) == len(cells) - 1
        where = slice(int(cells[0]), int(cells[-1]) + 1) if is_dense else cells
        exists = self._exists.reshape(-1)
        with self._lock:
            taken = exists[where].copy()
            exists[where] = True
            self.rows_added += len(cells)
        if taken.any() or not (is_ascending or len(np.unique(cells)) == len(cells)):
            self._refuse_duplicate(pair_ids, times_us, cells, taken)
        for name, values in self._columns.items():
            values.reshape(-1)[where] = columns[name]

    def _check(self, pair_ids: Integers, times_us: Integers, columns: Mapping[str, Floats]) -> None:
        off_grid = np.flatnonzero((times_us - self.start_us) % self.width_us)
        if len(off_grid):
            self._refuse("timestamp", f"is off the {self.bucket.value} grid", off_grid, pair_ids, times_us)
        if not all(name in columns for name in PRICE_COLUMNS):
            return
        defects = price_defects(columns, close_may_leave_range=True)
        for (field, rule), mask in defects.items():
            if self.zero_allowed and rule == "is not above zero":
                mask = mask & (columns[field] < 0)  # noqa: PLW2901 - the mask narrowed
            if mask.any():
                self._refuse(field, rule, np.flatnonzero(mask), pair_ids, times_us)

    def _refuse_duplicate(self, pair_ids: Integers, times_us: Integers, cells: Integers, taken: Flags) -> None:
        first_of_cell = np.zeros(len(cells), dtype=np.bool_)
        first_of_cell[np.unique(cells, return_index=True)[1]] = True
        self._refuse("timestamp", "is duplicated", np.flatnonzero(taken | ~first_of_cell), pair_ids, times_us)

    def _refuse(self, field: str, rule: str, rows: Integers, pair_ids: Integers, times_us: Integers) -> None:
        shown = "; ".join(f"pair_id {pair_ids[row]} {from_unix_us(int(times_us[row]))}" for row in rows[:3])
        raise CandleContractBroken(
            f"{self.source_name}: {field} {rule} in {len(rows)} rows, first: {shown}. "
            "Repair or drop these rows; `quality_report` lists them by pair"
        )

    def build(self, fill: ForwardFill | None = None) -> CandlePanel:
        """Return the panel, its gaps filled as asked; the builder must not be used after."""
        filled: Flags = np.zeros(self._exists.shape, dtype=np.bool_)
        if self.rows_added < self._exists.size:
            for values in self._columns.values():
                np.copyto(values, np.nan, where=~self._exists)
        panel = CandlePanel(self.bucket, self.start_us, self.pair_ids, self._columns, self._exists, filled)
        return panel if fill is None else fill_forward(panel, fill, reuse=True)


def build_panel(
    frame: Candles,
    bucket: TimeBucket,
    *,
    pair_ids: Sequence[int] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    fill: ForwardFill | None = None,
    source_name: str = "candles",
    zero_allowed: bool = False,
) -> CandlePanel:
    """Return the panel of a frame with columns timestamp, pair_id, open, high, low, close and volume if present.

    Args:
        frame: Rows in any order.
        bucket: Width of a bar.
        pair_ids: Pairs of the panel's rows, in order; None takes those of the frame, sorted.
            A frame without ``pair_id`` belongs to the only pair named here.
        start: First bar, None for the first candle.
        end: Exclusive end, None for after the last candle.
        fill: How to fill gaps; None leaves them.
        source_name: File or source, for messages.
        zero_allowed: Accept prices of zero, as TVL may be.

    Raises:
        CandleContractBroken: The rows cannot be placed on the grid, or have impossible prices.
        UnknownPair: A pair id is not among ``pair_ids``.
        BadInput: The panel would be all but empty and huge.
    """
    times = timestamps_us(frame, source_name)
    names = [*PRICE_COLUMNS, *(name for name in ("volume",) if name in frame.columns)]
    columns = numeric_columns(frame, names, source_name)
    ids = _row_pair_ids(frame, pair_ids, source_name)
    pairs = tuple(pair_ids) if pair_ids is not None else tuple(int(pair_id) for pair_id in np.unique(ids))
    width = bucket_width_us(bucket)
    if len(times):
        start = start or from_unix_us(int(times.min()))
        end = end or from_unix_us(int(times.max()) + width)
    elif start is None or end is None:
        start = end = start or end or from_unix_us(0)
    refuse_sparse(len(pairs), (to_unix_us(end) - to_unix_us(start)) // width, len(times), source_name)
    builder = PanelBuilder(
        bucket=bucket,
        pair_ids=pairs,
        start=start,
        end=end,
        columns=names,
        source_name=source_name,
        zero_allowed=zero_allowed,
    )
    builder.add(ids, times, columns)
    return builder.build(fill)


def refuse_sparse(pair_count: int, bar_count: int, row_count: int, source_name: str) -> None:
    """Refuse a panel that would be huge and all but empty; raises BadInput."""
    cells = pair_count * bar_count
    if cells > SPARSE_CELLS and row_count < cells * SPARSEST:
        raise BadInput(
            f"{source_name}: {row_count} candles would spread over {pair_count} pairs x {bar_count} bars "
            f"({cells * 40 / 2**30:.1f} GiB): check for wrong timestamps, give start_at and end_at, or a coarser bucket"
        )


def fill_forward(panel: CandlePanel, fill: ForwardFill, *, reuse: bool = False) -> CandlePanel:
    """Return a panel whose gaps are filled, each bar marked forward_filled.

    ``reuse`` writes into the arrays of the panel, which must not be used after.
    """
    until_bar = -1 if fill.until is None else panel.bar_at(to_unix_us(fill.until))
    bar_count = max(panel.bar_count, until_bar + 1)
    longest = bar_count if fill.tolerance is None else fill.tolerance // ONE_US // panel.width_us
    columns = {name: _own(values, bar_count, np.nan, reuse) for name, values in panel.columns.items()}
    exists = _own(panel.exists, bar_count, False, reuse)
    filled = _own(panel.forward_filled, bar_count, False, reuse)
    bars = np.arange(bar_count, dtype=np.int64)
    step = max(1, FILL_CELLS // max(1, bar_count))
    for first in range(0, len(panel.pair_ids), step):
        part = slice(first, first + step)
        here = exists[part]
        if here.all():
            continue
        previous: Integers = np.maximum.accumulate(np.where(here, bars, -1), axis=1)
        following = np.minimum.accumulate(np.where(here, bars, bar_count)[:, ::-1], axis=1)[:, ::-1]
        gap_end = np.where(following == bar_count, until_bar + 1, following)
        to_fill = ~here & (previous >= 0) & (bars < gap_end) & (gap_end - previous - 1 <= longest)
        rows, places = np.nonzero(to_fill)
        closes = columns["close"][part][rows, previous[rows, places]]
        for name, values in columns.items():
            values[part][rows, places] = closes if name in PRICE_COLUMNS else 0.0
        exists[part] |= to_fill
        filled[part] |= to_fill
    return CandlePanel(panel.bucket, panel.start_us, panel.pair_ids, columns, exists, filled)


def merge_panels(panels: Sequence[CandlePanel], pair_ids: Sequence[int]) -> CandlePanel:
    """Return one panel with the given rows, out of panels of different pairs in one bucket.

    A pair that no panel has gets an empty row; the time index spans all panels.
    """
    if len(panels) == 1 and panels[0].pair_ids == tuple(pair_ids):
        return panels[0]
    first = panels[0]
    start = min(panel.start_us for panel in panels)
    end = max(panel.start_us + panel.bar_count * panel.width_us for panel in panels)
    shape = (len(pair_ids), (end - start) // first.width_us)
    columns = {name: np.full(shape, np.nan) for name in first.columns}
    exists, filled = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    rows = {pair_id: row for row, pair_id in enumerate(pair_ids)}
    for panel in panels:
        bars = slice(offset := (panel.start_us - start) // first.width_us, offset + panel.bar_count)
        for row, pair_id in enumerate(panel.pair_ids):
            for name, values in columns.items():
                values[rows[pair_id], bars] = panel.columns[name][row]
            exists[rows[pair_id], bars] = panel.exists[row]
            filled[rows[pair_id], bars] = panel.forward_filled[row]
    return CandlePanel(first.bucket, start, tuple(pair_ids), columns, exists, filled)


def _own(values: Array, bar_count: int, filler: float | bool, reuse: bool) -> Array:
    if values.shape[1] == bar_count and reuse:
        values.flags.writeable = True
        return values
    wide = np.full((values.shape[0], bar_count), filler, dtype=values.dtype)
    wide[:, : values.shape[1]] = values
    return wide


def _row_pair_ids(frame: Candles, pair_ids: Sequence[int] | None, source_name: str) -> Integers:
    if "pair_id" in frame.columns:
        ids: Integers = frame["pair_id"].to_numpy(dtype=np.int64)
        return ids
    if pair_ids is not None and len(pair_ids) == 1:
        return np.full(len(frame), pair_ids[0], dtype=np.int64)
    raise CandleContractBroken(
        f"{source_name}: column pair_id is missing, columns are {list(frame.columns)}: name the pair of each candle"
    )
