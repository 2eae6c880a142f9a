"""Standard charts of signals: over time, beside prices, and what an alpha model made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trading_dagster.charts.curve import draw_curves
from trading_dagster.charts.palette import NEUTRAL, STRATEGY
from trading_dagster.charts.sampling import Curve, plot_times, thin_curve
from trading_dagster.charts.theme import style_figure
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.strategy.alpha_model import AlphaModel
from trading_dagster.strategy.chart import ChartInput

ALPHA_MODEL = "alpha_model"
MODEL_COLUMNS = {
    "pair": "Pair",
    "signal": "Signal",
    "raw_weight": "Raw weight",
    "normalised_weight": "Weight",
    "old_value": "Value before USD",
    "position_target": "Target USD",
    "position_adjust_usd": "Change USD",
    "flags": "Flags",
}


def signal_comparison(
    input: ChartInput,
    indicator_name: str = "signal",
    average_indicator_name: str = "avg_signal",
) -> go.Figure:
    """The signals of some pairs over time, beside their average where the strategy calculates one."""
    indicators = input.require_indicators()
    curves: dict[str, Curve] = {}
    if indicators.has_indicator(average_indicator_name):
        curves["Average"] = _series(input, average_indicator_name, None)
    for pair in input.require_pairs():
        curves[pair.get_ticker()] = _series(input, indicator_name, pair)
    return draw_curves(curves, y_title="Signal", nothing="The signals have no values")


def price_vs_signal(
    input: ChartInput,
    indicator_name: str = "signal",
) -> list[go.Figure]:
    """The price of each pair with its signal on an axis of its own."""
    figures = []
    for pair in input.require_pairs():
        close = input.require_indicators().get_price_series(pair=pair)
        price = pd.Series(dtype="float64") if close is None else close.loc[input.start_at : input.end_at]
        figure = make_subplots(specs=[[{"secondary_y": True}]])
        for name, curve, colour, is_right in (
            ("Price", price, NEUTRAL, False),
            (indicator_name, _series(input, indicator_name, pair), STRATEGY, True),
        ):
            drawn = thin_curve(curve)
            figure.add_trace(
                go.Scatter(
                    x=plot_times(drawn.index),
                    y=drawn.to_numpy(),
                    name=name,
                    mode="lines",
                    line={"color": colour, "width": 1.3},
                    hovertemplate="%{y:,.6~g}",
                ),
                secondary_y=is_right,
            )
        figure.update_yaxes(title_text="Price", secondary_y=False)
        figure.update_yaxes(title_text=indicator_name, showgrid=False, secondary_y=True)
        figure.update_layout(hovermode="x unified", xaxis={"type": "date"}, showlegend=True, margin={"r": 64})
        figures.append(style_figure(figure, title=pair.get_ticker(), height=400).update_layout(margin={"r": 64}))
    return figures


def volatility_benchmark(
    input: ChartInput,
    avg_volatility: str = "avg_volatility",
    volatility: str = "volatility",
) -> go.Figure:
    """The volatility of some pairs over time, beside the average where the strategy calculates one."""
    indicators = input.require_indicators()
    curves: dict[str, Curve] = {}
    if indicators.has_indicator(avg_volatility):
        curves["Average"] = _series(input, avg_volatility, None)
    for pair in input.require_pairs():
        curves[pair.get_ticker()] = _series(input, volatility, pair)
    return draw_curves(
        curves, y_title="Volatility", tick_format=".1%", hover="%{y:.2%}", nothing="The indicator has no values"
    )


def alpha_model_diagnostics(input: ChartInput) -> pd.DataFrame:
    """What the alpha model made of each signal in the newest cycle, the largest weight first."""
    table = read_alpha_model(input)
    return table.sort_values(["Weight", "Signal"], ascending=False, kind="stable", ignore_index=True)


def skipped_signals(input: ChartInput) -> pd.DataFrame:
    """The signals of the newest cycle that were not traded as they asked, and why."""
    table = read_alpha_model(input)
    return table[table["Flags"] != ""].reset_index(drop=True)


def read_alpha_model(input: ChartInput) -> pd.DataFrame:
    """Return the signals of the newest alpha model that the strategy left in its visualisation, a row each.

    It is looked for under "alpha_model" in the data of the running process, as a model or its ``to_dict()``, then
    in the newest calculations, which are kept.

    Raises:
        BadInput: it is in neither
    """
    shown = input.require_state().visualisation
    model = shown.discardable_data.get(ALPHA_MODEL)
    if isinstance(model, AlphaModel):
        model = model.to_dict()
    if model is None:
        newest = (values for _, values in sorted(shown.calculations.items(), reverse=True))
        model = next((found for values in newest if (found := _find_model(values)) is not None), None)
    if not isinstance(model, Mapping):
        raise BadInput(
            "The strategy left no alpha model: in decide_trades call "
            'state.visualisation.add_calculations(input.timestamp, {"alpha_model": model.to_dict()})'
        )
    rows = [[_cell(signal.get(name)) for name in MODEL_COLUMNS] for signal in model.get("signals", ())]
    return pd.DataFrame(rows, columns=list(MODEL_COLUMNS.values()))


def _find_model(values: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found = values if "signals" in values else values.get(ALPHA_MODEL)
    return found if isinstance(found, Mapping) else None


def _cell(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple | set) else value


def _series(
    input: ChartInput,
    name: str,
    pair: TradingPairIdentifier | None,
) -> Curve:
    """Return an indicator over the strategy's range; empty when it has no values."""
    series = input.require_indicators().get_indicator_series(name, pair=pair)
    if series is None:
        return pd.Series(dtype="float64", index=pd.DatetimeIndex([]))
    ranged: Curve = series.astype("float64").loc[input.start_at : input.end_at]
    return ranged
