"""Draw live equity beside the backtest's, above their difference."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trading_dagster.charts.palette import STRATEGY, colour_of
from trading_dagster.charts.sampling import MAX_POINTS, Curve, clean_curve, plot_times, thin_curve
from trading_dagster.charts.theme import say_nothing_to_show, style_figure

NO_EQUITY = "No equity was recorded"


def draw_divergence(
    live: Curve, backtest: Curve, *, title: str | None = None, max_points: int = MAX_POINTS
) -> go.Figure:
    """Draw two equity curves, and live less backtest below.

    Args:
        live: USD by naive UTC time; NaN is skipped
        backtest: the same; times that only one curve has are left out of the difference
        title: heading inside the figure
        max_points: samples drawn per curve; local extremes are kept

    Returns:
        A figure whose traces are "Live", "Backtest" and "Difference".
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.04)
    ours, theirs = clean_curve(live), clean_curve(backtest)
    if ours.empty and theirs.empty:
        say_nothing_to_show(figure, NO_EQUITY)
    _add_line(figure, "Live", thin_curve(ours, max_points), STRATEGY, row=1)
    _add_line(figure, "Backtest", thin_curve(theirs, max_points), colour_of(0), row=1)
    _add_line(figure, "Difference", thin_curve((ours - theirs).dropna(), max_points), colour_of(1), row=2)
    figure.update_yaxes(title_text="Equity", tickformat="$,", row=1, col=1)
    figure.update_yaxes(title_text="Live - backtest", tickformat="$,.2f", nticks=5, row=2, col=1)
    figure.update_layout(hovermode="x unified", hoversubplots="axis", showlegend=True)
    return style_figure(figure, title=title, height=500)


def _add_line(figure: go.Figure, name: str, curve: Curve, colour: str, *, row: int) -> None:
    figure.add_trace(
        go.Scatter(
            x=plot_times(curve.index),
            y=curve.to_numpy(),
            name=name,
            mode="lines" if len(curve) > 1 else "lines+markers",
            line={"color": colour, "width": 1.5},
            hovertemplate="%{y:$,.2f}",
        ),
        row=row,
        col=1,
    )
