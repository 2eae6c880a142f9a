"""The example strategies with loans: golden numbers on the embedded sample, a plain loop, and what must always hold."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from plain_loop import read_daily

import trading_dagster as td
from trading_dagster.research.bias import check_bias

STRATEGIES = Path(__file__).parents[2] / "strategies"
GOLDEN = {
    # (trades, final equity in USD) on the embedded sample, with the made-up flat rates
    "long_short_momentum": (239, 6655.2355944569645),
    "credit_parking": (86, 12623.663672945571),
}


def run(name: str, **arguments: Any) -> td.BacktestResult:
    return td.run_backtest(STRATEGIES / f"{name}.py", progress=False, **arguments)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_numbers_on_the_sample(name: str) -> None:
    result = run(name)
    trades, equity = GOLDEN[name]
    assert len(result.state.portfolio.get_all_trades()) == trades
    assert float(result.equity_curve.iloc[-1]) == pytest.approx(equity, rel=1e-9)
    result.state.perform_integrity_check()


def plain_credit_parking() -> float:
    """Return the final equity of credit_parking, with nothing of the engine: floats, one loop over days."""
    candles = read_daily(pd.Timestamp("2017-11-02"))["BTC/USD"]
    closes = candles["close"]
    slope = closes.ewm(span=10, adjust=False).mean() / closes.ewm(span=40, adjust=False).mean() - 1
    cash, held, lent, price = 10_000.0, 0.0, 0.0, 0.0
    for day in pd.date_range("2018-01-01", "2020-01-16", freq="D"):
        lent *= 1 + 0.04 / 365
        known = candles["open"][:day]
        price = float(known.iloc[-1])
        signal = slope.get(day - pd.Timedelta(days=1))
        equity = cash + lent + held * price * 0.999
        bought = sold = 0.0
        if signal is not None and signal > 0 and not held:
            bought = equity * 0.5
        elif signal is not None and signal <= 0 and held:
            sold = held * price * 0.999
        flow = bought - 0.99 * sold + equity * 0.02 - cash
        change = 0.0
        if flow < 0:
            change = -flow
        elif min(flow, lent) >= 50:
            change = -min(flow, lent)
        cash += sold - bought - change
        lent += change
        held = bought / (price * 1.001) if bought else 0.0 if sold else held
    return cash + lent + held * price * 0.999


def test_credit_parking_equals_a_plain_loop() -> None:
    assert plain_credit_parking() == pytest.approx(GOLDEN["credit_parking"][1], rel=1e-9)


def test_shorts_and_credit_really_happen() -> None:
    portfolio = run("long_short_momentum").state.portfolio
    shorts = [position for position in portfolio.get_all_positions() if position.is_short()]
    assert len(shorts) == 34
    assert any(position.is_stop_loss() for position in shorts)
    by_decision = [position for position in shorts if not position.is_stop_loss()]  # a stop may come before any accrual
    assert all(position.get_repaid_interest() > 0 for position in by_decision)
    lent = [p for p in run("credit_parking").state.portfolio.get_all_positions() if p.is_credit_supply()]
    assert len(lent) > 10
    assert sum(position.get_total_profit_usd() for position in lent) > 300


@pytest.mark.parametrize("name", GOLDEN)
def test_no_later_candle_is_looked_at(name: str) -> None:
    start, end = datetime(2018, 1, 1), datetime(2018, 9, 1)
    report = check_bias(STRATEGIES / f"{name}.py", start=start, end=end, cuts=2)
    assert report.is_clean, str(report)
