"""How long positions were open, overlapping ones counted once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TypeAlias

from trading_dagster.domain.position import TradingPosition

Interval: TypeAlias = tuple[datetime, datetime]
"""From and to, to exclusive."""


def measure_union(intervals: Iterable[Interval]) -> timedelta:
    """Return the length of the union of intervals; those that end before they begin count as empty.

    Example:
        Monday to Wednesday and Tuesday to Thursday are three days.
    """
    total = timedelta(0)
    covered_until: datetime | None = None
    for start, end in sorted(intervals):
        begin = start if covered_until is None else max(start, covered_until)
        if end > begin:
            total += end - begin
            covered_until = end
    return total


def measure_time_in_market(positions: Iterable[TradingPosition], start: datetime, end: datetime) -> float | None:
    """Return the share of [start, end) in which at least one of the positions was open.

    A position that is not closed counts until `end`; what lies outside the range does not count.

    Args:
        positions: open, frozen and closed ones
        start: naive UTC
        end: naive UTC, exclusive

    Returns:
        A fraction from 0 to 1, None for an empty range.
    """
    if end <= start:
        return None
    clipped = [(max(p.opened_at, start), min(p.closed_at or end, end)) for p in positions]
    return measure_union(clipped) / (end - start)
