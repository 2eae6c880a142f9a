"""Every standard chart on a real backtest: the numbers drawn are those of the state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.charts import standard_chart as standard
from trading_dagster.domain.error import ChartFailed
from trading_dagster.statistics.asset_weight import calculate_asset_weights
from trading_dagster.strategy.chart import ChartKind, ChartRegistry
from trading_dagster.strategy.indicator_lookup import StrategyInputIndicators

STRATEGIES = Path(__file__).parents[2] / "strategies"
OF_PAIRS = {
    "price_vs_signal", "signal_comparison", "trading_pair_positions", "trading_pair_price_and_trades",
    "volatility_benchmark",
}  # fmt: skip


@pytest.fixture(scope="module")
def alpha() -> BacktestResult:
    return run_backtest(STRATEGIES / "momentum_alpha.py", progress=False)


@pytest.fixture(scope="module")
def index() -> BacktestResult:
    return run_backtest(STRATEGIES / "index_by_volume.py", progress=False)


def draw(result: BacktestResult, name: str, pairs=None, **options):
    registry = ChartRegistry()
    kind = ChartKind.indicator_multi_pair if name in OF_PAIRS else ChartKind.state_all_pairs
    registry.register(getattr(standard, name), kind)
    from trading_dagster.charts.rendering import render_chart

    return render_chart(registry, name, result.chart_input, pairs, **options)


def values_of(figure: go.Figure, name: str) -> tuple[pd.DatetimeIndex, np.ndarray]:
    trace = next(trace for trace in figure.data if trace.name == name)
    return pd.DatetimeIndex(trace.x), np.asarray(trace.y, dtype=float)


def own_values(figure: go.Figure, name: str) -> tuple[pd.DatetimeIndex, np.ndarray]:
    """Return what an area that stands on others is itself."""
    trace = next(trace for trace in figure.data if trace.name == name)
    return pd.DatetimeIndex(trace.x), np.asarray(trace.customdata, dtype=float)


def test_equity_is_that_of_the_run_and_benchmarks_hold_the_same_cash(alpha):
    figure = draw(alpha, "equity_curve")
    times, equity = values_of(figure, "Strategy")
    np.testing.assert_array_equal(equity, alpha.equity_curve.loc[times])
    assert [trace.name for trace in figure.data] == ["Strategy", "BTC", "ETH"]
    times, held = values_of(figure, "BTC")
    closes = alpha.universe.candles.series(alpha.universe.pairs[0].internal_id, "close")
    assert held[0] == pytest.approx(alpha.equity_curve.iloc[0])
    assert held[-1] / held[0] == pytest.approx(
        closes[times[-1] - pd.Timedelta(days=1)] / closes[times[0] - pd.Timedelta(days=1)]
    )
    assert [trace.name for trace in draw(alpha, "equity_curve", benchmark_token_symbols=["LTC"]).data] == [
        "Strategy", "LTC",
    ]  # fmt: skip


def test_drawdown_below_equity_is_the_deepest_of_the_run(alpha):
    figure = draw(alpha, "equity_curve_with_drawdown")
    _, drawdown = values_of(figure, "Drawdown")
    curve = alpha.equity_curve
    assert drawdown.min() == pytest.approx((curve / curve.cummax() - 1).min())
    assert len(draw(alpha, "equity_curve_with_drawdown", benchmark_token_symbols=None).data) > len(figure.data)


def test_assets_stand_on_each_other_up_to_the_equity(alpha):
    figure, table = draw(alpha, "equity_curve_by_asset_with_legend")
    times, top = values_of(figure, figure.data[-1].name)
    np.testing.assert_allclose(top, alpha.equity_curve.loc[times], rtol=1e-12)
    np.testing.assert_allclose(sum(np.asarray(trace.customdata) for trace in figure.data), top, rtol=1e-12)
    assert [trace.fill for trace in figure.data] == ["tozeroy", "tonexty", "tonexty", "tonexty"]
    assert [trace.name for trace in figure.data] == [trace.name for trace in draw(alpha, "equity_curve_by_asset").data]
    end = table.set_index("Asset")
    open_positions = alpha.state.portfolio.open_positions.values()
    assert {p.pair.base.token_symbol: p.get_value() for p in open_positions} == pytest.approx(
        {name: value for name, value in end["Value at end USD"].items() if name != "USD" and value}
    )
    assert end["Share at end"].sum() == pytest.approx(1)


def test_chains_stand_on_each_other_up_to_the_equity(alpha):
    figure = draw(alpha, "equity_curve_by_chain")
    times, value = values_of(figure, "centralised_exchange")
    np.testing.assert_allclose(value, alpha.equity_curve.loc[times], rtol=1e-12)


def test_shares_of_what_is_invested_are_whole_or_nothing(alpha):
    figure = draw(alpha, "volatile_weights_by_percent")
    _, total = values_of(figure, figure.data[-1].name)
    assert set(np.round(total, 9)) == {0.0, 1.0}
    weights = calculate_asset_weights(alpha.state)
    times, shares = own_values(figure, "BTC")
    expected = (weights["BTC"] / weights[["BTC", "ETH", "LTC"]].sum(axis=1)).fillna(0).loc[times]
    np.testing.assert_allclose(shares, expected, rtol=1e-12)


def test_volatile_and_cash_are_the_whole(alpha):
    figure = draw(alpha, "volatile_and_non_volatile_percent")
    assert [trace.name for trace in figure.data] == ["Cash", "Volatile"]
    times, cash = values_of(figure, "Cash")
    samples = alpha.samples.drop_duplicates("timestamp", keep="last").set_index("timestamp").loc[times]
    np.testing.assert_allclose(cash, samples["cash"] / samples["equity"], rtol=1e-9)


def test_statistics_of_weights_are_extremes_of_the_weights(alpha):
    table, weights = draw(alpha, "weight_allocation_statistics"), calculate_asset_weights(alpha.state)
    risky = weights[["BTC", "ETH", "LTC"]]
    largest = table.loc["Largest position, without reserve"]
    assert largest["USD"] == risky.max().max()
    assert risky.loc[largest["At"], largest["Asset"]] == largest["USD"]
    held = weights.where(weights > 0)
    assert table.loc["Smallest position, with reserve", "USD"] == held.min().min()
    assert table.loc["Average position, with reserve", "Share"] == pytest.approx(
        np.nanmean(held.div(held.sum(axis=1), axis=0).to_numpy())
    )


@pytest.mark.parametrize("name", ["performance_metrics", "extended_performance_metrics"])
def test_measures_are_those_of_the_daily_returns(alpha, name):
    table = draw(alpha, name)
    assert list(table.columns) == ["Strategy", "BTC", "ETH"]
    assert table.loc["Sharpe", "Strategy"] == f"{alpha.metrics['Sharpe']:.2f}"
    assert table.loc["CAGR", "Strategy"] == f"{alpha.metrics['CAGR']:.2%}"
    assert len(table) > (60 if name.startswith("extended") else 35)


def test_trading_metrics_are_the_trade_summary(alpha):
    pd.testing.assert_frame_equal(draw(alpha, "trading_metrics"), alpha.statistics)


def test_breakdown_has_every_traded_pair_and_its_profit(alpha):
    table = draw(alpha, "trading_pair_breakdown")
    profit = alpha.positions.groupby("pair")[["realised_profit", "unrealised_profit"]].sum().sum(axis=1)
    expected = {pair: f"{usd:z,.2f}" for pair, usd in profit.sort_values(ascending=False).items()}
    assert dict(zip(table["Trading pair"], table["Total PnL USD"], strict=True)) == expected
    assert list(table["Trading pair"]) == list(expected)
    assert len(draw(alpha, "trading_pair_breakdown", limit=1)) == 1


def test_positions_at_the_end_are_the_open_ones(alpha):
    table = draw(alpha, "positions_at_end")
    positions = alpha.state.portfolio.open_positions.values()
    assert sorted(table["Value USD"]) == sorted(p.get_value() for p in positions)
    assert table["Value USD"].is_monotonic_decreasing
    assert table["Share of equity"].sum() == pytest.approx(
        sum(p.get_value() for p in positions) / alpha.equity_curve.iloc[-1]
    )


def test_positions_of_a_pair_have_their_profits(alpha):
    pair = alpha.universe.pairs[0]
    figure, table = draw(alpha, "trading_pair_positions", pairs=pair)
    own = alpha.positions[alpha.positions["pair_id"] == pair.internal_id]
    closed = own[own["status"] == "closed"].sort_values(["closed_at", "position_id"])
    np.testing.assert_allclose(values_bar(figure), closed["realised_profit"])
    assert list(table["Id"]) == own.sort_values(["opened_at", "position_id"])["position_id"].map(str).tolist()


def values_bar(figure: go.Figure) -> np.ndarray:
    return np.asarray(next(trace.y for trace in figure.data if trace.type == "bar"), dtype=float)


def test_price_of_a_pair_has_its_trades(alpha):
    figures = draw(alpha, "trading_pair_price_and_trades", pairs=list(alpha.universe.pairs[:2]))
    assert len(figures) == 2
    for pair, figure in zip(alpha.universe.pairs, figures, strict=False):
        trades = alpha.trades[(alpha.trades["pair_id"] == pair.internal_id) & (alpha.trades["side"] == "buy")]
        times, prices = values_of(figure, "Buy")
        np.testing.assert_array_equal(prices, trades["executed_price"])
        np.testing.assert_array_equal(times, pd.DatetimeIndex(trades["executed_at"]))


def test_pairs_are_counted_by_criterion(index):
    figure, table = draw(index, "available_trading_pairs", with_dataframe=True)
    indicators = StrategyInputIndicators(index.universe, index.indicators)
    counted = indicators.get_indicator_series("all_criteria_included_pair_count")
    times, counts = values_of(figure, "All criteria")
    np.testing.assert_array_equal(counts, counted.loc[times])
    assert set(table) == {"All criteria", "Volume", "Ever traded", "With a candle"}
    assert table["With a candle"].max() == 3


def test_inclusion_is_told_of_every_pair(index):
    table = draw(index, "inclusion_criteria_check", show_chain=True)
    lists = StrategyInputIndicators(index.universe, index.indicators).get_indicator_series("inclusion_criteria")
    for row in table.to_dict("records"):
        pair = next(pair for pair in index.universe.pairs if pair.get_ticker() == row["Ticker"])
        included = lists[[pair.internal_id in ids for ids in lists]]
        assert row["Included at"] == included.index[0]
        assert row["Time included"] == pytest.approx(len(included) / len(lists))
        assert row["Chain"] == "centralised_exchange"
        assert row["Volume at inclusion USD"] > 0


def test_alpha_model_of_the_newest_cycle_is_told(alpha):
    table = draw(alpha, "alpha_model_diagnostics")
    newest = max(alpha.state.visualisation.calculations)
    signals = alpha.state.visualisation.calculations[newest]["alpha_model"]["signals"]
    assert dict(zip(table["Pair"], table["Weight"], strict=True)) == {
        s["pair"]: s["normalised_weight"] for s in signals
    }
    assert table["Weight"].is_monotonic_decreasing
    skipped = draw(alpha, "skipped_signals")
    assert set(skipped["Pair"]) == {s["pair"] for s in signals if s["flags"]}


def test_alpha_model_that_was_not_kept_says_how_to_keep_it(index):
    with pytest.raises(ChartFailed, match=r"alpha_model_diagnostics.*add_calculations"):
        draw(index, "alpha_model_diagnostics")


@pytest.mark.parametrize("name", ["signal_comparison", "price_vs_signal"])
def test_signals_are_those_of_the_indicator(alpha, name):
    pair = alpha.universe.pairs[1]
    drawn = draw(alpha, name, pairs=[pair], indicator_name="momentum")
    figure = drawn[0] if isinstance(drawn, list) else drawn
    times, values = values_of(figure, "momentum" if isinstance(drawn, list) else pair.get_ticker())
    series = StrategyInputIndicators(alpha.universe, alpha.indicators).get_indicator_series("momentum", pair=pair)
    np.testing.assert_array_equal(values, series.loc[times])
    assert times[0] >= alpha.plan.start


def test_volatility_is_that_of_the_indicator(alpha):
    figure = draw(alpha, "volatility_benchmark", volatility="momentum")
    assert [trace.name for trace in figure.data] == [pair.get_ticker() for pair in alpha.universe.pairs[:3]] or (
        {trace.name for trace in figure.data} == {pair.get_ticker() for pair in alpha.universe.pairs}
    )
    with pytest.raises(ChartFailed, match=r"volatility_benchmark.*No indicator is called 'volatility'"):
        draw(alpha, "volatility_benchmark")


def test_newest_messages_come_first(alpha):
    table = draw(alpha, "last_messages", message_count=3)
    messages = alpha.state.visualisation.messages
    assert list(table["Time"]) == sorted(messages, reverse=True)[:3]
    assert table["Message"][0] == messages[max(messages)][0]


def test_snapshot_is_of_the_newest_sample(alpha):
    table = draw(alpha, "latest_cycle_snapshot")["Value"]
    newest = alpha.samples.iloc[-1]
    assert table["Total equity, USD"] == f"{newest.equity:,.2f}"
    assert table["Cash, USD"] == f"{newest.cash:,.2f}"
    assert table["Open positions"] == str(newest.open_positions)
    assert table["Cycle"] == f"{alpha.plan.cycle_count:,}"


def test_every_standard_chart_is_tested_here():
    text = "".join(
        Path(__file__).with_name(f"{name}.py").read_text()
        for name in ("test_standard_chart", "test_vault_chart", "test_vault_data_chart")
    )
    assert [name for name in standard.__all__ if f'"{name}"' not in text and f".{name}(" not in text] == []
