"""Figures of a search for parameters show its numbers."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import trading_dagster as td
from tests.tape import START, WETH_USDC, universe_of
from trading_dagster.charts.search_page import write_search_page
from trading_dagster.domain.error import BadInput

HISTORY = pd.DataFrame(
    {"value": [1.0, np.nan, 3.0, 2.0], "best": [1.0, 1.0, 3.0, 3.0]}, index=pd.RangeIndex(1, 5, name="point")
)
TABLE = pd.DataFrame(
    {"Optim": [3.0, 2.0, np.nan], "CAGR": [0.1, 0.2, np.nan]},
    index=pd.MultiIndex.from_tuples(
        [(5, "a", None, 0.5), (6, "b", (1, 2), 0.6), (7, "a", True, 0.7)], names=["fast", "rule", "mixed", "share"]
    ),
)


def curve(values):
    return pd.Series(values, index=pd.date_range(START, periods=len(values), freq="h"), dtype="float64")


def result(label, values):
    equity = None if values is None else curve(values)
    error = ValueError("no") if values is None else None
    return SimpleNamespace(equity_curve=equity, initial_cash=100.0, exception=error, get_label=lambda: label)


def test_progress_has_every_point_and_the_best_so_far():
    points, best = td.visualise_optimisation(HISTORY, name="Sharpe").data
    assert list(points.x) == [1, 2, 3, 4]
    assert np.array_equal(points.y, HISTORY["value"], equal_nan=True)
    assert list(best.y) == [1.0, 1.0, 3.0, 3.0]


def test_progress_without_values_says_so():
    figure = td.visualise_optimisation(HISTORY * np.nan)
    assert figure.layout.annotations[0].text == "No point has a value"


def test_importance_is_drawn_largest_on_top():
    (bars,) = td.visualise_parameter_importance({"a": 0.7, "b": 0.1, "c": 0.2}).data
    assert list(bars.y) == ["b", "c", "a"]
    assert list(bars.x) == [0.1, 0.2, 0.7]
    assert td.visualise_parameter_importance({}).layout.annotations[0].text == "Too few points have a value"


def test_slices_have_a_figure_a_parameter():
    figure = td.visualise_parameter_slices(TABLE)
    assert [list(trace.x) for trace in figure.data] == [
        [5, 6, 7], ["a", "b", "a"], ["None", "(1, 2)", "True"], [0.5, 0.6, 0.7],
    ]  # fmt: skip
    assert all(np.array_equal(trace.y, TABLE["Optim"], equal_nan=True) for trace in figure.data)
    assert figure.layout.xaxis4.title.text == "share"
    with pytest.raises(BadInput, match="no column 'Luck': choose among Optim, CAGR"):
        td.visualise_parameter_slices(TABLE, "Luck")


def test_slices_of_one_parameter():
    (trace,) = td.visualise_parameter_slices(pd.DataFrame({"Optim": [1.0]}, index=pd.Index([5], name="fast"))).data
    assert list(trace.x) == [5]


def test_a_walk_has_a_line_and_a_piece_of_curve_a_window():
    equity = curve(range(100, 124))
    begins = [equity.index[0], equity.index[12]]
    table = pd.DataFrame(
        {"train_start": begins, "test_start": begins, "test_end": [begins[1], equity.index[-1]], "fast": [3, 4],
         "Optim": [1.0, 2.0]}, index=pd.RangeIndex(1, 3, name="window"),
    )  # fmt: skip
    figure = td.visualise_walk_forward(equity, table)
    first, second = figure.data
    assert (first.y[0], first.y[-1], second.y[-1]) == (100.0, 112.0, 123.0)
    assert "Window 2: fast=4" in second.hovertemplate
    assert [shape.x0 for shape in figure.layout.shapes] == [begin.isoformat() for begin in begins]
    assert figure.to_json()


def test_a_result_is_drawn_beside_holding_and_cash():
    universe = universe_of({WETH_USDC: tuple(100.0 + number for number in range(10))})
    figure = td.visualise_single_grid_search_result_benchmark(result("#1", [100.0, 101.0, 99.0]), universe, log_y=True)
    own, held, cash = figure.data
    assert (own.name, held.name, cash.name) == ("#1", "ETH", "All cash")
    assert list(own.y) == [100.0, 101.0, 99.0]
    assert held.y[0] == 100.0
    assert figure.layout.yaxis.type == "log"
    with pytest.raises(BadInput, match="#2 has no equity to draw, it failed: no"):
        td.visualise_single_grid_search_result_benchmark(result("#2", None), universe)


def test_many_results_are_drawn_with_the_first_on_top():
    results = [result("#3", [100.0, 103.0]), result("#2", None), result("#1", [100.0, 99.0])]
    figure = td.visualise_grid_search_equity_curves(results)
    assert [trace.name for trace in figure.data] == ["#1", "#3"]
    assert figure.data[-1].line.width > figure.data[0].line.width
    assert td.visualise_grid_search_equity_curves([]).layout.annotations[0].text == "No result has equity"


def test_a_page_has_a_section_a_part(tmp_path):
    parts = {"Progress": td.visualise_optimisation(HISTORY), "Table": TABLE}
    path = write_search_page(tmp_path / "new" / "page.html", "mine <1>", "5 points", parts)
    text = path.read_text(encoding="utf-8")
    assert "<h2>Progress</h2>" in text
    assert "<h2>Table</h2>" in text
    assert "mine &lt;1&gt;" in text
