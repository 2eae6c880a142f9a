"""Dense candle columns of many pairs on one time index.

A panel is what the engine reads in its loop: float64 arrays of shape (pairs, bars), read-only, with masks of what
really existed. pandas frames are made from it only when a strategy asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.domain.error import CandleContractBroken, UnknownPair
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Integers: TypeAlias = npt.NDArray[np.int64]

PRICE_COLUMNS = ("open", "high", "low", "close")
OHLCV = (*PRICE_COLUMNS, "volume")
ONE_US = timedelta(microseconds=1)


@dataclass(frozen=True, eq=False)
class CandlePanel:
    """Candles of several pairs as dense columns.

    Bar ``i`` opens at ``start_us + i * bucket`` and closes one bucket later.

    Args:
        bucket: Width of a bar.
        start_us: Open time of bar 0, microseconds since 1970 UTC, on the grid of the bucket.
        pair_ids: Pair id of each row.
        columns: "open", "high", "low", "close", "volume" and what else the source has; float64 of shape
            (pairs, bars), NaN where ``exists`` is False.
        exists: True where the source had a candle or the bar was forward-filled.
        forward_filled: True where the bar was made from the close before it.
    """

    bucket: TimeBucket
    start_us: int
    pair_ids: tuple[int, ...]
    columns: Mapping[str, Floats]
    exists: Flags
    forward_filled: Flags
    _rows: dict[int, int] = field(init=False, repr=False)
    _series: dict[tuple[int, str], pd.Series] = field(init=False, repr=False, default_factory=dict)
    _hashes: dict[int, str] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Check shapes and make every array read-only."""
        shape = self.exists.shape
        if shape[0] != len(self.pair_ids) or len(set(self.pair_ids)) != len(self.pair_ids):
            raise CandleContractBroken(f"A panel of {shape[0]} rows needs as many different pair ids: {self.pair_ids}")
        width = self.bucket.to_timedelta() // ONE_US
        if from_unix_us(self.start_us) != self.bucket.floor(from_unix_us(self.start_us)):
            raise CandleContractBroken(
                f"First bar {from_unix_us(self.start_us)} is not on the {self.bucket.value} grid: "
                "label candles by their open time in UTC"
            )
        for name, array in {**self.columns, "exists": self.exists, "forward_filled": self.forward_filled}.items():
            if array.shape != shape:
                raise CandleContractBroken(f"Column {name} has shape {array.shape}, expected {shape}")
            array.flags.writeable = False
        object.__setattr__(self, "_rows", {pair_id: row for row, pair_id in enumerate(self.pair_ids)})
        object.__setattr__(self, "width_us", width)

    width_us: int = field(init=False)

    @property
    def bar_count(self) -> int:
        """Return the number of bars of the time index."""
        return int(self.exists.shape[1])

    @property
    def start_at(self) -> datetime:
        """Return the open time of the first bar, naive UTC."""
        return from_unix_us(self.start_us)

    @property
    def end_at(self) -> datetime:
        """Return the close time of the last bar (exclusive end), naive UTC."""
        return from_unix_us(self.start_us + self.bar_count * self.width_us)

    @cached_property
    def times_us(self) -> Integers:
        """Return the open time of each bar, microseconds since 1970."""
        return self.start_us + np.arange(self.bar_count, dtype=np.int64) * self.width_us

    @cached_property
    def index(self) -> pd.DatetimeIndex:
        """Return the open time of each bar as a naive UTC index."""
        return pd.DatetimeIndex(self.times_us.view("datetime64[us]"), name="timestamp")

    def has_pair(self, pair_id: int) -> bool:
        """Tell whether the pair has a row."""
        return pair_id in self._rows

    def row_of(self, pair_id: int) -> int:
        """Return the row of a pair; raises UnknownPair."""
        try:
            return self._rows[pair_id]
        except KeyError:
            raise UnknownPair(f"Pair id {pair_id} has no candles here: known ids are {list(self._rows)[:20]}") from None

    def bar_at(self, timestamp_us: int) -> int:
        """Return the number of the bar that contains an instant; may lie outside 0 .. bar_count - 1."""
        return (timestamp_us - self.start_us) // self.width_us

    def bar_at_each(self, timestamps_us: Integers) -> Integers:
        """Return ``bar_at`` of several instants."""
        bars: Integers = (timestamps_us - self.start_us) // self.width_us
        return bars

    def latest_bar(self, pair_id: int) -> Integers:
        """Return for each bar the number of the latest existing bar at or before it, -1 if none."""
        exists = self.exists[self.row_of(pair_id)]
        positions: Integers = np.where(exists, np.arange(self.bar_count, dtype=np.int64), -1)
        latest: Integers = np.maximum.accumulate(positions)
        return latest

    def column_within(self, pair_id: int, column: str, tolerance: timedelta) -> Floats:
        """Return a column where a missing bar takes the latest earlier bar's value not older than the tolerance.

        Bars without such a value are NaN. Shape (bars,).
        """
        row = self.row_of(pair_id)
        values: Floats = self.columns[column][row]
        if self.exists[row].all():
            return values
        latest = self.latest_bar(pair_id)
        age_us = (np.arange(self.bar_count, dtype=np.int64) - latest) * self.width_us
        usable = (latest >= 0) & (age_us <= tolerance // ONE_US)
        return np.where(usable, values[np.maximum(latest, 0)], np.nan)

    def series(self, pair_id: int, column: str) -> pd.Series:
        """Return the existing bars of a column as a Series named like it, indexed by open time."""
        key = (pair_id, column)
        if key not in self._series:
            row = self.row_of(pair_id)
            values, exists = self.columns[column][row], self.exists[row]
            full = bool(exists.all())
            self._series[key] = pd.Series(
                values if full else values[exists], index=self.index if full else self.index[exists], name=column
            )
        return self._series[key]

    def frame(self, pair_id: int, columns: Sequence[str] = OHLCV) -> pd.DataFrame:
        """Return the existing bars of a pair as a frame indexed by open time."""
        return pd.DataFrame({name: self.series(pair_id, name) for name in columns})

    def first_real_bar(self, pair_id: int) -> int | None:
        """Return the number of the pair's first bar that is not filled, or None."""
        real = np.flatnonzero(self.exists[self.row_of(pair_id)])
        return int(real[0]) if len(real) else None

    def last_real_bar(self, pair_id: int) -> int | None:
        """Return the number of the pair's last bar that is not filled, or None."""
        row = self.row_of(pair_id)
        real = (self.exists[row] & ~self.forward_filled[row])[::-1]
        back = int(real.argmax()) if len(real) else 0
        return self.bar_count - 1 - back if len(real) and real[back] else None

    def content_hash(self, pair_id: int) -> str:
        """Return a hash of all that the panel holds of a pair; equal exactly when the data is equal."""
        if pair_id not in self._hashes:
            self._hashes[pair_id] = self._hash_content(self.row_of(pair_id))
        return self._hashes[pair_id]

    def _hash_content(self, row: int) -> str:
        digest = hashlib.blake2b(f"{self.bucket.value} {self.start_us} {self.bar_count}".encode(), digest_size=16)
        for name in sorted(self.columns):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.columns[name][row]).tobytes())
        digest.update(np.packbits(self.exists[row]).tobytes())
        digest.update(np.packbits(self.forward_filled[row]).tobytes())
        return digest.hexdigest()

    def clip(self, start: datetime | None, end: datetime | None) -> CandlePanel:
        """Return the bars that open in [start, end), naive UTC, as views without copying."""
        first = 0 if start is None else max(0, -((self.start_us - to_unix_us(start)) // self.width_us))
        last = (
            self.bar_count
            if end is None
            else min(self.bar_count, -((self.start_us - to_unix_us(end)) // self.width_us))
        )
        return self._cut(first, max(first, last))

    def until(self, timestamp_us: int) -> CandlePanel:
        """Return the bars that closed at or before an instant, as views without copying."""
        return self._cut(0, min(max(0, self.bar_at(timestamp_us)), self.bar_count))

    def _cut(self, first: int, last: int) -> CandlePanel:
        return CandlePanel(
            bucket=self.bucket,
            start_us=self.start_us + first * self.width_us,
            pair_ids=self.pair_ids,
            columns={name: array[:, first:last] for name, array in self.columns.items()},
            exists=self.exists[:, first:last],
            forward_filled=self.forward_filled[:, first:last],
        )
