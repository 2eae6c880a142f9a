"""A strategy in live trading: everything its steps are a function of, but its ledger's content and the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from trading_dagster.domain.time import CycleDuration, to_naive
from trading_dagster.execution.approval import ApprovalModel, UncheckedApproval
from trading_dagster.execution.limit import AllowAll, TradeGuard
from trading_dagster.live.clock import SystemClock, WorldClock
from trading_dagster.live.desk import Venue
from trading_dagster.live.notification import LogReporter, Reporter
from trading_dagster.storage.lease import DEFAULT_LEASE_S
from trading_dagster.storage.ledger_store import LedgerStore
from trading_dagster.strategy.execution_context import ExecutionContext, ExecutionMode
from trading_dagster.strategy.indicator_calculation import IndicatorStore
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameters import StrategyParameters

DEFAULT_HISTORY = timedelta(days=90)
"""How much history is loaded when the strategy does not say."""


def allow_trading() -> str:
    """Return no reason not to trade."""
    return ""


@dataclass(frozen=True, eq=False)
class LiveStrategy:
    """A deployed strategy.

    Attributes:
        id: Id of the deployment: names its ledger, tags and assets.
        strategy: The loaded strategy file.
        source: What create_trading_universe is given as client; None for the embedded sample.
        venue: Where it trades.
        store: Where its ledger is kept.
        clock: The time it goes by.
        mode: simulated_trading on paper, real_trading on a chain.
        guard: Reviews the trades of each decision, and of trigger checks.
        approval: Who approves a decision's trades before they run.
        approval_poll_s: How often an answer is looked for, seconds.
        forbid_trading: The kill switch: returns why nothing may be traded now, or nothing.
        reporter: Where messages for the operator go.
        indicator_store: Where indicators are kept between the steps of a cycle.
        lease_s: How long its lease lasts without renewal, seconds.
        wait_s: How long a step waits for another executor to finish, seconds.
    """

    id: str
    strategy: StrategyModule
    source: Any
    venue: Venue
    store: LedgerStore
    clock: WorldClock = field(default_factory=SystemClock)
    mode: ExecutionMode = ExecutionMode.simulated_trading
    guard: TradeGuard = field(default_factory=AllowAll)
    approval: ApprovalModel = field(default_factory=UncheckedApproval)
    approval_poll_s: float = 2.0
    forbid_trading: Callable[[], str] = allow_trading
    reporter: Reporter = field(default_factory=LogReporter)
    indicator_store: IndicatorStore | None = None
    lease_s: float = DEFAULT_LEASE_S
    wait_s: float = DEFAULT_LEASE_S * 2

    @property
    def parameters(self) -> StrategyParameters:
        """Return the strategy's parameters."""
        return self.strategy.parameters

    @property
    def cycle_duration(self) -> CycleDuration:
        """Return the time between decisions."""
        duration: CycleDuration = self.parameters.cycle_duration
        return duration

    @property
    def context(self) -> ExecutionContext:
        """Return the world that the strategy's functions are told of."""
        return ExecutionContext(mode=self.mode, engine_version=self.strategy.engine_version, parameters=self.parameters)

    @property
    def history(self) -> timedelta:
        """Return how much history is loaded before a decision."""
        period: timedelta | None = self.parameters.get("required_history_period")
        return period or DEFAULT_HISTORY

    def now(self) -> datetime:
        """Return the present, naive UTC."""
        return to_naive(self.clock.now())

    def newest_decision_at(self) -> datetime:
        """Return the newest decision time that is not in the future, naive UTC."""
        return self.cycle_duration.round_down(self.now())
