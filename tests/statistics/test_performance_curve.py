"""Deposits and redemptions are no performance: whatever measures it does not see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from scenario import Parameters, daily_universe, decide_by_ema, decide_to_hold, run, run_s1

from trading_dagster.backtest import run_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.charts.number import format_percent
from trading_dagster.charts.tile import choose_tiles
from trading_dagster.domain.fund_fee import FundFees
from trading_dagster.domain.state import State
from trading_dagster.orchestration.key_figure import calculate_key_figures
from trading_dagster.statistics.drawdown import max_drawdown
from trading_dagster.statistics.key_metric import KeyMetricKind, calculate_key_metrics
from trading_dagster.statistics.measure_return import cagr
from trading_dagster.statistics.returns import calculate_daily_returns_from_curve, calculate_returns


def flows(*planned: tuple[datetime, float]) -> Any:
    def move_money(cycle: int, timestamp: datetime, state: State, sync_model: Any) -> None:
        del timestamp, state
        for at, amount in planned if cycle == 1 else ():
            sync_model.simulate_funding(at, amount)

    return move_money


TEN_TIMES_AND_BACK = flows((datetime(2021, 7, 10, 5), 90_000), (datetime(2021, 10, 1), -60_000))


@pytest.fixture(scope="module")
def funded() -> BacktestResult:
    return run(decide_by_ema, daily_universe(), execution_test_hook=TEN_TIMES_AND_BACK)


def test_without_flows_it_is_the_equity_curve() -> None:
    result = run_s1()
    assert result.performance_curve.equals(result.equity_curve)
    assert result.statistics.loc["Share price return", "All"] == pytest.approx(result.statistics.loc["Return %", "All"])


def test_with_flows_it_moves_as_the_share_price_does(funded: BacktestResult) -> None:
    performance, price = funded.performance_curve, funded.share_price
    assert funded.equity_curve.max() > 90_000
    assert performance.max() < 11_000
    assert (performance / performance.iloc[0]).to_numpy() == pytest.approx((price / price.iloc[0]).to_numpy())


def test_no_measure_takes_a_deposit_for_a_gain_or_a_redemption_for_a_loss(funded: BacktestResult) -> None:
    price = funded.share_price
    growth = cagr(calculate_daily_returns_from_curve(price, funded.plan.end))
    depth = max_drawdown(calculate_returns(price))
    figures = {figure.name: figure.strategy for figure in calculate_key_figures(funded)}
    assert figures["Return"] == pytest.approx(price.iloc[-1] - 1)
    assert figures["CAGR"] == pytest.approx(growth)
    assert figures["Max drawdown"] == pytest.approx(depth)
    assert figures["Equity at end, USD"] == funded.equity_curve.iloc[-1] > 38_000
    assert funded.metrics["CAGR"] == pytest.approx(growth)
    assert funded.statistics.loc["Max Drawdown", "All"] == pytest.approx(depth)
    assert funded.statistics.loc["Share price return", "All"] == pytest.approx(price.iloc[-1] - 1)
    metrics = calculate_key_metrics(None, funded.state)
    assert metrics[KeyMetricKind.cagr].value == pytest.approx(growth)
    assert metrics[KeyMetricKind.max_drawdown].value == pytest.approx(-depth)
    content = funded.report_content()
    tiles = {
        tile.label: tile.value
        for tile in choose_tiles(content.equity, None, content.trades, content.positions, {}, content.performance)
    }
    assert tiles["Max drawdown"] == format_percent(depth)
    assert tiles["Total return"] == format_percent(price.iloc[-1] - 1, signed=True)


def run_with(parameters: dict[str, Any], hook: Any) -> BacktestResult:
    class Charged(Parameters):
        pass

    for name, value in parameters.items():
        setattr(Charged, name, value)
    return run_backtest(
        decide_trades=decide_to_hold,
        universe=daily_universe(),
        parameters=Charged,
        execution_test_hook=hook,
        progress=False,
    )


def test_fees_of_a_fund_are_no_flows() -> None:
    fees = {"fund_fees": FundFees(management=0.5, performance=0.2)}
    plain = run_with({}, None)
    taxed = run_with(fees, None)
    assert taxed.performance_curve.equals(plain.performance_curve)
    assert taxed.share_price.iloc[-1] < 0.8 * plain.share_price.iloc[-1]
    moved, taxed_moved = run_with({}, TEN_TIMES_AND_BACK), run_with(fees, TEN_TIMES_AND_BACK)
    assert taxed_moved.performance_curve.to_numpy() == pytest.approx(moved.performance_curve.to_numpy())


def test_while_all_is_paid_out_it_holds_its_value() -> None:
    paid_out = flows((datetime(2021, 7, 1), -10_000), (datetime(2021, 8, 1), 500), (datetime(2021, 8, 9), 700))
    result = run(lambda _input: [], daily_universe(), execution_test_hook=paid_out)
    assert result.equity_curve.min() == 0 < result.equity_curve.iloc[-1] == 1200
    assert np.unique(result.performance_curve).tolist() == [10_000]
