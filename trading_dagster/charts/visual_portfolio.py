"""Figures of returns, weights and trading hours, by the names that notebooks know.

Settings of looks that notebooks hand over are accepted and of no effect: figures here have one look.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.curve import draw_areas
from trading_dagster.charts.equity import draw_equity_with_drawdown
from trading_dagster.charts.returns import draw_monthly_returns, draw_returns_distribution
from trading_dagster.charts.sampling import Curve, clean_curve
from trading_dagster.charts.theme import style_figure
from trading_dagster.domain.position import TradingPosition
from trading_dagster.statistics.asset_weight import RESERVE_SYMBOL
from trading_dagster.statistics.metrics_table import calculate_advanced_metrics, format_metrics

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def visualise_equity_curve(returns: Curve, title: str | None = "Equity curve", **looks: Any) -> go.Figure:
    """Draw what 1 became by returns, above its drawdown."""
    del looks
    curve = (1 + clean_curve(returns)).cumprod()
    figure = draw_equity_with_drawdown(curve, title=title)
    return figure.update_yaxes(tickformat=",.2f", title_text="Growth of 1", row=1, col=1)


def visualise_advanced_metrics(
    returns: Curve,
    mode: Literal["basic", "full"] = "full",
    benchmark: Curve | None = None,
    convert_to_daily: bool = False,
    **looks: Any,
) -> pd.DataFrame:
    """Return the measures of returns as a table of text; arguments as in `calculate_advanced_metrics`."""
    del looks
    return format_metrics(calculate_advanced_metrics(returns, mode, convert_to_daily, benchmark))


def visualise_returns_over_time(returns: Curve, title: str | None = "Monthly returns") -> go.Figure:
    """Draw returns month by month, a row a year."""
    return draw_monthly_returns(_curve_of(returns), title=title)


def visualise_returns_distribution(returns: Curve, title: str | None = "Distribution of daily returns") -> go.Figure:
    """Draw how often returns of each size occurred."""
    return draw_returns_distribution(returns, title=title)


def visualise_weights(
    weights_series: pd.DataFrame | pd.Series[float],
    normalised: bool = True,
    include_reserves: bool = True,
    title: str | None = None,
    **looks: Any,
) -> go.Figure:
    """Draw how the portfolio is divided among assets over time.

    Args:
        weights_series: What `calculate_asset_weights` returned, or USD by time and asset as a series of two levels.
        normalised: Draw shares of the whole rather than USD.
        include_reserves: Draw cash, too.
        title: Heading inside the figure.
        looks: Of no effect.
    """
    del looks
    table = _as_table(weights_series)
    cash = weights_series.attrs.get(RESERVE_SYMBOL)
    if cash is not None and cash in table.columns:
        order = [cash, *(name for name in table.columns if name != cash)]
        table = table[order] if include_reserves else table.drop(columns=cash)
    if normalised:
        table = table.div(table.sum(axis=1).where(lambda total: total > 0), axis=0)
        return draw_areas(table, title=title, y_title="Share", tick_format=".0%", hover="%{customdata:.1%}", cash=cash)
    return draw_areas(table, title=title, y_title="Value", tick_format="$,", cash=cash)


def _as_table(weights: pd.DataFrame | pd.Series[float]) -> pd.DataFrame:
    """Return weights as a table; a series has the levels time and asset."""
    return weights if isinstance(weights, pd.DataFrame) else pd.DataFrame(weights.unstack())


class ScoringMethod(StrEnum):
    """What the weekly heat map counts."""

    realised_profitability = "realised_profitability"
    success_rate = "success_rate"
    failure_rate = "failure_rate"


def visualise_weekly_time_heatmap(
    positions: Iterable[TradingPosition],
    method: ScoringMethod = ScoringMethod.success_rate,
    height: int = 420,
    **looks: Any,
) -> go.Figure:
    """Draw at which weekday and hour closed positions were opened, and what came of them.

    Args:
        positions: Any positions; those that are open are left out.
        method: The sum of realised percents, or how many won, or how many lost.
        height: Pixels.
        looks: Of no effect.
    """
    del looks
    grid = np.zeros((7, 24))
    for position in positions:
        if position.is_closed():
            profit = position.get_realised_profit_percent()
            score = {
                ScoringMethod.realised_profitability: profit,
                ScoringMethod.success_rate: float(profit > 0),
                ScoringMethod.failure_rate: float(profit < 0),
            }[ScoringMethod(method)]
            grid[position.opened_at.weekday(), position.opened_at.hour] += score
    is_percent = method == ScoringMethod.realised_profitability
    sign, scale = (-1 if method == ScoringMethod.failure_rate else 1), float(np.abs(grid).max()) or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=grid * sign, customdata=grid, x=[f"{hour:02d}" for hour in range(24)], y=list(WEEKDAYS),
            zmin=-scale, zmid=0, zmax=scale, showscale=False,
            hovertemplate="%{y} %{x}:00 UTC: %{customdata" + (":.2%" if is_percent else "") + "}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_xaxes(title_text="Hour of opening, UTC", type="category")
    words = {
        ScoringMethod.realised_profitability: "Sum of realised profit",
        ScoringMethod.success_rate: "Profitable positions",
        ScoringMethod.failure_rate: "Unprofitable positions",
    }
    return style_figure(figure, title=f"{words[ScoringMethod(method)]} by hour of opening", height=height)


def _curve_of(returns: Curve) -> Curve:
    """Return the growth of 1 by returns, beginning a moment before the first."""
    cleaned = clean_curve(returns)
    if cleaned.empty:
        return cleaned
    step = cleaned.index[1] - cleaned.index[0] if len(cleaned) > 1 else pd.Timedelta(days=1)
    start = pd.Series([1.0], index=[cleaned.index[0] - step])
    return pd.concat([start, (1 + cleaned).cumprod()])
