"""Shorts and credit live on paper: interest in every cycle, the backtest's outcome, and liquidation between cycles."""

from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from live.world import DAY, SAMPLE, START, equities, events, fills, load, run_days, set_time

import trading_dagster as td
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.paper import PaperVenue
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.market.replay_source import ReplaySource
from trading_dagster.storage.ledger_store import MemoryLedgerStore
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.strategy.module import load_strategy_file

STRATEGY = Path(__file__).parent / "loan_days.py"
DAYS = 20


def make_live(store=None, **parameters):
    clock = ManualClock(START.replace(tzinfo=UTC))
    strategy = load_strategy_file(STRATEGY)
    if parameters:
        strategy = strategy.with_parameters(parameters)
    return LiveStrategy(
        id="loans",
        strategy=strategy,
        source=ReplaySource(SAMPLE, clock.now),
        venue=PaperVenue(10_000),
        store=store or MemoryLedgerStore(),
        clock=clock,
        wait_s=0.0,
    )


@pytest.fixture(scope="module")
def backtest():
    return td.run_backtest(STRATEGY, end=START + DAYS * DAY, progress=False)


@pytest.mark.parametrize("is_stored", [False, True])
def test_live_cycles_on_paper_are_the_backtest(backtest, is_stored, tmp_path):
    with SqlLedgerStore(tmp_path / "ledger.db") as store:
        live = make_live(store if is_stored else None)
        run_days(live, DAYS)

        ran = [
            (t.trade_id, t.pair.get_ticker(), t.executed_quantity, t.executed_reserve, t.executed_price, t.executed_at)
            for t in backtest.state.portfolio.get_all_trades()
            if t.is_success()
        ]
        assert fills(live) == ran
        assert len({ticker for _, ticker, *_ in ran}) == 3
        assert [equity for _, equity in equities(live)] == backtest.equity_curve.tolist()
        assert events(live).count("InterestAccrued") > DAYS
        state = load(live)
        assert state.sync.interest_last_sync_at == START + (DAYS - 1) * DAY
        for position in state.portfolio.closed_positions.values():
            assert position.get_total_profit_usd() == pytest.approx(
                backtest.state.portfolio.get_position_by_id(position.position_id).get_total_profit_usd(), rel=1e-12
            )


def test_cycle_that_is_run_again_accrues_nothing_more():
    live = make_live()
    run_days(live, 3)
    before = events(live)
    run_cycle(live)
    assert events(live) == before


def test_breached_short_is_liquidated_by_the_trigger_check():
    live = make_live(leverage=5.6)
    run_days(live, 1)
    (short,) = [p for p in load(live).portfolio.open_positions.values() if p.is_short()]
    level = short.get_liquidation_level()
    assert level == pytest.approx(short.get_opening_price() * 1.01, rel=0.02)

    for hours in range(1, 24 * 12):  # bitcoin rises in these days
        set_time(live, START + timedelta(hours=hours))
        report = check_triggers(live)
        if report.trades:
            break

    (trade,) = report.trades
    assert trade.trade_type is td.TradeType.liquidation
    assert "health factor" in trade.notes
    state = load(live)
    assert state.portfolio.get_position_by_id(short.position_id).is_closed()
    assert trade.executed_collateral_allocation <= 0
    assert trade.profit < -300


def test_positions_with_loans_need_a_venue_with_lending_markets():
    live = make_live()
    run_days(live, 2)

    class WithoutLending(PaperVenue):
        def open_desk(self, request):
            return replace(super().open_desk(request), interest=None)

    other = replace(live, venue=WithoutLending(10_000))
    set_time(other, START + 2 * DAY)
    with pytest.raises(td.NoLendingData, match="no lending markets"):
        run_cycle(other)
