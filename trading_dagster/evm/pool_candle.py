"""Candles and TVL of a pool from its samples.

A candle's prices are the pool's own (its mid price) after each swap in the bar: open after the first, close after the
last. A bar without swaps has no candle. TVL opens at what the pool held before the bar.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from trading_dagster.evm.pool_event import PoolSamples
from trading_dagster.evm.word import Floats, Integers
from trading_dagster.market.contract import Candles
from trading_dagster.market.month_file import TVL_COLUMNS


def make_candles(pair: str, samples: PoolSamples, bars: Integers, *, with_tvl: bool) -> Candles:
    """Return timestamp (naive UTC), pair, open, high, low, close, volume, buys, sells, and TVL where it is known.

    Args:
        pair: "BASE/QUOTE".
        samples: Of the pool, in order.
        bars: Open of the bar of each sample, microseconds since 1970.
        with_tvl: Add TVL, in quote tokens.
    """
    is_traded = samples.is_swap & np.isfinite(samples.price) & (samples.price > 0)
    rows = np.flatnonzero(is_traded)
    opens, starts = np.unique(bars[rows], return_index=True)
    price, volume = samples.price[rows], samples.volume[rows]
    ends = np.append(starts[1:], len(rows))[: len(starts)] - 1
    buys = samples.is_buy[rows].astype(np.float64)
    columns = {
        "open": price[starts],
        "high": _reduce(np.maximum, price, starts),
        "low": _reduce(np.minimum, price, starts),
        "close": price[ends] if len(ends) else price,
        "volume": _reduce(np.add, volume, starts),
        "buys": _reduce(np.add, buys, starts),
        "sells": _reduce(np.add, 1.0 - buys, starts),
    }
    frame = pd.DataFrame({"timestamp": pd.DatetimeIndex(opens.view("datetime64[us]")), "pair": pair, **columns})
    if with_tvl:
        for name, values in zip(TVL_COLUMNS, _tvl(samples, bars, opens), strict=True):
            frame[name] = values
    return frame


def _tvl(samples: PoolSamples, bars: Integers, opens: Integers) -> list[Floats]:
    """Return open, high, low and close of TVL in the bars that have candles; NaN where it is not known."""
    known = np.isfinite(samples.tvl)
    tvl, bars = samples.tvl[known], bars[known]
    if not len(tvl):
        return [np.full(len(opens), np.nan)] * len(TVL_COLUMNS)
    known_opens, starts = np.unique(bars, return_index=True)
    ends = np.append(starts[1:], len(bars)) - 1
    opening = np.where(starts > 0, tvl[np.maximum(starts - 1, 0)], tvl[starts])
    high = np.maximum(_reduce(np.maximum, tvl, starts), opening)
    low = np.minimum(_reduce(np.minimum, tvl, starts), opening)
    places = np.minimum(np.searchsorted(known_opens, opens), len(known_opens) - 1)
    is_there = known_opens[places] == opens
    return [np.where(is_there, values[places], np.nan) for values in (opening, high, low, tvl[ends])]


def _reduce(how: np.ufunc, values: Floats, starts: Integers) -> Floats:
    return np.asarray(how.reduceat(values, starts)) if len(starts) else values[:0]
