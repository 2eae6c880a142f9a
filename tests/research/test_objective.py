"""What search functions make of a result, and which results may be chosen."""

import math
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import trading_dagster as td
from trading_dagster.domain.error import BadInput
from trading_dagster.research.grid_outcome import CashUse, GridOutcome
from trading_dagster.research.objective import OBJECTIVES, PENALTY, judge, settle_failures
from trading_dagster.research.optimiser_result import OptimiserResult, analyse_optimiser_result
from trading_dagster.statistics.metrics_table import calculate_advanced_metrics
from trading_dagster.statistics.returns import calculate_rolling_sharpe

NOW = datetime(2024, 1, 1, tzinfo=UTC)
COMBINATIONS = td.prepare_grid_combinations(td.StrategyParameters({"a": list(range(9))}))


def result_of(returns, trades=100, index=0):
    series = pd.Series(returns, index=pd.date_range("2024-01-01", periods=len(returns)), dtype="float64")
    summary = SimpleNamespace(
        total_trades=trades, win_percent=0.6, total_positions=trades, undecided=0, average_trade=0.0, median_trade=0.0,
        time_in_market=0.5,
    )  # fmt: skip
    outcome = GridOutcome(
        1000.0, NOW, NOW, summary, calculate_advanced_metrics(series, "full"), 1000 * (1 + series).cumprod(), series,
        CashUse(0.5, 0.75),
    )  # fmt: skip
    return td.GridSearchResult(COMBINATIONS[index], outcome)


def noisy(drift, sigma=0.01, days=400):
    return np.random.default_rng(1).normal(drift, sigma, days)


@pytest.fixture(scope="module")
def good():
    return result_of(noisy(0.002))


def expected(result):
    returns = result.returns.to_numpy()
    wealth = np.concatenate([[1.0], (1 + returns).cumprod()])
    drawdown = wealth / np.maximum.accumulate(wealth) - 1
    sharpe = returns.mean() / returns.std(ddof=1) * math.sqrt(365)
    total = wealth[-1] - 1
    growth = wealth[-1] ** (365 / (len(returns) - 1)) - 1
    ulcer = math.sqrt((drawdown**2).mean())
    deepest = -drawdown.min()
    limit = returns.mean() - 1.6448536269514722 * returns.std(ddof=1)
    losses = -returns[returns < 0].sum()
    rolling = calculate_rolling_sharpe(result.returns, "D", 180).dropna()
    return {
        "profit": growth,
        "sharpe": sharpe,
        "max-drawdown": deepest,
        "sharpe-and-max-drawdown": sharpe / deepest,
        "calmar": growth / deepest,
        "gain-to-pain": returns.sum() / losses,
        "win-rate": 0.6,
        "cvar": -returns[returns < limit].mean(),
        "recovery-factor": total / deepest,
        "balanced-sharpe-and-max-drawdown": 0.5 * (1 - deepest) + 0.5 * min(sharpe, 3) / 3,
        "balanced-cagr-and-sharpe": 0.6 * max(-5, min(growth, 5)) / 5 + 0.4 * max(-3, min(sharpe, 3)) / 3,
        "rolling-sharpe": rolling.mean() / rolling.std(ddof=1),
        "ulcer-index": ulcer,
        "ulcer-performance": growth / ulcer,
    }


@pytest.mark.parametrize("drift", [0.002, 0.0, -0.002])
@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"sortino", "probabilistic-sharpe"}))
def test_an_objective_is_what_it_says(name, drift):
    result = result_of(noisy(drift))
    tolerance = 0.02 if "ulcer" in name else 1e-6  # whether the starting point counts as a day
    assert OBJECTIVES[name](result).get_original_value() == pytest.approx(expected(result)[name], rel=tolerance)


def test_sortino_and_the_probabilistic_ratio_are_those_of_the_metrics(good):
    assert td.optimise_sortino(good).value == -good.get_sortino()
    assert td.optimise_probabilistic_sharpe(good).value == -good.get_metric("Prob. Sharpe Ratio")


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_the_better_strategy_has_the_smaller_value(name):
    better, worse = result_of(noisy(0.003, 0.01)), result_of(noisy(-0.001, 0.02))
    if name == "win-rate":
        assert OBJECTIVES[name](better).negative
    else:
        assert OBJECTIVES[name](better).value < OBJECTIVES[name](worse).value


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_returns_that_never_vary_are_no_best(name):
    judged = judge(result_of([0.0] * 400), OBJECTIVES[name], lambda result: result.get_trade_count() > 100)
    assert not judged.is_valid()
    assert judged.value == (0.0 if judged.negative else PENALTY)


def test_the_filter_wants_more_trades_than_its_number(good):
    assert not td.MinTradeCountFilter(100)(good)
    assert td.MinTradeCountFilter(99)(good)


def test_what_may_not_be_chosen_never_ranks_as_best():
    failed = td.GridSearchResult(COMBINATIONS[3], GridOutcome(1000.0, NOW, NOW, exception=td.BadInput("no")))
    results = [
        result_of([0.0] * 50, index=0),
        result_of(noisy(0.01), trades=3, index=1),
        failed,
        result_of(noisy(-0.001), index=4),
        result_of(noisy(-0.002), index=5),
    ]
    tried = [judge(each, td.optimise_sharpe, td.MinTradeCountFilter(50)) for each in results]
    found = OptimiserResult(td.StrategyParameters({}), tried)
    assert [each.combination.index for each in found.results] == [5, 6, 1, 2, 4]
    assert found.best.value > 0  # a Sharpe ratio below 0, and still the best there is
    assert (found.get_failed_count(), found.get_filtered_count(), found.get_combination_count()) == (1, 2, 5)
    assert list(found.history["best"].isna()) == [True, True, True, False, False]
    assert found.history["best"].iloc[-1] == found.best.get_original_value() < 0
    table = analyse_optimiser_result(found)
    assert list(table.index) == [4, 5]
    assert list(table["Optim"]) == [each.get_original_value() for each in found.results[:2]]
    assert len(analyse_optimiser_result(found, exclude_filtered=False)) == 5
    assert len(analyse_optimiser_result(found, max_search_results=1)) == 1


@pytest.mark.parametrize(("search_func", "expected"), [(td.optimise_sharpe, 0.0), (td.optimise_max_drawdown, PENALTY)])
def test_a_failure_has_the_value_of_what_may_not_be_chosen(good, search_func, expected):
    failed = td.GridSearchResult(COMBINATIONS[3], GridOutcome(1000.0, NOW, NOW, exception=td.BadInput("no")))
    judged = [judge(each, search_func, td.MinTradeCountFilter(1)) for each in (failed, good)]
    first, second = settle_failures(judged)
    assert (first.value, first.negative, first.is_valid()) == (expected, second.negative, False)
    assert second is judged[1]


def test_nothing_to_choose_has_no_best():
    tried = [judge(result_of([0.0] * 50), td.optimise_sharpe, td.MinTradeCountFilter(50))]
    found = OptimiserResult(td.StrategyParameters({}), tried)
    assert found.best is None
    assert analyse_optimiser_result(found).empty


def test_a_search_function_of_ones_own_must_return_a_result(good):
    with pytest.raises(BadInput, match=r"Search function get_cagr returned .* return OptimiserSearchResult\.maximise"):
        judge(good, td.GridSearchResult.get_cagr, td.MinTradeCountFilter(1))
