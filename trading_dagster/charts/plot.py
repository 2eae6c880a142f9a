"""Turn what a strategy plotted into traces: on the price, in panels of their own, and over such a panel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trading_dagster.charts.palette import colour_of
from trading_dagster.charts.sampling import MAX_POINTS, plot_times, thin_positions
from trading_dagster.charts.theme import plain, say_nothing_to_show, style_figure
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.visualisation import Plot, PlotKind, PlotShape, RecordingTime

PANEL_HEIGHT = 110
"""Height in pixels of a panel that does not say its own."""

ROW_SPACING = 18
"""Pixels between two rows."""

LEGEND_HIDDEN = "hidden"
LEAST_HEIGHT, MOST_HEIGHT = 60, 1_200
TIME_MEANINGS = {RecordingTime.decision_making_time: "decided at", RecordingTime.market_time: "market at"}
NO_PLOTS = "The strategy plotted nothing"


@dataclass(slots=True)
class Panel:
    """A row below the price: its title, what is drawn on it and its height in pixels."""

    title: str
    traces: list[go.Scatter] = field(default_factory=list)
    height: int = PANEL_HEIGHT


def choose_plots(
    plots: Iterable[Plot], pair: TradingPairIdentifier | None, *, is_only_pair: bool = False
) -> list[Plot]:
    """Return the plots to be shown with a pair: its own, and those of no pair where it is the only one.

    Args:
        plots: What the strategy plotted.
        pair: None chooses those of no pair.
        is_only_pair: True where nothing else is traded.
    """
    return [plot for plot in plots if plot.pair == pair or (plot.pair is None and is_only_pair)]


def trace_price_plots(plots: Sequence[Plot]) -> list[go.Scatter]:
    """Return the traces of the plots that lie on the price."""
    return [
        trace_plot(plot, colour_of(number + 1))
        for number, plot in enumerate(plots)
        if plot.kind is PlotKind.technical_indicator_on_price
    ]


def arrange_panels(plots: Sequence[Plot]) -> list[Panel]:
    """Return a panel for each detached plot with its overlays on it; an overlay of an absent plot has its own."""
    panels: dict[str, Panel] = {}
    detached = [plot for plot in plots if plot.kind is PlotKind.technical_indicator_detached]
    overlays = [plot for plot in plots if plot.kind is PlotKind.technical_indicator_overlay_on_detached]
    for number, plot in enumerate(detached):
        trace = trace_plot(plot, colour_of(number + 1)).update(showlegend=False)
        panels[plot.name] = Panel(plot.name, [trace], _height_of(plot))
    for number, plot in enumerate(overlays):
        below = panels.setdefault(str(plot.detached_overlay_name), Panel(plot.name, height=_height_of(plot)))
        below.traces.append(trace_plot(plot, colour_of(len(detached) + number + 1)))
    return list(panels.values())


def draw_panels(plots: Sequence[Plot], *, title: str | None = None) -> go.Figure:
    """Draw plots without a price: those meant for the price in one panel on top, the detached ones below."""
    on_price = trace_price_plots(plots)
    panels = [Panel("On price", on_price, 2 * PANEL_HEIGHT)] if on_price else []
    panels += arrange_panels(plots)
    heights = [panel.height for panel in panels] or [1]
    figure = stack_rows(heights)
    if not panels:
        say_nothing_to_show(figure, NO_PLOTS)
    add_panels(figure, panels, first_row=1)
    figure.update_layout(hovermode="x unified", showlegend=True)
    return style_figure(figure, title=title, height=90 + sum(heights) + ROW_SPACING * len(panels))


def stack_rows(heights: Sequence[int]) -> go.Figure:
    """Return a figure of rows of these heights in pixels that share their time axis."""
    spacing = min(ROW_SPACING / (sum(heights) + ROW_SPACING * len(heights)), 0.5 / max(len(heights) - 1, 1))
    return make_subplots(
        rows=len(heights), cols=1, shared_xaxes=True, vertical_spacing=spacing, row_heights=list(heights)
    )


def add_panels(figure: go.Figure, panels: Sequence[Panel], first_row: int) -> None:
    """Draw panels into the rows of a figure from ``first_row`` on."""
    for row, panel in enumerate(panels, start=first_row):
        for trace in panel.traces:
            figure.add_trace(trace, row=row, col=1)
        figure.update_xaxes(type="date", row=row, col=1)
        figure.update_yaxes(title_text=plain(_wrapped(panel.title)), nticks=4, row=row, col=1)


def trace_plot(plot: Plot, colour: str, max_points: int = MAX_POINTS) -> go.Scatter:
    """Return the trace of a plot in its own colour, or the one given where it has none that plotly knows."""
    times = np.array([time for time, _ in plot.points], dtype="datetime64[us]")
    values = np.array([np.nan if value is None else value for _, value in plot.points], dtype=np.float64)
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    kept = _thin(values, max_points)
    is_line = plot.plot_shape is not PlotShape.markers
    own = plot.colour if plot.colour and _is_colour(plot.colour) else colour
    look: dict[str, Any] = (
        {"line": {"color": own, "width": plot.indicator_size or 1.2, "shape": _line_shape(plot)}}
        if is_line
        else {"marker": {"color": own, "size": plot.indicator_size or 7}}
    )
    lines = "lines" if np.isfinite(values[kept]).sum() > 1 else "lines+markers"
    return go.Scatter(
        x=plot_times(times[kept]),
        y=values[kept],
        name=plain(plot.name),
        mode=lines if is_line else "markers",
        connectgaps=False,
        showlegend=plot.label != LEGEND_HIDDEN,
        hovertemplate=f"%{{y:,.6~g}}, {TIME_MEANINGS[plot.recording_time]} %{{x|%Y-%m-%d %H:%M}}",
        **look,
    )


def _line_shape(plot: Plot) -> str:
    return "hv" if plot.plot_shape is PlotShape.horizontal_vertical else "linear"


def _thin(values: npt.NDArray[np.float64], max_points: int) -> npt.NDArray[np.int64]:
    """Return positions to draw: extremes as in `thin_positions`, and both sides of each gap."""
    if len(values) <= max_points:
        return np.arange(len(values), dtype=np.int64)
    absent = np.isnan(values)
    rows = np.maximum.accumulate(np.where(absent, 0, np.arange(len(values))))
    filled = np.nan_to_num(values[rows])
    edges = np.flatnonzero(absent[1:] != absent[:-1])
    kept = np.concatenate([thin_positions(filled, max_points), edges, edges + 1])
    return np.unique(kept).astype(np.int64)


def _is_colour(colour: str) -> bool:
    try:
        go.Scatter(line={"color": colour})
    except ValueError:
        return False
    return True


def _height_of(plot: Plot) -> int:
    return PANEL_HEIGHT if plot.height is None else min(max(int(plot.height), LEAST_HEIGHT), MOST_HEIGHT)


def _wrapped(title: str) -> str:
    """Return a title short enough to stand beside its panel."""
    return title if len(title) <= 18 else f"{title[:17].rstrip()}."
