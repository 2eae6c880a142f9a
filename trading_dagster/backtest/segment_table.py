"""The tables of a piece of a backtest."""

from __future__ import annotations

from collections.abc import Sequence

from trading_dagster.backtest.run import BacktestRun
from trading_dagster.backtest.visualisation_table import take_visualisation
from trading_dagster.domain.event import (
    Event,
    SettlementRequested,
    TradeExecuted,
    TradeFailed,
    TradePlanned,
    TradeTriggered,
    TradeWaits,
)
from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.statistics.table import Table
from trading_dagster.statistics.trade_table import decision_rows, trade_rows


def segment_tables(run: BacktestRun, events: Sequence[Event], samples: Table, cycles: range) -> dict[str, Table]:
    """Return the tables of a piece of a backtest; rows of all pieces in order are those of the whole.

    Positions are no such table, because they go on from piece to piece. What the strategy
    showed (messages, calculations, plots and their looks) is left out when there is none.
    """
    state, portfolio = run.state, run.state.portfolio
    trades = list_made_trades(portfolio, events)
    grid_us = run.plan.grid_us[cycles.start : cycles.stop]
    tables = {
        "decisions": decision_rows(state, samples, grid_us, _list_decided_trades(portfolio, events), cycles.start),
        "trades": trade_rows(trades, run.has_charges),
        "equity": samples,
    }
    return tables | take_visualisation(state.visualisation)


def _list_decided_trades(portfolio: Portfolio, events: Sequence[Event]) -> list[TradeExecution]:
    """Return the trades that decisions of a piece planned to run at once, those that vaults settle later among them."""
    waiting = {event.trade_id for event in events if isinstance(event, TradeWaits)}
    plans = [event.plan for event in events if isinstance(event, TradePlanned) and event.plan.trade_id not in waiting]
    return [portfolio.get_position_by_id(plan.position_id).trades[plan.trade_id] for plan in plans]


def list_made_trades(portfolio: Portfolio, events: Sequence[Event]) -> list[TradeExecution]:
    """Return the trades that a piece of a ledger made: their rows do not change in later pieces.

    They were planned in it, or fired in it if they waited for a trigger, or settled in it if they waited for a vault.
    """
    made: dict[int, int] = {}
    for event in events:
        if isinstance(event, TradePlanned | TradeTriggered):
            made[event.plan.trade_id] = event.plan.position_id
        elif isinstance(event, TradeWaits | SettlementRequested):
            made.pop(event.trade_id, None)
        elif isinstance(event, TradeExecuted | TradeFailed) and event.trade_id not in made:
            made[event.trade_id] = event.position_id
    return [portfolio.get_position_by_id(position_id).trades[trade_id] for trade_id, position_id in made.items()]
