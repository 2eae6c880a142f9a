"""Charts of a strategy are rendered one by one: whatever one of them does, the others are there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
from matplotlib.figure import Figure as MatplotlibFigure
from random_strategy import PAIRS, Parameters, decide_by_seed, make_universe

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.charts.rendering import ChartBacktestRenderingSetup, Markup, Picture, choose_pairs, render_charts
from trading_dagster.domain.error import ChartFailed, ChartNotValid, StrategyModuleNotValid, UnknownChart
from trading_dagster.strategy.chart import ChartInput, ChartKind, ChartRegistry
from trading_dagster.strategy.indicator_lookup import StrategyInputIndicators
from trading_dagster.strategy.module import load_strategy_module

STRATEGIES = Path(__file__).parents[2] / "strategies"


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    return run_backtest(
        universe=make_universe(2), parameters=Parameters, decide_trades=decide_by_seed(2), progress=False
    )


def chart_of(output, kind=ChartKind.state_all_pairs, name="made"):
    def made(input):
        """Show what the test gave."""
        return output(input) if callable(output) else output

    made.__name__ = name
    charts = ChartRegistry()
    charts.register(made, kind)
    return charts


@pytest.mark.parametrize(
    ("output", "kinds"),
    [
        (go.Figure(), [go.Figure]),
        (pd.DataFrame({"a": [1]}), [pd.DataFrame]),
        (pd.Series([1.0], name="a"), [pd.DataFrame]),
        ((go.Figure(), pd.DataFrame()), [go.Figure, pd.DataFrame]),
        ([go.Figure(), go.Figure()], [go.Figure, go.Figure]),
        (lambda _: MatplotlibFigure(), [Picture]),
        ("<b>x</b>", [Markup]),
        ([], []),
    ],
)
def test_everything_that_can_be_shown_is_taken_apart(result, output, kinds):
    (rendered,) = render_charts(chart_of(output), result.chart_input)
    assert rendered.error == ""
    assert [type(part) for part in rendered.parts] == kinds


def test_objects_with_html_are_taken_by_it(result):
    class Html:
        def _repr_html_(self):
            return "<i>y</i>"

    (rendered,) = render_charts(chart_of(Html()), result.chart_input)
    assert rendered.parts == (Markup("<i>y</i>"),)


def test_failing_chart_is_named_and_leaves_the_others(result):
    charts = ChartRegistry()

    @charts.define(ChartKind.state_all_pairs)
    def first(input):
        """Draw."""
        return go.Figure()

    @charts.define(ChartKind.state_all_pairs)
    def broken(input):
        """Fail."""
        return input.state.no_such_thing

    @charts.define(ChartKind.state_all_pairs)
    def odd(input):
        """Return what cannot be shown."""
        return 3

    @charts.define(ChartKind.state_all_pairs)
    def last(input):
        """Draw."""
        return pd.DataFrame()

    rendered = render_charts(charts, result.chart_input)

    assert [(each.chart.id, bool(each.parts)) for each in rendered] == [
        ("first", True), ("broken", False), ("odd", False), ("last", True),
    ]  # fmt: skip
    assert "Chart 'broken' raised AttributeError" in rendered[1].error
    assert "no_such_thing" in rendered[1].error
    assert "Chart 'odd' returned int: return a figure" in rendered[2].error


def test_charts_that_need_a_state_wait_for_the_run(result):
    charts = chart_of(go.Figure(), ChartKind.indicator_all_pairs)
    charts.register(chart_of(go.Figure(), name="later").find("later").func, ChartKind.state_all_pairs)
    indicators = StrategyInputIndicators(result.universe, result.indicators)

    before = ChartBacktestRenderingSetup(charts, strategy_input_indicators=indicators)
    after = ChartBacktestRenderingSetup(charts, strategy_input_indicators=indicators, state=result.state)

    assert [each.chart.id for each in before.render_all()] == ["made"]
    assert [each.chart.id for each in after.render_all()] == ["made", "later"]
    assert after.input.start_at == result.plan.start


def test_notebook_renders_one_chart_with_its_own_pairs_and_options(result):
    charts = ChartRegistry()

    @charts.define(ChartKind.state_single_pair)
    def tickers(input: ChartInput, suffix: str = ""):
        """Name the pairs."""
        return [pair.get_ticker() + suffix for pair in input.require_pairs()]

    indicators = StrategyInputIndicators(result.universe, result.indicators)
    setup = ChartBacktestRenderingSetup(charts, indicators, result.state)
    description = (PAIRS[1].chain_id, None, "AAVE", "USDC")

    assert setup.render(tickers, pairs=PAIRS[2]) == ["LINK-USDC"]
    assert setup.render("tickers", pairs=PAIRS[:2], suffix="!") == ["WETH-USDC!", "AAVE-USDC!"]
    assert setup.render(tickers, pairs=[description]) == ["AAVE-USDC"]
    assert setup.render(tickers, pairs=description) == ["AAVE-USDC"]
    with pytest.raises(UnknownChart, match="there are tickers"):
        setup.render("others")
    with pytest.raises(ChartNotValid, match="pairs is 'WETH'"):
        setup.render(tickers, pairs="WETH")


def test_pairs_are_the_benchmarks_or_the_chosen_or_those_traded_most(result):
    given, kind = result.chart_input, ChartKind.state_single_pair
    counts = result.trades["pair"].value_counts()
    assert choose_pairs(ChartRegistry(), kind, given)[0].get_ticker() == counts.index[0]
    assert choose_pairs(ChartRegistry(), ChartKind.state_all_pairs, given) == list(result.universe.pairs)
    assert choose_pairs(ChartRegistry([PAIRS[2], PAIRS[0]]), ChartKind.indicator_multi_pair, given) == [
        PAIRS[2], PAIRS[0],
    ]  # fmt: skip
    assert choose_pairs(ChartRegistry(), ChartKind.state_single_vault_pair, given) == []
    result.state.visualisation.set_visualised_pairs([PAIRS[1]])
    assert choose_pairs(ChartRegistry(), kind, given) == [PAIRS[1]]
    result.state.visualisation.set_visualised_pairs([])
    assert choose_pairs(ChartRegistry(), kind, ChartInput(given.execution_context)) is None


def test_example_of_version_0_6_renders_all_its_charts():
    result = run_backtest(STRATEGIES / "momentum_alpha.py", progress=False)

    assert result.plan.strategy.engine_version == "0.6"
    assert result.charts.get_chart_count() == 10
    assert [each.chart.id for each in result.rendered_charts if each.error] == []
    assert isinstance(result.render_chart("equity_curve", benchmark_token_symbols=()), go.Figure)
    with pytest.raises(ChartFailed, match="momentum_of_pairs"):
        result.render_chart("momentum_of_pairs", no_such_option=1)


def test_strategy_without_charts_has_an_empty_registry(result):
    assert result.charts.get_chart_count() == 0
    assert result.rendered_charts == []


def test_create_charts_that_fails_or_returns_something_else_is_named():
    def module_of(create_charts):
        names = {
            "trading_strategy_engine_version": "0.6", "Parameters": Parameters, "decide_trades": print,
            "create_trading_universe": print, "create_indicators": print, "create_charts": create_charts,
        }  # fmt: skip
        return load_strategy_module(names)

    def broken(timestamp, parameters, strategy_universe, execution_context):
        raise KeyError("pair")

    assert module_of(lambda *_: None).build_charts(None, None, None).get_chart_count() == 0
    charts = ChartRegistry()
    assert module_of(charts).build_charts(None, None, None) is charts
    with pytest.raises(StrategyModuleNotValid, match="returned list: return a ChartRegistry"):
        module_of(lambda *_: [1]).build_charts(None, None, None)
    with pytest.raises(StrategyModuleNotValid, match=r"create_charts of strategy raised KeyError: 'pair'"):
        module_of(broken).build_charts(None, None, None)
    with pytest.raises(StrategyModuleNotValid, match="has no function create_charts and no ChartRegistry"):
        module_of(5)
