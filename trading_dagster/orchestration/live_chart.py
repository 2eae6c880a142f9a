"""What the Dagster UI shows of what a live strategy said and drew: messages, plots and its own charts.

All of it is bounded: the newest cycles, so many plots, charts and pictures. It is drawn when everything is traded, and
what cannot be drawn is told in its place: it fails no run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from trading_dagster.domain.visualisation import Plot, Visualisation
from trading_dagster.live.chart_state import SHOWN_CYCLES, load_chart_state, read_newest_visualisation
from trading_dagster.live.inspection import MessageRow, show_messages
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.orchestration.key_figure import frame_to_markdown
from trading_dagster.orchestration.metadata import picture
from trading_dagster.strategy.chart import ChartInput, ChartRegistry
from trading_dagster.strategy.indicator_lookup import StrategyInputIndicators
from trading_dagster.strategy.indicator_result import IndicatorResults

if TYPE_CHECKING:
    from trading_dagster.charts.rendering import RenderedChart

Metadata = Mapping[str, Any]
MAX_MESSAGES = 20
LONGEST_MESSAGE = 500
MAX_PLOTS = 12
MAX_CHARTS = 8
MAX_PICTURES = 8
MAX_PARTS = 6
"""Figures and tables of one chart."""

MAX_LENGTH = 300_000
"""Characters of one picture, table or error: each cycle stores them anew."""

MAX_ENDED_POSITIONS = 2_000
"""Charts of the state are drawn up to so many ended positions: most of them read all of these."""

logger = logging.getLogger(__name__)


def describe_shown(live: LiveStrategy, universe: TradingStrategyUniverse, results: IndicatorResults) -> Metadata:
    """Return the newest messages, a picture of the plots and the charts that the strategy registered."""

    @cache
    def shown() -> Visualisation:
        return read_newest_visualisation(live, universe.pairs)

    return {
        **_attempt("messages", lambda: _list_messages(show_messages(live, MAX_MESSAGES))),
        **_attempt("plots", lambda: _picture_plots(list(shown().plots.values()), live.id)),
        **_attempt("charts", lambda: _draw_charts(live, universe, results, shown())),
    }


def _attempt(name: str, make: Callable[[], Metadata]) -> Metadata:
    """Return metadata, or why there is none."""
    try:
        return make()
    except Exception as error:  # whatever drawing raises: the trades are done, the run must not fail
        logger.warning("%s could not be shown", name, exc_info=error)
        return {name: f"could not be shown: {type(error).__name__}: {error}"[:LONGEST_MESSAGE]}


def _cut(rendered: RenderedChart) -> RenderedChart:
    """Return a chart without more than there is room for."""
    return replace(rendered, parts=rendered.parts[:MAX_PARTS], error=rendered.error[-MAX_LENGTH // 10 :])


def _short(value: dg.MarkdownMetadataValue) -> dg.MarkdownMetadataValue:
    length = len(value.value or "")
    return value if length <= MAX_LENGTH else dg.MetadataValue.md(f"{length:,} characters, too many to be shown here")


def _list_messages(rows: Sequence[MessageRow]) -> Metadata:
    if not rows:
        return {}
    table = pd.DataFrame([{"at": row.at, "message": _on_one_line(row.text)} for row in reversed(rows)])
    return {"messages": dg.MetadataValue.md(frame_to_markdown(table))}


def _on_one_line(text: str) -> str:
    line = " ".join(text.split())
    cut = line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE - 3]}..."
    return cut.replace("<", "&lt;").replace("|", "&#124;")


def _picture_plots(plots: Sequence[Plot], name: str) -> Metadata:
    """Return the first plots as one picture, each kind in its panel."""
    if not plots:
        return {}
    from trading_dagster.charts.figure_picture import paint_figure  # plotly is loaded only where there is a plot
    from trading_dagster.charts.plot import draw_panels

    title = f"What {name} plotted in its newest cycles"
    painted = paint_figure(draw_panels(plots[:MAX_PLOTS]), title=title)
    left = len(plots) - MAX_PLOTS
    return {"plots": picture(painted, title), **({"plots_left_out": left} if left > 0 else {})}


def _draw_charts(
    live: LiveStrategy, universe: TradingStrategyUniverse, results: IndicatorResults, shown: Visualisation
) -> Metadata:
    """Return what the first registered charts draw; of the state where its history is not too long."""
    if live.strategy.create_charts is None:
        return {}
    from trading_dagster.charts.rendering import render_charts  # plotly is loaded only where there is a chart
    from trading_dagster.orchestration.chart_metadata import describe_parts

    registry = live.strategy.build_charts(universe, live.parameters, live.context)
    first = ChartRegistry(registry.default_benchmark_pairs)
    first.registry = dict(islice(registry.registry.items(), MAX_CHARTS))
    state = load_chart_state(live, universe.pairs, shown)
    notes = []
    if state is not None and len(state.portfolio.closed_positions) > MAX_ENDED_POSITIONS:
        notes.append(f"charts of the state are drawn up to {MAX_ENDED_POSITIONS:,} closed positions")
        state = None
    if len(registry.registry) > MAX_CHARTS:
        notes.append(f"the first {MAX_CHARTS} of {len(registry.registry)} charts")
    given = ChartInput(live.context, state, StrategyInputIndicators(universe, results))
    rendered: list[RenderedChart] = [_cut(chart) for chart in render_charts(first, given)]
    parts = describe_parts(rendered, max_pictures=MAX_PICTURES, has_page=False)
    drawn = {f"chart_{name}": _short(value) for name, value in parts.items()}
    about = "; ".join([f"equity and plots of the newest {SHOWN_CYCLES} cycles", *notes])
    return {**drawn, "charts": f"{len(rendered)} drawn: {about}"}
