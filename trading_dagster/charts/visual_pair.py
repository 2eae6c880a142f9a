"""Figures of the price with trades, by the names that notebooks know: of a pair, of several, of one position.

Settings of looks that notebooks hand over are accepted and of no effect: figures here have one look.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.palette import STOP_LOSS, TAKE_PROFIT
from trading_dagster.charts.plot import choose_plots, stack_rows
from trading_dagster.charts.price import draw_price_and_trades, trace_price
from trading_dagster.charts.sampling import resample_candles
from trading_dagster.charts.theme import plain, style_figure
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.market.data_universe import CandleUniverse
from trading_dagster.statistics.trade_table import position_rows, positions_table, trade_rows, trades_table


def visualise_single_pair(
    state: State | None,
    execution_context: Any = None,
    candle_universe: CandleUniverse | pd.DataFrame | None = None,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    pair_id: int | None = None,
    height: int | None = None,
    technical_indicators: bool = True,
    title: str | bool = True,
    **looks: Any,
) -> go.Figure:
    """Draw the price of a pair with the trades on it and what the strategy plotted.

    Args:
        state: Its trades, positions and plots are drawn; None draws the price alone.
        execution_context: Of no effect.
        candle_universe: Candles of the universe, such as ``strategy_universe.data_universe.candles``, or a frame.
        start_at: Leave out what is before, naive UTC.
        end_at: Leave out what is after.
        pair_id: Which pair; may be left out in a universe of one.
        height: Pixels.
        technical_indicators: Draw what the strategy plotted.
        title: A heading; True takes the pair's name, False none.
        looks: Of no effect.

    Raises:
        BadInput: candles are missing, or there are several pairs and none is named
    """
    del looks
    if candle_universe is None and isinstance(execution_context, CandleUniverse | pd.DataFrame):
        candle_universe = execution_context  # older callers leave the context out
    candles, pair_id = _candles_of(candle_universe, pair_id)
    drawn = _Drawn(state, pair_id, start_at, end_at)
    plots = drawn.plots if technical_indicators else ()
    heading = drawn.name if title is True else str(title) if title else None
    figure = draw_price_and_trades(
        candles.loc[start_at:end_at], drawn.trades, positions=drawn.positions, plots=plots, title=heading
    )
    return figure if height is None else figure.update_layout(height=height)


def visualise_multiple_pairs(
    state: State | None,
    candle_universe: CandleUniverse | None = None,
    execution_context: Any = None,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    pair_ids: Sequence[int] | None = None,
    height: int | None = None,
    title: str | bool = True,
    **looks: Any,
) -> go.Figure:
    """Draw the prices of several pairs with the trades on them, one below the other.

    Args:
        state: As in `visualise_single_pair`.
        candle_universe: Candles of the universe.
        execution_context: Of no effect.
        start_at: Leave out what is before, naive UTC.
        end_at: Leave out what is after.
        pair_ids: Which pairs; None takes those the strategy chose to show, those traded, or all.
        height: Pixels; 220 a pair by default.
        title: A heading; True takes the state's name, False none.
        looks: Of no effect.

    Raises:
        BadInput: candles are missing
    """
    del looks
    if not isinstance(candle_universe, CandleUniverse):
        candle_universe = execution_context if isinstance(execution_context, CandleUniverse) else None
    if candle_universe is None:
        raise BadInput(
            "visualise_multiple_pairs needs candle_universe=, such as strategy_universe.data_universe.candles"
        )
    chosen = list(pair_ids or _interesting_ids(state) or candle_universe.panel.pair_ids)
    figure = stack_rows([190] * len(chosen))
    for row, pair_id in enumerate(chosen, start=1):
        drawn = _Drawn(state, pair_id, start_at, end_at)
        candles = candle_universe.get_candles_by_pair(pair_id).loc[start_at:end_at]
        for trace in trace_price(resample_candles(candles), drawn.trades, positions=drawn.positions, style="line"):
            figure.add_trace(trace.update(showlegend=row == 1, legendgroup=trace.name), row=row, col=1)
        figure.update_yaxes(title_text=plain(drawn.name), row=row, col=1)
        figure.update_xaxes(type="date", row=row, col=1)
    heading = (state.name if state is not None else None) if title is True else str(title) if title else None
    return style_figure(figure, title=heading, height=height or 110 + 208 * len(chosen))


def visualise_single_position(
    position: TradingPosition,
    candle_universe: CandleUniverse | pd.DataFrame,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    title: str | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draw the price around one position with its trades, and where its stop loss and take profit stood.

    Args:
        position: Any position that traded.
        candle_universe: Candles of the universe, or of the pair as a frame.
        start_at: Where to begin; a quarter of the position's life before it by default, at least ten candles.
        end_at: Where to end.
        title: A heading; by default the position's number, pair and profit.
        height: Pixels.
    """
    pair_id = position.pair.get_pricing_pair().internal_id
    candles, _ = _candles_of(candle_universe, pair_id)
    last = position.closed_at or (candles.index[-1].to_pydatetime() if len(candles) else position.opened_at)
    step = candles.index[1] - candles.index[0] if len(candles) > 1 else timedelta(0)
    margin = max((last - position.opened_at) / 4, step * 10)
    shown = candles.loc[start_at or position.opened_at - margin : end_at or last + margin]
    trades = trade_rows(position.trades.values()).frame
    heading = title or (
        f"#{position.position_id} {position.pair.get_ticker()}, profit {position.get_total_profit_usd():,.2f} USD"
    )
    positions = position_rows([position]).frame
    figure = draw_price_and_trades(shown, trades, positions=positions, title=heading)
    for trace in _trigger_traces(position, last):
        figure.add_trace(trace)
    return figure if height is None else figure.update_layout(height=height)


class _Drawn:
    """What a state has of one pair."""

    def __init__(
        self, state: State | None, pair_id: int | None, start_at: datetime | None, end_at: datetime | None
    ) -> None:
        self.trades: pd.DataFrame | None = None
        self.positions: pd.DataFrame | None = None
        self.plots: list[Any] = []
        self.name = "Price"
        if state is None:
            return
        trades, positions = trades_table(state), positions_table(state)
        pairs = {p.pair.internal_id: p.pair for p in state.portfolio.get_all_positions()}
        pair = pairs.get(pair_id)
        self.trades = _within(trades[trades["pair_id"] == pair_id], "opened_at", start_at, end_at)
        self.positions = _within(positions[positions["pair_id"] == pair_id], "opened_at", start_at, end_at)
        self.plots = choose_plots(state.visualisation.plots.values(), pair, is_only_pair=len(pairs) <= 1)
        self.name = state.name if pair is None else pair.get_ticker()


def _within(table: pd.DataFrame, column: str, start_at: datetime | None, end_at: datetime | None) -> pd.DataFrame:
    kept = np.ones(len(table), dtype=np.bool_)
    if start_at is not None:
        kept &= (table[column] >= start_at).to_numpy()
    if end_at is not None:
        kept &= (table[column] <= end_at).to_numpy()
    return table[kept]


def _candles_of(candles: CandleUniverse | pd.DataFrame | None, pair_id: int | None) -> tuple[pd.DataFrame, int | None]:
    if candles is None:
        raise BadInput("Give candle_universe=, such as strategy_universe.data_universe.candles, or a frame of candles")
    if isinstance(candles, pd.DataFrame):
        is_indexed = isinstance(candles.index, pd.DatetimeIndex)
        return (candles if is_indexed else candles.set_index("timestamp")), pair_id
    ids = candles.panel.pair_ids
    if pair_id is None and len(ids) != 1:
        raise BadInput(f"There are {len(ids)} pairs: say pair_id=, or use visualise_multiple_pairs")
    chosen = ids[0] if pair_id is None else pair_id
    return candles.get_candles_by_pair(chosen), chosen


def _interesting_ids(state: State | None) -> list[int]:
    """Return the pairs a strategy chose to show, else those it traded."""
    if state is None:
        return []
    chosen: Sequence[TradingPairIdentifier] = state.visualisation.visualised_pairs
    traded = [p.pair.get_pricing_pair() for p in state.portfolio.get_all_positions()]
    return list(dict.fromkeys(pair.internal_id for pair in chosen or traded if pair.internal_id is not None))


def _trigger_traces(position: TradingPosition, last: datetime) -> list[go.Scatter]:
    """Return where the stop loss and the take profit of a position stood, as steps."""
    traces = []
    for name, colour, after in (
        ("Stop loss level", STOP_LOSS, "stop_loss_after"),
        ("Take profit level", TAKE_PROFIT, "take_profit_after"),
    ):
        points = [(update.timestamp, getattr(update, after)) for update in position.trigger_updates]
        if not any(level is not None for _, level in points):
            continue
        points.append((last, points[-1][1]))
        traces.append(
            go.Scatter(
                x=[time for time, _ in points], y=[level for _, level in points], name=name, mode="lines",
                line={"color": colour, "width": 1, "dash": "dash", "shape": "hv"}, hovertemplate="%{y:,.6~g}",
            )
        )  # fmt: skip
    return traces
