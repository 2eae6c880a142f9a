"""Exact resampling of candles to a coarser bucket: open first, high max, low min, close last, volume sum."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import (
    Candles,
    bucket_width_us,
    duplicated_rows,
    floor_to_bucket,
    numeric_columns,
    pair_codes,
    timestamps_us,
)
from trading_dagster.market.panel import OHLCV, CandlePanel, Floats, Integers
from trading_dagster.market.side_by_side import choose_workers, map_in_order

ROW_CELLS = 1_000_000
MOST_WORKERS = 4
Reduction = Callable[[Floats, Integers], Floats]


def _first(values: Floats, starts: Integers) -> Floats:
    return values[..., starts]


def _last(values: Floats, starts: Integers) -> Floats:
    ends: Integers = np.append(starts[1:], values.shape[-1]) - 1
    return values[..., ends]


def _max(values: Floats, starts: Integers) -> Floats:
    return np.asarray(np.maximum.reduceat(values, starts, axis=-1))


def _min(values: Floats, starts: Integers) -> Floats:
    return np.asarray(np.minimum.reduceat(values, starts, axis=-1))


def _sum(values: Floats, starts: Integers) -> Floats:
    return np.asarray(np.add.reduceat(values, starts, axis=-1))


REDUCTIONS: Mapping[str, Reduction] = {"open": _first, "high": _max, "low": _min, "close": _last, "volume": _sum}


def check_resampling(source: TimeBucket, target: TimeBucket) -> None:
    """Refuse a target bucket that is not a whole multiple of the source's; raises BadInput."""
    if target.to_timedelta() % source.to_timedelta():
        raise BadInput(
            f"time_bucket {target.name} cannot be made from {source.name} candles: it is not a whole multiple; "
            f"choose {source.name} or coarser, or load finer candles"
        )


def resample_candles(frame: Candles, bucket: TimeBucket, source_bucket: TimeBucket | None = None) -> Candles:
    """Return candles of a coarser bucket, sorted by pair and time.

    A bar is made from what candles open inside it, on the grid of 0001-01-01 (7 d on Mondays); a bar without any is
    missing, not filled. Rows may come in any order; columns other than ``pair_id``, ``pair``, ``exchange``, the times
    and open, high, low, close, volume are dropped.

    Args:
        frame: Candles; volume is optional.
        bucket: Width wanted.
        source_bucket: Width of the candles given, to refuse what it cannot make; None trusts the caller.

    Raises:
        BadInput: ``bucket`` is not a whole multiple of ``source_bucket``.
        CandleContractBroken: Times or columns cannot be read, or a time is duplicated.
    """
    if source_bucket is not None:
        check_resampling(source_bucket, bucket)
    times = timestamps_us(frame, "candles to resample")
    names = [name for name in OHLCV if name != "volume" or name in frame.columns]
    columns = numeric_columns(frame, names, "candles to resample")
    codes, _ = pair_codes(frame)
    repeated = duplicated_rows(codes, times)
    if repeated.any():
        raise BadInput(
            f"{int(repeated.sum())} candles are duplicated, first at row {int(np.flatnonzero(repeated)[0])}: "
            "keep one of each pair and time before resampling"
        )
    order = np.lexsort((times, codes))
    bars = floor_to_bucket(times[order], bucket)
    starts = _group_starts(codes[order], bars)
    keys = [name for name in ("pair_id", "pair", "exchange") if name in frame.columns]
    result = frame[keys].iloc[order[starts]].reset_index(drop=True)
    result.insert(0, "timestamp", pd.DatetimeIndex(bars[starts].view("datetime64[us]")))
    for name in names:
        result[name] = REDUCTIONS[name](columns[name][order], starts) if len(starts) else columns[name]
    return result


def resample_panel(panel: CandlePanel, bucket: TimeBucket) -> CandlePanel:
    """Return a panel of a coarser bucket, of real bars only: fill gaps after resampling, not before.

    Raises:
        BadInput: ``bucket`` is not a whole multiple of the panel's.
    """
    check_resampling(panel.bucket, bucket)
    if bucket is panel.bucket:
        return panel
    width = bucket_width_us(bucket)
    start = int(floor_to_bucket(np.asarray([panel.start_us], dtype=np.int64), bucket)[0])
    bar_of = (panel.times_us - start) // width
    bar_count = int(bar_of[-1]) + 1 if len(bar_of) else 0
    shape = (len(panel.pair_ids), bar_count)
    names = [name for name in panel.columns if name in REDUCTIONS]
    columns = {name: np.full(shape, np.nan) for name in names}
    exists = np.zeros(shape, dtype=np.bool_)
    whole = _group_starts(bar_of)

    def reduce(part: slice) -> None:
        real = panel.exists[part] & ~panel.forward_filled[part]
        if real.all():
            exists[part, bar_of[whole]] = True
            for name in names:
                columns[name][part, bar_of[whole]] = REDUCTIONS[name](panel.columns[name][part], whole)
            return
        rows, bars = np.nonzero(real)
        if not len(rows):
            return
        cells = rows * bar_count + bar_of[bars]
        starts = _group_starts(cells)
        exists[part].reshape(-1)[cells[starts]] = True
        for name in names:
            reduced = REDUCTIONS[name](panel.columns[name][part][rows, bars], starts)
            columns[name][part].reshape(-1)[cells[starts]] = reduced

    step = max(1, ROW_CELLS // max(1, panel.bar_count))
    parts = [slice(first, first + step) for first in range(0, len(panel.pair_ids), step)] if bar_count else []
    deque(map_in_order(reduce, parts, choose_workers(None, MOST_WORKERS)), maxlen=0)
    return CandlePanel(bucket, start, panel.pair_ids, columns, exists, np.zeros(shape, dtype=np.bool_))


def open_on_time(coarse: CandlePanel, fine: CandlePanel) -> CandlePanel:
    """Return a resampled panel whose opens were known when its bars opened.

    Trades are filled at the open of a bar. Where the first finer candle of a bar is missing, the first that exists
    opened later, and its open would be a price from the future: the last close before the bar takes its place, if it
    is not older than one bar; without one the bar is left out.

    Args:
        coarse: What ``resample_panel`` made of ``fine``.
        fine: The panel it was made of.
    """
    if coarse is fine or coarse.bar_count == 0:
        return coarse
    opens = coarse.columns["open"].copy()
    highs, lows, exists = coarse.columns["high"].copy(), coarse.columns["low"].copy(), coarse.exists.copy()
    firsts = fine.bar_at_each(coarse.times_us)
    reach = coarse.width_us // fine.width_us
    for row, pair_id in enumerate(coarse.pair_ids):
        fine_exists = fine.exists[row]
        inside = (firsts >= 0) & (firsts < fine.bar_count)
        on_time = inside & fine_exists[np.clip(firsts, 0, fine.bar_count - 1)]
        late = np.flatnonzero(exists[row] & ~on_time)
        if not len(late):
            continue
        before = np.append(fine.latest_bar(pair_id), -1)[np.maximum(firsts[late], 0) - 1]  # bar -1 is "none"
        usable = (firsts[late] > 0) & (before >= 0) & (firsts[late] - before <= reach)
        closes = fine.columns["close"][row][np.maximum(before, 0)]
        opens[row, late] = np.where(usable, closes, np.nan)
        highs[row, late] = np.maximum(highs[row, late], opens[row, late])
        lows[row, late] = np.minimum(lows[row, late], opens[row, late])
        exists[row, late] = usable
    columns = {**coarse.columns, "open": opens, "high": highs, "low": lows}
    columns = {name: np.where(exists, values, np.nan) for name, values in columns.items()}
    return CandlePanel(coarse.bucket, coarse.start_us, coarse.pair_ids, columns, exists, coarse.forward_filled.copy())


def _group_starts(*keys: Integers) -> Integers:
    changed = np.zeros(len(keys[0]), dtype=np.bool_)
    changed[:1] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)
