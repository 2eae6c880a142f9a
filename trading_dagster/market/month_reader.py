"""Read rows of some markets out of many months, market by market and each in the order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trading_dagster.domain.error import CandleContractBroken
from trading_dagster.market.month_file import Interval
from trading_dagster.market.panel import Floats, Integers

Batch = tuple[Integers, Integers, dict[str, Floats]]
MOST_CODES = np.iinfo(np.int16).max


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
    batches: list[Batch] = []
    for path in files:
        try:
            batches += _read_month(path, keys, asked, names)
        except (pa.ArrowException, OSError) as error:
            raise CandleContractBroken(f"path {path}: not readable ({error}); delete it, import again") from error
    if not batches:
        nothing: Integers = np.zeros(0, dtype=np.int64)
        return MonthRows(nothing, nothing, {name: np.zeros(0) for name in names})
    codes, times = (np.concatenate([batch[place] for batch in batches]) for place in (0, 1))
    order = _order(codes, times)
    columns = {}
    for name in names:
        values = np.concatenate([batch[2].pop(name) for batch in batches])
        columns[name] = values if order is None else values[order]
    if order is not None:
        codes, times = codes[order], times[order]
    return MonthRows(codes, times, columns)


def _read_month(path: Path, keys: Sequence[str], asked: Interval, names: Sequence[str]) -> list[Batch]:
    file = pq.ParquetFile(path)
    every = range(file.num_row_groups)
    groups = [place for place in every if _may_have(file.metadata.row_group(place), keys[0], keys[-1])]
    if not groups:
        return []
    codes_of = {key: code for code, key in enumerate(keys)}
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
        batches.append((codes, times, columns))
    return batches


def _may_have(group: pq.RowGroupMetaData, first: str, last: str) -> bool:
    """Tell whether a row group may have a market between two."""
    held = group.column(0).statistics
    return held is None or not held.has_min_max or (held.min <= last and held.max >= first)


def _order(codes: Integers, times: Integers) -> Integers | None:
    """Return the order of rows by market and time; None when they have it."""
    same = codes[1:] == codes[:-1]
    if ((codes[1:] > codes[:-1]) | (same & (times[1:] >= times[:-1]))).all():
        return None
    short = codes.astype(np.int16) if codes.max() <= MOST_CODES else codes  # so that it is a radix sort
    order: Integers = np.argsort(short, kind="stable")
    own, at = codes[order], times[order]
    if ((own[1:] == own[:-1]) & (at[1:] < at[:-1])).any():
        order = np.lexsort((times, codes))
    return order
