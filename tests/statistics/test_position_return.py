"""Series of realised returns and returns without deposits, calculated by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from tests.ledger import AAVE_USDC, Ledger, day, make_five_positions
from tests.scenario import decide_to_hold, flat_universe, run
from trading_dagster.backtest import BacktestResult
from trading_dagster.domain.state import State
from trading_dagster.domain.time import TimeBucket
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.statistics.position_return import (
    calculate_compounding_realised_trading_profitability,
    calculate_investment_flow,
    calculate_long_compounding_realised_trading_profitability,
    calculate_realised_profitability,
    calculate_short_compounding_realised_trading_profitability,
    calculate_size_relative_realised_trading_returns,
    calculate_state_deposit_adjusted_returns,
)
from trading_dagster.statistics.trade_analysis import build_trade_analysis
from trading_dagster.statistics.trade_summary import TradeSummary


def near(value: object) -> Any:
    return pytest.approx(value, rel=1e-9, abs=0)


def summarise(result: BacktestResult) -> TradeSummary:
    analysis = build_trade_analysis(result.state.portfolio)
    return analysis.calculate_summary_statistics(TimeBucket.d1, result.state, result.equity_curve)


@pytest.fixture
def five_positions() -> Ledger:
    return make_five_positions()


def test_series_of_realised_profit_by_hand(five_positions: Ledger) -> None:
    state = five_positions.state
    percents = calculate_realised_profitability(state)
    assert percents.index.tolist() == [day(3), day(5), day(8), day(10)]
    assert percents.tolist() == pytest.approx([0.1, -0.1, -0.05, 0.0])
    relative = calculate_size_relative_realised_trading_returns(state)
    assert relative.tolist() == pytest.approx([100 / 10_000, -100 / 10_100, -50 / 10_000, 0])
    compounding = calculate_compounding_realised_trading_profitability(state)
    assert compounding.index.tolist() == [day(0), day(3), day(5), day(8), day(10), day(20)]
    assert compounding.tolist() == pytest.approx([0, 0.01, 0, -0.005, -0.005, -0.005])
    pd.testing.assert_series_equal(compounding, calculate_long_compounding_realised_trading_profitability(state))
    short = calculate_short_compounding_realised_trading_profitability(state)
    assert short.to_dict() == {day(0): 0, day(20): 0}


def test_positions_of_the_warm_up_do_not_compound(five_positions: Ledger) -> None:
    data = five_positions.state.backtest_data
    assert data is not None
    data.ready_at = day(4)
    compounding = calculate_compounding_realised_trading_profitability(five_positions.state)
    assert compounding.index[0] == day(4)
    assert compounding.iloc[-1] == near((1 - 100 / 10_100) * 0.995 - 1)
    assert five_positions.summary().time_in_market == near((4 + 1 + 9) / 16)
    data.ready_at = day(5)  # at the closing of the second
    assert calculate_compounding_realised_trading_profitability(five_positions.state).iloc[0] == near(-100 / 10_100)


def test_closings_at_one_time_compound_to_one_value() -> None:
    ledger = Ledger(days=5)
    first, second = ledger.buy(1, 1000, 100), ledger.buy(1, 1000, 10, pair=AAVE_USDC)
    ledger.sell(5, first, 110)
    ledger.sell(5, second, 9)
    assert calculate_realised_profitability(ledger.state).tolist() == pytest.approx([0.1, -0.1])
    compounding = calculate_compounding_realised_trading_profitability(ledger.state)
    assert compounding.index.tolist() == [day(0), day(5)]
    assert compounding.iloc[-1] == near(1.01 * 0.99 - 1)
    summary = ledger.summary()
    assert summary.time_in_market == near(0.8)
    assert summary.average_duration_between_position_openings == timedelta(0)


def test_deposits_by_the_execution_test_hook() -> None:
    def move_money(cycle: int, timestamp: datetime, state: State, sync_model: Any) -> None:
        if timestamp == datetime(2021, 7, 10):
            sync_model.simulate_funding(timestamp, 5000)
            sync_model.simulate_funding(timestamp - timedelta(hours=1), 500)
        if timestamp == datetime(2021, 8, 1):
            sync_model.simulate_funding(timestamp, -2000)

    result = run(decide_to_hold, flat_universe(), execution_test_hook=move_money)
    flows = calculate_investment_flow(result.state)
    assert flows.to_dict() == {datetime(2021, 6, 1): 10_000, datetime(2021, 7, 10): 5500, datetime(2021, 8, 1): -2000}

    summary = summarise(result)
    fees = 1000 * (1 - 0.997 / 1.003)
    assert summary.initial_cash == 10_000
    assert summary.later_flows == 3500
    assert summary.end_value == near(13_500 - fees)
    assert summary.return_percent == near(0.35 - fees / 10_000)
    assert summary.unrealised_profit == near(-fees)
    assert result.statistics.loc["Later deposits less redemptions, USD"].tolist() == [3500, "-", "-"]

    adjusted = calculate_state_deposit_adjusted_returns(result.state, result.equity_curve, "ME")
    assert len(adjusted) == 7
    assert adjusted.to_numpy() == pytest.approx(0, abs=1e-9)
    by_9_days = calculate_state_deposit_adjusted_returns(result.state, result.equity_curve, "9D")
    assert by_9_days.to_numpy() == pytest.approx(0, abs=1e-9)


def test_deposit_adjusted_returns_by_hand() -> None:
    ledger = Ledger()
    ledger.flow(5, 500)
    ledger.flow(31, 250)  # on 1 February: in the first sample of the month
    ledger.flow(40, -100)
    ledger.flow(41, 33, BalanceUpdateCause.correction)
    times = [day(0), day(5), day(30), day(31), day(39), day(40.5), day(42)]
    equity = pd.Series([10_000, 10_510, 10_520, 10_780, 10_790.0, 10_700, 10_750], index=pd.DatetimeIndex(times))
    adjusted = calculate_state_deposit_adjusted_returns(ledger.state, equity)
    assert adjusted.index.tolist() == [datetime(2022, 1, 31), datetime(2022, 2, 28)]
    assert adjusted.tolist() == pytest.approx([10_520 - 10_000 - 500, 10_750 - 10_780 + 100])
    assert ledger.summary().later_flows == 650


def test_last_of_samples_at_one_time_counts() -> None:
    times = pd.DatetimeIndex([day(0), day(0), day(2), day(2)])
    equity = pd.Series([1.0, 10_000.0, 2.0, 10_100.0], index=times)
    assert calculate_state_deposit_adjusted_returns(Ledger().state, equity).tolist() == [100]


def test_flow_after_the_last_sample_does_not_show_yet() -> None:
    ledger = Ledger()
    ledger.flow(3, 500)
    equity = pd.Series([10_000.0, 10_100.0], index=pd.DatetimeIndex([day(0), day(2)]))
    assert calculate_state_deposit_adjusted_returns(ledger.state, equity).tolist() == [100]
