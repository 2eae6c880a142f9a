"""Live trading on paper, cycle by cycle, does exactly what the backtest on the same candles does."""

from datetime import UTC, datetime, timedelta

import pytest

import trading_dagster as td
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.storage.strategy_ledger import StrategyLedger

HISTORY = timedelta(days=90)
HOURLY, DAILY = datetime(2018, 4, 10), datetime(2017, 9, 25)
TWO_PAIRS = tuple((td.ChainId.centralised_exchange, None, base, "USD") for base in ("BTC", "LTC"))
"""Those of the sample that have 500 days without a hole in which data is missing for longer than live trading bears."""

RUNS = {
    "ema_cross": (HOURLY, {}),
    "breakout_atr": (HOURLY, {}),
    "rsi_mean_reversion": (DAILY, {"pairs": TWO_PAIRS}),
    "momentum_rotation": (
        DAILY,
        {"pairs": TWO_PAIRS, "max_assets_in_portfolio": 1, "cycle_duration": td.CycleDuration.cycle_1d},
    ),
    "buy_and_hold": (DAILY, {"pairs": TWO_PAIRS}),
}
CYCLES = 500


def trades_of(state):
    return [
        (t.trade_id, t.pair, t.executed_quantity, t.executed_reserve, t.executed_price, t.trade_type, t.executed_at)
        for t in state.portfolio.get_all_trades()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_live_on_paper_trades_exactly_as_the_backtest(name, paper):
    start, changes = RUNS[name]
    parameters = {"required_history_period": HISTORY, **changes}
    live = paper(name, at=start.replace(tzinfo=UTC), parameters=parameters)
    width = live.cycle_duration.to_timedelta()
    feed = live.parameters.get("stop_loss_time_bucket")
    step = width if feed is None else feed.to_timedelta()
    equity = []
    for number in range(CYCLES * (width // step) + 1):
        now = start + number * step
        live.clock.moment = now.replace(tzinfo=UTC)
        check_triggers(live)
        if now < start + CYCLES * width and not (now - start) % width:
            equity.append(run_cycle(live).sample.equity)
            check_triggers(live)
    state = StrategyLedger(live.store, live.id).load()

    backtest = td.run_backtest(live.strategy, start=start, end=start + CYCLES * width, progress=False)

    assert trades_of(state) == trades_of(backtest.state)
    expected = [value for at, value in backtest.equity_curve.items() if not (at - start) % width]
    assert equity == expected
    assert len(equity) == CYCLES
