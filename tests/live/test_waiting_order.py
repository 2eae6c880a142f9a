"""Orders that wait, live: what a backtest does, once, whatever is interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from live.order_run import crash_at_every_save, fire_without_beginning, require_same_as_backtest, run_on_paper
from live.order_strategy import decide_with_orders
from live.world import DAY, START, events, fills, load, make_live, never, set_time

from trading_dagster.domain.event import TradeTriggered
from trading_dagster.domain.message import MessageKind
from trading_dagster.domain.trade import TradeStatus, TradeType
from trading_dagster.execution.limit import TradeLimits
from trading_dagster.execution.limit_guard import LimitGuard
from trading_dagster.live.closing import close_all
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.inspection import show_positions
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.storage.strategy_ledger import StrategyLedger

ANY_PRICE = 1.0


@pytest.fixture(scope="module")
def undisturbed():
    live = make_live(decide_with_orders)
    run_on_paper(live)
    return live


def test_live_orders_do_what_the_backtest_does(undisturbed):
    state = require_same_as_backtest(undisturbed)
    kinds = Counter(t.trade_type for t in state.portfolio.get_all_trades() if t.is_success())
    assert min(kinds[TradeType.market_limit], kinds[TradeType.flexible_trigger], kinds[TradeType.stop_loss]) >= 2


def test_snapshot_and_replay_give_the_same_orders(undisturbed):
    def orders(state):
        positions = [
            *state.portfolio.get_all_positions(pending=True),
            *state.portfolio.expired_positions.values(),
        ]
        return {
            p.position_id: (
                repr(p),
                p.opened_at,
                [
                    (t.trade_id, t.plan, t.triggers, t.activated_trigger, t.expired_triggers, t.failure)
                    for trades in (p.trades, p.pending_trades, p.expired_trades)
                    for t in trades.values()
                ],
            )
            for p in positions
        }

    ledger = undisturbed.store
    restored = load(undisturbed)
    ledger.snapshots = {}

    replayed = StrategyLedger(ledger, undisturbed.id).load(use_snapshot=False)
    assert orders(restored) == orders(replayed)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_crash_at_every_save_makes_each_order_once(after):
    days = 4
    saves = crash_at_every_save(partial(make_live, decide_with_orders), days, lambda _number: after)
    assert saves > 3 * days


def place(ticker: str = "BTC-USD", value: float = 1_000, price: float = ANY_PRICE, **options):
    """A decision that places one entry, which fires at the first check."""

    def decide(input):
        manager = input.get_position_manager()
        pair = next(p for p in input.strategy_universe.pairs if p.get_ticker() == ticker)
        if manager.get_current_position_for_pair(pair, pending=True) is None and input.cycle == 1:
            manager.open_spot_with_market_limit(pair, value, price, **options)
        return []

    return decide


def test_waiting_order_is_not_executed_by_its_cycle_and_fires_once():
    live = make_live(place())
    report = run_cycle(live)
    assert report.trades == ()
    (row,) = show_positions(live)
    assert (row.status, row.value, row.trades) == ("pending", 0, 0)
    report = check_triggers(live)
    (trade,) = report.trades
    assert (trade.trade_type, trade.get_status()) == (TradeType.market_limit, TradeStatus.success)
    assert (report.watched, report.sample.open_positions) == (1, 1)
    assert check_triggers(live).trades == ()
    assert len(fills(live)) == 1
    assert show_positions(live)[0].status == "open"


def test_order_that_fired_and_was_not_begun_waits_again_and_is_made_once():
    live = make_live(place())
    fire_without_beginning(live)
    assert load(live).portfolio.open_positions
    set_time(live, START + DAY)
    (trade,) = check_triggers(live).trades
    assert trade.executed_at == START + DAY
    assert events(live).count("TradeWaits") == 2
    assert events(live).count(TradeTriggered.__name__) == 2
    assert len(fills(live)) == 1


def test_refused_and_late_orders_are_told():
    told = []

    class Reporter:
        def report(self, message):
            told.append(message)

    live = make_live(place(value=20_000), reporter=Reporter())
    run_cycle(live)
    report = check_triggers(live)
    (trade,) = report.expired
    assert report.trades == ()
    assert "cash is 10000" in trade.failure
    assert [m.subject.split(" at ")[0] for m in told if m.kind == MessageKind.triggers] == [
        "three_pairs: triggers gave up orders of position #1"
    ]
    assert "expired: fired and was refused" in told[-1].text
    late = make_live(place(price=10**9, expires_at=START + DAY))
    run_cycle(late)
    set_time(late, START + 2 * DAY)
    assert [t.failure for t in check_triggers(late).expired] == ["it did not fire in time"]
    assert check_triggers(late).watched == 0


def test_order_over_a_limit_is_refused_when_it_fires():
    live = make_live(place(), guard=LimitGuard(TradeLimits(max_trade_usd=500), None))
    run_cycle(live)
    report = check_triggers(live)
    assert report.trades == ()
    assert "max_trade_usd" in report.notes[0]
    assert list(load(live).portfolio.expired_positions) == [1]


def test_two_orders_share_cash_in_one_check():
    def decide(input):
        manager = input.get_position_manager()
        if input.cycle == 1:
            for pair in input.strategy_universe.pairs:
                manager.open_spot_with_market_limit(pair, 4_000, ANY_PRICE)
        return []

    live = make_live(decide)
    run_cycle(live)
    report = check_triggers(live)
    assert [t.position_id for t in report.trades] == [1, 2]
    assert [t.position_id for t in report.expired] == [3]


def test_closing_all_gives_orders_up():
    live = make_live(place(price=10**9))
    run_cycle(live)
    result = close_all(live, "the end")
    assert "is given up" in result.notes[0]
    (expired,) = load(live).portfolio.expired_positions.values()
    assert [t.failure for t in expired.expired_trades.values()] == ["the end"]


@pytest.mark.slow
def test_killed_anywhere_each_order_is_made_once(tmp_path):
    """SIGKILL at every save and between all steps, on a real database."""
    script = Path(__file__).parent / "crash_cycle.py"
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    command = [sys.executable, str(script), str(tmp_path), "orders"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = {}
    for path in sorted(tmp_path.glob("*.db")):
        with SqlLedgerStore(path) as store:
            live = make_live(never, store=store)
            results[path.stem] = (fills(live), events(live))
    assert len(results) == int(done.stdout) + 1
    assert set(results["undisturbed"][1]) >= {"TradeWaits", "TradeTriggered"}
    for name, result in results.items():
        assert result == results["undisturbed"], name
