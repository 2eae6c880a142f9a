"""A live cycle's steps, run again, in the wrong order, interrupted anywhere: each decision and trade happens once."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from live.showing import rows_of
from live.world import (
    DAY,
    START,
    Crash,
    CrashingStore,
    Steps,
    WalletVenue,
    equities,
    events,
    fills,
    hold,
    load,
    make_live,
    never,
    run_days,
    set_time,
)

from trading_dagster.domain.error import (
    ExecutorBusy,
    LeaseLost,
    StrategyFailed,
    UncleanState,
    UnexpectedAccountingCorrectionIssue,
    UnknownPair,
)
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.live.cycle import CycleStatus, run_cycle, skip_cycle
from trading_dagster.live.session import open_session
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.live.universe import load_universe
from trading_dagster.storage.lease import strategy_resource
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore

DAYS = 4


@pytest.fixture(scope="module")
def expected():
    """What an undisturbed run does."""
    live = make_live()
    run_days(live, DAYS)
    return fills(live), equities(live), events(live)


def test_undisturbed_run_trades_every_day(expected):
    trades, samples, kinds = expected
    assert len(trades) == 12
    assert len(samples) == DAYS
    assert kinds.count("CycleDecided") == kinds.count("CycleCompleted") == DAYS
    assert kinds.count("BalanceUpdated") == 1


@pytest.mark.parametrize("times", [2, 3])
def test_each_step_run_again_does_nothing_more(times, expected):
    live = make_live()
    for number in range(DAYS):
        set_time(live, START + number * DAY)
        steps = Steps(live)
        for step in (steps.decide, steps.execute, steps.complete):
            first, *again = [step() for _ in range(times)]
            assert first.status is CycleStatus.done
            if step != steps.execute:
                assert {report.status for report in again} == {CycleStatus.already_done}
    assert (fills(live), equities(live), events(live)) == expected


def test_whole_cycles_run_again_do_nothing_more(expected):
    live = make_live()
    for number in range(DAYS):
        set_time(live, START + number * DAY)
        run_cycle(live)
        run_cycle(live)
        assert run_cycle(live, START).status is CycleStatus.already_done
    assert (fills(live), equities(live), events(live)) == expected


@pytest.mark.parametrize("step", ["execute", "complete"])
def test_step_before_the_decision_is_refused(step):
    steps = Steps(make_live())
    with pytest.raises(UncleanState, match="Nothing was decided for 2018-04-10"):
        getattr(steps, step)()
    assert events(steps.live) == []


def test_cycle_ended_before_it_was_executed_trades_nothing():
    live = make_live()
    steps = Steps(live)
    steps.decide()
    steps.complete()
    assert steps.execute().status is CycleStatus.already_done
    assert fills(live) == []
    assert not load(live).portfolio.open_positions
    assert events(live).count("TradeDiscarded") == 3


def test_older_decision_time_is_not_decided_after_a_newer_one():
    live = make_live()
    run_days(live, 2)
    before = events(live)
    assert run_cycle(live, START).status is CycleStatus.already_done
    assert run_cycle(live, START - DAY).status is CycleStatus.already_done
    assert events(live) == before


def test_other_executor_keeps_every_step_out():
    live = make_live()
    steps = Steps(live)
    steps.decide()
    lease = live.store.acquire("other", [strategy_resource(live.id)], 60)
    for step in (steps.decide, steps.execute, steps.complete, lambda: skip_cycle(live, steps.universe, START, "x")):
        with pytest.raises(ExecutorBusy, match="held by other"):
            step()
    assert fills(live) == []
    live.store.release(lease)
    steps.execute()
    steps.complete()
    assert len(fills(live)) == 3


def test_executor_that_lost_its_lease_in_a_step_stores_nothing():
    """The newer executor's view wins: the older one finds out before it writes."""
    live = make_live()

    def decide_and_lose(input):
        held = live.store._rows[strategy_resource(live.id)]
        held.token, held.holder = held.token + 1, "other"
        return hold()(input)

    steps = Steps(make_live(decide_and_lose, store=live.store))
    with pytest.raises(LeaseLost, match="no longer"):
        steps.decide()
    assert "TradePlanned" not in events(live)


def run_until_done(live, store, crash_at, after):
    """Run all days like somebody who starts the steps again after each crash; returns whether it crashed."""
    store.count, store.crash_at, store.after = 0, crash_at, after
    crashed = False
    for number in range(DAYS):
        set_time(live, START + number * DAY)
        while True:
            try:
                run_cycle(live)
                break
            except Crash:
                crashed = True
    return crashed


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_crash_at_every_save_changes_nothing(after, expected):
    crash_at, crashed = 0, True
    while crashed:
        crash_at += 1
        store = CrashingStore()
        live = make_live(store=store)
        crashed = run_until_done(live, store, crash_at, after)
        assert (fills(live), equities(live)) == expected[:2], crash_at
        assert events(live) == expected[2], crash_at
    assert crash_at > 3 * DAYS


@pytest.mark.parametrize("left_after", ["decide", "execute"])
def test_cycle_left_open_is_finished_by_the_next(left_after):
    live = make_live()
    steps = Steps(live)
    steps.decide()
    if left_after == "execute":
        steps.execute()
    seen = []

    def decide(input):
        seen.append((input.cycle, len(input.state.portfolio.open_positions), input.state.decision))
        return []

    later = make_live(decide, store=live.store, at=START + DAY)
    report = run_cycle(later)
    assert report.status is CycleStatus.done
    assert report.cycle == 2
    assert seen == [(2, 3 if left_after == "execute" else 0, None)]
    assert len(fills(live)) == (3 if left_after == "execute" else 0)
    assert events(live).count("CycleCompleted") == 2
    assert load(live).cycle == 3
    dropped = [t for p in load(live).portfolio.expired_positions.values() for t in p.trades.values()]
    assert len(dropped) == (0 if left_after == "execute" else 3)
    assert all("ended before it was executed" in trade.failure for trade in dropped)


def test_decision_executed_a_cycle_too_late_is_dropped():
    live = make_live()
    steps = Steps(live)
    steps.decide()
    set_time(live, START + DAY)
    report = steps.execute()
    assert "too late" in report.notes[0]
    assert steps.complete().status is CycleStatus.done
    assert fills(live) == []
    assert load(live).portfolio.get_cash() == 10_000


def test_decision_executed_just_in_time_trades():
    live = make_live()
    steps = Steps(live)
    steps.decide()
    set_time(live, START + DAY - timedelta(seconds=1))
    steps.execute()
    assert len(fills(live)) == 3


def test_skipped_decision_time_gets_no_decision():
    live = make_live()
    steps = Steps(live)
    assert skip_cycle(live, steps.universe, START, "no data")
    assert not skip_cycle(live, steps.universe, START, "no data")
    assert steps.decide().status is CycleStatus.already_done
    assert steps.execute().status is CycleStatus.already_done
    assert events(live) == ["StateCreated", "LedgerBound", "CycleSkipped"]
    set_time(live, START + 2 * DAY)
    assert run_cycle(live).cycle == 1
    assert len(fills(live)) == 3


def test_skipping_a_time_does_not_forget_the_cycle_in_progress():
    live = make_live()
    steps = Steps(live)
    steps.decide()
    skip_cycle(live, steps.universe, START + DAY, "no data")
    steps.execute()
    assert steps.complete().status is CycleStatus.done
    assert len(fills(live)) == 3


@pytest.mark.parametrize("how", ["raises", "returns nonsense", "plans and raises"])
def test_strategy_that_fails_leaves_nothing(how):
    def decide(input):
        if how != "raises":
            hold()(input)
            input.state.other_data.save(1, "note", 1)
        if how == "returns nonsense":
            return "buy"
        raise ZeroDivisionError("mine")

    live = make_live(decide)
    with pytest.raises(StrategyFailed, match="at cycle 1"):
        run_cycle(live)
    assert events(live) == ["StateCreated", "LedgerBound", "BalanceUpdated"]
    assert load(live).last_decision_at is None
    fixed = make_live(hold(), store=live.store)
    assert run_cycle(fixed).status is CycleStatus.done
    assert [trade[0] for trade in fills(live)] == [1, 2, 3]


@pytest.mark.parametrize("hook", ["before_strategy_tick", "after_strategy_tick"])
def test_hook_that_fails_is_called_again(hook):
    calls = []

    def fail_once(input):
        calls.append(input.cycle)
        if len(calls) == 1:
            raise ZeroDivisionError("mine")

    live = make_live(hold())
    live = replace(live, strategy=replace(live.strategy, **{hook: fail_once}))
    with pytest.raises(StrategyFailed, match=hook):
        run_cycle(live)
    assert run_cycle(live).status is CycleStatus.done
    assert calls == [1, 1]
    assert len(fills(live)) == 3
    assert events(live).count("CycleDecided") == 1


def test_each_cycle_leaves_one_sample_at_its_time():
    live = make_live(hold())
    reports = run_days(live, 3)
    samples = live.store.read_samples(live.id)
    assert [report.sample for report in reports] == list(samples)
    assert [sample.open_positions for sample in samples] == [3, 3, 3]
    assert all(sample.equity == pytest.approx(sample.cash + sample.position_equity) for sample in samples)


def test_account_mismatch_stops_before_the_decision():
    venue = WalletVenue()
    asked = []

    def decide(input):
        asked.append(input.cycle)
        return hold()(input)

    live = make_live(decide, venue=venue)
    run_cycle(live)
    venue.take(load(live), "ETH-USD", 0.5)
    set_time(live, START + DAY)
    with pytest.raises(UnexpectedAccountingCorrectionIssue, match="before the decision") as raised:
        run_cycle(live)
    assert asked == [1]
    assert load(live).last_decision_at == START
    (line,) = [line for line in str(raised.value).splitlines() if "MISMATCH" in line]
    assert line.split()[:2] == ["ETH", "#2"]
    assert [line.split()[0] for line in str(raised.value).splitlines() if line.endswith("ok")] == ["USD", "BTC", "LTC"]


def test_account_mismatch_after_the_trades_keeps_the_cycle_open():
    venue = WalletVenue()
    live = make_live(hold(), venue=venue)
    steps = Steps(live)
    steps.decide()
    steps.execute()
    _, taken = venue.take(load(live), "BTC-USD")
    with pytest.raises(UnexpectedAccountingCorrectionIssue, match="after the trades"):
        steps.complete()
    assert load(live).decision is not None
    assert equities(live) == []
    venue.wallet.add(load(live).portfolio.open_positions[1].pair.base, taken)
    assert steps.complete().status is CycleStatus.done


def test_failing_trade_freezes_its_position_and_the_others_go_on():
    venue = WalletVenue()
    live = make_live(venue=venue)
    run_days(live, 1)
    set_time(live, START + DAY)
    steps = Steps(live)
    steps.decide()
    asset, taken = venue.take(load(live), "ETH-USD")
    steps.execute()
    state = load(live)
    (frozen,) = state.portfolio.frozen_positions.values()
    assert frozen.pair.get_ticker() == "ETH-USD"
    assert "cannot give" in frozen.notes
    assert frozen.get_last_trade().get_status() is TradeStatus.failed
    assert [p.pair.get_ticker() for p in state.portfolio.closed_positions.values()] == ["LTC-USD", "BTC-USD"]
    venue.wallet.add(asset, taken)
    steps.complete()
    set_time(live, START + 2 * DAY)
    report = run_cycle(live)
    assert report.status is CycleStatus.done
    assert frozen.position_id in load(live).portfolio.frozen_positions


def test_second_trade_of_a_position_that_froze_is_dropped():
    venue = WalletVenue()

    def decide(input):
        manager = input.get_position_manager()
        if input.cycle == 1:
            return hold(("BTC-USD",))(input)
        (position,) = manager.get_current_portfolio().open_positions.values()
        half = position.get_quantity() / 2
        return [
            trade
            for _ in range(2)
            for trade in manager.adjust_position(position.pair, dollar_delta=-10, quantity_delta=-half, weight=0.5)
        ]

    live = make_live(decide, venue=venue)
    run_days(live, 1)
    set_time(live, START + DAY)
    steps = Steps(live)
    steps.decide()
    venue.take(load(live), "BTC-USD")
    steps.execute()
    (frozen,) = load(live).portfolio.frozen_positions.values()
    statuses = [trade.get_status() for trade in frozen.trades.values()]
    assert sorted(s.value for s in statuses) == ["discarded", "failed", "success"]


def test_trade_whose_stop_nothing_can_check_is_dropped_and_the_others_go_on():
    def decide(input):
        return [*hold(("BTC-USD",), stop_loss_pct=0.9)(input), *hold(("ETH-USD",))(input)]

    live = make_live(decide, parameters={"stop_loss_time_bucket": None})
    assert run_cycle(live).status is CycleStatus.done
    portfolio = load(live).portfolio
    assert [p.pair.get_ticker() for p in portfolio.open_positions.values()] == ["ETH-USD"]
    (dropped,) = portfolio.expired_positions.values()
    assert "has no stop-loss candles" in dropped.get_last_trade().failure
    assert portfolio.get_cash() == 9000


def test_two_executors_at_once_trade_once(tmp_path, expected):
    with SqlLedgerStore(tmp_path / "ledger.db") as store:

        def run_all(_):
            live = make_live(store=store, wait_s=60.0)
            return [report.status for report in run_days(live, DAYS)]

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(run_all, range(2)))
        live = make_live(store=store)
        assert fills(live) == expected[0]
        assert events(live).count("CycleDecided") == events(live).count("CycleCompleted") == DAYS


def test_position_whose_pair_left_the_universe_is_refused():
    live = make_live(hold())
    run_days(live, 1)
    pairs = live.parameters.pairs
    smaller = make_live(never, store=live.store, at=START + DAY, parameters={"pairs": pairs[:2]})
    before = events(live)
    with pytest.raises(UnknownPair, match=r"LTC.*keep the pair in create_trading_universe"):
        run_cycle(smaller)
    assert events(live) == before
    grown = make_live(never, store=live.store, at=START + DAY)
    assert run_cycle(grown).status is CycleStatus.done


def test_universe_in_another_order_keeps_positions_on_their_pairs():
    live = make_live(hold())
    run_days(live, 1)
    turned = make_live(never, store=live.store, at=START + DAY, parameters={"pairs": live.parameters.pairs[::-1]})
    straight_equity = run_cycle(make_live(never, store=copy_of(live.store), at=START + DAY)).sample.equity
    assert run_cycle(turned).sample.equity == pytest.approx(straight_equity)


def copy_of(store):
    other = copy(store)
    other._ledgers = deepcopy(store._ledgers)
    return other


def test_kill_switch_stops_decisions_trades_and_trigger_checks():
    reason = []
    live = make_live(hold(stop_loss_pct=0.99), forbid_trading=lambda: reason[0] if reason else "")
    steps = Steps(live)
    steps.decide()
    reason.append("stop at once")
    assert steps.execute().notes == ("stop at once",)
    assert fills(live) == []
    assert steps.complete().status is CycleStatus.done
    set_time(live, START + DAY)
    report = run_cycle(live)
    assert (report.status, report.notes) == (CycleStatus.skipped, ("stop at once",))
    assert check_triggers(live).notes == ("stop at once",)


def test_ledger_without_a_snapshot_goes_on_alike(expected):
    live = make_live()
    for number in range(DAYS):
        set_time(live, START + number * DAY)
        run_cycle(live)
        live.store._ledgers[live.id].snapshot = None
    assert (fills(live), equities(live), events(live)) == expected


def test_session_of_another_strategy_is_no_obstacle():
    live = make_live()
    with open_session(
        live.store, "another", reserve_asset=load_universe(live, START).get_reserve_asset(), created_at=live.clock.now()
    ):
        assert run_cycle(live).status is CycleStatus.done


@pytest.mark.slow
def test_killed_at_every_save_and_between_all_steps(tmp_path, expected):
    """SIGKILL, a real database: whatever the point, each trade is made once and nothing is forgotten."""
    script = Path(__file__).parent / "crash_cycle.py"
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    points = int(done.stdout)
    assert points > 20
    results = {}
    for path in sorted(tmp_path.glob("*.db")):
        with SqlLedgerStore(path) as store:
            live = make_live(store=store)
            results[path.stem] = (fills(live), equities(live), events(live), rows_of(store))
    assert len(results) == points + 1
    for name, result in results.items():
        assert result == results["undisturbed"], name
    assert results["undisturbed"][3]
    assert results["undisturbed"][0] == expected[0][: len(results["undisturbed"][0])]
