"""Cash that is spread over yield positions by rules: amounts, tolerance, release, and what is refused."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.loan_scenario import lending_universe, run_with_loans
from tests.scenario import WETH_USDC
from trading_dagster.domain.error import InvalidTrade
from trading_dagster.strategy.execution_context import ExecutionMode
from trading_dagster.strategy.yield_manager import YieldDecisionInput, YieldManager, YieldRuleset, YieldWeightingRule


def rules_for(universe, **changes):
    options = {"position_allocation": 0.95, "buffer_pct": 0.01, "cash_change_tolerance_usd": 50.0}
    weights = [YieldWeightingRule(universe.get_credit_supply_pair(), 1)]
    return YieldRuleset(**{**options, "weights": weights, **changes})


def decision_of(input, trades=(), redemptions=0.0):
    equity = input.state.portfolio.calculate_total_equity()
    return YieldDecisionInput(
        ExecutionMode.backtesting, input.cycle, input.timestamp, equity, list(trades), redemptions
    )


def run(plan, **changes):
    """Run a plan that gets (input, yield manager) each cycle; returns the result and all yield results."""
    results = []
    universe = lending_universe(datetime(2023, 1, 30))

    def decide(input):
        manager = input.get_position_manager()
        made = plan(input, YieldManager(manager, rules_for(input.strategy_universe, **changes)))
        trades, result = made if isinstance(made, tuple) else ([], made)
        results.append(result)
        return [*trades, *result.trades]

    return run_with_loans(decide, universe=universe), results


def test_all_but_the_cash_kept_is_lent_out_once():
    result, yields = run(lambda given, manager: manager.calculate_yield_management(decision_of(given)))
    assert yields[0].available_for_yield == pytest.approx(9_500)
    assert [len(y.trades) for y in yields] == [1, 0, 0, 0]
    assert result.state.portfolio.get_cash() == pytest.approx(500)
    (position,) = result.state.portfolio.open_positions.values()
    assert position.get_value() > 9_500


def test_money_for_trades_is_released_first():
    def plan(input, manager):
        trades = manager.position_manager.open_spot(WETH_USDC, 3_000) if input.cycle == 2 else []
        return trades, manager.calculate_yield_management(decision_of(input, trades))

    result, yields = run(plan)
    assert yields[1].trade_cash_diff == 3_000
    assert [len(y.trades) for y in yields] == [1, 2, 0, 0]
    opened = next(t for t in yields[1].trades if not t.closing)
    assert float(opened.planned_reserve) == pytest.approx(6_500, abs=1)
    assert len(result.state.portfolio.open_positions) == 2


def test_sells_count_less_a_buffer_and_redemptions_stay_payable():
    def plan(input, manager):
        if input.cycle == 1:
            trades = manager.position_manager.open_spot(WETH_USDC, 1_000)
        else:
            trades = manager.position_manager.close_all(credit_supply=False) if input.cycle == 2 else []
        return trades, manager.calculate_yield_management(decision_of(input, trades, redemptions=100.0))

    _, yields = run(plan)
    sold = -yields[1].trade_cash_diff
    assert sold == pytest.approx(0.99 * 1_000, rel=0.06)
    assert yields[0].available_for_yield == pytest.approx(10_000 - 1_000 - 500 - 100)


def test_safe_variant_releases_all_when_nothing_is_left():
    def plan(input, manager):
        redemptions = 9_600.0 if input.cycle == 3 else 0.0
        return manager.calculate_yield_management_safe(decision_of(input, redemptions=redemptions))

    result, yields = run(plan)
    assert yields[2].available_for_yield < 0
    assert [t.closing for t in yields[2].trades] == [True]
    assert len(result.state.portfolio.closed_positions) == 1

    def plan_nothing(input, manager):
        return manager.calculate_yield_management_safe(decision_of(input, redemptions=20_000.0))

    assert all(not y.trades for y in run(plan_nothing)[1])


def test_nothing_available_is_an_error_otherwise():
    def plan(input, manager):
        with pytest.raises(AssertionError, match="are available for yield"):
            manager.calculate_yield_management(decision_of(input, redemptions=10_000.0))
        return manager.calculate_yield_management_safe(decision_of(input, redemptions=10_000.0))

    assert not run(plan)[0].state.portfolio.get_all_trades()


def test_rules_that_contradict_themselves_are_refused():
    universe = lending_universe(datetime(2023, 1, 30))
    credit = universe.get_credit_supply_pair()
    with pytest.raises(InvalidTrade, match="last yield rule"):
        rules_for(universe, weights=[YieldWeightingRule(credit, 0.5)])
    with pytest.raises(InvalidTrade, match="one yield rule"):
        rules_for(universe, weights=[YieldWeightingRule(credit, 0.5), YieldWeightingRule(credit, 1)])
    with pytest.raises(InvalidTrade, match="yields nothing"):
        YieldWeightingRule(WETH_USDC, 1)
    with pytest.raises(InvalidTrade, match="fractions"):
        rules_for(universe, position_allocation=95)
