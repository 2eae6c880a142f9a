"""Dummy execution: decisions are made and recorded, and nothing is ever traded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from trading_dagster.domain.event import TradeDiscarded
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_aware
from trading_dagster.domain.trade import TradeExecution

NOT_TRADED = "dummy execution: decided and not traded"


class DummyExecution:
    """Drops every trade: for watching what a strategy would decide on live data."""

    def execute_trades(
        self,
        timestamp: datetime,
        state: State,
        trades: Sequence[TradeExecution],
        triggered: bool = False,  # noqa: ARG002 - the port names it
    ) -> None:
        """Discard planned trades by events; naive UTC."""
        for trade in trades:
            if trade.is_planned():
                state.record(TradeDiscarded(to_aware(timestamp), trade.trade_id, trade.position_id, NOT_TRADED))

    def resume(self, timestamp: datetime, state: State) -> Sequence[TradeExecution]:  # noqa: ARG002 - the port names it
        """Return nothing: nothing ever begins."""
        return ()
