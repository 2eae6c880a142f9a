"""Draw returns: month by month, as a distribution, and adjusted for risk over time."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from trading_dagster.charts.number import MINUS, format_percent
from trading_dagster.charts.palette import GAIN, LOSS, STRATEGY, with_alpha
from trading_dagster.charts.sampling import Curve, clean_curve, plot_times, thin_curve
from trading_dagster.charts.theme import say_nothing_to_show, style_figure
from trading_dagster.statistics.returns import (
    MONTHS,
    calculate_daily_returns_from_curve,
    calculate_monthly_returns_table,
    calculate_returns,
    calculate_rolling_sharpe,
)

MAX_BINS = 60
ROW_HEIGHT = 34


def draw_monthly_returns(equity: Curve, *, title: str | None = None) -> go.Figure:
    """Draw a heat map of monthly returns: a row per year, the newest on top, the year's total in the last column.

    The colours span the months; the year's total uses the same scale and may be beyond its ends.

    Args:
        equity: USD by naive UTC time
        title: heading inside the figure
    """
    table = calculate_monthly_returns_table(calculate_returns(clean_curve(equity)))
    figure = go.Figure()
    if table.empty:
        say_nothing_to_show(figure, "No returns to show")
    values = table.to_numpy(dtype=np.float64)
    text = [["" if np.isnan(value) else f"{value:+.1%}".replace("-", MINUS) for value in row] for row in values]
    figure.add_trace(
        go.Heatmap(
            z=values,
            x=list(table.columns),
            y=[str(year) for year in table.index],
            text=text,
            texttemplate="%{text}",
            zmid=0,
            zmin=-month_scale(values),
            zmax=month_scale(values),
            showscale=False,
            hoverongaps=False,
            hovertemplate="%{x} %{y}: %{z:+.2%}<extra></extra>",
        )
    )
    figure.add_vline(x=len(MONTHS) - 0.5, line={"width": 1, "color": with_alpha("#8791a1", 0.6)})
    figure.update_xaxes(side="top", type="category", fixedrange=True)
    figure.update_yaxes(type="category", categoryorder="category ascending", showgrid=False, fixedrange=True)
    return style_figure(figure, title=title, height=90 + ROW_HEIGHT * max(len(table), 2))


def month_scale(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """Return the return at which the heat map's colour is full: the 95 % quantile of the months, at least 1 %."""
    months = np.abs(values[:, : len(MONTHS)])
    months = months[np.isfinite(months)]
    return max(float(np.quantile(months, 0.95)), 0.01) if len(months) else 0.01


def draw_returns_distribution(returns: Curve, *, unit: str = "day", title: str | None = None) -> go.Figure:
    """Draw a histogram of returns with their mean, gains and losses coloured.

    No bin holds both gains and losses; returns of exactly zero (no position) are left out and counted in the label.

    Args:
        returns: fractions by time
        unit: what one return covers, for the labels
        title: heading inside the figure
    """
    values = clean_curve(returns).to_numpy()
    active = values[values != 0]
    figure = go.Figure()
    if len(active) == 0:
        say_nothing_to_show(figure, "No returns to show")
    else:
        widest = float(np.abs(active).max())
        step = max(np.ptp(active), widest) / min(MAX_BINS, max(10, int(np.sqrt(len(active)) * 2)))
        first, last = np.floor(active.min() / step), np.ceil(active.max() / step)
        edges = np.arange(min(first, -1), max(last, 1) + 1) * step
        counts, _ = np.histogram(active, bins=edges)
        centres = (edges[:-1] + edges[1:]) / 2
        figure.add_trace(
            go.Bar(
                x=centres,
                y=counts,
                width=step * 0.92,
                marker={"color": [GAIN if centre > 0 else LOSS for centre in centres], "line": {"width": 0}},
                customdata=np.column_stack([edges[:-1], edges[1:]]),
                hovertemplate="%{customdata[0]:.2%} to %{customdata[1]:.2%}: %{y}<extra></extra>",
                name="Returns",
                showlegend=False,
            )
        )
        mean = float(active.mean())
        figure.add_vline(x=mean, line={"width": 1.5, "dash": "dash", "color": STRATEGY})
        figure.add_annotation(
            x=mean,
            y=1,
            yref="paper",
            yanchor="bottom",
            text=f"mean {format_percent(mean, signed=True)}",
            font={"size": 11, "color": STRATEGY},
        )
    idle = len(values) - len(active)
    label = f"Return per {unit}" + (f" ({idle:,} without a change left out)" if idle else "")
    figure.update_xaxes(title_text=label, tickformat=".1~%")
    figure.update_yaxes(title_text=f"{unit.capitalize()}s", rangemode="tozero")
    return style_figure(figure, title=title, height=320)


def draw_rolling_sharpe(equity: Curve, *, periods: int = 90, title: str | None = None) -> go.Figure:
    """Draw the Sharpe ratio of the last `periods` days at each day, scaled to that window.

    Args:
        equity: USD by naive UTC time
        periods: length of the window in days
        title: heading inside the figure
    """
    daily = calculate_daily_returns_from_curve(clean_curve(equity)).dropna()
    rolling = thin_curve(calculate_rolling_sharpe(daily, "D", periods))
    figure = go.Figure()
    if rolling.empty:
        say_nothing_to_show(figure, f"Needs more than {periods} days of changing equity")
    figure.add_trace(
        go.Scatter(
            x=plot_times(rolling.index),
            y=rolling.to_numpy(),
            name=f"Sharpe, {periods} days",
            mode="lines",
            line={"color": STRATEGY, "width": 1.5},
            hovertemplate="%{y:.2f}",
            showlegend=False,
        )
    )
    figure.add_hline(y=0, line={"width": 1, "color": with_alpha("#8791a1", 0.7)})
    figure.update_layout(hovermode="x unified", xaxis={"type": "date"}, yaxis={"title": {"text": "Sharpe"}})
    return style_figure(figure, title=title, height=320)
