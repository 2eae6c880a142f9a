"""Draw a measure over two parameters as a heat map."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.number import MINUS
from trading_dagster.charts.theme import say_nothing_to_show, style_figure
from trading_dagster.domain.error import BadInput

PERCENT_COLUMNS = ("CAGR", "Max DD", "Win rate", "Avg pos", "Med pos", "Time in market", "PSR", "cVaR")
ROW_HEIGHT, MOST_TEXTS = 30, 400


def visualise_heatmap_2d(
    result: pd.DataFrame, parameter_1: str, parameter_2: str, metric: str = "Sharpe", *, title: str | None = None
) -> go.Figure:
    """Draw how a measure of a grid search depends on two parameters; of further ones the mean is shown.

    A good combination whose neighbours are bad is chance: look for wide areas of one colour.

    Args:
        result: Table with searched parameters as index, from `analyse_grid_search_result`.
        parameter_1: Parameter along the horizontal axis.
        parameter_2: Parameter along the vertical axis.
        metric: Column of the table.
        title: Heading inside the figure.

    Raises:
        BadInput: The table has no such parameter or column.
    """
    names = [str(name) for name in result.index.names]
    for parameter in (parameter_1, parameter_2):
        if parameter not in names or parameter_1 == parameter_2:
            raise BadInput(f"{parameter!r} is not one of two searched parameters: choose among {', '.join(names)}")
    if metric not in result.columns:
        raise BadInput(f"The table has no column {metric!r}: choose among {', '.join(map(str, result.columns))}")
    grouped = result[metric].groupby(level=[parameter_2, parameter_1], sort=False).mean()
    pivot = _sorted(_sorted(grouped.unstack(level=parameter_1, sort=False)).T).T
    values = pivot.to_numpy(dtype=np.float64)
    figure = go.Figure()
    known = values[np.isfinite(values)]
    if len(known) == 0:
        say_nothing_to_show(figure, f"No combination has a value of {metric}")
    is_percent = metric in PERCENT_COLUMNS
    form = ".1%" if is_percent else ".2f"
    text = [["" if np.isnan(each) else format(each, form).replace("-", MINUS) for each in row] for row in values]
    has_both_signs = len(known) > 0 and bool(known.min() < 0 < known.max())
    figure.add_trace(
        go.Heatmap(
            z=values,
            x=[str(each) for each in pivot.columns],
            y=[str(each) for each in pivot.index],
            text=text,
            texttemplate="%{text}" if values.size <= MOST_TEXTS else None,
            zmid=0 if has_both_signs else None,
            colorscale=None if has_both_signs else "Viridis",
            colorbar={"title": {"text": metric}, "tickformat": ".0%" if is_percent else None},
            hoverongaps=False,
            hovertemplate=f"{parameter_1} %{{x}}, {parameter_2} %{{y}}: %{{z:{form}}}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text=parameter_1, type="category", fixedrange=True)
    figure.update_yaxes(title_text=parameter_2, type="category", showgrid=False, fixedrange=True)
    return style_figure(
        figure,
        title=title or f"{metric} by {parameter_1} and {parameter_2}",
        height=150 + ROW_HEIGHT * max(len(pivot), 3),
    )


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    """Put rows in order of their numbers; other values stay in the order in which they were searched."""
    return table.sort_index() if pd.api.types.is_numeric_dtype(table.index) else table
