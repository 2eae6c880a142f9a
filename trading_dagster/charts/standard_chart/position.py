"""Standard charts of positions: those left at the end, and those of a pair with its price."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.plot import choose_plots
from trading_dagster.charts.position import draw_position_profits
from trading_dagster.charts.price import draw_price_and_trades
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.statistics.timeline import create_timeline, expand_timeline
from trading_dagster.statistics.trade_table import position_rows, positions_table, trades_table
from trading_dagster.strategy.chart import ChartInput

END_COLUMNS = (
    "Pair", "Opened", "Quantity", "Value USD", "Share of equity", "Entry price", "Last price", "Profit USD",
    "Profit", "Stop loss",
)  # fmt: skip


def positions_at_end(input: ChartInput) -> pd.DataFrame:
    """The positions that are open at the end, the largest first."""
    portfolio = input.require_state().portfolio
    equity = portfolio.calculate_total_equity()
    rows = [
        (
            position.pair.get_ticker(),
            position.opened_at,
            float(position.get_quantity()),
            position.get_value(),
            position.get_value() / equity if equity else np.nan,
            position.get_opening_price(),
            position.last_token_price,
            position.get_total_profit_usd(),
            position.get_unrealised_and_realised_profit_percent(),
            np.nan if position.stop_loss is None else position.stop_loss,
        )
        for position in sorted(portfolio.open_positions.values(), key=lambda p: (-p.get_value(), p.position_id))
    ]
    return pd.DataFrame(rows, columns=list(END_COLUMNS))


def trading_pair_positions(input: ChartInput) -> list[go.Figure | pd.DataFrame]:
    """What each position on a pair earned, and a table of them."""
    parts: list[go.Figure | pd.DataFrame] = []
    for pair in input.require_pairs():
        own = [p for p in input.require_state().portfolio.get_all_positions() if p.pair.get_pricing_pair() == pair]
        own.sort(key=lambda p: (p.opened_at, p.position_id))
        title = f"Positions on {pair.get_ticker()}"
        parts.append(draw_position_profits(position_rows(own).frame, title=title))
        parts.append(expand_timeline(create_timeline(own)))
    return parts


def trading_pair_price_and_trades(input: ChartInput) -> list[go.Figure]:
    """The price of a pair with the trades on it, and what the strategy plotted for it."""
    return [draw_pair(input, pair) for pair in input.require_pairs()]


def draw_pair(
    input: ChartInput,
    pair: TradingPairIdentifier,
) -> go.Figure:
    """Return the price of a pair over the strategy's range with its trades, positions and plots."""
    universe, state = input.strategy_universe, input.require_state()
    candles = universe.candles.clip(input.start_at, input.end_at).frame(pair.internal_id or 0)
    trades, positions = _tables(input)
    plots = choose_plots(state.visualisation.plots.values(), pair, is_only_pair=universe.is_single_pair_universe())
    return draw_price_and_trades(
        candles,
        trades[trades["pair_id"] == pair.internal_id],
        positions=positions[positions["pair_id"] == pair.internal_id],
        plots=plots,
        title=pair.get_ticker(),
    )


def _tables(input: ChartInput) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of trades and positions, made once for all pairs."""
    key = "trades and positions"
    if key not in input.cache:
        state = input.require_state()
        input.cache[key] = trades_table(state), positions_table(state)
    found: tuple[pd.DataFrame, pd.DataFrame] = input.cache[key]
    return found
