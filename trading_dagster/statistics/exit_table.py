"""How positions were left, part by part, and what became of orders that waited."""

from __future__ import annotations

import math

import pandas as pd

from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution, TradeStatus, TradeType

EXIT_COLUMNS: dict[str, str] = {
    "trades": "int64",
    "closing": "int64",
    "value": "float64",
    "profit": "float64",
    "fees": "float64",
}

WAITING_COLUMNS: dict[str, str] = {
    "position_id": "int64",
    "trading_pair": "str",
    "side": "str",
    "trigger": "str",
    "placed_at": "datetime64[us]",
    "outcome": "str",
    "ended_at": "datetime64[us]",
    "mid_price": "float64",
    "value": "float64",
    "profit": "float64",
    "reason": "str",
}


def exit_kind(position: TradingPosition, trade: TradeExecution) -> str:
    """Return why a trade left its position, or a part of it.

    The trade's type, with trailing_stop_loss for a stop that trails; of trades that waited timed_exit for a time,
    partial_take_profit for a level of several, take_profit for the whole.
    """
    if trade.trade_type is TradeType.stop_loss and position.trailing_stop_loss_pct is not None:
        return "trailing_stop_loss"
    if trade.trade_type is not TradeType.flexible_trigger:
        return str(trade.trade_type.value)
    trigger = trade.activated_trigger
    if trigger is not None and trigger.is_timed():
        return "timed_exit"
    return "partial_take_profit" if trade.is_partial_take_profit() else "take_profit"


def analyse_exits(state: State) -> pd.DataFrame:
    """Return one row for each way of leaving, over executed trades that closed or reduced a position.

    Returns:
        Indexed by kind, see exit_kind: ``trades``, how many of them were ``closing``, ``value`` sold, realised
        ``profit`` and ``fees``, USD. A position sold in three parts counts three times here and once in the summary.
    """
    rows: dict[str, list[float]] = {}
    for position in _in_order(state):
        for trade in position.trades.values():
            if not trade.is_success() or trade.is_buy() != position.is_short():
                continue
            row = rows.setdefault(exit_kind(position, trade), [0, 0, 0.0, 0.0, 0.0])
            is_last = position.is_closed() and trade is position.last_executed_trade
            for place, value in enumerate(
                (1, is_last, trade.get_value(), trade.profit or 0.0, trade.lp_fees_paid or 0.0)
            ):
                row[place] += value
    index = pd.Index(sorted(rows), name="kind", dtype="str")
    return pd.DataFrame([rows[kind] for kind in index], index=index, columns=list(EXIT_COLUMNS)).astype(EXIT_COLUMNS)


def analyse_waiting_trades(state: State) -> pd.DataFrame:
    """Return one row for each trade that waits or waited for a trigger, by trade id.

    Returns:
        ``outcome``: waiting, expired, success, failed and so on; ``ended_at``: when it fired or expired; ``mid_price``:
        of the instant it fired, NaN if it did not; ``value``: USD executed, or planned; ``reason``: why it expired or
        failed.
    """
    portfolio = state.portfolio
    positions = [*_in_order(state), *portfolio.expired_positions.values()]
    found = {
        trade.trade_id: (position, trade)
        for position in positions
        for trades in (position.trades, position.pending_trades, position.expired_trades)
        for trade in trades.values()
        if trade.triggers or trade.expired_triggers or trade.activated_trigger is not None
    }
    index = pd.Index(sorted(found), name="trade_id", dtype="int64")
    rows = [_waiting_row(*found[trade_id]) for trade_id in index]
    return pd.DataFrame(rows, index=index, columns=list(WAITING_COLUMNS)).astype(WAITING_COLUMNS)


def _waiting_row(position: TradingPosition, trade: TradeExecution) -> tuple[object, ...]:
    fired = trade.activated_trigger
    triggers = (*trade.triggers, *((fired,) if fired is not None else ()), *trade.expired_triggers)
    return (
        position.position_id,
        position.pair.get_ticker(),
        "buy" if trade.is_buy() else "sell",
        "; ".join(map(str, triggers)),
        trade.opened_at,
        "waiting" if trade.is_waiting() else trade.get_status().value,
        trade.expired_at if fired is None else fired.triggered_at,
        math.nan if fired is None else trade.planned_mid_price,
        trade.get_value() if trade.get_status() is TradeStatus.success else trade.get_planned_value(),
        math.nan if trade.profit is None else trade.profit,
        trade.failure or "",
    )


def _in_order(state: State) -> list[TradingPosition]:
    return sorted(state.portfolio.get_all_positions(pending=True), key=lambda p: p.position_id)
