"""Draw the price of one pair with the trades made on it, overlays and indicators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.marker import sort_markers
from trading_dagster.charts.number import format_duration, format_price, format_usd
from trading_dagster.charts.palette import GAIN, LOSS, NEUTRAL, colour_of
from trading_dagster.charts.plot import Panel, add_panels, arrange_panels, stack_rows, trace_price_plots
from trading_dagster.charts.sampling import MAX_BARS, Curve, bar_width, plot_times, resample_candles, thin_curve
from trading_dagster.charts.theme import plain, say_nothing_to_show, style_figure
from trading_dagster.domain.visualisation import Plot

MANY_MARKERS = 400
PRICE_HEIGHT, MARGINS = 390, 70
"""Pixels: of the price, and of what surrounds the rows."""

NO_CANDLES = "No candles in this range"


def draw_price_and_trades(
    candles: pd.DataFrame,
    trades: pd.DataFrame | None = None,
    *,
    positions: pd.DataFrame | None = None,
    overlays: Mapping[str, Curve] | None = None,
    indicators: Mapping[str, Curve] | None = None,
    plots: Sequence[Plot] = (),
    style: Literal["candle", "line"] = "candle",
    title: str | None = None,
    max_bars: int = MAX_BARS,
) -> go.Figure:
    """Draw candles or a line of closes with entries, exits and triggered exits marked at their exact times.

    Args:
        candles: open, high, low, close by naive UTC open time; merged into wider candles if more than `max_bars`
        trades: trades of this pair; buys, sells, stop losses, take profits and failures each have a marker
        positions: positions of this pair; each closed one becomes a line from entry to exit, coloured by its profit
        overlays: curves drawn on the price, such as moving averages
        indicators: curves drawn below the price, one panel each
        plots: what the strategy plotted for this pair, on the price or in panels of their own
        style: "candle", or "line" for closes only
        title: heading inside the figure
        max_bars: how many candles are drawn at most

    Returns:
        A figure: the price first, then overlays, plots, position lines and one trace per kind of marker; names are
        those of the legend.
    """
    panels = [
        Panel(name, [_curve_trace(name, curve, number).update(showlegend=False)])
        for number, (name, curve) in enumerate((indicators or {}).items())
    ]
    panels += arrange_panels(plots)
    heights = [PRICE_HEIGHT, *(panel.height for panel in panels)]
    figure = stack_rows(heights)
    shown = resample_candles(candles, max_bars)
    if shown.empty:
        say_nothing_to_show(figure, NO_CANDLES)
    for trace in trace_price(shown, trades, positions=positions, overlays=overlays, plots=plots, style=style):
        figure.add_trace(trace, row=1, col=1)
    add_panels(figure, panels, first_row=2)
    figure.update_layout(
        hovermode="closest", dragmode="zoom", xaxis={"type": "date", "rangeslider": {"visible": False}}, showlegend=True
    )
    return style_figure(figure, title=title, height=MARGINS + sum(heights))


def trace_price(
    candles: pd.DataFrame,
    trades: pd.DataFrame | None = None,
    *,
    positions: pd.DataFrame | None = None,
    overlays: Mapping[str, Curve] | None = None,
    plots: Sequence[Plot] = (),
    style: Literal["candle", "line"] = "candle",
) -> list[go.Candlestick | go.Scatter]:
    """Return what lies on the price, the price first; arguments as in `draw_price_and_trades`."""
    traces = [_candle_trace(candles) if style == "candle" else _line_trace(candles)]
    traces += [_curve_trace(name, curve, number) for number, (name, curve) in enumerate((overlays or {}).items())]
    traces += trace_price_plots(plots)
    traces += [] if positions is None else _position_traces(positions)
    traces += [] if trades is None else _trade_traces(trades)
    return traces


def _trade_traces(trades: pd.DataFrame) -> list[go.Scatter]:
    size = 11 if len(trades) <= MANY_MARKERS else 8
    return [
        _marker_trace(kind.name, rows, {"symbol": kind.symbol, "color": kind.colour, "size": size})
        for kind, rows in sort_markers(trades).items()
    ]


def describe_bars(candles: pd.DataFrame, max_bars: int = MAX_BARS) -> str:
    """Say which candles a chart of at most `max_bars` shows: their width and whether they were merged."""
    shown = resample_candles(candles, max_bars)
    width = bar_width(shown)
    if width is None:
        return "no candles" if shown.empty else "one candle"
    text = f"{len(shown):,} candles of {format_duration(width.to_pytimedelta())}"
    return text if len(shown) == len(candles) else f"{text}, merged from {len(candles):,}"


def _candle_trace(candles: pd.DataFrame) -> go.Candlestick:
    times = plot_times(candles.index)
    prices = {name: candles[name].to_numpy(dtype=np.float64) for name in ("open", "high", "low", "close")}
    return go.Candlestick(
        x=times,
        **prices,
        name="Price",
        increasing={"line": {"color": NEUTRAL, "width": 1}, "fillcolor": "rgba(0,0,0,0)"},
        decreasing={"line": {"color": NEUTRAL, "width": 1}, "fillcolor": NEUTRAL},
        showlegend=False,
    )


def _line_trace(candles: pd.DataFrame) -> go.Scatter:
    return go.Scatter(
        x=plot_times(candles.index),
        y=candles["close"].to_numpy(dtype=np.float64),
        mode="lines",
        line={"color": NEUTRAL, "width": 1.2},
        name="Close",
        hovertemplate="%{x|%Y-%m-%d %H:%M}<br>%{y:,.6~g}<extra></extra>",
    )


def _curve_trace(name: str, curve: Curve, position: int) -> go.Scatter:
    drawn = thin_curve(curve.rename(name))
    return go.Scatter(
        x=plot_times(drawn.index),
        y=drawn.to_numpy(),
        name=plain(name),
        mode="lines",
        line={"color": colour_of(position + 1), "width": 1.2},
        hovertemplate="%{y:,.6~g}",
    )


def _marker_trace(name: str, rows: pd.DataFrame, marker: dict[str, object]) -> go.Scatter:
    profits = rows["profit"] if "profit" in rows.columns else pd.Series(np.nan, index=rows.index)
    texts = [
        f"<b>{name}</b> #{trade_id}, position #{position_id}<br>{format_price(price)}, {format_usd(value)}"
        + (f"<br>Profit {format_usd(profit, signed=True)}" if np.isfinite(profit) else "")
        for trade_id, position_id, price, value, profit in zip(
            rows["trade_id"],
            rows["position_id"],
            rows["marker_price"],
            rows["reserve"].astype("float64"),
            profits.astype("float64"),
            strict=True,
        )
    ]
    return go.Scatter(
        x=plot_times(rows["marker_at"]),
        y=rows["marker_price"].to_numpy(dtype=np.float64),
        name=name,
        mode="markers",
        marker=marker,
        text=texts,
        hovertemplate="%{text}<br>%{x|%Y-%m-%d %H:%M}<extra></extra>",
    )


def _position_traces(positions: pd.DataFrame) -> list[go.Scatter]:
    closed = positions[positions["closed_at"].notna() & positions["closing_price"].notna()]
    profit = closed["realised_profit"].astype("float64")
    traces = []
    for name, colour, rows in (("Winner", GAIN, closed[profit >= 0]), ("Loser", LOSS, closed[profit < 0])):
        if rows.empty:
            continue
        gaps = np.full(len(rows), np.nan)
        lines = np.column_stack(
            [rows["opening_price"].astype("float64"), rows["closing_price"].astype("float64"), gaps]
        )
        times = np.column_stack(
            [plot_times(rows["opened_at"]), plot_times(rows["closed_at"]), plot_times(rows["closed_at"])]
        )
        traces.append(
            go.Scatter(
                x=times.ravel(),
                y=lines.ravel(),
                name=f"{name} ({len(rows):,})",
                mode="lines",
                connectgaps=False,
                line={"color": colour, "width": 1.2, "dash": "dot"},
                hoverinfo="skip",
            )
        )
    return traces
