"""The tables of a piece of a backtest."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trading_dagster.backtest.run import BacktestRun
from trading_dagster.domain.event import Event, TradePlanned
from trading_dagster.statistics.table import Table
from trading_dagster.statistics.trade_table import decision_rows, trade_rows

MESSAGE_COLUMNS = {"timestamp": "datetime64[us]", "message": "str"}
PLOT_COLUMNS = {"plot": "str", "timestamp": "datetime64[us]", "value": "float64"}


def segment_tables(run: BacktestRun, events: Sequence[Event], samples: Table, cycles: range) -> dict[str, Table]:
    """Return the tables of a piece of a backtest; rows of all pieces in order are those of the whole.

    Positions are no such table, because they go on from piece to piece. Messages and plots are left out when there are
    none.
    """
    state, portfolio = run.state, run.state.portfolio
    planned = [(e.plan.position_id, e.plan.trade_id) for e in events if isinstance(e, TradePlanned)]
    trades = [portfolio.get_position_by_id(position_id).trades[trade_id] for position_id, trade_id in planned]
    grid_us = run.plan.grid_us[cycles.start : cycles.stop]
    points = state.visualisation.take_points()
    tables = {
        "decisions": decision_rows(state, samples, grid_us, trades, cycles.start),
        "trades": trade_rows(trades),
        "equity": samples,
    }
    notes = {
        "messages": Table.from_rows(state.visualisation.take_messages(), MESSAGE_COLUMNS),
        "plots": Table.from_rows([(n, t, math.nan if v is None else v) for n, t, v in points], PLOT_COLUMNS),
    }
    return tables | {name: table for name, table in notes.items() if len(table)}
