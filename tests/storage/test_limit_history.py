"""What limits compare with is found in the ledger's newest part, by every kind of store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tape import AAVE_USDC, START, WETH_USDC, Desk

from trading_dagster.domain.event import TradeExecuted
from trading_dagster.domain.time import to_aware, to_unix_us
from trading_dagster.storage import limit_history
from trading_dagster.storage.event_codec import encode_event
from trading_dagster.storage.ledger_store import EventRow, LedgerBatch, LedgerStore, MemoryLedgerStore, Sample
from trading_dagster.storage.limit_history import LedgerLimitHistory
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore

NOW = to_aware(START) + timedelta(days=400)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LedgerStore]:
    if request.param == "memory":
        yield MemoryLedgerStore()
        return
    is_file = request.param == "sqlite"
    with SqlLedgerStore(tmp_path / "ledger.db" if is_file else request.getfixturevalue("postgresql_url")) as stored:
        yield stored


def us(at) -> int:
    return to_unix_us(at.replace(tzinfo=None))


def add(store: LedgerStore, rows: list[EventRow] = (), samples: list[Sample] = ()) -> None:
    lease = store.acquire("test", ["strategy:s"])
    store.append(LedgerBatch("s", store.head("s"), tuple(rows), samples=tuple(samples)), lease)
    store.release(lease)


def sample(at, equity: float) -> Sample:
    return Sample(us(at), equity, 1.0, equity - 1, 1, 10.0, equity / 10)


def executed(seq: int, at, reserve: float) -> EventRow:
    event = TradeExecuted(at, seq, 1, Decimal(1), Decimal(reserve), 1.0, 0.0)
    return EventRow(seq, us(at), "TradeExecuted", 1, None, encode_event(event))


@pytest.mark.parametrize("age_h", [24, 25, 24 * 7, 24 * 399])
def test_day_start_is_the_newest_sample_of_a_day_ago_however_old(store, age_h):
    add(store, samples=[sample(NOW - age_h * HOUR, 100.0), sample(NOW - 23 * HOUR, 90.0), sample(NOW, 80.0)])
    found = LedgerLimitHistory(store, "s").find_day_start(NOW)
    assert (found.equity, found.at, found.share_count, found.share_price) == (100.0, NOW - age_h * HOUR, 10.0, 10.0)


def test_first_sample_stands_for_a_day_ago_when_there_is_no_older_one(store):
    history = LedgerLimitHistory(store, "s")
    assert history.find_day_start(NOW) is None
    add(store, samples=[sample(NOW - 3 * HOUR, 100.0), sample(NOW - HOUR, 90.0)])
    assert history.find_day_start(NOW).equity == 100.0


def test_cycle_end_is_the_first_sample_from_the_decision_time_on(store):
    history = LedgerLimitHistory(store, "s")
    last = (NOW - 2 * HOUR).replace(tzinfo=None)
    assert history.find_cycle_end(last) is None
    add(store, samples=[sample(NOW - 3 * HOUR, 100.0), sample(NOW - 2 * HOUR + HOUR / 60, 90.0), sample(NOW, 80.0)])
    assert history.find_cycle_end(last).equity == 90.0


def test_turnover_is_of_the_last_day_and_counts_what_is_not_stored_yet(store, monkeypatch):
    monkeypatch.setattr(limit_history, "CHUNK", 3)
    ages = [100, 50, 25, 24, 23.9, 20, 10, 9, 8, 1]
    add(store, [executed(n + 1, NOW - age * HOUR, 2**n) for n, age in enumerate(ages)])
    desk = Desk({WETH_USDC: [100.0], AAVE_USDC: [50.0]})
    stored = sum(2**n for n, age in enumerate(ages) if age < 24)
    desk.state.take_events()
    history = LedgerLimitHistory(store, "s")
    assert history.sum_turnover(desk.state, NOW) == stored
    desk.execute(desk.manager.open_spot(WETH_USDC, 700))
    assert history.sum_turnover(desk.state, NOW) == stored  # at the tape's start, 400 days ago
    assert history.sum_turnover(desk.state, to_aware(START) + HOUR) == stored + 1 + 2 + 4 + 8 + 700
    assert LedgerLimitHistory(store, "other").sum_turnover(desk.state, NOW) == 0


class CountingStore(MemoryLedgerStore):
    rows_read = 0

    def read_some(self, *arguments, **named):
        found = super().read_some(*arguments, **named)
        self.rows_read += len(found)
        return found

    def read_samples(self, *arguments, **named):
        found = super().read_samples(*arguments, **named)
        self.rows_read += len(found)
        return found


def test_cost_does_not_grow_with_the_ledger():
    desk, read = Desk({WETH_USDC: [100.0]}), []
    for days in (10, 300):
        store = CountingStore()
        hours = range(days * 24, -1, -1)
        add(
            store,
            [executed(n + 1, NOW - age * HOUR, 1) for n, age in enumerate(hours)],
            [sample(NOW - age * HOUR, 100.0) for age in hours],
        )
        history = LedgerLimitHistory(store, "s")
        assert history.sum_turnover(desk.state, NOW) == 24
        assert history.find_day_start(NOW).at == NOW - 24 * HOUR
        assert history.find_cycle_end((NOW - HOUR).replace(tzinfo=None)).at == NOW - HOUR
        read.append(store.rows_read)
    assert read[1] <= read[0] * 5
    assert read[1] < 24 * 300 / 5
