"""Combinations, tables of results, and choosing among them."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

import trading_dagster as td
from trading_dagster.domain.error import BadInput, ParameterMissing
from trading_dagster.research.grid_outcome import CashUse, GridOutcome, measure_cash
from trading_dagster.research.grid_table import COLUMNS
from trading_dagster.statistics.metrics_table import calculate_advanced_metrics
from trading_dagster.statistics.trade_analysis import build_trade_analysis

NOW = datetime(2024, 1, 1, tzinfo=UTC)


class Parameters:
    fast = [5, 10]  # noqa: RUF012
    slow = [20, 40, 80]  # noqa: RUF012
    single = [7]  # noqa: RUF012
    plain = 3
    window = (1, 2)


def test_combinations_are_the_product_in_the_order_of_the_class():
    combinations = td.prepare_grid_combinations(Parameters)
    assert [c.index for c in combinations] == [1, 2, 3, 4, 5, 6]
    assert [(c.parameters.fast, c.parameters.slow) for c in combinations] == [
        (5, 20), (5, 40), (5, 80), (10, 20), (10, 40), (10, 80),
    ]  # fmt: skip
    assert combinations[3].get_label() == combinations[3].label == "#4, fast=10, slow=20"
    assert {(c.parameters.single, c.parameters.plain, c.parameters.window) for c in combinations} == {(7, 3, (1, 2))}
    assert combinations[0].get_parameter("plain") == 3


def test_no_list_is_one_combination():
    (only,) = td.prepare_grid_combinations(td.StrategyParameters({"a": 1}))
    assert (only.label, only.searched) == ("#1", ())


def test_empty_list_is_refused():
    with pytest.raises(BadInput, match=r"Parameters\.a is an empty list"):
        td.prepare_grid_combinations(td.StrategyParameters({"a": []}))


def test_values_are_checked_as_those_of_a_backtest():
    with pytest.raises(td.ParameterTypeInvalid, match="initial_cash"):
        td.prepare_grid_combinations(td.StrategyParameters({"initial_cash": [100, "much"]}))


@pytest.fixture(scope="module")
def summary():
    result = td.run_backtest("strategies/ema_cross.py", end=datetime(2018, 3, 1), progress=False)
    return build_trade_analysis(result.state.portfolio).calculate_summary_statistics(
        result.universe.time_bucket, result.state, result.equity_curve
    )


@pytest.fixture(scope="module")
def results(summary):
    """Return six results: drift falls with fast, noise grows with slow; the last one failed."""
    made = []
    for combination in td.prepare_grid_combinations(Parameters):
        fast, slow = combination.parameters.fast, combination.parameters.slow
        noise = np.random.default_rng(0).normal(0, slow / 4000, 300)
        returns = pd.Series(noise + 0.02 / fast, index=pd.date_range("2024-01-01", periods=300))
        outcome = GridOutcome(
            1000.0, NOW, NOW, summary, calculate_advanced_metrics(returns, "full"), 1000 * (1 + returns).cumprod(),
            returns, CashUse(0.5, 0.75),
        )  # fmt: skip
        made.append(td.GridSearchResult(combination, outcome))
    failed = td.GridSearchResult(made[-1].combination, GridOutcome(1000.0, NOW, NOW, exception=td.BadInput("no")))
    return [*made[:-1], failed]


def test_table_has_a_row_a_combination(results, summary):
    table = td.analyse_grid_search_result(results)
    assert list(table.columns) == list(COLUMNS)
    assert table.index.names == ["fast", "slow"]
    row = table.loc[(5, 40)]
    assert row["CAGR"] == results[1].get_cagr()
    assert row["Max DD"] == results[1].get_max_drawdown() <= 0
    assert row["Positions"] == summary.total_positions + summary.undecided
    assert (row["Avg capital util"], row["Max cash %"]) == (0.5, 0.75)
    assert row["Win rate"] == summary.win_percent
    assert np.isnan(row["Optim"])
    failed = table.loc[(10, 80)]
    assert (failed["Positions"], failed["Trades"]) == (0, 0)
    assert failed.drop(["Positions", "Trades"]).isna().all()


def test_one_combination_is_its_row_of_the_table(results):
    row = td.analyse_combination_grid_search(results[1])
    assert list(row.items())[:2] == [("fast", 5), ("slow", 40)]
    table = td.analyse_grid_search_result(results)
    assert {name: row[name] for name in ("CAGR", "Trades", "PSR")} == table.loc[
        (5, 40), ["CAGR", "Trades", "PSR"]
    ].to_dict()
    assert "CAGR" not in td.analyse_combination_grid_search(results[1], min_positions_threshold=10_000)


def test_few_positions_have_no_measures(results):
    table = td.analyse_grid_search_result(results, min_positions_threshold=10_000)
    assert table["CAGR"].isna().all()
    assert (table["Positions"].iloc[:5] > 0).all()


def test_index_is_flat_for_one_parameter_and_counts_for_none(results):
    one = td.prepare_grid_combinations(td.StrategyParameters({"a": [1, 2]}))
    made = [td.GridSearchResult(c, results[0].outcome) for c in one]
    assert list(td.analyse_grid_search_result(made).index) == [1, 2]
    alone = td.prepare_grid_combinations(td.StrategyParameters({"a": 1}))
    assert (
        td.analyse_grid_search_result([td.GridSearchResult(alone[0], results[0].outcome)]).index.name == "combination"
    )


def test_text_has_percent_signs(results):
    text = td.render_grid_search_result_table(results)
    pd.testing.assert_frame_equal(text, td.render_grid_search_result_table(td.analyse_grid_search_result(results)))
    assert text.loc[(5, 20), "Avg capital util"] == "50.00%"
    assert text.loc[(10, 80), "CAGR"] == "-"
    assert "." not in text.loc[(5, 20), "Positions"]


def test_the_best_are_found_and_failures_are_never_best(results):
    best = td.find_best_grid_search_results(results)
    assert best.cagr is max(results[:5], key=td.GridSearchResult.get_cagr)
    assert best.max_drawdown is max(results[:5], key=td.GridSearchResult.get_max_drawdown)
    assert best.sharpe is td.pick_best_grid_search_result(results, td.GridSearchResult.get_sharpe)
    assert td.find_best_grid_search_results(results[5:]) == td.GridSearchBest(None, None, None, None)
    ordered = td.order_grid_search_results_by_metric(results, "Sharpe")
    assert ordered[0] is best.sharpe
    assert ordered[-1] is results[5]


def test_one_result_is_picked_by_its_parameters(results):
    assert td.pick_grid_search_result(results, fast=5, slow=40) is results[1]
    with pytest.raises(BadInput, match=r"No combination has fast=6: there are 6, such as #1"):
        td.pick_grid_search_result(results, fast=6)
    with pytest.raises(BadInput, match="3 combinations have fast=5: name more"):
        td.pick_grid_search_result(results, fast=5)
    with pytest.raises(ParameterMissing, match="Did you mean 'fast'"):
        td.pick_grid_search_result(results, fst=5)


def test_cash_use_counts_from_the_first_position():
    samples = pd.DataFrame({"cash": [10.0, 2.0, 5.0], "equity": [10.0, 10.0, 10.0], "open_positions": [0, 1, 1]})
    use = measure_cash(samples)
    assert use.utilisation == pytest.approx(1 - 17 / 30)
    assert use.max_cash == 0.5


def test_heat_map_has_a_cell_a_combination(results):
    table = td.analyse_grid_search_result(results)
    figure = td.visualise_heatmap_2d(table, "fast", "slow", "Sharpe")
    heat = figure.data[0]
    assert (list(heat.x), list(heat.y)) == (["5", "10"], ["20", "40", "80"])
    assert heat.z[1][0] == table.loc[(5, 40), "Sharpe"]
    assert heat.text[2][1] == ""
    assert figure.layout.title.text == "Sharpe by fast and slow"


def test_heat_map_of_further_parameters_is_their_mean():
    index = pd.MultiIndex.from_product([[1, 2], [3, 4], [5, 6]], names=["a", "b", "c"])
    table = pd.DataFrame({"CAGR": np.arange(8.0)}, index=index)
    heat = td.visualise_heatmap_2d(table, "a", "c", "CAGR").data[0]
    assert heat.z[0][0] == table["CAGR"].loc[(1, slice(None), 5)].mean()


def test_heat_map_orders_numbers_and_leaves_words():
    index = pd.MultiIndex.from_product([[20, 5], ["wide", "narrow"]], names=["a", "b"])
    heat = td.visualise_heatmap_2d(pd.DataFrame({"CAGR": [1.0, 2.0, 3.0, 4.0]}, index=index), "a", "b", "CAGR").data[0]
    assert (list(heat.x), list(heat.y)) == (["5", "20"], ["wide", "narrow"])
    assert [list(row) for row in heat.z] == [[3.0, 1.0], [4.0, 2.0]]


def test_heat_map_without_values_says_so():
    index = pd.MultiIndex.from_product([[1, 2], [3]], names=["a", "b"])
    figure = td.visualise_heatmap_2d(pd.DataFrame({"CAGR": [np.nan, np.nan]}, index=index), "a", "b", "CAGR")
    assert figure.layout.annotations[0].text == "No combination has a value of CAGR"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a", "z", "CAGR"), "'z' is not one of two searched parameters: choose among a, b"),
        (("a", "a", "CAGR"), "'a' is not one of two"),
        (("a", "b", "Luck"), "no column 'Luck': choose among CAGR"),
    ],
)
def test_heat_map_of_what_is_not_there_is_refused(arguments, message):
    index = pd.MultiIndex.from_product([[1, 2], [3]], names=["a", "b"])
    with pytest.raises(BadInput, match=message):
        td.visualise_heatmap_2d(pd.DataFrame({"CAGR": [1.0, 2.0]}, index=index), *arguments)
