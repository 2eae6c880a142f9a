"""Weights before and after, and the older way to rebalance by them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tape import AAVE_USDC, WETH_USDC, Desk

from trading_dagster.domain.error import BadInput, BadWeightsException
from trading_dagster.strategy.alpha_model import AlphaModel
from trading_dagster.strategy.signal_table import format_signals
from trading_dagster.strategy.weight_difference import calculate_weight_diffs, rebalance_portfolio_old
from trading_dagster.strategy.weighting import weight_passthrough

FLAT = [100.0] * 3


def test_differences_are_new_less_old():
    assert calculate_weight_diffs({1: 0.25, 2: 0.75}, {2: 0.5, 3: 0.5}) == {1: -0.25, 2: -0.25, 3: 0.5}
    assert calculate_weight_diffs({}, {1: 1.0}) == {1: 1.0}
    assert calculate_weight_diffs({1: 1.0}, {}) == {1: -1.0}


@pytest.mark.parametrize("weights", [{1: 0.5}, {1: 0.5, 2: 0.5002}, {1: float("nan")}])
def test_weights_that_do_not_sum_to_one_are_refused(weights):
    with pytest.raises(BadWeightsException, match="not to 1"):
        calculate_weight_diffs({1: 1.0}, weights)
    with pytest.raises(BadWeightsException, match="not to 1"):
        calculate_weight_diffs(weights, {1: 1.0})


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.lists(st.floats(0.01, 1), min_size=1, max_size=6))
def test_differences_sum_to_nothing(old, new):
    weights = [{key: part / sum(parts) for key, part in enumerate(parts)} for parts in (old, new)]
    assert sum(calculate_weight_diffs(*weights).values()) == pytest.approx(0, abs=1e-9)


def test_rebalance_sells_first_and_leaves_small_changes_out():
    desk = Desk({WETH_USDC: FLAT, AAVE_USDC: FLAT}).at(0)
    desk.execute(desk.manager.open_spot(WETH_USDC, 1_000))

    sell, buy = rebalance_portfolio_old(desk.manager, {1: 0.6, 2: 0.4}, 1_000)

    assert (sell.pair, float(sell.planned_quantity)) == (WETH_USDC, pytest.approx(-4.0))
    assert (buy.pair, float(buy.planned_reserve)) == (AAVE_USDC, pytest.approx(400))


def test_rebalance_below_the_threshold_trades_nothing():
    desk = Desk({WETH_USDC: FLAT, AAVE_USDC: FLAT}).at(0)
    desk.execute(desk.manager.open_spot(WETH_USDC, 1_000))

    assert rebalance_portfolio_old(desk.manager, {1: 0.991, 2: 0.009}, 1_000) == []


def test_weight_zero_sells_all():
    desk = Desk({WETH_USDC: FLAT, AAVE_USDC: FLAT}).at(0)
    desk.execute(desk.manager.open_spot(WETH_USDC, 1_000))

    trades = rebalance_portfolio_old(desk.manager, {2: 1.0}, 1_000)

    desk.execute(trades)
    assert desk.manager.get_current_position_for_pair(WETH_USDC) is None


def test_signals_as_a_table():
    model = AlphaModel()
    for pair, alpha in ((WETH_USDC, 1.0), (AAVE_USDC, 3.0)):
        model.set_signal(pair, alpha, stop_loss=0.9)
    model.select_top_signals(1)
    model.assign_weights(weight_passthrough)
    model.normalise_weights()

    table = format_signals(model)

    assert table["Pair"].tolist() == ["AAVE-USDC"]
    assert table["Weight"].tolist() == [1.0]
    assert len(format_signals(model, "raw")) == 2
    assert format_signals(model, column_mode="all")["Stop loss"].tolist() == [0.9]
    assert model.calculate_weight_diffs() == {2: 1.0}
    assert format_signals(AlphaModel()).empty
    with pytest.raises(BadInput, match="'chosen' or 'raw'"):
        format_signals(model, "best")
