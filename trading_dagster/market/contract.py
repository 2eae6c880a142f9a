"""The candle contract: what a frame of candles must be before anything trades on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import numpy as np
import pandas as pd

from trading_dagster.domain.error import CandleContractBroken
from trading_dagster.domain.time import GRID_ORIGIN, UNIX_EPOCH, TimeBucket, from_unix_us
from trading_dagster.market.panel import OHLCV, ONE_US, PRICE_COLUMNS, Flags, Floats, Integers

Candles: TypeAlias = pd.DataFrame
"""One row a candle: ``timestamp`` (open time, naive UTC), ``pair`` (BASE/QUOTE) or ``pair_id``, ``open``, ``high``,
``low``, ``close`` (float64, above zero), ``volume`` (float64, base units, not negative); the times of a pair ascend."""

ORIGIN_US = (UNIX_EPOCH - GRID_ORIGIN) // ONE_US
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Defect:
    """One broken rule: which field, how many rows, the first of them, and what to do."""

    rule: str
    field: str
    count: int
    examples: str
    remedy: str

    def __str__(self) -> str:
        """Return one line for an error message."""
        rows = f"{self.count} row{'' if self.count == 1 else 's'}"
        return f"{self.field}: {self.rule} in {rows}, first: {self.examples}. {self.remedy}"


def bucket_width_us(bucket: TimeBucket) -> int:
    """Return the width of a bucket in microseconds."""
    return bucket.to_timedelta() // ONE_US


def floor_to_bucket(times_us: Integers, bucket: TimeBucket) -> Integers:
    """Return the open time of the candle that contains each instant, microseconds since 1970."""
    width = bucket_width_us(bucket)
    floored: Integers = times_us - (times_us + ORIGIN_US) % width
    return floored


def timestamps_us(frame: Candles, source_name: str) -> Integers:
    """Return the open times of a frame as microseconds since 1970.

    The times are its column ``timestamp`` or else its DatetimeIndex, naive (meaning UTC) or UTC.

    Raises:
        CandleContractBroken: No times, not datetimes, missing times, another time zone, or finer than a microsecond.
    """
    if "timestamp" in frame.columns:
        times = pd.DatetimeIndex(_require_datetimes(frame["timestamp"], source_name))
    elif isinstance(frame.index, pd.DatetimeIndex):
        times = frame.index
    else:
        raise CandleContractBroken(
            f"{source_name}: column timestamp is missing, columns are {list(frame.columns)}: "
            "add the open time of each candle in UTC as column timestamp or as a DatetimeIndex"
        )
    if times.tz is not None and str(times.tz) not in ("UTC", "UTC+00:00"):
        raise CandleContractBroken(
            f"{source_name}: timestamp has time zone {times.tz}: convert with .dt.tz_convert('UTC')"
        )
    missing = np.flatnonzero(times.isna())
    if len(missing):
        raise CandleContractBroken(
            f"{source_name}: timestamp is missing in {len(missing)} rows, first row {missing[0]}: drop these rows"
        )
    naive = times.tz_localize(None) if times.tz is not None else times
    exact: Integers = naive.as_unit("us").asi8
    if naive.unit == "ns":
        fine = np.flatnonzero(naive.asi8 % 1000)
        if len(fine):
            raise CandleContractBroken(
                f"{source_name}: timestamp {naive[fine[0]]} is finer than a microsecond: "
                "label candles by their open time on the grid of the bucket"
            )
    return exact


def price_defects(
    columns: Mapping[str, Floats], *, close_may_leave_range: bool = False
) -> dict[tuple[str, str], Flags]:
    """Return which rows break which price rule, as {(field, rule): mask}, broken rules only.

    ``close_may_leave_range`` accepts an open or close outside [low, high], as the synthetic generator makes them.
    """
    found: dict[tuple[str, str], Flags] = {}

    def note(field: str, rule: str, mask: Flags) -> None:
        if mask.any():
            found[field, rule] = mask

    for name, values in columns.items():
        note(name, "is not a finite number", ~np.isfinite(values))
    for name in PRICE_COLUMNS:
        note(name, "is not above zero", columns[name] <= 0)
    if "volume" in columns:
        note("volume", "is negative", columns["volume"] < 0)
    high, low = columns["high"], columns["low"]
    note("high", "is below low", high < low)
    if not close_may_leave_range:
        for name in ("open", "close"):
            note(name, "is outside [low, high]", (columns[name] > high) | (columns[name] < low))
    return found


def find_defects(
    frame: Candles,
    bucket: TimeBucket,
    source_name: str,
    *,
    close_may_leave_range: bool = False,
    any_order: bool = False,
    max_gap: timedelta | None = None,
) -> list[Defect]:
    """Return every broken rule of the candle contract; an empty list means the frame is good.

    Args:
        frame: Candles of one pair, or of several with a column ``pair_id`` or ``pair`` (and ``exchange``).
        bucket: Width of the candles.
        source_name: File or source, for messages.
        close_may_leave_range: Accept open and close outside [low, high]: synthetic candles only.
        any_order: Accept rows in any order.
        max_gap: Longest time that may lie between two candles beyond the bucket; None accepts any.

    Raises:
        CandleContractBroken: Columns, dtypes or time zone are such that the rows cannot be read.
    """
    times = timestamps_us(frame, source_name)
    columns = numeric_columns(frame, OHLCV, source_name)
    codes, names = pair_codes(frame)

    def examples(mask: Flags, field: str | None = None) -> str:
        rows = np.flatnonzero(mask)[:SHOWN]
        shown = [
            f"{names[codes[row]]} {from_unix_us(int(times[row]))}".strip()
            + (f" = {float(columns[field][row])}" if field else "")
            for row in rows
        ]
        return "; ".join(shown)

    defects = []
    for (field, rule), mask in price_defects(columns, close_may_leave_range=close_may_leave_range).items():
        remedy = "Drop or repair these rows (--drop-broken, --repair); `data check` shows all of them by pair"
        defects.append(Defect(rule, field, int(mask.sum()), examples(mask, field), remedy))
    off_grid = floor_to_bucket(times, bucket) != times
    if off_grid.any():
        remedy = f"Label candles by their open time, or choose the bucket they have instead of {bucket.value}"
        defects.append(
            Defect(f"is off the {bucket.value} grid", "timestamp", int(off_grid.sum()), examples(off_grid), remedy)
        )
    defects += _order_defects(codes, times, examples, any_order=any_order)
    if max_gap is not None:
        order = np.lexsort((times, codes))
        before_gap: Flags = np.zeros(len(order), dtype=np.bool_)
        before_gap[order] = rows_after_gaps(codes[order], times[order], bucket, max_gap)
        if before_gap.any():
            remedy = f"Fill the hole, begin after it, or accept it with a tolerance above {max_gap}"
            defects.append(
                Defect(
                    f"follows a gap over {max_gap}", "timestamp", int(before_gap.sum()), examples(before_gap), remedy
                )
            )
    return defects


def _order_defects(
    codes: Integers, times: Integers, examples: Callable[[Flags], str], *, any_order: bool
) -> list[Defect]:
    by_pair = np.argsort(codes, kind="stable") if (codes[1:] < codes[:-1]).any() else np.arange(len(codes))
    steps = np.diff(times[by_pair])
    same_pair = np.diff(codes[by_pair]) == 0
    if not (same_pair & (steps <= 0)).any():
        return []
    defects = []
    backwards: Flags = np.zeros(len(codes), dtype=np.bool_)
    backwards[by_pair[1:]] = same_pair & (steps < 0)
    if backwards.any() and not any_order:
        remedy = "Sort by pair and timestamp"
        defects.append(Defect("goes backwards", "timestamp", int(backwards.sum()), examples(backwards), remedy))
    repeated = duplicated_rows(codes, times)
    if repeated.any():
        remedy = "Keep one candle of each pair and time"
        defects.append(Defect("is duplicated", "timestamp", int(repeated.sum()), examples(repeated), remedy))
    return defects


def check_candles(
    frame: Candles,
    bucket: TimeBucket,
    source_name: str,
    *,
    close_may_leave_range: bool = False,
    any_order: bool = False,
    max_gap: timedelta | None = None,
) -> None:
    """Refuse a frame that breaks the candle contract; arguments as of `find_defects`.

    Raises:
        CandleContractBroken: Names the source and for each broken rule the field, count, first rows and remedy.
    """
    defects = find_defects(
        frame,
        bucket,
        source_name,
        close_may_leave_range=close_may_leave_range,
        any_order=any_order,
        max_gap=max_gap,
    )
    if defects:
        raise CandleContractBroken(f"{source_name}: " + "\n".join(str(defect) for defect in defects))


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in the candles of a pair: the bars opening in [start, end) are missing."""

    pair: str
    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """Return how much time has no candle."""
        return self.end - self.start


def find_gaps(frame: Candles, bucket: TimeBucket, source_name: str, tolerance: timedelta = timedelta(0)) -> list[Gap]:
    """Return the holes longer than a tolerance, sorted by pair and time; rows may be in any order."""
    times = timestamps_us(frame, source_name)
    codes, names = pair_codes(frame)
    order = np.lexsort((times, codes))
    times, codes = times[order], codes[order]
    ends = np.flatnonzero(rows_after_gaps(codes, times, bucket, tolerance))
    width = bucket_width_us(bucket)
    return [
        Gap(names[codes[row]], from_unix_us(int(times[row - 1]) + width), from_unix_us(int(times[row]))) for row in ends
    ]


def rows_after_gaps(codes: Integers, times_us: Integers, bucket: TimeBucket, tolerance: timedelta) -> Flags:
    """Return True for each row before which more than the tolerance has no candle; rows sorted by pair and time."""
    after: Flags = np.zeros(len(codes), dtype=np.bool_)
    longest = bucket_width_us(bucket) + tolerance // ONE_US
    after[1:] = (codes[1:] == codes[:-1]) & (np.diff(times_us) > longest)
    return after


def numeric_columns(frame: Candles, names: Sequence[str], source_name: str) -> dict[str, Floats]:
    """Return columns as float64 arrays; raises CandleContractBroken for a missing or non-numeric one."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise CandleContractBroken(
            f"{source_name}: column {', '.join(missing)} is missing, columns are {list(frame.columns)}: "
            f"candles need {', '.join(names)}"
        )
    columns = {}
    for name in names:
        dtype = frame[name].dtype
        if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype):
            raise CandleContractBroken(
                f"{source_name}: column {name} has dtype {dtype}, first value "
                f"{frame[name].iloc[0] if len(frame) else None!r}: convert it to float64"
            )
        columns[name] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    return columns


def pair_codes(frame: Candles) -> tuple[Integers, list[str]]:
    """Return a number for each row and the pair name of each number, in sorted order of names; some may have no row.

    A pair is what ``exchange`` (if any) and ``pair_id`` or else ``pair`` say; without them all rows are one pair.
    """
    key = "pair_id" if "pair_id" in frame.columns else "pair" if "pair" in frame.columns else None
    if key is None:
        return np.zeros(len(frame), dtype=np.int64), [""]
    column = frame[key]
    if isinstance(column.dtype, pd.CategoricalDtype) and column.cat.categories.is_monotonic_increasing:
        codes, values = np.asarray(column.cat.codes, dtype=np.int64), column.cat.categories
    else:
        codes, values = pd.factorize(column, sort=True)
    names = [str(value) for value in values]
    if "exchange" in frame.columns:
        venue_codes, venues = pd.factorize(frame["exchange"], sort=True)
        codes = venue_codes * len(names) + codes
        names = [name if name.endswith(f"@{venue}") else f"{name}@{venue}" for venue in venues for name in names]
    return np.asarray(codes, dtype=np.int64), names


def is_in_order(codes: Integers, times_us: Integers) -> bool:
    """Tell whether rows are sorted by pair, then time."""
    same = codes[1:] == codes[:-1]
    return bool(((codes[1:] > codes[:-1]) | (same & (times_us[1:] >= times_us[:-1]))).all())


def duplicated_rows(codes: Integers, times_us: Integers) -> Flags:
    """Return True for every row whose pair and time an earlier row has."""
    repeated: Flags = np.zeros(len(codes), dtype=np.bool_)
    if is_in_order(codes, times_us):
        repeated[1:] = (codes[1:] == codes[:-1]) & (times_us[1:] == times_us[:-1])
        return repeated
    order = np.lexsort((times_us, codes))
    repeated_in_order = np.r_[False, (np.diff(codes[order]) == 0) & (np.diff(times_us[order]) == 0)][: len(order)]
    repeated[order] = repeated_in_order
    return repeated


def _require_datetimes(column: pd.Series, source_name: str) -> pd.Series:
    if not pd.api.types.is_datetime64_any_dtype(column.dtype):
        first = column.iloc[0] if len(column) else None
        raise CandleContractBroken(
            f"{source_name}: timestamp has dtype {column.dtype}, first value {first!r}: "
            "convert it with pd.to_datetime(..., utc=True)"
        )
    return column
