"""Weights over time add up to the equity that a run sampled, trigger instants included."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from loan_scenario import (
    decide_credit_flow,
    lending_universe,
    open_short_and_close,
    open_short_and_hold,
    open_short_with_stop_loss,
    run_with_loans,
)
from random_strategy import Parameters, decide_by_seed, make_universe

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.state import State
from trading_dagster.statistics.asset_weight import calculate_asset_weights, calculate_chain_weights, value_positions
from trading_dagster.statistics.equity_curve import calculate_daily_returns, calculate_equity_curve

STRATEGIES = Path(__file__).parents[2] / "strategies"


@pytest.mark.parametrize("seed", range(4))
def test_cash_and_assets_are_the_equity(seed):
    result = run_backtest(
        universe=make_universe(seed), parameters=Parameters, decide_trades=decide_by_seed(seed), progress=False
    )
    weights = calculate_asset_weights(result.state)

    assert len(weights) < len(result.samples)  # a trigger at a cycle's time has a sample of its own
    assert next(iter(weights)) == "USDC"
    assert set(weights) == {"USDC", "WETH", "AAVE", "LINK"}
    np.testing.assert_allclose(weights.sum(axis=1), result.equity_curve, rtol=1e-12)
    assert (weights >= 0).all(axis=None)


def test_real_sample_with_stops_adds_up_at_every_instant():
    result = run_backtest(STRATEGIES / "ema_cross.py", progress=False)
    values = value_positions(result.state)
    total = values.cash + sum(part for _, part in values.by_position.values())

    np.testing.assert_allclose(total, values.equity, rtol=1e-12)
    position = result.state.portfolio.closed_positions[1]
    _, worth = values.by_position[1]
    is_open = (values.times >= position.opened_at) & (values.times < position.closed_at)
    assert (worth[is_open] > 0).all()
    assert not worth[~is_open].any()


def test_chains_hold_what_their_tokens_are_worth():
    result = run_backtest(
        universe=make_universe(1), parameters=Parameters, decide_trades=decide_by_seed(1), progress=False
    )
    chains = calculate_chain_weights(result.state)
    assert list(chains) == ["ethereum"]
    np.testing.assert_allclose(chains["ethereum"], result.equity_curve, rtol=1e-12)


@pytest.mark.parametrize(
    "decide", [open_short_and_hold, open_short_and_close, open_short_with_stop_loss], ids=lambda decide: decide.__name__
)
def test_loans_are_worth_what_the_run_said(decide):
    result = run_with_loans(decide, datetime(2023, 1, 20))
    values = value_positions(result.state)
    assert values.by_position
    np.testing.assert_allclose(
        values.cash + sum(part for _, part in values.by_position.values()), values.equity, rtol=1e-9
    )


def test_credit_is_worth_what_the_run_said():
    result = run_with_loans(decide_credit_flow(), datetime(2023, 6, 1), universe=lending_universe(datetime(2023, 6, 1)))
    values = value_positions(result.state)
    assert len(values.by_position) > 10
    np.testing.assert_allclose(
        values.cash + sum(part for _, part in values.by_position.values()), values.equity, rtol=1e-9
    )


def test_state_without_samples_is_refused():
    result = run_backtest(
        universe=make_universe(1), parameters=Parameters, decide_trades=decide_by_seed(1), progress=False
    )
    replayed = State.replay(result.events)
    with pytest.raises(BadInput, match="no equity samples"):
        calculate_equity_curve(replayed)
    with pytest.raises(BadInput, match="state of a backtest's result"):
        value_positions(replayed)


def test_samples_are_read_one_by_one_too():
    result = run_backtest(
        universe=make_universe(1), parameters=Parameters, decide_trades=decide_by_seed(1), progress=False
    )
    stats, row = result.state.stats, result.samples.iloc[-1]
    latest = stats.get_latest_portfolio_stats()
    assert latest is not None
    assert (latest.calculated_at, latest.total_equity, latest.free_cash) == (row.timestamp, row.equity, row.cash)
    assert len(stats.portfolio) == len(result.samples)
    assert calculate_daily_returns(result.state).equals(result.daily_returns)
    assert stats.portfolio[1].calculated_at - stats.portfolio[0].calculated_at <= timedelta(hours=4)
