"""Live trading on paper, cycle by cycle, does exactly what the backtest on the same candles does."""

from datetime import UTC, datetime, timedelta

import pytest

import trading_dagster as td
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.storage.strategy_ledger import StrategyLedger

HISTORY = timedelta(days=90)

RUNS = {
    "ema_cross": (datetime(2018, 4, 10), 500),
    "breakout_atr": (datetime(2018, 4, 10), 500),
    "rsi_mean_reversion": (datetime(2018, 4, 10), 500),
    "momentum_rotation": (datetime(2018, 4, 10), 500),
    "buy_and_hold": (datetime(2018, 4, 10), 500),
}
CHANGES = {"momentum_rotation": {"cycle_duration": td.CycleDuration.cycle_1d}}  # the sample has too few weeks
"""Ranges in which every pair of the sample is listed: a backtest knows pairs that a live universe cannot have yet."""


def trades_of(state):
    return [
        (t.trade_id, t.pair, t.executed_quantity, t.executed_reserve, t.executed_price, t.trade_type, t.executed_at)
        for t in state.portfolio.get_all_trades()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_live_on_paper_trades_exactly_as_the_backtest(name, paper):
    start, cycles = RUNS[name]
    live = paper(name, parameters={"required_history_period": HISTORY, **CHANGES.get(name, {})})
    width = live.cycle_duration.to_timedelta()
    start = live.cycle_duration.round_down(start)
    feed = live.parameters.get("stop_loss_time_bucket")
    step = width if feed is None else feed.to_timedelta()
    equity = []
    for number in range(cycles * (width // step) + 1):
        now = start + number * step
        live.clock.moment = now.replace(tzinfo=UTC)
        check_triggers(live)
        if now < start + cycles * width and not (now - start) % width:
            equity.append(run_cycle(live).sample.equity)
            check_triggers(live)
    state = StrategyLedger(live.store, live.id).load()

    backtest = td.run_backtest(live.strategy, start=start, end=start + cycles * width, progress=False)

    assert trades_of(state) == trades_of(backtest.state)
    expected = [value for at, value in backtest.equity_curve.items() if not (at - start) % width]
    assert equity == expected
    assert len(equity) == cycles
