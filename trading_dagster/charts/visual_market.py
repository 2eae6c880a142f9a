"""Figures of the market, by the names that notebooks know: correlation of assets, regimes behind a price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.palette import GAIN, LOSS, NEUTRAL
from trading_dagster.charts.sampling import Curve, plot_times, thin_curve
from trading_dagster.charts.theme import say_nothing_to_show, style_figure
from trading_dagster.market.universe import TradingStrategyUniverse

REGIME_COLOURS: Mapping[int, str] = {1: GAIN, -1: LOSS}
"""Colours of a rising and a falling market; one that does neither has none."""

MOST_REGIONS = 400


def visualise_asset_correlation(
    strategy_universe: TradingStrategyUniverse, height: int | None = None, width: int | None = None, freq: str = "D"
) -> go.Figure:
    """Draw how the returns of the universe's assets go together: 1 alike, 0 independently, -1 opposite.

    Args:
        strategy_universe: Its closes are compared.
        height: Pixels.
        width: Pixels.
        freq: Period of the returns as pandas writes it.
    """
    closes = {
        pair.get_ticker(): strategy_universe.candles.series(pair.internal_id or 0, "close")
        for pair in strategy_universe.pairs
    }
    table = pd.DataFrame(closes).resample(freq).last().pct_change(fill_method=None)
    values = table.corr().to_numpy()
    names = [str(name) for name in table.columns]
    text = [[f"{value:.2f}" if np.isfinite(value) else "" for value in row] for row in values]
    figure = go.Figure(
        go.Heatmap(
            z=values, x=names, y=names, zmin=-1, zmax=1, zmid=0,
            text=text if len(names) <= 16 else None, texttemplate="%{text}" if len(names) <= 16 else None,
            hovertemplate="%{x} and %{y}: %{z:.2f}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(side="top", type="category")
    styled = style_figure(figure, height=height or 120 + max(34 * len(names), 120))
    return styled if width is None else styled.update_layout(width=width)


def visualise_market_regime_filter(
    price: Curve,
    signal: Curve,
    title: str = "Regime filter",
    height: int = 500,
    colour_map: Mapping[Any, str] | None = None,
    opacity: float = 0.15,
) -> go.Figure:
    """Draw a price, the background coloured by the regime: 1 a rising market, -1 a falling one, 0 neither.

    Args:
        price: Price by naive UTC time.
        signal: Regime by time, numbers or members of an enum with these values.
        title: Heading inside the figure.
        height: Pixels.
        colour_map: Colour by regime.
        opacity: Of the background, 0 to 1.
    """
    colours = {getattr(key, "value", key): colour for key, colour in (colour_map or REGIME_COLOURS).items()}
    drawn = thin_curve(price)
    figure = go.Figure(
        go.Scatter(
            x=plot_times(drawn.index), y=drawn.to_numpy(), name="Price", mode="lines",
            line={"color": NEUTRAL, "width": 1.3}, hovertemplate="%{y:,.6~g}",
        )
    )  # fmt: skip
    if drawn.empty:
        say_nothing_to_show(figure, "No prices")
    regions = _regions(signal)
    for start, end, regime in regions if len(regions) <= MOST_REGIONS else ():
        colour = colours.get(regime)
        if colour is not None:
            figure.add_vrect(x0=start, x1=end, fillcolor=colour, opacity=opacity, line_width=0, layer="below")
    if len(regions) > MOST_REGIONS:
        figure.add_annotation(
            text=f"{len(regions):,} changes of regime are too many to colour", x=0.5, y=1, xref="paper", yref="paper"
        )
    figure.update_layout(hovermode="x unified", xaxis={"type": "date"}, yaxis={"title": {"text": "Price"}})
    return style_figure(figure, title=title, height=height)


def _regions(signal: Curve) -> list[tuple[pd.Timestamp, pd.Timestamp, Any]]:
    """Return the stretches of one regime: start, end, regime."""
    values = [getattr(value, "value", value) for value in signal]
    index = signal.index
    starts = [row for row in range(len(values)) if row == 0 or values[row] != values[row - 1]]
    ends = [*starts[1:], len(values) - 1]
    return [(index[a], index[min(b, len(values) - 1)], values[a]) for a, b in zip(starts, ends, strict=True)]
