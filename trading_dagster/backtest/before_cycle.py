"""What a backtest does before some of its cycles, known beforehand: so that the others cost nothing."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trading_dagster.accounting.fund_fee import take_fund_fees
from trading_dagster.backtest.delisting import Delistings
from trading_dagster.backtest.plan import BacktestPlan
from trading_dagster.domain.fund_fee import FIRST_PERIOD, FundFees
from trading_dagster.domain.state import State
from trading_dagster.domain.time import from_unix_us, to_unix_us
from trading_dagster.execution.port import ExecutionModel
from trading_dagster.execution.vault_settlement import VaultSettlement
from trading_dagster.market.panel import ONE_US
from trading_dagster.pricing.candle_pricing import CandlePricing
from trading_dagster.strategy.position_manager import PositionManager

FIRST_PERIOD_US = to_unix_us(FIRST_PERIOD)


class BeforeCycle(Protocol):
    """Something to do before some cycles; the clock stands at the cycle."""

    def next_from(self, index: int) -> int | None:
        """Return the first cycle index from one on before which something is to be done, None for never."""
        ...

    def run(self, index: int) -> None:
        """Do it."""
        ...


@dataclass(frozen=True, slots=True)
class DelistedCloses:
    """Closes positions on pairs that are gone, after what a vault that is gone had to settle."""

    delistings: Delistings
    manager: PositionManager
    pricing: CandlePricing
    execution: ExecutionModel
    settlement: VaultSettlement | None = None

    def next_from(self, index: int) -> int | None:
        """Return the first cycle index from one on at which a pair is gone."""
        return self.delistings.next_from(index)

    def run(self, index: int) -> None:
        """Close the positions on the pairs that are gone at a cycle."""
        if self.settlement is not None:
            self.delistings.settle_orders(index, self.manager, self.settlement)
        trades = self.delistings.plan_closes(index, self.manager, self.pricing)
        if trades:
            self.execution.execute_trades(self.manager.timestamp, self.manager.state, trades)


class PeriodicFundFees:
    """Takes a fund's fees at the first cycle of each period, and at the last cycle of all."""

    def __init__(self, fees: FundFees, plan: BacktestPlan, state: State) -> None:
        """Take fees from a state at cycles of a plan."""
        self._fees = fees
        self._state = state
        self._grid_us = plan.grid_us
        periods = (plan.grid_us - FIRST_PERIOD_US) // (fees.every // ONE_US)
        begins = np.flatnonzero(np.diff(periods)) + 1
        self._cycles = sorted({*begins.tolist(), plan.cycle_count - 1})

    def next_from(self, index: int) -> int | None:
        """Return the first cycle index from one on at which fees are taken."""
        place = bisect_left(self._cycles, index)
        return self._cycles[place] if place < len(self._cycles) else None

    def run(self, index: int) -> None:
        """Take the fees."""
        take_fund_fees(self._fees, from_unix_us(int(self._grid_us[index])), self._state)
