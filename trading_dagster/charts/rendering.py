"""Render the charts that a strategy registered: one for a notebook, or all for a page, of which one may fail."""

from __future__ import annotations

import traceback
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeAlias

import pandas as pd
import plotly.graph_objects as go
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as MatplotlibFigure

from trading_dagster.charts.canvas import encode_png
from trading_dagster.charts.figure_picture import paint_figure
from trading_dagster.domain.error import ChartFailed, ChartNotValid, TradingDagsterError
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.state import State
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.chart import ChartCallback, ChartFunction, ChartInput, ChartKind, ChartRegistry
from trading_dagster.strategy.execution_context import ExecutionContext
from trading_dagster.strategy.indicator_lookup import StrategyInputIndicators

PairLike: TypeAlias = TradingPairIdentifier | HumanReadableTradingPairDescription
ChartPart: TypeAlias = "go.Figure | pd.DataFrame | Picture | Markup"

SEVERAL = 5
"""How many pairs a chart of several shows when nobody says which."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG file."""

    png: bytes


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML that a chart's function made; not to be trusted more than its maker."""

    html: str


@dataclass(frozen=True)
class RenderedChart:
    """What became of a chart: its parts, or why there are none."""

    chart: ChartCallback
    parts: tuple[ChartPart, ...] = ()
    error: str = ""

    @cached_property
    def pictures(self) -> tuple[bytes | None, ...]:
        """Return each part as a PNG file, None where it is no figure and no picture; painted once, as it takes long."""
        return tuple(self._paint(part) for part in self.parts)

    def _paint(self, part: ChartPart) -> bytes | None:
        if isinstance(part, go.Figure):
            return paint_figure(part, title=str(part.layout.title.text or self.chart.name))
        return part.png if isinstance(part, Picture) else None


class ChartBacktestRenderingSetup:
    """Renders registered charts in a notebook.

    Example::

        charts = ChartBacktestRenderingSetup(
            registry=charts, strategy_input_indicators=indicators, state=state,
            backtest_start_at=parameters.backtest_start, backtest_end_at=parameters.backtest_end,
        )
        charts.render(equity_curve)
    """

    def __init__(
        self,
        registry: ChartRegistry,
        strategy_input_indicators: StrategyInputIndicators | None = None,
        state: State | None = None,
        backtest_start_at: datetime | None = None,
        backtest_end_at: datetime | None = None,
        execution_context: ExecutionContext | None = None,
    ) -> None:
        """Render the charts of a registry on one state, and before a run on indicators alone."""
        self.registry = registry
        self.input = ChartInput(
            execution_context=execution_context or ExecutionContext(jupyter=True),
            state=state,
            strategy_input_indicators=strategy_input_indicators,
            backtest_start_at=backtest_start_at,
            backtest_end_at=backtest_end_at,
        )

    def render(
        self,
        func: ChartFunction | str,
        pairs: Collection[PairLike] | PairLike | None = None,
        **options: Any,
    ) -> Any:
        """Return what a chart's function makes; arguments and errors as in `render_chart`."""
        return render_chart(self.registry, func, self.input, pairs, **options)

    def render_all(self) -> list[RenderedChart]:
        """Return all charts, those that failed with their errors."""
        return render_charts(self.registry, self.input)


def render_chart(
    registry: ChartRegistry,
    chart: ChartFunction | str,
    given: ChartInput,
    pairs: Collection[PairLike] | PairLike | None = None,
    **options: Any,
) -> Any:
    """Return what the function of a registered chart makes.

    Args:
        registry: The strategy's charts.
        chart: Function or id of a chart.
        given: What the function is given; its pairs are chosen here.
        pairs: Pairs or descriptions; None takes the registry's benchmark pairs, or those traded most.
        options: Handed to the function.

    Raises:
        UnknownChart: No such chart.
        UnknownPair: A pair asked for, or a benchmark pair, is not in the universe.
        ChartFailed: The function raised; the message names the chart.
    """
    found = registry.find(chart)
    chosen = given.with_pairs(choose_pairs(registry, found.kind, given, pairs))
    try:
        return found.func(chosen, **options)
    except TradingDagsterError as error:
        raise ChartFailed(f"Chart {found.id!r}: {error}") from error
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        raise ChartFailed(f"Chart {found.id!r} raised {type(error).__name__}: {error}\n{trace}") from error


def render_charts(registry: ChartRegistry, given: ChartInput) -> list[RenderedChart]:
    """Return all charts of a registry in its order; one that fails has an error and the others are as if it were not.

    Charts that need a state are left out where there is none.
    """
    rendered = []
    for chart in list(registry.registry.values()):
        if chart.kind.needs_state() and given.state is None:
            continue
        try:
            rendered.append(RenderedChart(chart, split_output(chart, render_chart(registry, chart.id, given))))
        except ChartFailed as error:
            rendered.append(RenderedChart(chart, error=str(error)))
        except TradingDagsterError as error:
            rendered.append(RenderedChart(chart, error=f"Chart {chart.id!r}: {error}"))
    return rendered


def choose_pairs(
    registry: ChartRegistry,
    kind: ChartKind,
    given: ChartInput,
    pairs: Collection[PairLike] | PairLike | None = None,
) -> list[TradingPairIdentifier] | None:
    """Return the pairs a chart is drawn for; None where there is no universe to choose from.

    Those asked for, else for charts of one pair or several the benchmark pairs, the pairs that the strategy chose to
    show, or those with most trades, and for charts of all pairs the universe.
    """
    if given.strategy_input_indicators is None:
        return list(given.pairs) if given.pairs else None
    universe = given.strategy_universe
    if pairs is not None:
        return [universe.resolve_pair(pair) for pair in _as_list(pairs)]
    if kind.is_all_pairs():
        return list(universe.pairs)
    ranked = _rank_pairs(universe, given.state)
    if kind is ChartKind.state_single_vault_pair:
        ranked = [pair for pair in ranked if pair.is_vault()]
    elif registry.default_benchmark_pairs:
        ranked = [universe.resolve_pair(pair) for pair in registry.default_benchmark_pairs]
    elif given.state is not None and given.state.visualisation.visualised_pairs:
        ranked = given.state.visualisation.visualised_pairs
    return ranked[: 1 if kind.is_single_pair() else SEVERAL]


def split_output(chart: ChartCallback, output: Any) -> tuple[ChartPart, ...]:
    """Return what a chart's function made part by part; raises ChartFailed when it is nothing that can be shown."""
    if isinstance(output, go.Figure | pd.DataFrame):
        return (output,)
    if isinstance(output, pd.Series):
        return (output.to_frame(),)
    if isinstance(output, MatplotlibFigure):
        FigureCanvasAgg(output)  # whatever canvas the user's session draws on
        return (Picture(encode_png(output)),)
    if isinstance(output, list | tuple):
        return tuple(part for each in output for part in split_output(chart, each))
    data = getattr(output, "data", None)
    if isinstance(data, pd.DataFrame):  # a pandas Styler: the page has a style of its own
        return (data,)
    html = output if isinstance(output, str) else getattr(output, "_repr_html_", lambda: None)()
    if isinstance(html, str):
        return (Markup(html),)
    raise ChartFailed(
        f"Chart {chart.id!r} returned {type(output).__name__}: return a figure, a DataFrame, HTML, or a list of these"
    )


def single_pair(given: ChartInput) -> TradingPairIdentifier:
    """Return the first pair of a chart's input; raises BadInput when it has none."""
    return given.require_pairs()[0]


def _as_list(pairs: Any) -> list[PairLike]:
    """Return a pair, a description of one, or a collection of them as a list."""
    if isinstance(pairs, TradingPairIdentifier):
        return [pairs]
    if isinstance(pairs, tuple) and len(pairs) in (4, 5) and isinstance(pairs[2], str):
        return [pairs]
    if isinstance(pairs, str) or not isinstance(pairs, Collection):
        raise ChartNotValid(f"pairs is {pairs!r}: give pairs of the universe or (chain, exchange, base, quote)")
    return list(pairs)


def _rank_pairs(universe: TradingStrategyUniverse, state: State | None) -> list[TradingPairIdentifier]:
    """Return the pairs of a universe, those with most trades first."""
    counts: dict[TradingPairIdentifier, int] = {}
    for position in () if state is None else state.portfolio.get_all_positions():
        pair = position.pair.get_pricing_pair()
        counts[pair] = counts.get(pair, 0) + position.executed_trade_count
    return sorted(universe.pairs, key=lambda pair: -counts.get(pair, 0))
