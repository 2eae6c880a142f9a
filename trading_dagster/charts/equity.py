"""Draw equity over time, alone or above its drawdown, with benchmarks to compare with."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trading_dagster.charts.palette import LOSS, STRATEGY, colour_of, with_alpha
from trading_dagster.charts.sampling import (
    MAX_POINTS,
    Benchmarks,
    Curve,
    clean_curve,
    name_benchmarks,
    plot_times,
    thin_curve,
)
from trading_dagster.charts.theme import plain, say_nothing_to_show, style_figure
from trading_dagster.statistics.drawdown import calculate_drawdown_series
from trading_dagster.statistics.returns import calculate_returns

NO_EQUITY = "No equity was recorded"


def calculate_drawdown(equity: Curve) -> Curve:
    """Return equity / its running maximum - 1 at each sample that has a value."""
    return calculate_drawdown_series(calculate_returns(clean_curve(equity)))


def draw_equity(
    equity: Curve,
    benchmarks: Benchmarks = None,
    *,
    name: str = "Strategy",
    title: str | None = None,
    max_points: int = MAX_POINTS,
) -> go.Figure:
    """Draw the equity curve.

    Args:
        equity: USD by naive UTC time; NaN is skipped
        benchmarks: curves of the same kind, drawn thinner
        name: what the legend calls the strategy
        title: heading inside the figure
        max_points: samples drawn per curve; local extremes are kept

    Returns:
        A figure of one line per curve, the strategy's first.
    """
    figure = go.Figure()
    _add_curves(figure, equity, benchmarks, name=name, max_points=max_points)
    _label_money_axis(figure)
    return style_figure(figure, title=title, height=380)


def draw_equity_with_drawdown(
    equity: Curve,
    benchmarks: Benchmarks = None,
    *,
    name: str = "Strategy",
    title: str | None = None,
    max_points: int = MAX_POINTS,
    performance: Curve | None = None,
) -> go.Figure:
    """Draw the equity curve above its drawdown on one time axis.

    The drawdown is calculated on all samples and then thinned, so that its lowest point is the true one.

    Args:
        equity: USD by naive UTC time; NaN is skipped
        benchmarks: curves of the same kind; the first one's drawdown is drawn too
        name: what the legend calls the strategy
        title: heading inside the figure
        max_points: samples drawn per curve; local extremes are kept
        performance: equity without deposits and redemptions, whose drawdown is drawn; equity where not given

    Returns:
        A figure whose traces are the strategy, the benchmarks, "Drawdown" and perhaps the benchmark's drawdown.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.04)
    _add_curves(figure, equity, benchmarks, name=name, max_points=max_points)
    curves = {"Drawdown": clean_curve(equity if performance is None else performance)}
    for benchmark, curve in list(name_benchmarks(benchmarks).items())[:1]:
        curves[f"{benchmark} drawdown"] = curve
    for position, (label, curve) in enumerate(curves.items()):
        drawdown = thin_curve(calculate_drawdown(curve), max_points)
        figure.add_trace(
            go.Scatter(
                x=plot_times(drawdown.index),
                y=drawdown.to_numpy(),
                name=plain(label),
                mode="lines",
                line={"color": LOSS if position == 0 else colour_of(0), "width": 1},
                fill="tozeroy" if position == 0 else None,
                fillcolor=with_alpha(LOSS, 0.18) if position == 0 else None,
                showlegend=False,
                hovertemplate="%{y:.2%}",
            ),
            row=2,
            col=1,
        )
    _label_money_axis(figure)
    figure.update_yaxes(title_text="Drawdown", tickformat=".0%", rangemode="tozero", nticks=5, row=2, col=1)
    figure.update_layout(hoversubplots="axis")
    return style_figure(figure, title=title, height=500)


def _add_curves(figure: go.Figure, equity: Curve, benchmarks: Benchmarks, *, name: str, max_points: int) -> None:
    cleaned = clean_curve(equity)
    if cleaned.empty:
        say_nothing_to_show(figure, NO_EQUITY)
    curves = {name: cleaned, **{key: curve for key, curve in name_benchmarks(benchmarks).items() if key != name}}
    for position, (label, curve) in enumerate(curves.items()):
        drawn = thin_curve(curve, max_points)
        is_strategy = position == 0
        figure.add_trace(
            go.Scatter(
                x=plot_times(drawn.index),
                y=drawn.to_numpy(),
                name=plain(label),
                mode="lines" if len(drawn) > 1 else "lines+markers",
                line={
                    "color": STRATEGY if is_strategy else colour_of(position - 1),
                    "width": 1.8 if is_strategy else 1.2,
                },
                hovertemplate="%{y:$,.2f}",
            )
        )


def _label_money_axis(figure: go.Figure) -> None:
    figure.update_layout(
        hovermode="x unified",
        yaxis={"title": {"text": "Equity"}, "tickformat": "$,"},
        xaxis={"type": "date"},
        showlegend=True,
    )
