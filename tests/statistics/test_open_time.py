"""The time in market against hours counted one by one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger import DAY_0, Ledger, day
from trading_dagster.statistics.open_time import measure_time_in_market, measure_union
from trading_dagster.statistics.trade_analysis import build_trade_analysis

HOURS = st.integers(0, 60)


@given(st.lists(st.tuples(HOURS, HOURS), max_size=12))
def test_union_counts_each_hour_once(pairs: list[tuple[int, int]]) -> None:
    intervals = [(DAY_0 + timedelta(hours=a), DAY_0 + timedelta(hours=b)) for a, b in pairs]
    covered = {hour for a, b in pairs for hour in range(a, b)}
    assert measure_union(intervals) == timedelta(hours=len(covered))


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 200), st.booleans()), max_size=8))
def test_time_in_market_is_the_share_of_covered_hours_in_range(spans: list[tuple[int, int, bool]]) -> None:
    ledger = Ledger()
    covered: set[int] = set()
    for opened, length, is_closed in sorted(spans):
        position = ledger.buy(opened / 24, 100, 100)
        if is_closed:
            ledger.sell((opened + length) / 24, position, 100)
        covered |= set(range(opened, opened + length if is_closed else 10_000))
    positions = build_trade_analysis(ledger.state.portfolio).positions
    share = measure_time_in_market(positions, day(5), day(15))
    assert share == pytest.approx(len(covered & set(range(120, 360))) / 240)
    assert measure_time_in_market(positions, day(5), day(5)) is None
