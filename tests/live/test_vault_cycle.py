"""Vaults live on paper: what is open between cycles is settled later, and the outcome is the backtest's."""

from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from live.world import DAY, SAMPLE, START, equities, fills, load, run_days

import trading_dagster as td
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.paper import PaperVenue
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.replay_source import ReplaySource
from trading_dagster.storage.ledger_store import MemoryLedgerStore
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.strategy.module import load_strategy_file

STRATEGY = Path(__file__).parent / "vault_days.py"
DAYS = 20


def make_live(store=None):
    clock = ManualClock(START.replace(tzinfo=UTC))
    return LiveStrategy(
        id="vaults",
        strategy=load_strategy_file(STRATEGY),
        source=ReplaySource(SAMPLE, clock.now),
        venue=PaperVenue(10_000),
        store=store or MemoryLedgerStore(),
        clock=clock,
        wait_s=0.0,
    )


@pytest.fixture(scope="module")
def backtest():
    return td.run_backtest(STRATEGY, end=START + DAYS * DAY, progress=False)


def test_live_cycles_on_paper_trade_and_settle_as_the_backtest(backtest):
    live = make_live()

    run_days(live, DAYS)

    ran = [
        (t.trade_id, t.pair.get_ticker(), t.executed_quantity, t.executed_reserve, t.executed_price, t.executed_at)
        for t in backtest.state.portfolio.get_all_trades()
        if t.is_success()
    ]
    assert fills(live) == ran
    assert len(ran) >= 12
    assert [equity for _, equity in equities(live)] == backtest.equity_curve.tolist()


def test_orders_that_wait_survive_in_the_ledger_between_processes(tmp_path, backtest):
    with SqlLedgerStore(tmp_path / "ledger.db") as store:
        live = make_live(store)
        waiting = 0
        for number in range(DAYS):
            run_days(replace(live), 1, START + number * DAY)
            portfolio = load(live).portfolio
            for trade_id, position_id in portfolio.settlements.items():
                trade = portfolio.get_position_by_id(position_id).trades[trade_id]
                assert trade.get_status() is TradeStatus.vault_settlement_pending
                assert trade.settles_at > START + number * DAY
                waiting += 1
        assert waiting > 5
        assert [equity for _, equity in equities(live)] == backtest.equity_curve.tolist()


def test_a_settlement_is_recorded_at_the_cycle_that_settles_it(backtest):
    for trade in backtest.state.portfolio.get_all_trades():
        if trade.settles_at is not None and trade.is_success():
            assert trade.executed_at >= trade.settles_at
            assert trade.executed_at - trade.settles_at < timedelta(days=1)
