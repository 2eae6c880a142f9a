"""Read rows of some markets out of many months, market by market and each in the order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trading_dagster.domain.error import CandleContractBroken
from trading_dagster.market.contract import is_in_order
from trading_dagster.market.month_file import Interval, find_renames
from trading_dagster.market.panel import Floats, Integers

LEAST_RUN = 32
"""From how many rows of a market in a row on they are moved together, rather than one by one."""


@dataclass(frozen=True, slots=True)
class MonthRows:
    """Rows sorted by market, then time.

    Args:
        codes: The place of each row's market among the ``keys`` that were asked for.
        times_us: Open times, microseconds since 1970.
        columns: Values by name.
    """

    codes: Integers
    times_us: Integers
    columns: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows of one month in the order in which they are stored."""

    codes: Integers
    times_us: Integers
    columns: Mapping[str, Floats]


def read_rows(files: Sequence[Path], keys: Sequence[str], asked: Interval, names: Sequence[str]) -> MonthRows:
    """Return the rows of some markets that open in a span.

    A month is sorted, so that of its row groups only those are read in which there may be one of the markets; and rows
    of several months are not sorted but put one after the other, market by market.

    Args:
        files: Months in the order of time.
        keys: What marks the rows of the markets, sorted.
        asked: The span, microseconds since 1970.
        names: Of the columns.

    Raises:
        CandleContractBroken: A file is damaged.
    """
    batches: list[_Batch] = []
    for path in files:
        try:
            batches += _read_month(path, keys, asked, names)
        except (pa.ArrowException, OSError) as error:
            raise CandleContractBroken(f"path {path}: not readable ({error}); delete it, import again") from error
    if not batches:
        nothing: Integers = np.zeros(0, dtype=np.int64)
        return MonthRows(nothing, nothing, {name: np.zeros(0) for name in names})
    return _join_runs(batches, names) or _sort_rows(batches, names)


def _read_month(path: Path, keys: Sequence[str], asked: Interval, names: Sequence[str]) -> list[_Batch]:
    file = pq.ParquetFile(path)
    renames = find_renames(path, file.metadata.metadata)
    groups = [
        place
        for place in range(file.num_row_groups)
        if renames or _may_have(file.metadata.row_group(place), keys[0], keys[-1])
    ]
    if not groups:
        return []
    codes_of = {key: code for code, key in enumerate(keys)}
    codes_of |= {stored: codes_of.pop(key) for stored, key in renames.items() if key in codes_of}
    batches = []
    for batch in file.read_row_groups(groups, columns=["market", "timestamp", *names]).to_batches():
        marks = batch["market"]
        marks = marks if pa.types.is_dictionary(marks.type) else marks.dictionary_encode()
        known: Integers = np.asarray([codes_of.get(key, -1) for key in marks.dictionary.to_pylist()], dtype=np.int64)
        codes = known[marks.indices.to_numpy(zero_copy_only=False)]
        times = batch["timestamp"].cast(pa.timestamp("us", "UTC")).view(pa.int64()).to_numpy(zero_copy_only=False)
        columns = {name: batch[name].to_numpy(zero_copy_only=False) for name in names}
        inside = (codes >= 0) & (times >= asked[0]) & (times < asked[1])
        if not inside.all():
            rows = np.flatnonzero(inside)
            if not len(rows):
                continue
            part = slice(rows[0], rows[-1] + 1) if rows[-1] + 1 - rows[0] == len(rows) else rows
            codes, times = codes[part], times[part]
            columns = {name: values[part] for name, values in columns.items()}
        batches.append(_Batch(codes, times, columns))
    return batches


def _may_have(group: pq.RowGroupMetaData, first: str, last: str) -> bool:
    """Tell whether a row group may have a market between two."""
    held = group.column(0).statistics
    return held is None or not held.has_min_max or (held.min <= last and held.max >= first)


def _join_runs(batches: Sequence[_Batch], names: Sequence[str]) -> MonthRows | None:
    """Return the rows in order by moving the runs of each market; None where they are short, or do not ascend."""
    runs: list[tuple[int, int, int, int]] = []
    for place, batch in enumerate(batches):
        codes = batch.codes
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
        if len(codes) < LEAST_RUN * len(starts) or not is_in_order(codes, batch.times_us):
            return None
        ends = np.r_[starts[1:], len(codes)]
        runs += zip(codes[starts].tolist(), [place] * len(starts), starts.tolist(), ends.tolist(), strict=True)
    runs.sort()
    times = np.concatenate([batches[place].times_us[start:end] for _, place, start, end in runs])
    codes = np.repeat([code for code, *_ in runs], [end - start for *_, start, end in runs])
    if not is_in_order(codes, times):
        return None
    values = {
        name: np.concatenate([batches[place].columns[name][start:end] for _, place, start, end in runs])
        for name in names
    }
    return MonthRows(codes, times, values)


def _sort_rows(batches: Sequence[_Batch], names: Sequence[str]) -> MonthRows:
    codes = np.concatenate([batch.codes for batch in batches])
    times = np.concatenate([batch.times_us for batch in batches])
    order = np.lexsort((times, codes))
    values = {name: np.concatenate([batch.columns[name] for batch in batches])[order] for name in names}
    return MonthRows(codes[order], times[order], values)
