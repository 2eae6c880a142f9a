"""Draw how a search for parameters went: its progress, what matters, and how the result depends on each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trading_dagster.charts.palette import NEUTRAL, STRATEGY
from trading_dagster.charts.sampling import Curve, plot_times, thin_curve
from trading_dagster.charts.theme import plain, say_nothing_to_show, style_figure
from trading_dagster.domain.error import BadInput

SLICES_A_ROW = 3
SLICE_HEIGHT = 260
BAR_HEIGHT = 36


def visualise_optimisation(history: pd.DataFrame, *, name: str = "Value", title: str | None = None) -> go.Figure:
    """Draw the value of each point in the order in which they were tried, and the best up to then.

    Args:
        history: Columns value and best, by number of the point; ``OptimiserResult.history``.
        name: What the values are.
        title: Heading inside the figure.
    """
    figure = go.Figure()
    if not history["value"].notna().any():
        say_nothing_to_show(figure, "No point has a value")
    numbers = history.index.to_numpy()
    dots = go.Scatter(
        x=numbers,
        y=history["value"].to_numpy(),
        name="Point",
        mode="markers",
        marker={"color": NEUTRAL, "size": 6},
        hovertemplate="%{y:.4g}",
    )
    best = go.Scatter(
        x=numbers,
        y=history["best"].to_numpy(),
        name="Best so far",
        mode="lines",
        line={"color": STRATEGY, "width": 1.8, "shape": "hv"},
        hovertemplate="%{y:.4g}",
    )
    figure.add_traces([dots, best])
    figure.update_layout(hovermode="x unified", showlegend=True)
    figure.update_xaxes(title_text="Point")
    figure.update_yaxes(title_text=plain(name))
    return style_figure(figure, title=title, height=380)


def visualise_parameter_importance(importances: Mapping[str, float], *, title: str | None = None) -> go.Figure:
    """Draw how much each parameter tells good points from the rest, in shares of 1.

    Args:
        importances: Share by parameter; ``OptimiserResult.importances``.
        title: Heading inside the figure.
    """
    figure = go.Figure()
    if not importances:
        say_nothing_to_show(figure, "Too few points have a value")
    ordered = sorted(importances.items(), key=lambda item: item[1])
    figure.add_trace(
        go.Bar(
            x=[share for _, share in ordered],
            y=[plain(name) for name, _ in ordered],
            orientation="h",
            marker={"color": STRATEGY},
            hovertemplate="%{y}: %{x:.0%}<extra></extra>",
        )
    )
    figure.update_xaxes(tickformat=".0%", range=[0, 1], title_text="Importance")
    figure.update_yaxes(type="category", showgrid=False)
    return style_figure(figure, title=title, height=140 + BAR_HEIGHT * max(len(ordered), 2))


def visualise_parameter_slices(table: pd.DataFrame, metric: str = "Optim", *, title: str | None = None) -> go.Figure:
    """Draw a measure against each searched parameter by itself: a dot a point, whatever its other parameters.

    Args:
        table: With searched parameters as index, from `analyse_optimiser_result` or `analyse_grid_search_result`.
        metric: Column of the table.
        title: Heading inside the figure.

    Raises:
        BadInput: The table has no such column.
    """
    if metric not in table.columns:
        raise BadInput(f"The table has no column {metric!r}: choose among {', '.join(map(str, table.columns))}")
    names = [str(name) for name in table.index.names]
    rows = -(-len(names) // SLICES_A_ROW)
    columns = min(len(names), SLICES_A_ROW)
    figure = make_subplots(rows=rows, cols=columns, shared_yaxes=True, horizontal_spacing=0.04)
    values = table[metric].to_numpy(dtype=np.float64)
    if not np.isfinite(values).any():
        say_nothing_to_show(figure, f"No point has a value of {metric}")
    for number, name in enumerate(names):
        row, column = divmod(number, SLICES_A_ROW)
        where: dict[str, Any] = {"row": row + 1, "col": column + 1}
        level = table.index.get_level_values(number)
        is_number = pd.api.types.is_numeric_dtype(level) and level.dtype != bool and not level.hasnans
        dots = go.Scatter(
            x=level.to_numpy() if is_number else _texts(level),
            y=values,
            mode="markers",
            marker={"color": STRATEGY, "size": 6, "opacity": 0.6},
            hovertemplate=f"{plain(name)} %{{x}}: %{{y:.4g}}<extra></extra>",
        )
        figure.add_trace(dots, **where)
        figure.update_xaxes(title_text=plain(name), type=None if is_number else "category", **where)
        if column == 0:
            figure.update_yaxes(title_text=plain(metric), **where)
    figure.update_layout(showlegend=False)
    return style_figure(figure, title=title, height=100 + SLICE_HEIGHT * rows)


def visualise_walk_forward(equity: Curve, table: pd.DataFrame, *, title: str | None = None) -> go.Figure:
    """Draw the equity out of sample, with a line where each window begins and its parameters where the pointer is.

    Args:
        equity: USD by naive UTC time; ``WalkForwardResult.equity_curve``.
        table: ``WalkForwardResult.table``.
        title: Heading inside the figure.
    """
    figure = go.Figure()
    if equity.empty:
        say_nothing_to_show(figure, "No equity was recorded")
    columns = list(table.columns)
    chosen = columns[columns.index("test_end") + 1 : columns.index("Optim")]
    for number, row in table.iterrows():
        part = thin_curve(equity.loc[row["test_start"] : row["test_end"]])
        label = ", ".join(f"{name}={row[name]}" for name in chosen)
        figure.add_trace(
            go.Scatter(
                x=plot_times(part.index),
                y=part.to_numpy(),
                mode="lines",
                line={"color": STRATEGY, "width": 1.6},
                hovertemplate=f"%{{x|%Y-%m-%d %H:%M}}: %{{y:$,.2f}}<br>Window {number}: {plain(label)}<extra></extra>",
            )
        )
        figure.add_vline(x=row["test_start"].isoformat(), line={"color": NEUTRAL, "width": 1, "dash": "dot"})
    figure.update_layout(
        showlegend=False, xaxis={"type": "date"}, yaxis={"title": {"text": "Equity"}, "tickformat": "$,"}
    )
    return style_figure(figure, title=title, height=420)


def _texts(level: pd.Index) -> list[str]:
    """Return values as text; pandas has NaN for None."""
    return ["None" if is_missing else str(value) for value, is_missing in zip(level, level.isna(), strict=True)]
