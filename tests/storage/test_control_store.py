"""What operators say is kept by every kind of database, counts at once, and stops everything when it cannot be read."""

from __future__ import annotations

import multiprocessing
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from tape import START

from trading_dagster.domain.error import ApprovalMissing, BadInput, LedgerConflict, StorageFailed, TradingDagsterError
from trading_dagster.domain.time import to_aware
from trading_dagster.execution.approval import Answer, Approval, ApprovalRequest, ApprovalStore, TradeOffer, Verdict
from trading_dagster.execution.memory_approval import MemoryApprovalStore
from trading_dagster.storage.control_store import ALL_STRATEGIES, SqlApprovalStore, SqlKillSwitch, SwitchPosition
from trading_dagster.storage.database import Database
from trading_dagster.storage.ledger_store import EventRow, LedgerBatch
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore

NOW = to_aware(START)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def database(ledger_url: str) -> Iterator[Database]:
    with SqlLedgerStore(ledger_url) as store:
        for name in ("a", "b"):
            lease = store.acquire("test", [f"strategy:{name}"])
            store.append(LedgerBatch(name, 0, (EventRow(1, 0, "StateCreated", None, None, "{}"),)), lease)
        yield store.database


@pytest.fixture
def switch(database: Database) -> SqlKillSwitch:
    return SqlKillSwitch(database)


def turn(switch: SqlKillSwitch, scope: str, is_on: bool, reason: str = "test") -> SwitchPosition:
    return switch.turn(scope, is_on=is_on, by="ann", reason=reason, at=NOW)


# -- kill switch ------------------------------------------------------------------------------------------------------


def test_untouched_switch_is_off(switch):
    assert switch.is_on("a") == ""
    assert switch.read("a") == []


def test_switch_of_a_strategy_stops_only_that_one_until_it_is_turned_off(switch):
    turn(switch, "a", True, "price feed looks wrong")
    assert switch.is_on("a") == (
        "the kill switch of a is on since 2022-01-03 00:00:00 UTC, by ann: price feed looks wrong"
    )
    assert switch.is_on("b") == ""
    turn(switch, "a", False)
    assert switch.is_on("a") == ""


def test_switch_of_all_stops_every_strategy_whatever_its_own_says(switch):
    turn(switch, "a", False)
    turn(switch, ALL_STRATEGIES, True, "exploit")
    for name in ("a", "b", "of another database"):
        assert "the kill switch of all strategies is on" in switch.is_on(name)
    turn(switch, "b", True)
    assert switch.is_on("b").count("is on") == 2
    turn(switch, ALL_STRATEGIES, False)
    assert (switch.is_on("a"), switch.is_on("b").count("is on")) == ("", 1)


def test_every_turn_is_remembered(switch):
    for is_on, reason in ((True, "one"), (False, "two"), (True, "three")):
        turn(switch, "a", is_on, reason)
    assert [(p.is_on, p.reason, p.by, p.at) for p in switch.list_turns("a")] == [
        (True, "three", "ann", NOW),
        (False, "two", "ann", NOW),
        (True, "one", "ann", NOW),
    ]


def test_switch_of_an_unknown_strategy_is_refused_because_it_would_stop_nothing(switch):
    with pytest.raises(
        BadInput, match=r"has no strategy 'A', so that its kill switch would stop nothing; it has: a, b"
    ):
        turn(switch, "A", True)
    with pytest.raises(BadInput, match="by somebody for a reason"):
        switch.turn("a", is_on=True, by="", reason="x", at=NOW)
    assert switch.list_turns("A") == switch.list_turns("a") == []


def test_switch_is_seen_by_another_process_at_once(ledger_url, switch):
    other = Database(ledger_url)
    assert SqlKillSwitch(other).is_on("a") == ""
    turn(switch, "a", True)
    assert SqlKillSwitch(other).is_on("a") != ""
    other.close()


def test_switch_can_be_read_while_somebody_writes(database, switch):
    with database.write():
        assert switch.is_on("a") == ""


def test_unreadable_switch_is_on(tmp_path):
    path = tmp_path / "ledger.db"
    database = Database(path)
    switch = SqlKillSwitch(database)
    assert switch.is_on("a") == ""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE kill_switches")
    connection.close()
    assert "cannot be read, so nothing is signed (StorageFailed" in switch.is_on("a")
    database.close()
    for file in tmp_path.iterdir():
        file.unlink()
    path.write_text("this is no database\n" * 100)
    assert "cannot be read, so nothing is signed (LedgerError" in switch.is_on("a")
    database.close()


def test_switch_on_a_server_that_is_gone_is_on(postgresql_url):
    database = Database(postgresql_url, busy_timeout_s=1)
    switch = SqlKillSwitch(database)
    assert switch.is_on("a") == ""
    import psycopg

    server, name = postgresql_url.rsplit("/", 1)
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert "cannot be read, so nothing is signed (StorageFailed" in switch.is_on("a")
    database.close()


# -- approvals --------------------------------------------------------------------------------------------------------


def request_of(*trade_ids: int, strategy_id: str = "a", patience=30 * MINUTE, mark: str = "") -> ApprovalRequest:
    offers = tuple(TradeOffer(n, "buy", "WETH-USDC", "0.1", 0.1 + n, 1 / 3, f"{mark}{n}") for n in trade_ids)
    return ApprovalRequest(strategy_id, 2**40, NOW, offers, NOW, NOW + patience)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def approvals(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ApprovalStore]:
    if request.param == "memory":
        yield MemoryApprovalStore()
        return
    is_file = request.param == "sqlite"
    database = Database(tmp_path / "a.db" if is_file else request.getfixturevalue("postgresql_url"))
    yield SqlApprovalStore(database)
    database.close()


def test_request_comes_back_as_it_was_and_is_kept_once(approvals):
    request = request_of(3, 5)
    later = ApprovalRequest("a", 2**40, NOW, request.trades, NOW + MINUTE, NOW + 90 * MINUTE)
    assert approvals.request(request) == approvals.request(later) == Approval(request)
    assert approvals.list_waiting("a") == [Approval(request)]
    assert approvals.list_waiting("b") == []


def test_request_is_found_by_any_of_its_trades(approvals):
    first, second = approvals.request(request_of(3, 5)), approvals.request(request_of(6))
    approvals.request(request_of(3, 5, 6, strategy_id="b"))
    assert approvals.find_covering("a", [3, 5]) == approvals.find_covering("a", [5]) == [first]
    assert approvals.find_covering("a", [6]) == [second]
    assert approvals.find_covering("a", [4]) == approvals.find_covering("a", [5, 6]) == []
    changed = approvals.request(request_of(3, 5, mark="other"))
    assert approvals.find_covering("a", [3]) == [changed, first]
    assert approvals.list_waiting("a") == [changed, second, first]


def test_answer_is_kept(approvals):
    request = request_of(3, 5)
    approvals.request(request)
    answer = Answer(request.digest[:8], "ann", NOW + MINUTE, (5,), "only this")
    given = approvals.answer("a", answer)
    assert given == Approval(request, Verdict.approved, (5,), "ann", NOW + MINUTE, "only this")
    assert approvals.find_covering("a", [3, 5]) == [given]
    assert approvals.request(request) == given
    assert approvals.expire("a", request.digest, NOW + 99 * MINUTE) == given
    assert approvals.list_waiting("a") == []
    with pytest.raises(LedgerConflict, match="was approved by ann"):
        approvals.answer("a", answer)


def test_expired_request_hears_nobody(approvals):
    request = request_of(3)
    approvals.request(request)
    ended = approvals.expire("a", request.digest, NOW + 30 * MINUTE)
    assert (ended.verdict, ended.approved_ids) == (Verdict.expired, ())
    with pytest.raises(ApprovalMissing):
        approvals.answer("a", Answer(request.digest, "ann", NOW))
    assert approvals.find_covering("a", [3]) == [ended]


@pytest.mark.parametrize("digest", ["%%%%%%%%%%", "________", "0" * 64])
def test_digest_of_nothing_answers_nothing(approvals, digest):
    approvals.request(request_of(3))
    with pytest.raises(BadInput, match="has 0 requests that begin with"):
        approvals.answer("a", Answer(digest, "ann", NOW))
    with pytest.raises(BadInput, match="has 0 requests"):
        approvals.answer("b", Answer(request_of(3).digest, "ann", NOW))


def test_of_many_operators_at_once_one_is_heard(ledger_url):
    request = request_of(3, 5)
    databases = [Database(ledger_url) for _ in range(6)]
    SqlApprovalStore(databases[0]).request(request)

    def answer(number: int) -> str:
        store = SqlApprovalStore(databases[number])
        try:
            if number == 5:
                return store.expire("a", request.digest, NOW).answered_by
            return store.answer("a", Answer(request.digest, f"op{number}", NOW, (3,) if number % 2 else ())).answered_by
        except TradingDagsterError as error:
            return type(error).__name__

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(answer, range(6)))
    (stored,) = SqlApprovalStore(databases[0]).find_covering("a", [3, 5])
    if stored.verdict is Verdict.expired:
        assert said == ["ApprovalMissing"] * 5 + [""]
    else:
        assert said.count(stored.answered_by) == 1 + (said[5] == stored.answered_by)
        assert said.count("LedgerConflict") == 4
    for database in databases:
        database.close()


def request_and_die(url: str) -> None:
    store = SqlApprovalStore(Database(url))
    store.request(request_of(3))
    sys.stdout.flush()
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def test_request_survives_the_process_that_made_it(ledger_url):
    child = multiprocessing.get_context("fork").Process(target=request_and_die, args=(ledger_url,))
    child.start()
    child.join()
    assert child.exitcode == -9
    database = Database(ledger_url)
    store = SqlApprovalStore(database)
    assert store.list_waiting("a") == [Approval(request_of(3))]
    assert store.answer("a", Answer(request_of(3).digest, "ann", NOW)).approved_ids == (3,)
    database.close()


def test_requests_that_cannot_be_kept_are_an_error(tmp_path):
    database = Database(tmp_path / "a.db")
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("DROP TABLE approvals")
    connection.close()
    with pytest.raises(StorageFailed):
        SqlApprovalStore(database).request(request_of(3))
    database.close()


def test_finding_a_request_does_not_read_all_of_them(tmp_path):
    """The newest request is found through an index, not by walking the history."""
    database = Database(tmp_path / "a.db")
    with database.read() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM approvals WHERE strategy_id='a' AND first_trade_id<=9 "
            "AND last_trade_id>=9 ORDER BY approval_key DESC"
        ).all()
    database.close()
    assert "ix_approvals_trades (strategy_id=? AND last_trade_id>?)" in str(plan)
