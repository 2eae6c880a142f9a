"""An operator closes positions at once: all of them, or one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from trading_dagster.domain.error import BadInput, DataUnavailable, TradeError
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.live.operation import TradingResult, list_waiting, open_operation, require_permission, run_trades
from trading_dagster.live.step import LiveStep
from trading_dagster.live.strategy import LiveStrategy

DEFAULT_REASON = "closed by an operator"
NOTHING_TO_SELL = "there is nothing to sell of it; compare the accounts"


def close_all(live: LiveStrategy, reason: str = DEFAULT_REASON) -> TradingResult:
    """Close every open position and give up those that are pending; running it again does nothing more.

    Trades of a cycle that did not begin are dropped: nothing opens a position after this. A position that cannot be
    priced or sold stays open and is named in the notes, and so are frozen ones: repair them first.

    Args:
        live: The strategy.
        reason: Why, for the notes of the trades.

    Raises:
        ExecutorBusy: Another executor works on the strategy or its wallet.
        UncleanState: The end of an earlier trade is still unknown.
        TradeError: The kill switch is on.
    """
    require_permission(live)
    with open_operation(live, "closing all positions") as step:
        portfolio = step.state.portfolio
        positions = [*portfolio.open_positions.values(), *portfolio.pending_positions.values()]
        return _close(step, positions, list_waiting(step), reason)


def close_position(live: LiveStrategy, position_id: int, reason: str = DEFAULT_REASON) -> TradingResult:
    """Close one open position or give up a pending one; a closed one is left as it is.

    Raises BadInput for no such one, and as close_all.
    """
    require_permission(live)
    with open_operation(live, "closing a position") as step:
        portfolio = step.state.portfolio
        if position_id in portfolio.closed_positions:
            return replace(run_trades(step, []), notes=(f"Position #{position_id} is closed already",))
        position = portfolio.open_positions.get(position_id) or portfolio.pending_positions.get(position_id)
        if position is None:
            listing = ", ".join(f"#{number}" for number in portfolio.open_positions) or "none"
            frozen = "; it is frozen: repair or retry it" if position_id in portfolio.frozen_positions else ""
            raise BadInput(f"{live.id} has no open position #{position_id}{frozen}; open are: {listing}")
        waiting = [trade for trade in list_waiting(step) if trade.position_id == position_id]
        return _close(step, [position], waiting, reason)


def _close(
    step: LiveStep, positions: Iterable[TradingPosition], waiting: list[TradeExecution], reason: str
) -> TradingResult:
    step.discard(waiting, reason)
    notes = [f"{trade} is dropped" for trade in waiting]
    trades: list[TradeExecution] = []
    manager = step.make_position_manager(step.universe)
    for position in positions:
        if position.is_pending():
            notes += [f"{trade} is given up" for trade in position.pending_trades.values()]
            manager.cancel_waiting_trades(position, reason=reason)
            continue
        if position.position_id not in step.state.portfolio.open_positions:
            continue  # it had nothing but the trades that were dropped
        try:
            planned = manager.close_position(position, notes=reason)
        except (DataUnavailable, TradeError) as error:
            notes.append(f"{position} stays open: {error}")
            continue
        if not planned:
            why = "its vault has an order that did not settle" if position.is_settling() else NOTHING_TO_SELL
            notes.append(f"{position} stays open: {why}")
        trades += planned
    notes += [f"{position} stays as it is" for position in step.state.portfolio.frozen_positions.values()]
    return run_trades(step, trades, notes)
