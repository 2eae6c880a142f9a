"""What the lending protocol does to loans on its own: interest accrues, and breached loans are liquidated.

A loan is liquidated when its health factor (liquidation threshold x collateral / debt, interest included, debt at mid)
is 1 or less at a cycle's decision time or at an instant of the stop-loss feed. Aave lets liquidators repay half of a
debt whose health is above 0.95, and all of it below; here the whole position always ends, the worse of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from trading_dagster.domain.error import BadInput, DataUnavailable
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.treasury import BalanceUpdate
from trading_dagster.execution.port import ExecutionModel
from trading_dagster.strategy.position_manager import PositionManager

DEFAULT_LIQUIDATION_PENALTY = 0.05
"""What a liquidation costs beyond the debt, as a fraction of it; Aave v3 takes 5 % for most collateral."""


class InterestModel(Protocol):
    """What interest of loans and credit supply comes from."""

    def sync_interests(self, timestamp: datetime, state: State) -> Sequence[BalanceUpdate]:
        """Accrue interest up to a naive UTC time; running it again adds nothing."""
        ...


class LoanService:
    """Brings the loans of a portfolio up to a cycle's time, before anything is decided."""

    def __init__(
        self,
        *,
        interest: InterestModel,
        position_manager: PositionManager,
        execution: ExecutionModel,
        liquidation_penalty: float | None = DEFAULT_LIQUIDATION_PENALTY,
    ) -> None:
        """Liquidate at the position manager's time and prices; the penalty is a fraction of the debt.

        Without a penalty nothing is liquidated here: a chain does that itself.
        """
        if liquidation_penalty is not None and not 0 <= liquidation_penalty < 1:
            raise BadInput(f"liquidation_penalty is {liquidation_penalty}: it is a fraction of the debt, 0.05 is 5 %")
        self.liquidation_penalty = liquidation_penalty
        self._interest = interest
        self._manager = position_manager
        self._execution = execution

    def run(self, timestamp: datetime) -> None:
        """Accrue interest up to a cycle's time, naive UTC, then liquidate what is breached at its prices."""
        state = self._manager.state
        self._interest.sync_interests(timestamp, state)
        if self.liquidation_penalty is not None:
            self.liquidate_breached(timestamp, self.liquidation_penalty)

    def liquidate_breached(self, timestamp: datetime, penalty: float) -> list[TradeExecution]:
        """End every loan that is breached at the prices of a naive UTC time; returns the trades."""
        state = self._manager.state
        trades: list[TradeExecution] = []
        for position in list(state.portfolio.loan_positions.values()):
            level = position.get_liquidation_level() if position.is_open() else None
            if level is None:
                continue
            try:
                mid = self._manager.pricing_model.get_mid_price(timestamp, position.pair)
            except DataUnavailable:
                continue  # without a price nothing trades, and nothing is valued anew
            if mid >= level:
                planned = self._manager.liquidate(position, mid, penalty)
                self._execution.execute_trades(timestamp, state, planned, triggered=True)
                trades += planned
        return trades
