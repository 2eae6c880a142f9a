"""A desk on a chain that is not at the present: what is in flight is looked up, nothing new is traded or booked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from trading_dagster.domain.error import EvmError
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.treasury import BalanceUpdate
from trading_dagster.live.desk import Desk, LiveExecution


def only_look_up(desk: Desk, reason: EvmError) -> Desk:
    """Return a desk whose execution resumes, and raises the reason for anything new; and so does its treasury.

    The treasury is asked before each decision, so none is made on prices of the past.
    """
    return replace(desk, execution=LookUpExecution(desk.execution, reason), treasury=ClosedTreasury(reason))


@dataclass(frozen=True, slots=True)
class LookUpExecution:
    """Goes on with what began, and begins nothing."""

    execution: LiveExecution
    reason: EvmError

    def execute_trades(
        self,
        timestamp: datetime,  # noqa: ARG002 - the port names it, as all that follow
        state: State,  # noqa: ARG002
        trades: Sequence[TradeExecution],
        triggered: bool = False,  # noqa: ARG002
    ) -> None:
        """Raise the reason; the trades stay planned."""
        if trades:
            raise self.reason

    def resume(self, timestamp: datetime, state: State) -> Sequence[TradeExecution]:
        """See LiveExecution."""
        return self.execution.resume(timestamp, state)


@dataclass(frozen=True, slots=True)
class ClosedTreasury:
    """Books nothing."""

    reason: EvmError

    def sync_treasury(self, timestamp: datetime, state: State) -> Sequence[BalanceUpdate]:  # noqa: ARG002
        """Raise the reason."""
        raise self.reason
