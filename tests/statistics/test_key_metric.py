"""Key metrics, summaries and tables of execution: by hand, and against independent implementations."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import empyrical
import numpy as np
import pandas as pd
import pytest

import trading_dagster as td
from tests.ledger import Ledger, day, make_five_positions
from tests.scenario import daily_universe, decide_by_ema, run
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.charts.asset_comparison import compare_strategy_backtest_to_multiple_assets, get_benchmark_data
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.state import State
from trading_dagster.statistics.execution_table import (
    analyse_position_durations,
    analyse_reserve_events,
    analyse_slippage,
    analyse_transactions,
)
from trading_dagster.statistics.key_metric import KeyMetricKind, KeyMetricSource, calculate_key_metrics
from trading_dagster.statistics.metrics_table import get_metric
from trading_dagster.statistics.strategy_summary import serialise_long_short_stats_as_json_table, summarise_strategy
from trading_dagster.statistics.unrealised_return import (
    calculate_compounding_unrealised_trading_profitability,
    calculate_cumulative_daily_returns,
    calculate_non_cumulative_daily_returns,
    calculate_size_relative_unrealised_trading_returns,
)


@pytest.fixture(scope="module")
def s1() -> BacktestResult:
    return run(decide_by_ema, daily_universe())


def live_of(ledger: Ledger) -> State:
    """The same state as if it had traded live for its range."""
    state = ledger.state
    assert state.backtest_data is not None
    state._last_cycle_at = state.backtest_data.end_at
    state.backtest_data = None
    return state


def test_key_metrics_of_a_backtest_agree_with_empyrical(s1: BacktestResult) -> None:
    metrics = calculate_key_metrics(None, s1.state)
    daily = s1.daily_returns.dropna()

    def value(kind: KeyMetricKind) -> Any:
        assert metrics[kind].source is KeyMetricSource.backtesting
        return metrics[kind].value

    assert value(KeyMetricKind.sharpe) == pytest.approx(empyrical.sharpe_ratio(daily, annualization=365))
    assert value(KeyMetricKind.sortino) == pytest.approx(empyrical.sortino_ratio(daily, annualization=365))
    assert value(KeyMetricKind.max_drawdown) == pytest.approx(-empyrical.max_drawdown(s1.returns))
    assert value(KeyMetricKind.profitability) == pytest.approx(-0.0047170, abs=5e-8)
    assert value(KeyMetricKind.total_equity) == pytest.approx(9952.829556143553)
    assert value(KeyMetricKind.trades_per_month) == pytest.approx(22 * 30 / 213)
    assert value(KeyMetricKind.decision_cycle_duration) == timedelta(days=1)
    assert value(KeyMetricKind.started_at) == datetime(2021, 6, 1)
    assert value(KeyMetricKind.last_trade) == datetime(2021, 12, 30)
    last_week = s1.trades["executed_at"] > datetime(2021, 12, 24)
    assert value(KeyMetricKind.trades_last_week) == last_week.sum() == 1
    assert value(KeyMetricKind.share_price_entries) == 213
    assert set(metrics) == set(KeyMetricKind)


@pytest.mark.parametrize(("days", "source"), [(89, "backtesting"), (91, "live_trading")])
def test_live_history_must_reach_the_cut_off(s1: BacktestResult, days: int, source: str) -> None:
    ledger = Ledger(days=days + 1)
    ledger.round_trip(1, 3, 100)
    live = live_of(ledger)

    metrics = calculate_key_metrics(live, s1.state)

    assert metrics[KeyMetricKind.profitability].source.value == source
    assert metrics[KeyMetricKind.total_equity].source is KeyMetricSource.live_trading
    assert metrics[KeyMetricKind.total_equity].value == 10_100
    if source == "live_trading":
        assert metrics[KeyMetricKind.profitability].value == pytest.approx(0.1 * 0.1)
        assert metrics[KeyMetricKind.sharpe].value is None
        assert "too little history" in str(metrics[KeyMetricKind.sharpe].unavailability_reason)


def test_without_enough_history_or_backtest_the_reason_is_given() -> None:
    ledger = Ledger()
    ledger.round_trip(1, 3, 100)
    metric = calculate_key_metrics(live_of(ledger))[KeyMetricKind.sharpe]
    assert (metric.source, metric.value) == (KeyMetricSource.missing, None)
    assert "19 days" in str(metric.unavailability_reason)
    assert calculate_key_metrics(live_of(ledger_of_100_days()), key_metrics_backtest_cut_off=timedelta(0))[
        KeyMetricKind.profitability
    ].value == pytest.approx(1.01 * 0.98 - 1)


def ledger_of_100_days() -> Ledger:
    ledger = Ledger(days=100)
    ledger.round_trip(1, 3, 100)
    ledger.round_trip(50, 60, -202, value=1010)
    return ledger


def test_strategy_summary_by_hand() -> None:
    """+10 % on a tenth at day 3, -20 % on a tenth of 10,100 at day 60; the last 90 days begin after the first."""
    summary = summarise_strategy(ledger_of_100_days().state)
    assert summary.current_value == 10_000 + 100 - 202
    assert summary.return_all_time == pytest.approx(1.01 * 0.98 - 1)
    assert summary.return_annualised == pytest.approx((1.01 * 0.98 - 1) * 3.65)
    assert summary.enough_data
    assert summary.profitability_90_days == pytest.approx(-0.02)
    assert summary.performance_chart_90_days.index[0] == day(10)
    assert summary.performance_chart_90_days.iloc[0] == 0
    assert summary.launched_at == day(0)
    assert summary.key_metrics["profitability"].value == summary.return_all_time

    young = summarise_strategy(ledger_of_100_days().state, as_of=day(50))
    assert (young.enough_data, young.profitability_90_days) == (False, None)
    assert young.return_all_time == pytest.approx(0.01)


def test_long_short_table_is_plain_data_keyed_by_kind(s1: BacktestResult) -> None:
    table = serialise_long_short_stats_as_json_table(None, s1.state, s1.universe.time_bucket)
    assert json.loads(json.dumps(table)) == table
    assert table["live_stats"] == {}
    stats = table["backtested_stats"]
    assert stats["columns"] == ["All", "Long", "Short"]
    rows = stats["rows"]
    assert rows["return_percent"]["raw"][0] == pytest.approx(-0.00471704)
    assert rows["return_percent"]["name"] == "Return %"
    assert rows["won_positions"]["raw"] == [4, 4, 0]
    assert rows["cash_at_start"]["value"] == ["10000", "-", "-"]
    assert rows["cash_at_start"]["raw"][1:] == [None, None]
    assert rows["average_duration_of_winning_positions"]["raw"][0] == 19 * 86_400
    assert len(rows) == len(s1.statistics)


def test_unrealised_returns_by_hand() -> None:
    """Five positions of a tenth each, the open one of 5 % that is 20 % up; two of them close on day 8 or 10 alone."""
    state = make_five_positions().state
    worth = [10_000, 10_100, 10_000, 9_950, 9_950]
    expected = [0.1 * 1000 / worth[0], -0.1 * 1000 / worth[1], -0.05 * 1000 / worth[2], 0.0, 0.2 * 500 / worth[4]]

    returns = calculate_size_relative_unrealised_trading_returns(state)
    assert list(returns.index) == [day(3), day(5), day(8), day(10), day(20)]
    assert returns.tolist() == pytest.approx(expected)

    compounding = calculate_compounding_unrealised_trading_profitability(state)
    assert compounding.iloc[-1] == pytest.approx(np.prod(1 + np.array(expected)) - 1)
    daily = calculate_non_cumulative_daily_returns(state)
    assert len(daily) == 18
    assert daily[day(4)] == 0
    assert daily[day(5)] == pytest.approx(expected[1])
    held = calculate_cumulative_daily_returns(state)
    assert held[day(4)] == held[day(3)] == pytest.approx(expected[0])
    assert held.iloc[-1] == compounding.iloc[-1]


def test_unrealised_returns_of_nothing_are_empty() -> None:
    state = Ledger().state
    assert calculate_non_cumulative_daily_returns(state).empty
    assert calculate_cumulative_daily_returns(state).empty


def test_position_durations_by_hand() -> None:
    table = analyse_position_durations(make_five_positions().state)
    assert table["positions"].tolist() == [4, 1, 2, 1]
    days = pd.Timedelta(days=1)
    assert table.loc["all", ["mean", "median", "shortest", "longest"]].tolist() == [
        1.75 * days, 1.5 * days, days, 3 * days,
    ]  # fmt: skip
    assert table.loc["lost", "mean"] == 2 * days
    assert analyse_position_durations(Ledger().state)["mean"].isna().all()


def test_slippage_by_hand() -> None:
    def decide(input: Any) -> Any:
        pm = input.get_position_manager()
        if input.cycle == 1:
            return pm.open_spot(input.get_default_pair(), value=1000)
        return pm.close_all() if input.cycle == 3 else []

    result = run(decide, daily_universe(), costs=[td.Slippage(bps=50)])
    table = analyse_slippage(result.state)
    assert table["slippage_pct"].tolist() == pytest.approx([0.005, 0.005])
    assert table["slippage_usd"].tolist() == pytest.approx(result.costs["slippage"].tolist())
    assert (table["slippage_tolerance"] == 0.017).all()
    assert (table["delay"] == pd.Timedelta(0)).all()
    assert analyse_transactions(result.state).empty


def test_reserve_events_by_hand() -> None:
    ledger = Ledger()
    ledger.flow(2, 500)
    ledger.flow(3, -200)
    table = analyse_reserve_events(ledger.state)
    assert table["cause"].tolist() == ["deposit", "deposit", "redemption"]
    assert table["quantity"].tolist() == [10_000, 500, -200]
    assert table["balance_before"].tolist() == [0, 10_000, 10_500]
    assert table["cycle_at"].tolist() == [day(0), day(2), day(3)]


def test_strategy_beside_assets_and_cash(s1: BacktestResult) -> None:
    table = compare_strategy_backtest_to_multiple_assets(s1.state, s1.universe)
    assert list(table.columns) == ["Strategy", "ETH", "All cash"]
    assert get_metric(table, "Sharpe") == get_metric(s1.metrics_table, "Sharpe")
    closes = s1.universe.candles.frame(1)["close"]
    assert get_metric(table, "Cumulative Return", "ETH") == pytest.approx(
        closes[datetime(2021, 12, 30)] / closes[datetime(2021, 6, 1)] - 1
    )
    assert get_metric(table, "Cumulative Return", "All cash") == 0
    again = compare_strategy_backtest_to_multiple_assets(None, s1.universe, returns=s1.daily_returns, mode="basic")
    assert len(again) < len(table)
    with pytest.raises(BadInput, match="state of a backtest"):
        compare_strategy_backtest_to_multiple_assets(None, s1.universe)


def test_benchmark_data_are_closes_or_what_cash_had_become(s1: BacktestResult) -> None:
    closes = get_benchmark_data(s1.universe)
    own = s1.universe.candles.frame(1)["close"]
    assert closes["ETH"].tolist() == own.tolist()
    assert closes.index[0] == own.index[0] + timedelta(days=1)
    curve = get_benchmark_data(s1.universe, 500.0, start_at=datetime(2021, 7, 1), end_at=datetime(2021, 8, 1))
    assert list(curve.columns) == ["ETH"]
    assert curve["ETH"].iloc[0] == 500
    assert curve["ETH"].iloc[-1] == pytest.approx(500 * own[datetime(2021, 7, 31)] / own[datetime(2021, 6, 30)])
