"""Acceptance scenario S1: the statistics of an EMA strategy on seeded random candles, traded here in a plain loop."""

from __future__ import annotations

import random
from datetime import datetime

import pandas as pd
import pytest

from trading_dagster.statistics.measure_gain import profit_factor
from trading_dagster.statistics.measure_ratio import sharpe_ratio, sortino_ratio
from trading_dagster.statistics.measure_return import cumulative_return
from trading_dagster.statistics.returns import calculate_daily_returns_from_curve, calculate_returns

FEE = 0.003


def ema(values: list[float], n: int) -> float:
    average = sum(values[:n]) / n
    for value in values[n:]:
        average += 2 / (n + 1) * (value - average)
    return average


@pytest.fixture(scope="module")
def equity() -> pd.Series[float]:
    generator = random.Random(1)
    opens, closes, price = [], [], 1800.0
    days = pd.date_range("2021-06-01", "2021-12-31")
    for _ in days:
        opens.append(price)
        price = generator.uniform(price * 0.95, price * 1.05)
        closes.append(price)
        generator.uniform(0, 1), generator.uniform(0, 1)  # high and low, which this strategy does not read
    cash, quantity, curve = 10_000.0, 0.0, []
    for day in range(len(days) - 1):
        history, mid = closes[max(0, day - 90) : day], opens[day]
        if len(history) >= 20:
            slow, fast = ema(history, 20), ema(history, 5)
            if history[-1] >= slow:
                if quantity == 0:
                    spent = cash * 0.1
                    cash, quantity = cash - spent, spent / (mid * (1 + FEE))
            elif fast >= slow and quantity > 0:
                cash, quantity = cash + quantity * mid * (1 - FEE), 0.0
        curve.append(cash + quantity * mid * (1 - FEE))
    return pd.Series(curve, index=days[:-1])


def test_equity_is_the_scenario_s(equity: pd.Series[float]) -> None:
    assert len(equity) == 213
    assert equity.iloc[-1] == pytest.approx(9952.829556143553, rel=1e-9)


def test_profit_factor_and_total_are_of_equity_curve_returns(equity: pd.Series[float]) -> None:
    returns = calculate_returns(equity)
    assert profit_factor(returns) == pytest.approx(0.97546, abs=5e-6)
    assert cumulative_return(returns) == pytest.approx(-0.0047170, abs=5e-8)


def test_sharpe_and_sortino_are_of_daily_returns(equity: pd.Series[float]) -> None:
    daily = calculate_daily_returns_from_curve(equity, end=datetime(2021, 12, 31))
    assert len(daily) == 214
    assert sharpe_ratio(daily) == pytest.approx(-0.16402, rel=0.005)
    assert sortino_ratio(daily) == pytest.approx(-0.23988, rel=0.005)
