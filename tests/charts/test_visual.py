"""The figures that notebooks call by name, on a real backtest."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.charts.benchmark import (
    create_benchmark_equity_curves,
    visualise_all_cash,
    visualise_benchmark,
    visualise_equity_curve_benchmark,
    visualise_equity_curves,
    visualise_long_short_benchmark,
    visualise_portfolio_interest_curve,
)
from trading_dagster.charts.visual_market import visualise_asset_correlation, visualise_market_regime_filter
from trading_dagster.charts.visual_pair import (
    visualise_multiple_pairs,
    visualise_single_pair,
    visualise_single_position,
)
from trading_dagster.charts.visual_portfolio import (
    ScoringMethod,
    visualise_advanced_metrics,
    visualise_equity_curve,
    visualise_returns_distribution,
    visualise_returns_over_time,
    visualise_weekly_time_heatmap,
    visualise_weights,
)
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.visualisation import PlotKind
from trading_dagster.statistics.asset_weight import calculate_asset_weights

STRATEGIES = Path(__file__).parents[2] / "strategies"
BTC = (ChainId.centralised_exchange, None, "BTC", "USD")


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    return run_backtest(STRATEGIES / "momentum_alpha.py", progress=False)


def trace_of(figure, name):
    return next(trace for trace in figure.data if trace.name == name)


def test_benchmarks_begin_with_the_cash_and_follow_the_price(result):
    table = create_benchmark_equity_curves(
        result.universe, {"BTC": BTC}, 5_000, {"BTC": "red"}, start_at=result.plan.start, end_at=result.plan.end
    )
    closes = result.universe.candles.series(result.universe.pairs[0].internal_id, "close")
    assert list(table) == ["BTC", "All cash"]
    assert table["BTC"].iloc[0] == 5_000
    assert table["BTC"].iloc[-1] == pytest.approx(
        5_000 * closes[table.index[-1] - pd.Timedelta(days=1)] / closes[table.index[0] - pd.Timedelta(days=1)]
    )
    assert (table["All cash"] == 5_000).all()
    assert table.attrs["colours"]["BTC"] == "red"
    assert create_benchmark_equity_curves(result.universe, {"BTC": BTC}, 1, convert_to_daily=True).index.freq == "D"


@pytest.mark.parametrize("draw", [visualise_equity_curve_benchmark, visualise_benchmark])
def test_equity_is_drawn_beside_what_is_compared(result, draw):
    closes = result.universe.candles.series(result.universe.pairs[0].internal_id, "close")
    figure = draw(
        state=result.state, all_cash=10_000, buy_and_hold_asset_name="BTC", buy_and_hold_price_series=closes,
        benchmark_indexes=pd.DataFrame({"Other": result.equity_curve * 2}), log_y=True, height=300,
    )  # fmt: skip
    assert [trace.name for trace in figure.data] == [result.state.name, "Buy and hold BTC", "Other", "All cash"]
    assert figure.layout.yaxis.type == "log"
    np.testing.assert_array_equal(figure.data[0].y, result.equity_curve)
    np.testing.assert_array_equal(trace_of(figure, "Other").y, result.equity_curve * 2)
    by_samples = draw("Own", portfolio_statistics=result.state.stats.portfolio)
    np.testing.assert_array_equal(trace_of(by_samples, "Own").y, result.equity_curve)
    with pytest.raises(BadInput, match="needs state= or portfolio_statistics="):
        draw()


def test_range_and_plots_are_kept(result):
    plot = next(iter(result.state.visualisation.plots.values()))
    start = datetime(2019, 1, 1)
    figure = visualise_equity_curve_benchmark(state=result.state, start_at=start, additional_indicators=[plot])
    assert pd.Timestamp(figure.data[0].x[0]) == start
    assert figure.data[1].name == plot.name


def test_cash_is_a_line(result):
    trace = visualise_all_cash(result.plan.start, result.plan.end, 7)
    assert (list(trace.y), trace.name) == ([7, 7], "All cash")


def test_long_and_short_are_the_compounded_profits(result):
    figure = visualise_long_short_benchmark(result.state, height=200)
    assert [trace.name for trace in figure.data] == ["Overall", "Long", "Short"]
    np.testing.assert_array_equal(figure.data[0].y, figure.data[1].y)
    assert figure.layout.height == 200


def test_curves_of_several_runs_are_named(result):
    named = result.equity_curve.copy()
    named.attrs["name"] = "First"
    figure = visualise_equity_curves([named, result.equity_curve, named], log_y=True)
    assert [trace.name for trace in figure.data] == ["First", "equity", "First (3)"]


def test_interest_without_credit_says_so(result):
    figure = visualise_portfolio_interest_curve("Interest", result.state)
    assert figure.layout.annotations[0].text == "No credit position was closed"


def test_single_pair_has_candles_trades_and_its_plots(result):
    state, candles, pair = result.state, result.universe.data_universe.candles, result.universe.pairs[0]
    figure = visualise_single_pair(state, None, candles, pair_id=pair.internal_id, height=500)
    sells = result.trades[(result.trades["pair_id"] == pair.internal_id) & (result.trades["side"] == "sell")]
    drawn = sum(len(trace.x) for trace in figure.data if trace.name in {"Sell", "Stop loss"})
    assert drawn == len(sells)
    assert (figure.layout.title.text, figure.layout.height) == ("BTC-USD", 500)
    without_context = visualise_single_pair(state, candles, pair_id=pair.internal_id, start_at=datetime(2019, 6, 1))
    assert pd.Timestamp(without_context.data[0].x[0]) == datetime(2019, 6, 1)
    bare = visualise_single_pair(None, candle_universe=candles.get_candles_by_pair(pair), title=False)
    assert [trace.name for trace in bare.data] == ["Price"]
    with pytest.raises(BadInput, match="There are 3 pairs: say pair_id="):
        visualise_single_pair(state, None, candles)
    with pytest.raises(BadInput, match="Give candle_universe="):
        visualise_single_pair(state)


def test_plots_of_a_pair_are_on_its_chart():
    result = run_backtest(STRATEGIES / "rsi_regime_rotation.py", progress=False)
    candles, pair = result.universe.data_universe.candles, result.universe.pairs[1]
    figure = visualise_single_pair(result.state, None, candles, pair_id=pair.internal_id)
    points = result.state.visualisation.plots["RSI ETH"].points
    np.testing.assert_array_equal(trace_of(figure, "RSI ETH").y, [value for _, value in points])
    assert trace_of(figure, "least RSI ETH").yaxis == trace_of(figure, "RSI ETH").yaxis == "y2"
    assert result.state.visualisation.plots["RSI ETH"].kind is PlotKind.technical_indicator_detached
    bare = visualise_single_pair(result.state, None, candles, pair_id=pair.internal_id, technical_indicators=False)
    assert "RSI ETH" not in [trace.name for trace in bare.data]


def test_several_pairs_have_a_row_each(result):
    candles = result.universe.data_universe.candles
    figure = visualise_multiple_pairs(result.state, candles)
    assert {trace.yaxis for trace in figure.data} == {"y", "y2", "y3"}
    assert (
        len(visualise_multiple_pairs(result.state, candles, pair_ids=candles.panel.pair_ids[:1], title=False).data) > 1
    )
    with pytest.raises(BadInput, match="needs candle_universe="):
        visualise_multiple_pairs(result.state)


def test_one_position_is_drawn_with_its_levels(result):
    position = next(p for p in result.state.portfolio.get_all_positions() if p.is_stop_loss())
    figure = visualise_single_position(position, result.universe.data_universe.candles)
    assert trace_of(figure, "Stop loss").y[0] == position.last_executed_trade.executed_price
    assert trace_of(figure, "Stop loss level").y[-1] == position.stop_loss
    first = pd.Timestamp(figure.data[0].x[0])
    assert first < position.opened_at
    assert f"#{position.position_id} " in figure.layout.title.text


def test_figures_of_returns_are_those_of_the_run(result):
    returns = result.daily_returns.dropna()
    growth = visualise_equity_curve(returns)
    np.testing.assert_allclose(growth.data[0].y, (1 + returns).cumprod())
    months = visualise_returns_over_time(returns).data[0]
    assert months.y[-1] == "2020" or months.y[0] == "2020"
    year = list(months.y).index("2019")
    own = (1 + returns[returns.index.year == 2019]).prod() - 1
    assert months.z[year][-1] == pytest.approx(own, rel=1e-9)
    bars = visualise_returns_distribution(returns).data[0]
    assert sum(bars.y) == (returns != 0).sum()
    table = visualise_advanced_metrics(returns, mode="basic")
    assert table.loc["Sharpe", "Strategy"] == f"{result.metrics['Sharpe']:.2f}"


@pytest.mark.parametrize("normalised", [True, False])
def test_weights_are_drawn_from_a_table_or_a_series(result, normalised):
    table = calculate_asset_weights(result.state)
    series = table.stack()
    series.attrs = table.attrs
    from_table, from_series = (visualise_weights(each, normalised=normalised) for each in (table, series))
    top = np.asarray(from_table.data[-1].y)
    np.testing.assert_allclose(top, 1.0 if normalised else result.equity_curve.loc[from_table.data[0].x])
    assert {trace.name for trace in from_series.data} == {trace.name for trace in from_table.data}
    assert from_series.data[0].name == from_table.data[0].name == "USD"
    assert len(visualise_weights(table, include_reserves=False).data) == 3


def test_correlation_is_of_returns(result):
    trace = visualise_asset_correlation(result.universe, width=400).data[0]
    first, second = (result.universe.candles.series(pair.internal_id, "close") for pair in result.universe.pairs[:2])
    changes = pd.DataFrame({"a": first, "b": second}).resample("D").last().pct_change(fill_method=None)
    assert trace.z[0][1] == pytest.approx(changes.corr().iloc[0, 1])
    assert trace.z[0][0] == 1


def test_regimes_colour_the_background():
    class Regime(Enum):
        bull = 1
        bear = -1
        crab = 0

    times = pd.date_range("2023-01-01", periods=6, freq="D")
    price = pd.Series(np.arange(6.0), index=times)
    signal = pd.Series([Regime.bull, Regime.bull, Regime.crab, Regime.bear, Regime.bear, Regime.bull], index=times)
    figure = visualise_market_regime_filter(price, signal, colour_map={Regime.bull: "green", Regime.bear: "red"})
    shapes = [(shape.x0, shape.x1, shape.fillcolor) for shape in figure.layout.shapes]
    assert shapes == [(times[0], times[2], "green"), (times[3], times[5], "red"), (times[5], times[5], "green")]
    numbers = visualise_market_regime_filter(price, signal.map(lambda regime: regime.value))
    assert len(numbers.layout.shapes) == 3
    wild = pd.Series(np.arange(2_000) % 2, index=pd.date_range("2023-01-01", periods=2_000, freq="h"))
    assert "too many" in visualise_market_regime_filter(price, wild).layout.annotations[0].text


@pytest.mark.parametrize("method", list(ScoringMethod))
def test_weekly_hours_count_closed_positions(result, method):
    positions = list(result.state.portfolio.get_all_positions())
    figure = visualise_weekly_time_heatmap(positions, method)
    grid = np.asarray(figure.data[0].customdata)
    closed = [p for p in positions if p.is_closed()]
    expected = {
        ScoringMethod.realised_profitability: sum(p.get_realised_profit_percent() for p in closed),
        ScoringMethod.success_rate: sum(p.get_realised_profit_percent() > 0 for p in closed),
        ScoringMethod.failure_rate: sum(p.get_realised_profit_percent() < 0 for p in closed),
    }[method]
    assert grid.sum() == pytest.approx(expected)
    assert not grid[:, 1:].any()  # it decides at midnight
