"""The execution port: what a cycle needs from a venue, simulated or real."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution


class ExecutionModel(Protocol):
    """Executes the trades of a batch in the order given and records what came of them."""

    def execute_trades(
        self, timestamp: datetime, state: State, trades: Sequence[TradeExecution], triggered: bool = False
    ) -> None:
        """Execute planned trades at a naive UTC time; ``triggered`` for stop losses and take profits."""
        ...
