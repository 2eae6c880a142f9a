"""Equity samples made afterwards are what the portfolio said at the time."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tape import AAVE_USDC, START, WETH_USDC, run_on, universe_of

from trading_dagster.backtest import BacktestRun, plan_backtest
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.strategy.routing import TradeRouting

HOUR = timedelta(hours=1)


def test_quiet_cycles_are_valued_by_their_prices():
    """Buy 10 WETH at 100 in cycle 2; the samples follow the opens."""

    def decide(input):
        return input.get_position_manager().open_spot(WETH_USDC, 1000) if input.cycle == 2 else []

    samples = run_on(universe_of({WETH_USDC: [90.0, 100.0, 110.0, 50.0]}), decide, cycles=4).samples
    assert samples["timestamp"].tolist() == [START + n * HOUR for n in range(4)]
    assert samples["equity"].tolist() == [10_000, 10_000, 10_100, 9500]
    assert samples["cash"].tolist() == [10_000, 9000, 9000, 9000]
    assert samples["position_equity"].tolist() == [0, 1000, 1100, 500]
    assert samples["open_positions"].tolist() == [0, 1, 1, 1]
    assert samples["share_count"].tolist() == [10_000] * 4
    assert samples["share_price"].tolist() == pytest.approx([1, 1, 1.01, 0.95])


def test_purchase_costs_its_fees_at_once():
    def decide(input):
        return input.get_position_manager().open_spot(AAVE_USDC, 1000) if input.cycle == 1 else []

    samples = run_on(universe_of({AAVE_USDC: [50.0, 50.0]}), decide, cycles=2).samples
    assert samples["equity"].tolist() == pytest.approx([9000 + 1000 * 0.997 / 1.003] * 2)


def test_sample_of_a_trigger_stands_after_the_cycle_it_follows_and_at_its_own_time():
    """Feed every 30 min; the stop fires at 0:30 at 90 and the samples are 0:00, 0:30, 1:00."""

    def decide(input):
        return input.get_position_manager().open_spot(WETH_USDC, 1000, stop_loss_pct=0.95) if input.cycle == 1 else []

    universe = universe_of(
        {WETH_USDC: [100.0, 70.0, 70.0]}, feed={WETH_USDC: [100.0, 90.0, 70.0, 70.0]}, feed_bucket=TimeBucket.m30
    )
    samples = run_on(universe, decide, cycles=2).samples
    assert samples["timestamp"].tolist() == [START, START + HOUR / 2, START + HOUR]
    assert samples["equity"].tolist() == [10_000, 9900, 9900]
    assert samples["cash"].tolist() == [9000, 9900, 9900]
    assert samples["open_positions"].tolist() == [1, 0, 0]


def test_trigger_at_the_time_of_the_next_cycle_is_sampled_before_that_cycle():
    def decide(input):
        manager = input.get_position_manager()
        if input.cycle == 1:
            return manager.open_spot(WETH_USDC, 1000, stop_loss_pct=0.95)
        return manager.open_spot(WETH_USDC, 500)

    opens = {WETH_USDC: [100.0, 90.0, 90.0]}
    result = run_on(universe_of(opens, feed=opens), decide, cycles=2)
    assert result.samples["timestamp"].tolist() == [START, START + HOUR, START + HOUR]
    assert result.samples["open_positions"].tolist() == [1, 0, 1]
    assert result.equity_curve.index.is_unique


def test_instant_of_a_trigger_values_other_positions_on_the_feed():
    """WETH is stopped at 0:30; AAVE is worth its feed price of that instant, and its candle's at 1:00."""

    def decide(input):
        manager = input.get_position_manager()
        if input.cycle > 1:
            return []
        return manager.open_spot(WETH_USDC, 1000, stop_loss_pct=0.95) + manager.open_spot(AAVE_USDC, 1000)

    universe = universe_of(
        {WETH_USDC: [100.0, 80.0], AAVE_USDC: [50.0, 70.0]},
        feed={WETH_USDC: [100.0, 90.0, 80.0], AAVE_USDC: [50.0, 60.0, 70.0]},
        feed_bucket=TimeBucket.m30,
    )
    samples = run_on(universe, decide, cycles=2).samples
    aave = 1000 / (50 * 1.003) * 0.997
    assert samples["equity"].tolist() == pytest.approx([9000 + aave * 50, 8900 + aave * 60, 8900 + aave * 70])


def test_samples_of_no_cycles_are_empty():
    plan = plan_backtest(
        decide_trades=lambda _: [],
        universe=universe_of({WETH_USDC: [100.0]}),
        parameters={
            "cycle_duration": CycleDuration.cycle_1h,
            "routing": TradeRouting.default,
            "initial_cash": 100,
            "backtest_start": START,
            "backtest_end": START + HOUR,
        },
    )
    run = BacktestRun(plan)
    _, samples = run.take_segment()
    assert len(samples) == 0
    run.advance(1)
    _, samples = run.take_segment()
    assert len(samples) == 1


@settings(max_examples=40)
@given(
    st.lists(st.floats(min_value=50, max_value=200), min_size=12, max_size=12),
    st.lists(st.sampled_from(["buy", "more", "less", "close", "deposit", "redeem", "wait", "wait"]), min_size=12),
)
def test_samples_equal_the_valuation_asked_for_at_the_time(prices, actions):
    """Bit for bit, whatever happened: what a strategy is told is what the log says."""
    told = []

    def decide(input):
        manager, action = input.get_position_manager(), actions[input.cycle - 1]
        position = manager.get_current_position_for_pair(AAVE_USDC)
        if position is None:
            return manager.open_spot(AAVE_USDC, manager.get_current_cash() / 2) if action == "buy" else []
        if action == "close":
            return manager.close_position(position)
        if action == "more":
            return manager.adjust_position(AAVE_USDC, manager.get_current_cash() / 3, None, 0.5)
        if action == "less":
            return manager.adjust_position(AAVE_USDC, -1.0, position.get_quantity() / Decimal(-3), 0.5)
        return []

    def fund(cycle, timestamp, state, sync_model):
        amount = {"deposit": 123.45, "redeem": -67.8}.get(actions[cycle - 1])
        if amount is not None:
            sync_model.simulate_funding(timestamp, amount)

    def listen(hook_input):
        portfolio = hook_input.state.portfolio
        told.append((portfolio.calculate_total_equity(), portfolio.get_cash(), len(portfolio.open_positions)))

    universe = universe_of({AAVE_USDC: prices})
    samples = run_on(universe, decide, cycles=12, execution_test_hook=fund, after_strategy_tick=listen).samples
    assert list(zip(samples["equity"], samples["cash"], samples["open_positions"], strict=True)) == told
