"""Figures hold the traces and values that the frames have."""

import time
import warnings

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from trading_dagster.charts.equity import draw_equity, draw_equity_with_drawdown
from trading_dagster.charts.palette import GAIN, LOSS
from trading_dagster.charts.position import draw_position_durations, draw_position_profits
from trading_dagster.charts.price import describe_bars, draw_price_and_trades
from trading_dagster.charts.returns import draw_monthly_returns, draw_returns_distribution, draw_rolling_sharpe
from trading_dagster.charts.theme import template_of


def traces(figure: go.Figure) -> dict[str, object]:
    return {trace.name: trace for trace in figure.data}


def notes(figure: go.Figure) -> list[str]:
    return [annotation.text for annotation in figure.layout.annotations]


def test_equity_figure_has_strategy_and_benchmarks(equity):
    figure = draw_equity(equity, {"BTC": equity * 2, "ETH": equity * 3}, max_points=100_000)
    assert [trace.name for trace in figure.data] == ["Strategy", "BTC", "ETH"]
    assert np.array_equal(figure.data[0].y, equity.to_numpy())
    assert np.array_equal(figure.data[2].y, equity.to_numpy() * 3)
    assert pd.DatetimeIndex(figure.data[0].x).equals(equity.index)


def test_drawdown_trace_equals_own_calculation(equity):
    figure = draw_equity_with_drawdown(equity, equity * 2, max_points=100_000)
    expected = equity / equity.cummax() - 1
    drawn = traces(figure)["Drawdown"]
    assert np.allclose(drawn.y, expected.to_numpy())
    assert "Buy and hold drawdown" in traces(figure)


def test_thinned_drawdown_still_shows_the_deepest_point(equity):
    drawn = traces(draw_equity_with_drawdown(equity, max_points=200))["Drawdown"]
    assert len(drawn.y) <= 200
    assert min(drawn.y) == pytest.approx((equity / equity.cummax() - 1).min())


def test_nan_equity_is_skipped(equity):
    holed = equity.copy()
    holed.iloc[100:200] = np.nan
    figure = draw_equity_with_drawdown(holed, max_points=100_000)
    assert len(figure.data[0].x) == len(equity) - 100
    assert np.isfinite(traces(figure)["Drawdown"].y).all()


@pytest.mark.parametrize("count", [0, 1])
def test_equity_of_no_or_one_sample_makes_a_figure(equity, count):
    figure = draw_equity_with_drawdown(equity.iloc[:count])
    assert len(figure.data[0].x) == count
    assert ("No equity was recorded" in notes(figure)) == (count == 0)


def test_markers_count_trades_by_kind(candles, trading):
    trades, positions = trading
    drawn = traces(draw_price_and_trades(candles, trades, positions=positions))
    sells = trades[trades["side"] == "sell"]["trade_type"].value_counts()
    assert len(drawn["Buy"].x) == 40
    assert len(drawn["Sell"].x) == sells["rebalance"] == 20
    assert len(drawn["Stop loss"].x) == sells["stop_loss"] == 10
    assert len(drawn["Take profit"].x) == sells["take_profit"] == 10
    assert len({drawn[name].marker.symbol for name in ("Buy", "Sell", "Stop loss", "Take profit")}) == 4


def test_markers_keep_exact_times_and_prices_although_candles_are_merged(candles, trading):
    trades, _ = trading
    trades["executed_at"] = trades["executed_at"] + pd.Timedelta(minutes=7, seconds=3)
    figure = draw_price_and_trades(candles, trades, max_bars=500)
    buys = trades[trades["side"] == "buy"]
    drawn = traces(figure)
    assert len(drawn["Price"].x) <= 500
    assert pd.DatetimeIndex(drawn["Buy"].x).equals(pd.DatetimeIndex(buys["executed_at"]))
    assert np.array_equal(drawn["Buy"].y, buys["executed_price"].to_numpy())


def test_failed_trade_is_marked_as_such_at_its_planned_price(candles, trading):
    trades, _ = trading
    trades.loc[0, ["status", "executed_at", "executed_price"]] = ["failed", pd.NaT, np.nan]
    trades.loc[2, ["status", "executed_at", "executed_price"]] = ["planned", pd.NaT, np.nan]
    drawn = traces(draw_price_and_trades(candles, trades))
    assert list(drawn["Failed"].y) == [trades.loc[0, "planned_price"]]
    assert len(drawn["Buy"].x) == 38


def test_position_lines_are_coloured_by_profit(candles, trading):
    trades, positions = trading
    won = int((positions["realised_profit"] >= 0).sum())
    drawn = traces(draw_price_and_trades(candles, trades, positions=positions))
    assert len(drawn[f"Winner ({won})"].x) == 3 * won
    assert drawn[f"Winner ({won})"].line.color == GAIN
    assert drawn[f"Loser ({40 - won})"].line.color == LOSS


def test_overlays_share_the_price_panel_and_indicators_have_their_own(candles):
    smooth = candles["close"].rolling(20).mean()
    figure = draw_price_and_trades(candles, overlays={"SMA": smooth}, indicators={"RSI": smooth, "ATR": smooth})
    drawn = traces(figure)
    assert drawn["SMA"].yaxis == drawn["Price"].yaxis
    assert {drawn["RSI"].yaxis, drawn["ATR"].yaxis} == {"y2", "y3"}


def test_line_style_draws_closes(make_candles):
    candles = make_candles(100)
    figure = draw_price_and_trades(candles, style="line")
    assert np.array_equal(figure.data[0].y, candles["close"].to_numpy())


def test_half_a_million_bars_finish_soon(make_candles, make_trading):
    candles = make_candles(500_000, "min")
    trades, positions = make_trading(candles, 5_000)
    started = time.perf_counter()
    figure = draw_price_and_trades(candles, trades, positions=positions, overlays={"EMA": candles["close"]})
    draw_equity_with_drawdown(candles["close"], candles["close"] * 2)
    assert time.perf_counter() - started < 20
    drawn = traces(figure)
    assert len(drawn["Price"].x) <= 5_000
    assert len(drawn["EMA"].x) <= 5_000
    assert len(drawn["Buy"].x) == 5_000


def test_price_without_candles_or_trades_says_so(candles, no_trades, no_positions):
    figure = draw_price_and_trades(candles.iloc[:0], no_trades, positions=no_positions)
    assert "No candles in this range" in notes(figure)
    assert describe_bars(candles.iloc[:0]) == "no candles"


def test_caption_tells_the_width_of_merged_candles(candles):
    assert describe_bars(candles, 2_000) == "1,000 candles of 12 h, merged from 12,000"
    assert describe_bars(candles.iloc[:500]) == "500 candles of 1 h"


def test_monthly_heat_map_compounds_to_the_total(equity):
    figure = draw_monthly_returns(equity)
    values = np.array(figure.data[0].z, dtype=float)
    months, years = values[:, :12], values[:, 12]
    assert np.allclose(np.nanprod(1 + months, axis=1) - 1, years)
    assert np.prod(1 + years) == pytest.approx(equity.iloc[-1] / equity.iloc[0])
    assert figure.data[0].x[12] == "Year"
    assert figure.data[0].zmin == -figure.data[0].zmax


def test_no_bin_of_the_distribution_mixes_gains_and_losses(equity):
    returns = equity.pct_change().dropna()
    returns.iloc[:10] = 0.0
    bars = draw_returns_distribution(returns, unit="hour").data[0]
    edges = np.array(bars.customdata)
    assert sum(bars.y) == (returns != 0).sum()
    assert ((edges[:, 0] >= -1e-15) | (edges[:, 1] <= 1e-15)).all()
    assert (
        sum(count for count, colour in zip(bars.y, bars.marker.color, strict=True) if colour == GAIN)
        == (returns > 0).sum()
    )


@pytest.mark.parametrize("values", [[], [0.0], [0.01], [0.01, 0.01], [-1.0], [np.nan]])
def test_distribution_of_few_returns_makes_a_figure(values):
    returns = pd.Series(values, index=pd.date_range("2024", periods=len(values)), dtype="float64")
    figure = draw_returns_distribution(returns)
    drawn = sum(sum(trace.y) for trace in figure.data)
    assert drawn == sum(bool(np.isfinite(value) and value != 0) for value in values)


def test_rolling_sharpe_equals_own_calculation(equity):
    figure = draw_rolling_sharpe(equity, periods=30)
    daily = equity.asfreq("D").pct_change().dropna()
    window = daily.iloc[-30:]
    assert len(figure.data[0].x) > 300
    assert np.isfinite(figure.data[0].y).all()
    assert figure.data[0].y[-1] == pytest.approx(np.sqrt(30) * window.mean() / window.std())


def test_rolling_sharpe_of_a_short_history_says_so(equity):
    assert "Needs more than 90 days of changing equity" in notes(draw_rolling_sharpe(equity.iloc[:48]))


def test_profit_bars_sum_to_the_profit(trading):
    _, positions = trading
    drawn = traces(draw_position_profits(positions))
    assert len(drawn["Profit"].y) == 40
    assert drawn["Running sum"].y[-1] == pytest.approx(positions["realised_profit"].sum())
    assert sum(drawn["Profit"].y) == pytest.approx(positions["realised_profit"].sum())


def test_many_positions_are_drawn_as_sums_of_neighbours(make_candles, make_trading):
    _, positions = make_trading(make_candles(20_000), 10_000)
    drawn = traces(draw_position_profits(positions))
    assert len(drawn["Profit"].y) <= 1_500
    assert sum(drawn["Profit"].y) == pytest.approx(positions["realised_profit"].sum())
    durations = draw_position_durations(positions)
    assert sum(len(trace.x) for trace in durations.data) <= 3_000
    assert "every 4th position" in durations.layout.xaxis.title.text


def test_durations_separate_won_and_lost(trading):
    _, positions = trading
    drawn = traces(draw_position_durations(positions))
    assert len(drawn["Won"].x) + len(drawn["Lost"].x) == 40
    assert min(drawn["Won"].y) >= 0 > max(drawn["Lost"].y)
    assert set(drawn["Won"].x) == {150 / 24}


def test_open_positions_are_left_out(trading):
    _, positions = trading
    positions.loc[39, ["status", "closed_at", "realised_profit"]] = ["open", pd.NaT, np.nan]
    assert len(traces(draw_position_profits(positions))["Profit"].y) == 39


def test_no_positions_make_figures(no_positions):
    assert "No position was closed" in notes(draw_position_profits(no_positions))
    assert "No position was closed" in notes(draw_position_durations(no_positions))


def test_names_cannot_smuggle_tags_into_figures(equity):
    figure = draw_equity(equity, {"<a href='x'>b</a>": equity}, title="<b>x</b>")
    assert figure.data[1].name == "&lt;a href='x'&gt;b&lt;/a&gt;"
    assert figure.layout.title.text == "&lt;b&gt;x&lt;/b&gt;"


def test_figures_turn_into_json_without_warnings(candles, trading, equity):
    trades, positions = trading
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in (
            draw_price_and_trades(candles, trades, positions=positions),
            draw_equity_with_drawdown(equity, equity),
            draw_monthly_returns(equity),
            draw_position_profits(positions),
        ):
            assert len(figure.to_json()) > 1_000


def test_templates_differ_in_the_background_only_by_design():
    light, dark = template_of("light"), template_of("dark")
    assert light["layout"]["paper_bgcolor"] != dark["layout"]["paper_bgcolor"]
    assert light["layout"].keys() == dark["layout"].keys()
