"""Messages are kept and claimed by one process at a time, in every kind of store."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trading_dagster.domain.message import Message, MessageKind, MessageLevel
from trading_dagster.storage.database import Database
from trading_dagster.storage.message_store import MemoryMessageStore, SqlMessageStore

NOW = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALARM = Message("s", MessageLevel.alarm, MessageKind.low_gas, "s: low gas", "0.001 ETH are left", NOW)
TRADE = replace(ALARM, level=MessageLevel.trade, kind="cycle", subject="cycle 1")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryMessageStore | SqlMessageStore]:
    if request.param == "memory":
        yield MemoryMessageStore()
        return
    is_file = request.param == "sqlite"
    database = Database(tmp_path / "m.db" if is_file else request.getfixturevalue("postgresql_url"))
    yield SqlMessageStore(database)
    database.close()


def test_messages_are_listed_newest_first_by_strategy_and_level(any_store):
    for n, (owner, level) in enumerate((("s", "alarm"), ("t", "info"), ("s", "trade"), ("s", "alarm"))):
        message = replace(ALARM, strategy_id=owner, level=MessageLevel[level], subject=f"m{n}", at=NOW + n * HOUR)
        claim = any_store.claim(message, HOUR)
        assert (claim.message, claim.suppressed) == (message, 0)
    assert [m.message.subject for m in any_store.list_newest()] == ["m3", "m2", "m1", "m0"]
    assert [m.message.subject for m in any_store.list_newest("s", limit=2)] == ["m3", "m2"]
    alarms = any_store.list_newest(levels=[MessageLevel.alarm])
    assert [m.message.subject for m in alarms] == ["m3", "m0"]
    assert any_store.list_newest(after_key=alarms[-1].key, levels=[MessageLevel.alarm]) == alarms[:1]
    assert alarms[0].message == replace(ALARM, subject="m3", at=NOW + 3 * HOUR)


def test_claimed_message_is_not_sent_by_another_until_it_was_sent_and_counts_after(any_store):
    claim = any_store.claim(ALARM, HOUR)
    assert any_store.claim(ALARM, HOUR) is None
    assert any_store.claim(ALARM, timedelta(0)) is None
    assert any_store.claim_undelivered() is None
    any_store.mark_delivered(claim.key)
    assert any_store.claim(ALARM, HOUR) is None
    again = any_store.claim(ALARM, timedelta(0))
    assert again.key > claim.key
    assert again.suppressed == 3
    (newest, first) = any_store.list_newest()
    assert (newest.is_delivered, first.is_delivered, first.repeats) == (False, True, 3)


def test_message_of_a_process_that_died_is_sent_by_the_next(any_store, monkeypatch):
    first = any_store.claim(ALARM, HOUR)
    quiet = any_store.claim(replace(TRADE, level=MessageLevel.trade), HOUR)
    monkeypatch.setattr("trading_dagster.storage.message_store.CLAIM_MS", -1000)
    late = any_store.claim_undelivered()
    assert (late.key, late.message) == (first.key, ALARM)
    again = any_store.claim(replace(ALARM, text="again"), HOUR)
    assert (again.key, again.suppressed, again.message.text) == (first.key, 1, "again")
    any_store.mark_delivered(first.key)
    assert any_store.claim_undelivered() is None
    assert quiet.key in [m.key for m in any_store.list_newest() if not m.is_delivered]


def test_of_many_processes_at_once_one_claims(ledger_url):
    databases = [Database(ledger_url) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        claims = list(pool.map(lambda database: SqlMessageStore(database).claim(ALARM, HOUR), databases))
    assert sum(claim is not None for claim in claims) == 1
    (stored,) = SqlMessageStore(databases[0]).list_newest()
    assert stored.repeats == 5
    for database in databases:
        database.close()


def report_and_die(url: str, ready) -> None:
    database = Database(url)
    SqlMessageStore(database).claim(ALARM, HOUR)
    ready.set()
    time.sleep(60)


def test_message_is_in_the_database_when_its_process_is_killed_before_sending(ledger_url):
    context = multiprocessing.get_context("spawn")
    Database(ledger_url).close()
    ready = context.Event()
    child = context.Process(target=report_and_die, args=(ledger_url, ready))
    child.start()
    ready.wait(60)
    child.kill()
    child.join()
    database = Database(ledger_url)
    (stored,) = SqlMessageStore(database).list_newest("s")
    assert (stored.message, stored.is_delivered) == (ALARM, False)
    database.close()
