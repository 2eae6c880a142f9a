"""The quality of all candles of a source, some pairs at a time, so that it takes any number of them."""

from __future__ import annotations

import pandas as pd

from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.quality import quality_report
from trading_dagster.market.source import CandleSource, group_markets

ROWS_AT_ONCE = 1_000_000


def report_quality(source: CandleSource, bucket: TimeBucket, *, rows_at_once: int = ROWS_AT_ONCE) -> pd.DataFrame:
    """Return the quality report of all pairs of a source in one bucket; see `quality_report`.

    Args:
        source: The candles.
        bucket: Their width.
        rows_at_once: About how many candles are held at a time; a pair is never cut.
    """
    reports = []
    for group in group_markets(market for market in source.list_markets() if market.bucket is bucket):
        end = max(market.end_at for market in group)
        start = min(market.first_at for market in group)
        count = max(1, rows_at_once // max(1, (end - start) // bucket.to_timedelta()))
        for first in range(0, len(group), count):
            part = group[first : first + count]
            frames = [frame for frame in source.load_candles(part, start, end) if len(frame)]
            if frames:
                joined = pd.concat(frames, ignore_index=True)
                reports.append(quality_report(joined, bucket, source.name, expected_end=end))
    return pd.concat(reports, ignore_index=True) if reports else pd.DataFrame()
