"""How good candles are: a report by pair, and the rows nothing should trade on."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from trading_dagster.domain.time import TimeBucket, to_unix_us
from trading_dagster.market.contract import (
    Candles,
    bucket_width_us,
    duplicated_rows,
    is_in_order,
    numeric_columns,
    pair_codes,
    timestamps_us,
)
from trading_dagster.market.panel import OHLCV, ONE_US, Flags, Integers
from trading_dagster.market.row_check import (
    CONTRACT_RULES,
    JUMP_FACTOR,
    OUTLIER_RULES,
    SPIKE_FACTOR,
    broken_rows,
    outlying_rows,
)

TOLERANCE = timedelta(days=2)
"""How long a gap or a stale end may be before it is an alarm; the universe's price tolerance."""

DELISTED_AFTER = timedelta(days=30)
"""A pair whose candles ended that long before the others' is taken for delisted."""


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
    - ``frozen``: prices and volume are those of the candle before.
    - ``volume_spikes``: more than 300 times the median volume of the candles around it.
    - ``volume_levels``: the median volume of 50 candles goes to more than 300 times, or less than 1 ÷ that, and stays.
    - ``moves_without_volume``: the price moved and the volume is 0.
    - ``stale``: time between the end of the last candle and ``expected_end``, by default the frame's last end.
    - ``ending``: "delisted" when that is more than 30 days, "stale" when it is more than 2, else "".

    A jump or a spike must also exceed 30 times the median move of the candles around it; see `outlying_rows`.

    Raises:
        CandleContractBroken: Columns or times cannot be read.
    """
    times = timestamps_us(frame, source_name)
    columns = numeric_columns(frame, OHLCV, source_name)
    codes, names = pair_codes(frame)
    present = np.unique(codes)
    width = bucket_width_us(bucket)
    masks = broken_rows(columns, times, codes, bucket)

    def count(mask: Flags, of: Integers) -> Integers:
        counted: Integers = np.bincount(of[mask], minlength=len(names))[present]
        return counted

    order = _order(codes, times, masks["duplicates"])
    sorted_codes, sorted_times = codes[order], times[order]
    starts = np.flatnonzero(np.r_[True, np.diff(sorted_codes) != 0][: len(sorted_codes)])
    ends = np.r_[starts[1:], len(sorted_codes)][: len(starts)] - 1
    first, last = sorted_times[starts], sorted_times[ends]
    gaps: Integers = np.zeros(len(sorted_codes), dtype=np.int64)
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
    outliers = outlying_rows(ordered, sorted_codes, jump_factor=jump_factor, spike_factor=spike_factor)
    for name, mask in outliers.items():
        report[name] = count(mask, sorted_codes)
    until = to_unix_us(expected_end) if expected_end is not None else int(last.max(initial=0)) + width
    stale_us = np.maximum(until - last - width, 0)
    report["stale"] = pd.TimedeltaIndex(stale_us.view("timedelta64[us]"))
    endings = np.array(["", "stale", "delisted"], dtype=object)
    limits = [max(limit // ONE_US, width) for limit in (TOLERANCE, DELISTED_AFTER)]
    report["ending"] = pd.Series(endings[np.digitize(stale_us, limits, right=True)], dtype="str")
    return report


def _order(codes: Integers, times: Integers, is_repeated: Flags) -> Integers | slice:
    """Return what sorts rows by pair and time and leaves out repeated ones: nothing to do for candles of the lake."""
    if not is_repeated.any() and is_in_order(codes, times):
        return slice(None)
    order = np.lexsort((times, codes))
    return order[~is_repeated[order]]


def judge_quality(report: pd.DataFrame, tolerance: timedelta = TOLERANCE) -> pd.DataFrame:
    """Return what is wrong in a quality report: a row a pair and check, the blocking ones first.

    Columns: ``severity`` ("blocking": such candles are refused by whatever trades; "warning": look at them), ``check``,
    ``pair``, ``count`` (candles, or bars), ``what``.

    Args:
        report: Of `quality_report`.
        tolerance: How long a gap may be.
    """
    found: list[tuple[str, str, str, int, str]] = []
    for row in report.to_dict("records"):
        pair = str(row["pair"])
        found += [("blocking", rule, pair, int(row[rule]), MEANINGS[rule]) for rule in CONTRACT_RULES if row[rule]]
        found += [("warning", rule, pair, int(row[rule]), MEANINGS[rule]) for rule in OUTLIER_RULES if row[rule]]
        if row["longest_gap"] > tolerance:
            what = f"{MEANINGS['gaps']}; the longest is {row['longest_gap']}"
            found.append(("warning", "gaps", pair, int(row["missing_bars"]), what))
        if row["ending"]:
            found.append(("warning", row["ending"], pair, 1, f"its candles end {row['stale']} before the others'"))
    columns = ["severity", "check", "pair", "count", "what"]
    order = {name: place for place, name in enumerate(MEANINGS)}
    found.sort(key=lambda item: (item[0] != "blocking", order[item[1]], item[2]))
    return pd.DataFrame(found, columns=columns)


MEANINGS = {
    "duplicates": "another candle of the pair has the same time",
    "not_finite": "a price or the volume is missing or infinite",
    "impossible": "high is below low, or open or close lies outside of them",
    "non_positive": "a price is zero or below",
    "negative_volume": "the volume is below zero",
    "off_grid": "the time is not one at which a candle of this width opens",
    "jumps": "the close is far from the one before",
    "spikes": "high or low is far beyond open and close, as in a flash crash or a bad trade",
    "redenominations": "the price begins anew at another level and stays there: a split or a new unit",
    "frozen": "the candle repeats the one before: a feed that stands still",
    "volume_spikes": "the volume is far beyond what is usual",
    "volume_levels": "the volume goes to another level and stays there: another unit, other decimals",
    "moves_without_volume": "the price moved without a trade",
    "gaps": "bars without a candle",
    "stale": "the candles end early",
    "delisted": "the candles ended long ago",
}
"""What each check of `judge_quality` says, in the order in which they are told."""


def drop_broken_candles(frame: Candles, bucket: TimeBucket, source_name: str = "candles") -> Candles:
    """Return the frame without the rows that break the contract, in the same order.

    Dropped are later duplicates and rows that are not finite, impossible, non-positive, of negative volume or off the
    grid, as `quality_report` counts them. What is dropped becomes a gap.
    """
    times = timestamps_us(frame, source_name)
    columns = numeric_columns(frame, OHLCV, source_name)
    codes, _ = pair_codes(frame)
    masks = broken_rows(columns, times, codes, bucket)
    broken = np.logical_or.reduce([mask for name, mask in masks.items() if name != "duplicates"])
    kept = np.flatnonzero(~broken)
    kept = kept[~duplicated_rows(codes[kept], times[kept])]
    return frame.iloc[kept].reset_index(drop=True)
