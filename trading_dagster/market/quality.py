"""How good candles are: a report by pair, and the rows nothing should trade on."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from trading_dagster.domain.time import TimeBucket, to_unix_us
from trading_dagster.market.contract import (
    Candles,
    bucket_width_us,
    duplicated_rows,
    floor_to_bucket,
    numeric_columns,
    pair_codes,
    timestamps_us,
)
from trading_dagster.market.panel import OHLCV, PRICE_COLUMNS, Flags, Floats, Integers

JUMP_FACTOR = 1.5
SPIKE_FACTOR = 2.0
REDENOMINATION_FACTOR = 5.0


def quality_report(
    frame: Candles,
    bucket: TimeBucket,
    source_name: str = "candles",
    *,
    expected_end: datetime | None = None,
    jump_factor: float = JUMP_FACTOR,
    spike_factor: float = SPIKE_FACTOR,
) -> pd.DataFrame:
    """Return one row a pair, sorted by pair, rows of the frame in any order.

    Columns, counts of rows unless said otherwise:

    - ``pair``; ``rows``; ``first``, ``last``: open times.
    - ``duplicates``: rows whose pair and time another row has, beyond the first.
    - ``not_finite``: any price or volume is missing or infinite.
    - ``impossible``: high below low, or open or close outside [low, high].
    - ``non_positive``: any price is zero or below. ``negative_volume``. ``off_grid``: not an open time of the bucket.
    - ``missing_bars``: bars without a candle between the first and the last.
    - ``longest_gap``: most time in a row that has no candle.
    - ``jumps``: close more than ``jump_factor`` times, or less than 1 ÷ that of, the close before it.
    - ``spikes``: a wick reaches ``spike_factor`` beyond both open and close, as in a flash crash.
    - ``redenominations``: opens 5 times away from the close before and stays there.
    - ``stale``: time between the end of the last candle and ``expected_end``, by default the frame's last end.

    Raises:
        CandleContractBroken: Columns or times cannot be read.
    """
    times = timestamps_us(frame, source_name)
    columns = numeric_columns(frame, OHLCV, source_name)
    codes, names = pair_codes(frame)
    present = np.unique(codes)
    width = bucket_width_us(bucket)
    masks = _row_masks(columns, times, codes, bucket)

    def count(mask: Flags, of: Integers) -> Integers:
        counted: Integers = np.bincount(of[mask], minlength=len(names))[present]
        return counted

    order = np.lexsort((times, codes))
    order = order[~masks["duplicates"][order]]
    sorted_codes, sorted_times = codes[order], times[order]
    starts = np.flatnonzero(np.r_[True, np.diff(sorted_codes) != 0][: len(order)])
    ends = np.r_[starts[1:], len(order)][: len(starts)] - 1
    first, last = sorted_times[starts], sorted_times[ends]
    gaps: Integers = np.zeros(len(order), dtype=np.int64)
    gaps[1:] = np.where(np.diff(sorted_codes) == 0, np.diff(sorted_times) - width, 0)
    report = pd.DataFrame(
        {
            "pair": [names[code] for code in present],
            "rows": count(np.ones(len(codes), dtype=np.bool_), codes),
            "first": pd.DatetimeIndex(first.view("datetime64[us]")),
            "last": pd.DatetimeIndex(last.view("datetime64[us]")),
            **{name: count(mask, codes) for name, mask in masks.items()},
        }
    )
    report["missing_bars"] = np.add.reduceat(np.maximum(gaps, 0) // width, starts) if len(starts) else 0
    longest = np.maximum.reduceat(gaps, starts) if len(starts) else gaps
    report["longest_gap"] = pd.TimedeltaIndex(np.maximum(longest, 0).view("timedelta64[us]"))
    ordered = {name: values[order] for name, values in columns.items()}
    for name, mask in _outlier_masks(ordered, sorted_codes, jump_factor, spike_factor).items():
        report[name] = count(mask, sorted_codes)
    until = to_unix_us(expected_end) if expected_end is not None else int(last.max(initial=0)) + width
    report["stale"] = pd.TimedeltaIndex(np.maximum(until - last - width, 0).view("timedelta64[us]"))
    return report


def drop_broken_candles(frame: Candles, bucket: TimeBucket, source_name: str = "candles") -> Candles:
    """Return the frame without the rows that break the contract, in the same order.

    Dropped are later duplicates and rows that are not finite, impossible, non-positive, of negative volume or off the
    grid, as `quality_report` counts them. What is dropped becomes a gap.
    """
    times = timestamps_us(frame, source_name)
    columns = numeric_columns(frame, OHLCV, source_name)
    codes, _ = pair_codes(frame)
    masks = _row_masks(columns, times, codes, bucket)
    broken = np.logical_or.reduce([mask for name, mask in masks.items() if name != "duplicates"])
    kept = np.flatnonzero(~broken)
    kept = kept[~duplicated_rows(codes[kept], times[kept])]
    return frame.iloc[kept].reset_index(drop=True)


def _row_masks(columns: dict[str, Floats], times: Integers, codes: Integers, bucket: TimeBucket) -> dict[str, Flags]:
    prices = [columns[name] for name in PRICE_COLUMNS]
    high, low = columns["high"], columns["low"]
    outside = [(columns[name] > high) | (columns[name] < low) for name in ("open", "close")]
    return {
        "duplicates": duplicated_rows(codes, times),
        "not_finite": np.logical_or.reduce([~np.isfinite(values) for values in columns.values()]),
        "impossible": np.logical_or.reduce([high < low, *outside]),
        "non_positive": np.logical_or.reduce([values <= 0 for values in prices]),
        "negative_volume": columns["volume"] < 0,
        "off_grid": floor_to_bucket(times, bucket) != times,
    }


def _outlier_masks(
    columns: dict[str, Floats], codes: Integers, jump_factor: float, spike_factor: float
) -> dict[str, Flags]:
    """Return outlying rows; rows sorted by pair and time."""
    with np.errstate(divide="ignore", invalid="ignore"):
        opening, high, low, close = (
            np.where(columns[name] > 0, np.log(columns[name]), np.nan) for name in PRICE_COLUMNS
        )
    same_pair = codes[1:] == codes[:-1]
    before: Floats = np.full(len(codes), np.nan)
    before[1:] = np.where(same_pair, close[:-1], np.nan)
    after: Floats = np.full(len(codes), np.nan)
    after[:-1] = np.where(same_pair, close[1:], np.nan)
    body_low, body_high = np.minimum(opening, close), np.maximum(opening, close)
    jump, spike = np.log(jump_factor), np.log(spike_factor)
    moved = np.abs(opening - before) > np.log(REDENOMINATION_FACTOR)
    return {
        "jumps": np.abs(close - before) > jump,
        "spikes": (body_low - low > spike) | (high - body_high > spike),
        "redenominations": moved & (np.abs(close - opening) < jump) & (np.abs(after - close) < jump),
    }
