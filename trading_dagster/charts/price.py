"""Draw the price of one pair with the trades made on it, overlays and indicators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trading_dagster.charts.marker import sort_markers
from trading_dagster.charts.number import format_duration, format_price, format_usd
from trading_dagster.charts.palette import GAIN, LOSS, NEUTRAL, colour_of
from trading_dagster.charts.sampling import MAX_BARS, Curve, bar_width, plot_times, resample_candles, thin_curve
from trading_dagster.charts.theme import plain, say_nothing_to_show, style_figure

MANY_MARKERS = 400
NO_CANDLES = "No candles in this range"


def draw_price_and_trades(
    candles: pd.DataFrame,
    trades: pd.DataFrame | None = None,
    *,
    positions: pd.DataFrame | None = None,
    overlays: Mapping[str, Curve] | None = None,
    indicators: Mapping[str, Curve] | None = None,
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
        style: "candle", or "line" for closes only
        title: heading inside the figure
        max_bars: how many candles are drawn at most

    Returns:
        A figure: the price first, then overlays, position lines and one trace per kind of marker; names are those of
        the legend.
    """
    panels = dict(indicators or {})
    price_share = 0.7 if len(panels) < 2 else 0.55
    figure = make_subplots(
        rows=1 + len(panels),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.04,
        row_heights=[price_share, *[(1 - price_share) / len(panels) for _ in panels]],
    )
    shown = resample_candles(candles, max_bars)
    if shown.empty:
        say_nothing_to_show(figure, NO_CANDLES)
    figure.add_trace(_candle_trace(shown) if style == "candle" else _line_trace(shown), row=1, col=1)
    for position, (name, curve) in enumerate((overlays or {}).items()):
        figure.add_trace(_curve_trace(name, curve, position), row=1, col=1)
    if positions is not None:
        for trace in _position_traces(positions):
            figure.add_trace(trace, row=1, col=1)
    if trades is not None:
        size = 11 if len(trades) <= MANY_MARKERS else 8
        for kind, rows in sort_markers(trades).items():
            marker = {"symbol": kind.symbol, "color": kind.colour, "size": size}
            figure.add_trace(_marker_trace(kind.name, rows, marker), row=1, col=1)
    for row, (name, curve) in enumerate(panels.items(), start=2):
        figure.add_trace(_curve_trace(name, curve, row - 2).update(showlegend=False), row=row, col=1)
        figure.update_yaxes(title_text=plain(name), nticks=4, row=row, col=1)
    figure.update_layout(
        hovermode="closest", dragmode="zoom", xaxis={"type": "date", "rangeslider": {"visible": False}}, showlegend=True
    )
    return style_figure(figure, title=title, height=460 + 110 * len(panels))


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
