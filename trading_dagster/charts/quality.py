"""A picture of how good candles are: by pair and time what exists, what is missing, what is broken or suspicious."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trading_dagster.charts.picture import EXISTING, FILLED, MISSING, paint_coverage
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
from trading_dagster.market.panel import OHLCV, Flags
from trading_dagster.market.row_check import broken_rows, outlying_rows

MOST_PAIRS = 60


def paint_quality(frame: Candles, bucket: TimeBucket, *, title: str = "Candles") -> bytes:
    """Paint a row a pair over time: green exists, orange is broken or suspicious, grey is missing.

    Args:
        frame: Candles in any order; of more than `MOST_PAIRS` pairs the worst are shown.
        bucket: Their width.
        title: Heading.

    Returns:
        A PNG file.
    """
    times = floor_to_bucket(timestamps_us(frame, title), bucket)
    columns = numeric_columns(frame, OHLCV, title)
    codes, names = pair_codes(frame)
    if not len(times):
        return paint_coverage(pd.DataFrame(), title=title)
    bad: Flags = np.logical_or.reduce(list(broken_rows(columns, times, codes, bucket).values()))
    order = np.lexsort((times, codes))
    order = order[~duplicated_rows(codes, times)[order]]
    ordered = {name: values[order] for name, values in columns.items()}
    bad[order] |= np.logical_or.reduce(list(outlying_rows(ordered, codes[order]).values()))
    first, width = int(times.min()), bucket_width_us(bucket)
    bars = (times - first) // width
    states = np.full((int(bars.max()) + 1, len(names)), MISSING, dtype=np.int8)
    states[bars, codes] = EXISTING
    states[bars[bad], codes[bad]] = FILLED
    index = pd.DatetimeIndex((first + np.arange(len(states)) * width).view("datetime64[us]"))
    table = pd.DataFrame(states, index=index, columns=names)
    worst = (table != EXISTING).sum().sort_values(ascending=False, kind="stable").index[:MOST_PAIRS]
    return paint_coverage(table[[name for name in names if name in set(worst)]], title=title, filled="suspicious")
