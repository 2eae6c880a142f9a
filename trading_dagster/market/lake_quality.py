"""The quality of all candles of a source, some pairs at a time, so that it takes any number of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import pandas as pd

from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.quality import quality_report
from trading_dagster.market.side_by_side import choose_workers, map_in_order
from trading_dagster.market.source import CandleSource, Market, group_markets

ROWS_AT_ONCE = 1_000_000
MOST_WORKERS = 4


def report_quality(source: CandleSource, bucket: TimeBucket, *, rows_at_once: int = ROWS_AT_ONCE) -> pd.DataFrame:
    """Return the quality report of all pairs of a source in one bucket; see `quality_report`.

    Args:
        source: The candles; it is asked by several threads at once.
        bucket: Their width.
        rows_at_once: About how many candles each of up to four threads holds at a time; a pair is never cut.
    """

    def report(part: Sequence[Market]) -> pd.DataFrame | None:
        frames = [frame for frame in source.load_candles(part, start, end) if len(frame)]
        if not frames:
            return None
        return quality_report(pd.concat(frames, ignore_index=True), bucket, source.name, expected_end=end)

    markets = [market for market in source.list_markets() if market.bucket is bucket]
    if not markets:
        return pd.DataFrame()
    start, end = min(market.first_at for market in markets), max(market.end_at for market in markets)
    done = map_in_order(report, _parts(markets, start, end, rows_at_once), choose_workers(None, MOST_WORKERS))
    reports = [found for found in done if found is not None]
    return pd.concat(reports, ignore_index=True) if reports else pd.DataFrame()


def _parts(markets: Sequence[Market], start: datetime, end: datetime, rows_at_once: int) -> Iterator[list[Market]]:
    for group in group_markets(markets):
        count = max(1, rows_at_once // max(1, (end - start) // group[0].bucket.to_timedelta()))
        for first in range(0, len(group), count):
            yield group[first : first + count]
