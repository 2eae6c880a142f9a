"""One look for all plotly figures, on a light and on a dark page."""

from __future__ import annotations

from html import escape
from typing import Any

import plotly.graph_objects as go

from trading_dagster.charts.palette import DARK, GAIN, LIGHT, LOSS, OTHERS, STRATEGY, Scheme

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
FIGURE_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "modeBarButtons": [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
}
"""What to hand to plotly.js with every figure; by default it offers to upload the chart to its maker's cloud."""

LEGEND_GAP = 6
"""Pixels between the plot and the legend above it, whatever the height."""

MARGIN = {"l": 64, "r": 16, "t": 36, "b": 36}


def make_template(scheme: Scheme) -> go.layout.Template:
    """Return the template for a page: everything that depends on the page's colour inside."""
    axis: dict[str, Any] = {
        "gridcolor": scheme.grid,
        "linecolor": scheme.grid,
        "zerolinecolor": scheme.grid,
        "tickcolor": scheme.grid,
        "zeroline": False,
        "automargin": True,
        "ticks": "",
        "title": {"standoff": 10, "font": {"size": 12, "color": scheme.muted}},
        "tickfont": {"size": 11, "color": scheme.muted},
    }
    diverging = [[0.0, LOSS], [0.5, scheme.middle], [1.0, GAIN]]
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 12, "color": scheme.text},
            "paper_bgcolor": scheme.background,
            "plot_bgcolor": scheme.background,
            "colorway": [STRATEGY, *OTHERS],
            "colorscale": {"diverging": diverging},
            "margin": MARGIN,
            "xaxis": {**axis, "showgrid": False, "showspikes": False},
            "yaxis": {**axis, "separatethousands": True, "exponentformat": "none"},
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1.02,
                "yanchor": "bottom",
                "font": {"size": 12, "color": scheme.text},
                "bgcolor": "rgba(0,0,0,0)",
            },
            "hoverlabel": {
                "bgcolor": scheme.background,
                "bordercolor": scheme.grid,
                "font": {"size": 12, "color": scheme.text, "family": FONT},
                "align": "left",
            },
            "annotationdefaults": {"font": {"color": scheme.muted, "size": 13}, "showarrow": False},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": scheme.muted, "activecolor": scheme.text},
            "bargap": 0.15,
        },
        data={
            "heatmap": [{"colorscale": diverging, "xgap": 2, "ygap": 2}],
            "scatter": [{"marker": {"line": {"color": scheme.background, "width": 1}}}],
        },
    )


def template_of(name: str) -> dict[str, Any]:
    """Return the template "light" or "dark" as plain data."""
    plain: dict[str, Any] = make_template({"light": LIGHT, "dark": DARK}[name]).to_plotly_json()
    return plain


def style_figure(figure: go.Figure, *, title: str | None = None, height: int = 420) -> go.Figure:
    """Give a figure the light look, a height in pixels and, if wanted, a title; returns the same figure."""
    figure.update_layout(template=make_template(LIGHT), height=height)
    if title:
        heading = {"text": plain(title), "x": 0, "xref": "paper", "font": {"size": 15}}
        heading |= {"y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 14}}
        figure.update_layout(title=heading, margin={"t": 72})
    above = LEGEND_GAP / max(height - 2 * MARGIN["t"], 100)
    figure.update_layout(legend={"y": 1 + above})
    return figure


def say_nothing_to_show(figure: go.Figure, text: str) -> go.Figure:
    """Write a sentence where the data would be; returns the same figure."""
    figure.add_annotation(text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    return figure


def plain(text: str) -> str:
    """Return text that plotly, which reads some HTML tags, shows as it is written."""
    return escape(text, quote=False)
