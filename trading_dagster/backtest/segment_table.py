"""The tables of a piece of a backtest."""

from __future__ import annotations

from collections.abc import Sequence

from trading_dagster.backtest.run import BacktestRun
from trading_dagster.backtest.visualisation_table import take_visualisation
from trading_dagster.domain.event import Event, TradePlanned
from trading_dagster.statistics.table import Table
from trading_dagster.statistics.trade_table import decision_rows, trade_rows


def segment_tables(run: BacktestRun, events: Sequence[Event], samples: Table, cycles: range) -> dict[str, Table]:
    """Return the tables of a piece of a backtest; rows of all pieces in order are those of the whole.

    Positions are no such table, because they go on from piece to piece. What the strategy
    showed (messages, calculations, plots and their looks) is left out when there is none.
    """
    state, portfolio = run.state, run.state.portfolio
    planned = [(e.plan.position_id, e.plan.trade_id) for e in events if isinstance(e, TradePlanned)]
    trades = [portfolio.get_position_by_id(position_id).trades[trade_id] for position_id, trade_id in planned]
    grid_us = run.plan.grid_us[cycles.start : cycles.stop]
    tables = {
        "decisions": decision_rows(state, samples, grid_us, trades, cycles.start),
        "trades": trade_rows(trades),
        "equity": samples,
    }
    return tables | take_visualisation(state.visualisation)
