"""Limits, approvals and the kill switch hold in the real live loop, on paper with a ledger in a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from trading_dagster.domain.trade import TradeStatus
from trading_dagster.execution.approval import Answer, ManualApproval
from trading_dagster.execution.limit import TradeLimits
from trading_dagster.execution.limit_guard import LimitGuard
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import CycleReport, CycleStatus, decide_cycle, execute_cycle, run_cycle
from trading_dagster.live.guard import SWITCH_VARIABLE, with_emergency_file
from trading_dagster.live.message import cycle_message
from trading_dagster.live.paper import PaperVenue
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import calculate, load_universe
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.replay_source import ReplaySource
from trading_dagster.storage.control_store import SqlApprovalStore, SqlKillSwitch
from trading_dagster.storage.limit_history import LedgerLimitHistory
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.storage.strategy_ledger import StrategyLedger
from trading_dagster.strategy.module import load_strategy_file

BEGIN = datetime(2018, 1, 16)  # a day on which the price fell by a fifth
HOUR = timedelta(hours=1)

STRATEGY = '''
"""Buys for 4,000 USD and sells an hour later, again and again."""

from datetime import datetime, timedelta
import trading_dagster as td

trading_strategy_engine_version = "0.5"
indicators = td.IndicatorRegistry()


class Parameters:
    cycle_duration = td.CycleDuration.cycle_1h
    candle_time_bucket = td.TimeBucket.h1
    backtest_start, backtest_end = datetime(2018, 1, 1), datetime(2019, 10, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    required_history_period = timedelta(days=5)


def create_trading_universe(input):
    dataset = td.load_partial_data(client=input.client, time_bucket=td.TimeBucket.h1, trading_fee=0.001)
    return td.TradingStrategyUniverse.create_single_pair_universe(dataset)


def decide_trades(input):
    manager = input.get_position_manager()
    if manager.is_any_open():
        return manager.close_all()
    return manager.open_spot(input.get_default_pair(), value=4000)
'''


class Living:
    """A strategy that a new process opens for every cycle."""

    def __init__(self, folder, store: SqlLedgerStore) -> None:
        path = folder / "churn.py"
        path.write_text(STRATEGY)
        self.module = load_strategy_file(path)
        self.store = store
        self.clock = ManualClock(BEGIN.replace(tzinfo=UTC))
        self.options: dict = {}
        self.limits = TradeLimits()

    def open(self) -> LiveStrategy:
        return LiveStrategy(
            id="churn",
            strategy=self.module,
            source=ReplaySource(EmbeddedSample(), self.clock.now),
            venue=PaperVenue(10_000),
            store=self.store,
            clock=self.clock,
            wait_s=0.0,
            guard=LimitGuard(self.limits, LedgerLimitHistory(self.store, "churn")),
            **self.options,
        )

    def run(self, hour: float, sleep: Callable[[float], None] | None = None) -> CycleReport:
        self.clock.moment = (BEGIN + hour * HOUR).replace(tzinfo=UTC)
        live = self.open()
        return run_cycle(live, **({} if sleep is None else {"sleep": sleep}))

    @property
    def state(self):
        return StrategyLedger(self.store, "churn").load()

    @property
    def trade_count(self) -> int:
        return self.state.portfolio.trade_count


@pytest.fixture
def living(tmp_path) -> Iterator[Living]:
    with SqlLedgerStore(tmp_path / "ledger.db") as store:
        yield Living(tmp_path, store)


def test_entry_above_the_limit_never_runs_and_leaves_no_position(living):
    living.limits = TradeLimits(max_trade_usd=3999)
    for hour in range(3):
        living.run(hour)
    portfolio = living.state.portfolio
    assert (portfolio.trade_count, len(portfolio.open_positions), len(portfolio.expired_positions)) == (0, 0, 3)
    (trade,) = portfolio.expired_positions[1].trades.values()
    assert trade.get_status() is TradeStatus.discarded
    assert trade.failure == "max_trade_usd: 4,000.00 USD is above the 3,999.00 USD allowed"
    assert portfolio.get_cash() == 10_000


def test_loss_of_the_day_stops_entries_until_it_is_a_day_old(living):
    living.limits = TradeLimits(max_day_loss_share=0.0005)
    traded = []
    for hour in range(29):
        before = living.trade_count if hour else 0
        living.run(hour)
        traded += [hour] if living.trade_count > before else []
    assert traded[:2] == [0, 1]
    assert traded[2:][0] >= 24, "entries began again before the loss was a day old"
    assert living.state.portfolio.expired_positions


def test_turnover_of_the_day_is_summed_over_processes_and_lets_the_exit_through(living):
    living.limits = TradeLimits(max_day_turnover_usd=15_500)
    counts = []
    for hour in (*range(6), 25, 26):
        living.run(hour)
        counts.append(living.trade_count)
    assert counts == [1, 2, 3, 4, 4, 4, 5, 6]


def approving(living: Living, patience: timedelta) -> SqlApprovalStore:
    approvals = SqlApprovalStore(living.store.database)
    living.options["approval"] = ManualApproval(approvals, "churn", living.clock.now, patience)
    return approvals


def test_cycle_waits_for_an_operator_then_trades(living):
    approvals, asked = approving(living, HOUR), []

    def answer(_: float) -> None:
        (waiting,) = approvals.list_waiting("churn")
        asked.append(waiting.request)
        living.clock.moment += timedelta(minutes=5)
        if len(asked) == 3:
            approvals.answer("churn", Answer(waiting.request.digest[:8], "ann", living.clock.now()))

    report = living.run(0, answer)
    assert living.trade_count == 1
    assert asked == [asked[0]] * 3
    assert asked[0].trades[0].value == pytest.approx(4000)
    assert report.status is CycleStatus.done


def test_trades_that_nobody_approves_are_dropped_and_the_next_cycle_asks_anew(living):
    approvals = approving(living, timedelta(minutes=20))

    def wait(_: float) -> None:
        living.clock.moment += timedelta(minutes=15)

    living.run(0, wait)
    assert living.trade_count == 0
    (trade,) = living.state.portfolio.expired_positions[1].trades.values()
    assert "Nobody approved the trades of churn at cycle 1" in trade.failure
    assert approvals.list_waiting("churn") == []

    def reject(_: float) -> None:
        (waiting,) = approvals.list_waiting("churn")
        approvals.answer("churn", Answer(waiting.request.digest, "ann", living.clock.now(), (), "not now"))

    living.run(1, reject)
    assert living.trade_count == 0
    (trade,) = living.state.portfolio.expired_positions[2].trades.values()
    assert trade.failure == "not approved by ann: not now"


def test_kill_switch_skips_cycles_until_it_is_turned_off(living, tmp_path):
    switch = SqlKillSwitch(living.store.database)
    combined = with_emergency_file(switch, {SWITCH_VARIABLE: str(tmp_path / "STOP")})
    living.options["forbid_trading"] = partial(combined.is_on, "churn")
    living.run(0)
    turn = partial(switch.turn, "churn", by="ann", at=datetime.now(UTC))
    turn(is_on=True, reason="odd prices")
    living.run(1)
    turn(is_on=False, reason="fine again")
    (tmp_path / "STOP").write_text("network")
    living.run(2)
    assert living.trade_count == 1
    skipped = [row.body for row in living.store.read("churn") if row.type == "CycleSkipped"]
    assert len(skipped) == 2
    assert "the kill switch of churn is on since" in skipped[0]
    assert "odd prices" in skipped[0]
    assert "STOP is on: network" in skipped[1]
    (tmp_path / "STOP").unlink()
    living.run(3)
    assert living.trade_count == 2


def test_kill_switch_between_decision_and_execution_drops_the_trades(living):
    reasons = [""]
    living.options["forbid_trading"] = lambda: reasons[0]
    live = living.open()
    universe = load_universe(live, BEGIN)
    decided = decide_cycle(live, universe, calculate(live, universe), BEGIN)
    assert len(decided.trades) == 1
    reasons[0] = "stop!"
    report = execute_cycle(living.open(), universe, BEGIN)
    assert report.trades == ()
    assert living.trade_count == 0
    (trade,) = living.state.portfolio.expired_positions[1].trades.values()
    assert trade.failure == "stop!"


def test_message_of_a_real_cycle(living):
    report = living.run(0)
    state = living.state
    trades = [t for p in state.portfolio.open_positions.values() for t in p.trades.values()]
    live = living.open()
    message = cycle_message("churn", state, cycle=1, decision_at=report.decision_at, trades=trades, at=live.clock.now())
    assert message.subject == "churn: cycle 1 of 2018-01-16 00:00, 1 trade"
    assert "(planned " in message.text
    assert ": +0.00%) for 4,000.00" in message.text
    assert "opens position #1" in message.text
