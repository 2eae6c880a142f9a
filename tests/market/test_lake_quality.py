"""The quality of a whole lake, in parts, is that of all its candles at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.lake_quality import report_quality
from trading_dagster.market.memory_source import MemorySource
from trading_dagster.market.quality import quality_report
from trading_dagster.market.row_check import _least_median


def test_parts_add_up_to_the_whole(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    times = pd.date_range("2024-01-01", periods=1_500, freq="h").as_unit("us")
    frames = []
    for place in range(7):
        close = 100 * np.exp(np.cumsum(draw.normal(0, 0.01, len(times))))
        volume = draw.exponential(5, len(times))
        volume[700] *= 10_000
        prices = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": volume}
        keep = draw.random(len(times)) > 0.02 * place
        frames.append(pd.DataFrame({"timestamp": times, "pair": f"C{place}/USD", **prices})[keep])
    frame = pd.concat(frames, ignore_index=True)
    lake = Lake(tmp_path)
    import_candles(lake, MemorySource({TimeBucket.h1: frame}, exchange="kraken"), name="all")
    found = report_quality(lake.source("all"), TimeBucket.h1, rows_at_once=3_000)
    whole = quality_report(frame, TimeBucket.h1)
    assert whole["volume_spikes"].sum() >= 5
    pd.testing.assert_frame_equal(
        found.drop(columns=["pair", "stale", "ending"]), whole.drop(columns=["pair", "stale", "ending"])
    )
    assert report_quality(lake.source("all"), TimeBucket.d1).empty


@given(st.integers(0, 260), st.integers(1, 3), st.integers(0, 10**6), st.booleans())
def test_no_median_is_below_what_it_is_said_not_to_be_below(rows: int, pairs: int, seed: int, has_holes: bool) -> None:
    draw = np.random.default_rng(seed)
    values = draw.exponential(1, rows) ** 3
    if has_holes:
        values[draw.random(rows) < 0.1] = np.nan
    codes = np.sort(draw.integers(0, pairs, rows))
    least = _least_median(values, codes, np.arange(len(values)))
    for row in np.flatnonzero(least > 0):
        places = [place for place in range(row - 50, row + 51) if place != row and 0 <= place < rows]
        around = [values[place] for place in places if codes[place] == codes[row] and np.isfinite(values[place])]
        assert np.median(around) >= least[row]
