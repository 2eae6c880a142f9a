"""What of freshly read candles a month of the lake has already, and what of the month they replace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trading_dagster.domain.time import from_unix_us
from trading_dagster.market.contract import Candles, bucket_width_us
from trading_dagster.market.market_key import market_key
from trading_dagster.market.month_file import Coverage, Interval
from trading_dagster.market.panel import OHLCV, Flags
from trading_dagster.market.source import Market

MARKS = ("market", "timestamp")


def has_holes(coverage: Coverage) -> bool:
    """Tell whether bars that were asked for have no candle."""
    width = bucket_width_us(coverage.market.bucket)
    return coverage.row_count < sum((end - start) // width for start, end in coverage.covered)


def leave_out(fresh: Candles, stored: Candles, repairs: Candles) -> Candles:
    """Return the rows that a month has not: neither a candle of that time, nor the same one among those dropped."""
    is_known = known_rows(fresh, stored, MARKS)
    if len(repairs):
        dropped = repairs[repairs["action"] == "dropped"]
        is_known |= known_rows(fresh, dropped, (*MARKS, *OHLCV))
    return fresh[~is_known].reset_index(drop=True)


def split_pieces(stored: Candles, pieces: Sequence[tuple[Interval, Sequence[Market]]]) -> tuple[Candles, Candles]:
    """Return the rows of a month that are in what was read anew, and the others."""
    inside: Flags = np.zeros(len(stored), dtype=np.bool_)
    for (start, end), members in pieces:
        during = (stored["timestamp"] >= from_unix_us(start)) & (stored["timestamp"] < from_unix_us(end))
        inside |= (during & stored["market"].isin([market_key(market) for market in members])).to_numpy()
    return stored[inside], stored[~inside]


def count_differing(old: Candles, new: Candles) -> int:
    """Return how many rows of a month are not among the new ones as they were."""
    columns = [name for name in old.columns if name in new.columns]
    return int((~known_rows(old, new, columns)).sum())


def known_rows(frame: Candles, others: Candles, columns: Sequence[str]) -> Flags:
    """Return True for each row that another frame has too, as far as some columns tell; NaN equals NaN."""
    if not len(frame) or not len(others):
        return np.zeros(len(frame), dtype=np.bool_)
    names = list(columns)
    both = [each[names].assign(market=each["market"].astype("str")) for each in (frame, others)]
    codes = pd.concat(both, ignore_index=True).groupby(names, dropna=False, sort=False).ngroup().to_numpy()
    known: Flags = np.isin(codes[: len(frame)], codes[len(frame) :])
    return known
