"""Standard charts of weights: how the portfolio is divided among what moves and what does not."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.curve import draw_areas
from trading_dagster.statistics.asset_weight import RESERVE_SYMBOL, calculate_asset_weights, value_positions
from trading_dagster.strategy.chart import ChartInput

NO_EQUITY = "No equity was recorded"


def volatile_weights_by_percent(input: ChartInput) -> go.Figure:
    """How what is invested is divided among the assets over time, cash left out."""
    weights = calculate_asset_weights(input.require_state())
    invested = weights.drop(columns=weights.attrs[RESERVE_SYMBOL])
    shares = invested.div(invested.sum(axis=1).where(lambda total: total > 0), axis=0)
    return draw_areas(
        shares, y_title="Share of invested", tick_format=".0%", hover="%{customdata:.1%}", nothing="Nothing was bought"
    )


def volatile_and_non_volatile_percent(input: ChartInput) -> go.Figure:
    """How the portfolio is divided into volatile assets, what is lent or in vaults, and cash over time."""
    table = divide_by_volatility(input)
    shares = table.div(table.sum(axis=1), axis=0)
    return draw_areas(
        shares, y_title="Share of equity", tick_format=".0%", hover="%{customdata:.1%}", cash="Cash", nothing=NO_EQUITY
    )


def divide_by_volatility(input: ChartInput) -> pd.DataFrame:
    """Return USD of cash, of vaults and credit, and of everything else at each sample; empty kinds are left out."""
    values = value_positions(input.require_state())
    kinds = {"Cash": values.cash}
    for pair, part in values.by_pair().items():
        name = "Credit and vaults" if pair.is_vault() or pair.is_credit_supply() else "Volatile"
        kinds[name] = kinds[name] + part if name in kinds else part
    return pd.DataFrame(kinds, index=values.times)
