"""Draw the equity of backtests of a search: one beside what holding had brought, or many beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import plotly.graph_objects as go

from trading_dagster.charts.benchmark import create_benchmark_equity_curves, find_benchmark_pairs
from trading_dagster.charts.curve import draw_curves
from trading_dagster.charts.palette import NEUTRAL, STRATEGY, with_alpha
from trading_dagster.charts.sampling import Curve, clean_curve, plot_times, thin_curve
from trading_dagster.charts.theme import plain, say_nothing_to_show, style_figure
from trading_dagster.domain.error import BadInput
from trading_dagster.market.universe import TradingStrategyUniverse

MOST_CURVES = 200
POINTS_A_CURVE = 500


class SearchedBacktest(Protocol):
    """What is drawn of a result: a GridSearchResult has it."""

    @property
    def equity_curve(self) -> Curve | None:
        """Return the equity in USD by naive UTC time; None when the backtest failed."""

    @property
    def initial_cash(self) -> float:
        """Return the initial cash, USD."""

    @property
    def exception(self) -> Exception | None:
        """Return why the backtest failed."""

    def get_label(self) -> str:
        """Return number and searched values."""


def visualise_single_grid_search_result_benchmark(
    result: SearchedBacktest,
    strategy_universe: TradingStrategyUniverse,
    initial_cash: float | None = None,
    name: str | None = None,
    log_y: bool = False,
    asset_count: int = 3,
) -> go.Figure:
    """Draw the equity of one result beside that of holding assets of the universe instead.

    Args:
        result: Of a grid search or an optimiser.
        strategy_universe: Has the candles of the assets.
        initial_cash: USD that are put into the assets; the result's by default.
        name: What the legend calls the result; its searched values by default.
        log_y: Draw the logarithm.
        asset_count: Draw so many assets: well-known ones that the universe has, else its first pairs.

    Raises:
        BadInput: The result is a failure.
    """
    curve = result.equity_curve
    if curve is None or curve.empty:
        raise BadInput(f"{result.get_label()} has no equity to draw, it failed: {result.exception}")
    cash = result.initial_cash if initial_cash is None else initial_cash
    pairs = find_benchmark_pairs(strategy_universe, max_count=asset_count)
    if not pairs:
        pairs = {pair.base.token_symbol: pair for pair in strategy_universe.pairs[:asset_count] if not pair.is_vault()}
    start, end = curve.index[0], curve.index[-1]
    held = create_benchmark_equity_curves(strategy_universe, pairs, cash, start_at=start, end_at=end)
    label = name or result.get_label()
    curves = {label: clean_curve(curve), **{str(each): clean_curve(held[each]) for each in held.columns}}
    figure = draw_curves(
        curves, title=label, y_title="Equity", tick_format="$,", hover="%{y:$,.2f}", height=500,
        colours=held.attrs["colours"],
    )  # fmt: skip
    if log_y:
        figure.update_yaxes(type="log")
    return figure


def visualise_grid_search_equity_curves(
    results: Sequence[SearchedBacktest], name: str | None = None, *, log_y: bool = False
) -> go.Figure:
    """Draw the equity of many results, faintly, and of the first in the list on top of them.

    Give them best first, as `order_grid_search_results_by_metric` and an optimiser do. Failed results are left out, and
    of more than 200 the rest.

    Args:
        results: Of a grid search or an optimiser.
        name: Heading inside the figure.
        log_y: Draw the logarithm.
    """
    figure = go.Figure()
    drawn = [(each, each.equity_curve) for each in results if each.equity_curve is not None][:MOST_CURVES]
    if not drawn:
        say_nothing_to_show(figure, "No result has equity")
    for number, (result, curve) in reversed(list(enumerate(drawn))):
        thin = thin_curve(clean_curve(curve), POINTS_A_CURVE)
        is_first = number == 0
        figure.add_trace(
            go.Scatter(
                x=plot_times(thin.index),
                y=thin.to_numpy(),
                name=plain(result.get_label()),
                mode="lines",
                line={"color": STRATEGY if is_first else with_alpha(NEUTRAL, 0.45), "width": 1.8 if is_first else 1},
                hovertemplate=f"{plain(result.get_label())}: %{{y:$,.2f}}<extra></extra>",
            )
        )
    figure.update_layout(
        showlegend=False, xaxis={"type": "date"}, yaxis={"title": {"text": "Equity"}, "tickformat": "$,"}
    )
    if log_y:
        figure.update_yaxes(type="log")
    return style_figure(figure, title=name, height=440)
