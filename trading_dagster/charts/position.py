"""Draw what single positions earned, and how long they took."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trading_dagster.charts.number import format_duration, format_percent, format_usd
from trading_dagster.charts.palette import GAIN, LOSS, STRATEGY
from trading_dagster.charts.theme import plain, say_nothing_to_show, style_figure

MAX_BARS = 1_500
MAX_POINTS = 3_000
NO_POSITIONS = "No position was closed"
UNITS = (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0))


def draw_position_profits(positions: pd.DataFrame, *, title: str | None = None) -> go.Figure:
    """Draw the realised profit of each closed position in the order of closing, and their running sum.

    Above 1,500 positions a bar is the sum of several neighbours; the label says of how many.

    Args:
        positions: the engine's table of positions; open ones are left out
        title: heading inside the figure

    Returns:
        A figure of bars ("Profit") above a line ("Running sum").
    """
    closed = select_closed(positions)
    profits = closed["realised_profit"].to_numpy(dtype=np.float64, na_value=0.0)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.06)
    together = -(-len(profits) // MAX_BARS) if len(profits) else 1
    if len(profits) == 0:
        say_nothing_to_show(figure, NO_POSITIONS)
    else:
        first = np.arange(0, len(profits), together)
        last = np.append(first[1:], len(profits)) - 1
        bars = np.add.reduceat(profits, first)
        sums = np.cumsum(profits)[last]
        texts = _bar_texts(closed, bars) if together == 1 else [format_usd(bar, signed=True) for bar in bars]
        figure.add_trace(
            go.Bar(
                x=last + 1,
                y=bars,
                width=0.85 * together,
                name="Profit",
                marker={"color": np.where(bars >= 0, GAIN, LOSS), "line": {"width": 0}},
                text=texts,
                textposition="none",
                hovertemplate="%{text}<extra></extra>",
            ),
            row=1,
            col=1,
        )
        figure.add_trace(
            go.Scatter(
                x=last + 1,
                y=sums,
                name="Running sum",
                mode="lines",
                line={"color": STRATEGY, "width": 1.5},
                hovertemplate="Sum after %{x}: %{y:$,.2f}<extra></extra>",
            ),
            row=2,
            col=1,
        )
    unit = "Position" if together == 1 else f"Position ({together} a bar)"
    figure.update_xaxes(title_text=f"{unit}, in order of closing", separatethousands=True, row=2, col=1)
    figure.update_yaxes(title_text="Profit", tickformat="$,", row=1, col=1)
    figure.update_yaxes(title_text="Sum", tickformat="$,", nticks=5, row=2, col=1)
    figure.update_layout(showlegend=False)
    return style_figure(figure, title=title, height=340)


def draw_position_durations(positions: pd.DataFrame, *, title: str | None = None) -> go.Figure:
    """Draw profit in percent over duration, a point per closed position.

    Above 3,000 positions only every second, third ... is drawn; the label says so.

    Args:
        positions: the engine's table of positions; `profit_pct` is a fraction
        title: heading inside the figure

    Returns:
        A figure of the traces "Won" and "Lost", as far as there are any.
    """
    closed = select_closed(positions)
    every = -(-len(closed) // MAX_POINTS) if len(closed) else 1
    shown = closed.iloc[::every]
    seconds = pd.to_timedelta(shown["duration"]).dt.total_seconds().to_numpy(dtype=np.float64)
    typical = float(np.nanmedian(seconds)) if np.isfinite(seconds).any() else 0.0
    unit, width = next((entry for entry in UNITS if typical >= 2 * entry[1]), UNITS[-1])
    gains = shown["profit_pct"].to_numpy(dtype=np.float64, na_value=np.nan)
    figure = go.Figure()
    if len(shown) == 0:
        say_nothing_to_show(figure, NO_POSITIONS)
    for name, colour, chosen in (("Won", GAIN, gains >= 0), ("Lost", LOSS, gains < 0)):
        if not chosen.any():
            continue
        figure.add_trace(
            go.Scatter(
                x=seconds[chosen] / width,
                y=gains[chosen],
                name=name,
                mode="markers",
                marker={"color": colour, "size": 7, "opacity": 0.75},
                text=_point_texts(shown[chosen]),
                hovertemplate="%{text}<extra></extra>",
            )
        )
    sampled = "" if every == 1 else f", every {every}th position"
    figure.update_layout(
        xaxis={"title": {"text": f"Duration in {unit}{sampled}"}, "rangemode": "tozero", "separatethousands": True},
        yaxis={"title": {"text": "Profit"}, "tickformat": ".1~%"},
        showlegend=len(shown) > 0,
    )
    return style_figure(figure, title=title, height=340)


def select_closed(positions: pd.DataFrame) -> pd.DataFrame:
    """Return the closed positions in the order of closing."""
    closed = positions[positions["closed_at"].notna() & (positions["status"].astype("str") == "closed")]
    return closed.sort_values(["closed_at", "position_id"], kind="stable")


def _bar_texts(closed: pd.DataFrame, profits: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[str]:
    return [
        f"#{position_id} {plain(pair)}<br>{format_usd(profit, signed=True)} ({format_percent(percent, signed=True)})"
        for position_id, pair, profit, percent in zip(
            closed["position_id"], closed["pair"], profits, closed["profit_pct"].astype("float64"), strict=True
        )
    ]


def _point_texts(rows: pd.DataFrame) -> list[str]:
    return [
        f"#{position_id} {plain(pair)}<br>{format_percent(percent, signed=True)} in {format_duration(duration)}"
        for position_id, pair, percent, duration in zip(
            rows["position_id"], rows["pair"], rows["profit_pct"].astype("float64"), rows["duration"], strict=True
        )
    ]
