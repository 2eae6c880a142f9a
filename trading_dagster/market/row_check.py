"""Which candles are wrong, and which are suspicious: one mask a rule, over all rows at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import duplicated_rows, floor_to_bucket
from trading_dagster.market.panel import PRICE_COLUMNS, Flags, Floats, Integers

JUMP_FACTOR = 1.5
SPIKE_FACTOR = 2.0
REDENOMINATION_FACTOR = 5.0
VOLUME_FACTOR = 300.0
OWN_NOISE = 30.0
"""How many times the usual move around it a move must be to stand out, whatever the factors say."""

REACH = 50
"""How many candles on either side say what is usual."""

LEAST_NEIGHBOURS = 20
BLOCK = 25
CHUNK = 20_000
CONTRACT_RULES = ("duplicates", "not_finite", "impossible", "non_positive", "negative_volume", "off_grid")
OUTLIER_RULES = (
    "jumps",
    "spikes",
    "redenominations",
    "frozen",
    "volume_spikes",
    "volume_levels",
    "moves_without_volume",
)


def broken_rows(
    columns: Mapping[str, Floats], times: Integers, codes: Integers, bucket: TimeBucket
) -> dict[str, Flags]:
    """Return which rows break the candle contract, by rule; rows in any order, ``codes`` tell pairs apart."""
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


def outlying_rows(
    columns: Mapping[str, Floats],
    codes: Integers,
    *,
    jump_factor: float = JUMP_FACTOR,
    spike_factor: float = SPIKE_FACTOR,
) -> dict[str, Flags]:
    """Return which rows are suspicious, by rule; rows sorted by pair and time, without duplicates.

    A jump or a spike must exceed its factor and `OWN_NOISE` times the median move of the candles around it, so that
    what is usual for a pair is no alarm: a daily candle, or a coin of the day, moves more than Bitcoin in an hour.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        opening, high, low, close = (
            np.where(columns[name] > 0, np.log(columns[name]), np.nan) for name in PRICE_COLUMNS
        )
    same_pair = codes[1:] == codes[:-1]
    before, after = _shifted(close, same_pair, back=True), _shifted(close, same_pair, back=False)
    moves = np.abs(close - before)
    wicks = np.maximum(np.minimum(opening, close) - low, high - np.maximum(opening, close))
    jump, spike = np.log(jump_factor), np.log(spike_factor)
    moved = np.abs(opening - before) > np.log(REDENOMINATION_FACTOR)
    volume = columns["volume"]
    frozen: Flags = np.zeros(len(codes), dtype=np.bool_)
    frozen[1:] = same_pair & (volume[1:] > 0)
    for values in columns.values():
        frozen[1:] &= values[1:] == values[:-1]
    return {
        "jumps": _stands_out(moves, moves > jump, moves, codes, OWN_NOISE),
        "spikes": _stands_out(wicks, wicks > spike, moves, codes, OWN_NOISE),
        "redenominations": moved & (np.abs(close - opening) < jump) & (np.abs(after - close) < jump),
        "frozen": frozen,
        "volume_spikes": _volume_spikes(volume, codes),
        "volume_levels": _volume_levels(volume, codes),
        "moves_without_volume": (volume == 0) & (columns["high"] > columns["low"]),
    }


def _shifted(values: Floats, same_pair: Flags, *, back: bool) -> Floats:
    """Return the value of the row before or after, NaN at the edges of pairs."""
    shifted: Floats = np.full(len(values), np.nan)
    if back:
        shifted[1:] = np.where(same_pair, values[:-1], np.nan)
    else:
        shifted[:-1] = np.where(same_pair, values[1:], np.nan)
    return shifted


def _volume_spikes(volume: Floats, codes: Integers) -> Flags:
    """Return rows with more than `VOLUME_FACTOR` times the median volume around them."""
    if not len(volume):
        return np.zeros(0, dtype=np.bool_)
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    means = np.add.reduceat(np.nan_to_num(volume), starts) / np.diff(np.r_[starts, len(volume)])
    of_row = np.repeat(means, np.diff(np.r_[starts, len(volume)]))
    candidates = volume > 2 * of_row
    rows = np.flatnonzero(candidates)
    candidates[rows] = volume[rows] > VOLUME_FACTOR * _least_median(volume, codes, rows)
    return _stands_out(volume, candidates, volume, codes, VOLUME_FACTOR, needs_neighbours=True)


def _volume_levels(volume: Floats, codes: Integers) -> Flags:
    """Return about where the volume goes to another level and stays: another unit, other decimals.

    Medians of blocks of `REACH` rows are compared across the block between them, in which the change may lie.
    """
    changes: Flags = np.zeros(len(volume), dtype=np.bool_)
    whole = len(volume) // REACH
    if whole < 3:
        return changes
    medians = np.median(np.nan_to_num(volume[: whole * REACH]).reshape(whole, REACH), axis=1)
    low, high = np.minimum(medians[:-2], medians[2:]), np.maximum(medians[:-2], medians[2:])
    starts = np.arange(whole) * REACH
    is_one_pair = codes[starts[:-2]] == codes[starts[2:] + REACH - 1]
    is_level = is_one_pair & (low > 0) & (high > VOLUME_FACTOR * low)
    is_first = is_level & ~np.r_[False, is_level[:-1]]
    changes[starts[1:-1][is_first]] = True
    return changes


def _least_median(values: Floats, codes: Integers, rows: Integers) -> Floats:
    """Return what the median of the `REACH` rows on either side of rows cannot be below; 0 where nothing is known.

    A window has at least three whole blocks of `BLOCK` rows in it. Of each at least 21 rows are at or above its fifth
    smallest, without the row itself that makes 62 of 100: so the median is at or above the smallest of the three.
    """
    count = len(values)
    least: Floats = np.zeros(len(rows))
    whole = count // BLOCK
    if count <= 2 * REACH or whole < 3:
        return least
    blocks = np.partition(np.nan_to_num(values[: whole * BLOCK]).reshape(whole, BLOCK), 4, axis=1)[:, 4]
    known = np.flatnonzero((rows >= REACH) & (rows < count - REACH))
    known = known[codes[rows[known] - REACH] == codes[rows[known] + REACH]]
    middle = rows[known]
    first = -((REACH - middle) // BLOCK)
    last = (middle + REACH + 1) // BLOCK
    inside = np.minimum.reduce([blocks[np.minimum(first + place, whole - 1)] for place in range(3)])
    least[known] = np.where(last - first >= 3, inside, 0.0)
    return least


def _stands_out(
    values: Floats, candidates: Flags, usual: Floats, codes: Integers, factor: float, *, needs_neighbours: bool = False
) -> Flags:
    """Return the candidates above a multiple of the median of ``usual`` in the candles of the pair around them."""
    standing: Flags = np.zeros(len(values), dtype=np.bool_)
    rows = np.flatnonzero(candidates)
    offsets = np.r_[-REACH:0, 1 : REACH + 1]
    for first in range(0, len(rows), CHUNK):
        part = rows[first : first + CHUNK]
        places = np.clip(part[:, None] + offsets, 0, len(values) - 1)
        inside = (part[:, None] + offsets == places) & (codes[places] == codes[part][:, None])
        around = np.where(inside, usual[places], np.nan)
        known = np.isfinite(around).sum(axis=1)
        around[known == 0] = 0.0
        enough = known >= LEAST_NEIGHBOURS
        standing[part] = np.where(enough, values[part] > factor * np.nanmedian(around, axis=1), not needs_neighbours)
    return standing
