"""Standard charts of lending: what interest came and was owed."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.curve import draw_curves
from trading_dagster.charts.sampling import Curve
from trading_dagster.domain.state import State
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.strategy.chart import ChartInput


def lending_pool_interest_accrued(input: ChartInput) -> go.Figure:
    """Interest that accrued over time by token, USD: earned above zero, owed below."""
    sums = accumulate_interest(input.require_state())
    curves: dict[str, Curve] = {str(name): sums[name].dropna() for name in sums.columns}
    if len(curves) > 1:
        curves = {"Net": sums.ffill().fillna(0.0).sum(axis=1), **curves}
    return draw_curves(
        curves, y_title="Interest", tick_format="$,.2f", hover="%{y:$,.2f}", nothing="No interest accrued"
    )


def accumulate_interest(state: State) -> pd.DataFrame:
    """Return the running sum of interest in USD by time, a column per token: earned positive, owed negative."""
    rows = []
    for position in state.portfolio.get_all_positions():
        loan = position.loan
        for update in position.balance_updates.values():
            if update.cause is BalanceUpdateCause.interest:
                is_owed = loan is not None and loan.borrowed is not None and update.asset == loan.borrowed.asset
                value = -update.usd_value if is_owed else update.usd_value
                rows.append((update.block_mined_at, update.asset.token_symbol, value))
    table = pd.DataFrame(rows, columns=["time", "token", "usd"])
    if table.empty:
        return pd.DataFrame(index=pd.DatetimeIndex([]))
    return table.pivot_table(index="time", columns="token", values="usd", aggfunc="sum").cumsum()
