"""Draw several named curves in one figure: lines, or areas that stand on each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.palette import STRATEGY, colour_of, with_alpha
from trading_dagster.charts.sampling import MAX_POINTS, Curve, clean_curve, plot_times, thin_curve
from trading_dagster.charts.theme import plain, say_nothing_to_show, style_figure

WHEEL = (
    "#2f73f0", "#d98324", "#089981", "#b730d6", "#12a5b8", "#e5384f", "#7c6cf0", "#b0893c", "#c2568c", "#5f9e2f",
    "#4c8dae", "#a8623a",
)  # fmt: skip
"""Colours of assets that stand on each other; they repeat after twelve."""
CASH_COLOUR = "#8791a1"
MOST_AREAS = 12
OTHERS = "others"


def draw_curves(
    curves: Mapping[str, Curve],
    *,
    title: str | None = None,
    y_title: str = "",
    tick_format: str = "",
    hover: str = "%{y:,.6~g}",
    nothing: str = "Nothing to show",
    height: int = 400,
    colours: Mapping[str, str] | None = None,
) -> go.Figure:
    """Draw a line for each curve, the first in the strategy's colour.

    Args:
        curves: values by naive UTC time, by name
        title: heading inside the figure
        y_title: what the values are
        tick_format: how plotly writes them
        hover: template of what the pointer shows
        nothing: the sentence where there are no values
        height: pixels
        colours: of curves that have their own
    """
    figure = go.Figure()
    drawn = {name: thin_curve(curve) for name, curve in curves.items()}
    if all(curve.empty for curve in drawn.values()):
        say_nothing_to_show(figure, nothing)
    for number, (name, curve) in enumerate(drawn.items()):
        colour = (colours or {}).get(name) or (STRATEGY if number == 0 else colour_of(number - 1))
        figure.add_trace(
            go.Scatter(
                x=plot_times(curve.index),
                y=curve.to_numpy(),
                name=plain(name),
                mode="lines" if len(curve) > 1 else "lines+markers",
                line={"color": colour, "width": 1.6 if number == 0 else 1.2},
                hovertemplate=hover,
            )
        )
    figure.update_layout(
        hovermode="x unified",
        xaxis={"type": "date"},
        yaxis={"title": {"text": y_title}, "tickformat": tick_format},
        showlegend=True,
    )
    return style_figure(figure, title=title, height=height)


def draw_areas(
    table: pd.DataFrame,
    *,
    title: str | None = None,
    y_title: str = "",
    tick_format: str = "",
    hover: str = "%{customdata:$,.2f}",
    nothing: str = "Nothing to show",
    cash: str | None = None,
    height: int = 440,
) -> go.Figure:
    """Draw columns as areas that stand on each other, so that the top is their sum.

    The line of an area is the sum up to it, and its own value is its ``customdata``: plotly could add up by itself, but
    then shows wrong sums when it is resized while it draws.

    All areas are drawn at the same times, at most 1,000. Of more than twelve columns the smaller ones, by their mean,
    are drawn as one, "others".

    Args:
        table: values by naive UTC time, a column per area, the lowest first; NaN counts as 0
        title: heading inside the figure
        y_title: what the values are
        tick_format: how plotly writes them
        hover: template of what the pointer shows
        nothing: the sentence where there are no rows
        cash: the column that has the colour of cash
        height: pixels
    """
    shown = gather_others(table.fillna(0.0))
    figure = go.Figure()
    if shown.empty or not len(shown.columns):
        say_nothing_to_show(figure, nothing)
    rows = _rows_to_draw(shown)
    times = plot_times(shown.index[rows]) if len(shown) else shown.index
    coloured = 0
    top = np.zeros(len(rows))
    for number, name in enumerate(shown.columns):
        is_grey = name in (cash, OTHERS)
        colour = CASH_COLOUR if is_grey else WHEEL[coloured % len(WHEEL)]
        coloured += not is_grey
        values = shown[name].to_numpy(dtype=np.float64)[rows]
        top = top + values
        figure.add_trace(
            go.Scatter(
                x=times,
                y=top,
                customdata=values,
                name=plain(str(name)),
                mode="lines",
                fill="tozeroy" if number == 0 else "tonexty",
                line={"color": colour, "width": 0.6},
                fillcolor=with_alpha(colour, 0.55),
                hovertemplate=hover,
            )
        )
    figure.update_layout(
        hovermode="x unified",
        xaxis={"type": "date"},
        yaxis={"title": {"text": y_title}, "tickformat": tick_format, "rangemode": "tozero"},
        legend={"traceorder": "reversed"},
        showlegend=True,
    )
    return style_figure(figure, title=title, height=height)


def gather_others(table: pd.DataFrame, most: int = MOST_AREAS) -> pd.DataFrame:
    """Return a table of at most so many columns: those of the smallest means are summed up as "others"."""
    if len(table.columns) <= most:
        return table
    sizes = table.abs().mean().to_numpy()
    large = set(np.argsort(-sizes, kind="stable")[: most - 1].tolist())
    kept = table.iloc[:, [place for place in range(len(table.columns)) if place in large]]
    rest = table.iloc[:, [place for place in range(len(table.columns)) if place not in large]]
    return kept.assign(**{OTHERS: rest.sum(axis=1)})


def _rows_to_draw(table: pd.DataFrame, most: int = MAX_POINTS // 4) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the rows to draw: all, or the last of equal stretches, so that a row is one moment for all areas."""
    count = len(table)
    if count <= most:
        return np.arange(count, dtype=np.int64)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))


def rebase(curve: Curve, first_value: float) -> Curve:
    """Return a curve scaled so that it begins at a value; empty where it begins at 0."""
    cleaned = clean_curve(curve)
    if cleaned.empty or cleaned.iloc[0] == 0:
        return cleaned.iloc[:0]
    return cleaned * (first_value / float(cleaned.iloc[0]))
