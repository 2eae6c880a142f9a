"""The cells of a ported notebook draw its charts before and after the run."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from porting.conftest import OLD_STRATEGIES

from trading_dagster.domain.identifier import ChainId
from trading_dagster.market.dataset import UniverseOptions
from trading_dagster.porting.rewrite import port_module

CELLS = '''
from tradeexecutor.utils.notebook import setup_charts_and_tables, OutputMode
from tradeexecutor.backtest.backtest_runner import run_backtest_inline
from tradeexecutor.strategy.pandas_trader.indicator import calculate_and_load_indicators_inline
from tradeexecutor.strategy.chart.definition import ChartInput, ChartKind, ChartRegistry
from tradeexecutor.strategy.chart.renderer import ChartBacktestRenderingSetup
from tradeexecutor.strategy.chart.standard.equity_curve import equity_curve
from tradeexecutor.strategy.chart.standard.trading_universe import available_trading_pairs
from tradeexecutor.strategy.pandas_trader.indicator import IndicatorRegistry
from tradeexecutor.strategy.parameters import StrategyParameters, display_parameters
from tradeexecutor.visual.benchmark import create_benchmark_equity_curves, visualise_equity_curve_benchmark
from tradeexecutor.visual.single_pair import visualise_single_pair
from tradeexecutor.visual.equity_curve import calculate_equity_curve, calculate_returns, visualise_returns_over_time
from tradeexecutor.strategy.execution_context import notebook_execution_context

setup_charts_and_tables(image_format=OutputMode.static, max_rows=500)
indicators = IndicatorRegistry()


@indicators.define()
def signal(close, signal_bars):
    return close.pct_change(signal_bars)


Parameters.signal_bars = 5
parameters = StrategyParameters.from_class(Parameters)
table = display_parameters(parameters)
indicator_data = calculate_and_load_indicators_inline(
    strategy_universe=strategy_universe,
    parameters=parameters,
    create_indicators=indicators.create_indicators,
)

charts = ChartRegistry(default_benchmark_pairs=BENCHMARKS)
charts.register(equity_curve, ChartKind.state_all_pairs)
charts.register(available_trading_pairs, ChartKind.indicator_all_pairs)


@charts.define(ChartKind.indicator_single_pair)
def signal_of_pair(input: ChartInput):
    """Signal."""
    return input.strategy_input_indicators.get_indicator_series("signal", pair=input.pairs[0]).to_frame()


chart_renderer = ChartBacktestRenderingSetup(
    registry=charts,
    strategy_input_indicators=indicator_data,
    backtest_start_at=Parameters.backtest_start,
    backtest_end_at=Parameters.backtest_end,
)
before = [chart_renderer.render(available_trading_pairs), chart_renderer.render(signal_of_pair)]

state, _, _ = run_backtest_inline(
    decide_trades=decide_trades, create_indicators=indicators.create_indicators, universe=strategy_universe,
    parameters=parameters, client=client, engine_version="0.6",
)
chart_renderer = ChartBacktestRenderingSetup(
    registry=charts, strategy_input_indicators=indicator_data, state=state,
    backtest_start_at=Parameters.backtest_start, backtest_end_at=Parameters.backtest_end,
)
benchmarks = create_benchmark_equity_curves(
    strategy_universe, {"BTC": BENCHMARKS[0]}, initial_cash=state.portfolio.get_initial_cash()
)
after = [
    chart_renderer.render(equity_curve),
    visualise_equity_curve_benchmark(
        state.name, portfolio_statistics=state.stats.portfolio, all_cash=state.portfolio.get_initial_cash(),
        benchmark_indexes=benchmarks, height=800, log_y=True,
    ),
    visualise_single_pair(state, notebook_execution_context, strategy_universe.data_universe.candles, height=700),
    visualise_returns_over_time(calculate_returns(calculate_equity_curve(state))),
]
'''


def test_cells_draw_before_and_after_the_run(client):
    strategy = port_module((OLD_STRATEGIES / "charts_version.py").read_text(encoding="utf-8"), "charts_version.py")
    ported = port_module(CELLS, "cells")
    assert ported.findings == ()
    names = {"__name__": "notebook"}
    exec(compile(strategy.text, "charts_version.py", "exec"), names)
    names |= {"client": client, "BENCHMARKS": [(ChainId.centralised_exchange, "binance", "BTC", "USDT")]}
    names["strategy_universe"] = names["create_trading_universe"](
        names["Parameters"].backtest_start, client, None, _options(names["Parameters"])
    )
    shown = pd.get_option("display.max_rows"), pd.get_option("display.max_columns")
    try:
        exec(compile(ported.text, "cells", "exec"), names)
    finally:
        pd.set_option("display.max_rows", shown[0])
        pd.set_option("display.max_columns", shown[1])

    counts, signals = names["before"]
    assert isinstance(counts, go.Figure)
    assert isinstance(signals, pd.DataFrame)
    assert "signal_bars" in names["table"].index
    state = names["state"]
    equity, benchmark, price, months = names["after"]
    assert equity.data[0].y[-1] == state.stats.portfolio[-1].total_equity
    assert [trace.name for trace in benchmark.data] == [state.name, "BTC", "All cash"]
    assert "Buy" in [trace.name for trace in price.data]
    assert months.data[0].type == "heatmap"


def _options(parameters):
    return UniverseOptions(
        start_at=parameters.backtest_start,
        end_at=parameters.backtest_end,
        history_period=parameters.required_history_period,
    )
