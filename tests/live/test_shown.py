"""What a strategy shows in live cycles is kept once, is that of the backtest, and is not read by later cycles."""

from dataclasses import replace

import pytest
from live.showing import THREE_PAIRS, decide, make_showing, rows_of, with_hooks
from live.world import (
    DAY,
    SAMPLE,
    START,
    Crash,
    CrashingStore,
    Steps,
    events,
    make_live,
    run_days,
    set_time,
)

import trading_dagster as td
from trading_dagster.domain.error import BadInput
from trading_dagster.live.cycle import CycleStatus
from trading_dagster.live.inspection import show_messages
from trading_dagster.storage.ledger_store import MemoryLedgerStore
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.storage.visualisation_codec import read_visualisation

DAYS = 30


def shown_by(live):
    pairs = Steps(live).universe.pairs
    return read_visualisation(live.store, live.id, pairs=pairs)


@pytest.fixture(scope="module")
def undisturbed():
    live = make_showing()
    run_days(live, 3)
    return rows_of(live.store)


@pytest.mark.parametrize("is_stored", [False, True])
def test_live_shows_what_the_backtest_shows(tmp_path, is_stored):
    store = SqlLedgerStore(tmp_path / "ledger.db") if is_stored else MemoryLedgerStore()
    live = make_showing(store=store)
    assert len(run_days(live, DAYS)) == DAYS
    shown = shown_by(live)
    store.close()

    result = td.run_backtest(with_hooks(THREE_PAIRS), client=SAMPLE, end=START + DAYS * DAY, progress=False)

    expected = result.state.visualisation
    assert len(expected.messages) == DAYS
    assert len(expected.plots["after day"].points) == DAYS
    assert shown.plots == expected.plots
    assert shown.messages == expected.messages
    assert shown.calculations == expected.calculations
    assert shown.visualised_pairs == expected.visualised_pairs


def test_step_that_is_run_again_shows_nothing_twice(undisturbed):
    live = make_showing()
    for number in range(3):
        set_time(live, START + number * DAY)
        steps = Steps(live)
        for step in (steps.decide, steps.execute, steps.complete):
            assert step().status is CycleStatus.done
            assert step().status in (CycleStatus.done, CycleStatus.already_done)
            assert steps.decide().status is CycleStatus.already_done
    assert rows_of(live.store) == undisturbed


def test_crash_before_or_after_any_save_loses_and_doubles_nothing(undisturbed):
    points, is_over = 0, False
    while not is_over:
        points += 1
        for after in (False, True):
            store = CrashingStore()
            store.crash_at, store.after = points, after
            live, crashes, number = make_showing(store=store), 0, 0
            while number < 3:
                set_time(live, START + number * DAY)
                try:
                    steps = Steps(live)
                    steps.decide()
                    steps.execute()
                    steps.complete()
                    number += 1
                except Crash:
                    crashes += 1
            is_over = crashes == 0
            said = [(row.at_us, row.kind, row.body) for row in rows_of(store)]
            assert said == [(row.at_us, row.kind, row.body) for row in undisturbed]
    assert points > 9


def test_decision_that_fails_shows_nothing_and_its_repetition_once(undisturbed):
    attempts = []

    def fail_once(input):
        trades = decide(input)
        attempts.append(input.timestamp)
        if len(attempts) == 1:
            raise RuntimeError("the first time")
        return trades

    live = make_showing()
    broken = replace(live, strategy=replace(live.strategy, decide_trades=fail_once))
    with pytest.raises(Exception, match="the first time"):
        Steps(broken).decide()
    assert rows_of(live.store) == []
    run_days(broken, 3)
    assert [row.body for row in rows_of(live.store)] == [row.body for row in undisturbed]


def test_cycles_read_nothing_of_what_was_shown_and_store_only_their_own(monkeypatch):
    held = []

    def look(input):
        held.append((dict(input.state.visualisation.messages), dict(input.state.visualisation.plots)))
        input.state.visualisation.add_message(input.timestamp, "one")
        input.state.visualisation.plot_indicator(
            input.timestamp, "one", td.PlotKind.technical_indicator_detached, len(held)
        )
        return []

    def refuse(*_, **__):
        raise AssertionError("a cycle read what was shown")

    batches = []
    live = make_live(look)
    append = live.store.append
    monkeypatch.setattr(live.store, "append", lambda batch, lease: batches.append(batch) or append(batch, lease))
    with monkeypatch.context() as patched:
        patched.setattr(live.store, "read_shown", refuse)
        run_days(live, 10)
    assert held == [({}, {})] * 10
    kept = [[(row.kind, row.body) for row in batch.shown] for batch in batches if batch.shown]
    assert len(kept) == 10
    assert {len(rows) for rows in kept} == {2}
    assert max(len(body) for rows in kept for _, body in rows) < 250
    assert len(rows_of(live.store)) == 20


def test_strategy_that_shows_nothing_stores_nothing():
    live = make_live()
    run_days(live, 2)
    assert rows_of(live.store) == []
    assert events(live, "CycleCompleted") == ["CycleCompleted"] * 2


def test_newest_messages_are_shown():
    live = make_showing()
    with pytest.raises(BadInput, match="no ledger yet"):
        show_messages(live)
    run_days(live, 2)
    rows = show_messages(live, 3)
    assert [(row.decision_at, row.at) for row in rows] == [(START + DAY, START + DAY)] * 3
    assert [row.text.split(",")[0] for row in rows] == ["before day 11", "day 11", "after day 11"]
    assert len(show_messages(live)) == 6
    with pytest.raises(BadInput, match="0 messages cannot be shown"):
        show_messages(live, 0)
