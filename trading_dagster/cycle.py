"""One decision cycle, the same in a backtest and in live trading.

The steps and their order are those of reference section 3. A cycle in which nothing happens costs next to nothing:
positions are valued when somebody asks, and equity is sampled later from the recorded holdings.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from trading_dagster.accounting.equity_log import EquityLog
from trading_dagster.domain.error import StrategyFailed, TradingDagsterError
from trading_dagster.domain.event import CycleCompleted
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.trade_order import in_execution_order
from trading_dagster.execution.loan_service import LoanService
from trading_dagster.execution.port import ExecutionModel
from trading_dagster.execution.review import check_returned, review_decision
from trading_dagster.execution.vault_settlement import VaultSettlement
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.input import StrategyInput, StrategyTickHookInput

MINIMUM_EQUITY_USD = 0.15
_MINIMUM_CASH = Decimal("0.15")


class SyncModel(Protocol):
    """What moves money into and out of the strategy."""

    queue: list[Any]

    def sync_treasury(self, timestamp: datetime, state: State) -> Sequence[Any]:
        """Apply the flows that are due at a naive UTC time."""
        ...


@dataclass(slots=True)
class CycleHooks:
    """Optional calls around a cycle."""

    on_before_cycle: Callable[[int, datetime, State, Any], None] | None = None
    before_strategy_tick: Callable[[StrategyTickHookInput], None] | None = None
    after_strategy_tick: Callable[[StrategyTickHookInput], None] | None = None


class DecisionCycle:
    """Runs the cycles of one strategy over a grid of decision times."""

    def __init__(
        self,
        *,
        clock: DecisionClock,
        strategy_input: StrategyInput,
        decide_trades: Callable[[StrategyInput], Any],
        execution: ExecutionModel,
        sync_model: SyncModel,
        equity_log: EquityLog,
        hooks: CycleHooks | None = None,
        settlement: VaultSettlement | None = None,
        loans: LoanService | None = None,
    ) -> None:
        """Bring together what a cycle needs; the clock stands wherever ``run`` moves it."""
        self._clock = clock
        self._input = strategy_input
        self._state = strategy_input.state
        self._portfolio = strategy_input.state.portfolio
        self._decide = decide_trades
        self._execution = execution
        self._sync = sync_model
        self._equity_log = equity_log
        self._settlement = settlement
        self._loans = loans
        self._hooks = hooks or CycleHooks()
        self._has_hooks = hooks is not None
        self._is_plain = hooks is None and settlement is None and loans is None
        self._handled_events = 0
        self._shares: Decimal | None = None
        self._share_count = 0.0
        self.changed = True
        """Whether the newest cycle recorded any event."""

    def run(self, index: int) -> None:
        """Run cycle number ``index + 1`` at its decision time.

        Raises:
            StrategyFailed: decide_trades raised or broke the protocol; the message has cycle, time and traceback.
            TradeError: a planned trade could not be executed.
        """
        clock, portfolio, state = self._clock, self._portfolio, self._state
        clock.move(index)
        if not self._is_plain:
            self._begin()
        elif self._sync.queue:
            self._sync.sync_treasury(clock.timestamp, state)
        if portfolio.reserve.quantity >= _MINIMUM_CASH or portfolio.calculate_total_equity() >= MINIMUM_EQUITY_USD:
            first_planned_id = portfolio.next_trade_id
            try:
                trades = self._decide(self._input)
            except Exception as error:
                raise strategy_failure(self._input, "decide_trades", error) from error
            if trades.__class__ is not list or trades or portfolio.next_trade_id != first_planned_id:
                self._trade(trades, first_planned_id)
        if self._has_hooks:
            self._call_hook("after_strategy_tick", self._hooks.after_strategy_tick)
        changed = self.changed = len(state.new_events) != self._handled_events
        if changed:
            self.complete(index)

    def _begin(self) -> None:
        """Do what comes before the decision where there is more than the treasury: hook, loans, orders of vaults."""
        timestamp, portfolio, state = self._clock.timestamp, self._portfolio, self._state
        if self._has_hooks:
            self._call_hook_before_cycle()
        if portfolio.loan_positions and self._loans is not None:
            self._loans.run(timestamp)
        if self._sync.queue:
            self._sync.sync_treasury(timestamp, state)
        if portfolio.settlements and self._settlement is not None:
            self._settlement.settle(timestamp, state)

    def complete(self, index: int) -> None:
        """Record the end of a cycle; quiet cycles need this only when a run is cut after them."""
        self._state.record(CycleCompleted(self._clock.aware, index + 1))
        self.note_holdings(index)

    def note_holdings(self, index: int) -> None:
        """Value cycles from ``index`` on with the holdings of now."""
        shares = self._state.sync.treasury.share_count
        if shares is not self._shares:
            self._shares, self._share_count = shares, float(shares or 0)
        self._equity_log.begin(index, self._portfolio, self._share_count)
        self._handled_events = len(self._state.new_events)

    def forget_events(self) -> None:
        """Say that the state's new events were taken by a store."""
        self._handled_events = len(self._state.new_events)

    def _trade(self, returned: Any, first_planned_id: int) -> None:
        trades = review_returned(self._input, returned, first_planned_id)
        if trades:
            self._execution.execute_trades(self._clock.timestamp, self._state, trades)

    def _call_hook_before_cycle(self) -> None:
        hook = self._hooks.on_before_cycle
        if hook is not None:
            hook(self._clock.cycle, self._clock.timestamp, self._state, self._sync)
        self._call_hook("before_strategy_tick", self._hooks.before_strategy_tick)

    def _call_hook(self, name: str, hook: Callable[[StrategyTickHookInput], None] | None) -> None:
        if hook is not None:
            call_tick_hook(self._input, name, hook)


def decide(view: StrategyInput, decide_trades: Callable[[StrategyInput], Any]) -> list[TradeExecution]:
    """Ask a strategy what to do at its input's decision time; returns the trades in the order to run them in.

    Raises:
        StrategyFailed: decide_trades raised or broke the protocol; the message has cycle, time and traceback.
    """
    first_planned_id = view.state.portfolio.next_trade_id
    try:
        returned = decide_trades(view)
    except Exception as error:
        raise strategy_failure(view, "decide_trades", error) from error
    return review_returned(view, returned, first_planned_id)


def review_returned(view: StrategyInput, returned: Any, first_planned_id: int) -> list[TradeExecution]:
    """Check what decide_trades returned against what it planned; returns the trades in the order to run them in."""
    cycle = view.cycle
    trades = check_returned(returned, cycle)
    review_decision(view.state, trades, first_planned_id, cycle)
    return in_execution_order(trades)


def call_tick_hook(view: StrategyInput, name: str, hook: Callable[[StrategyTickHookInput], None]) -> None:
    """Call a strategy's before_strategy_tick or after_strategy_tick; raises StrategyFailed when it does."""
    given = StrategyTickHookInput(
        cycle=view.cycle,
        timestamp=view.timestamp,
        state=view.state,
        universe=view.strategy_universe,
        pricing_model=view.pricing_model,
        execution_context=view.execution_context,
    )
    try:
        hook(given)
    except Exception as error:
        raise strategy_failure(view, name, error) from error


def strategy_failure(view: StrategyInput, function: str, error: Exception) -> StrategyFailed:
    """Return the error of a strategy's function that raised, with cycle, time and traceback."""
    place = f"at cycle {view.cycle}, {view.timestamp}"
    trace = "".join(traceback.format_exception(error))
    failure = type(error) if isinstance(error, StrategyFailed) else StrategyFailed
    kind = "" if isinstance(error, TradingDagsterError) else f"{type(error).__name__}: "
    return failure(f"{function} failed {place}: {kind}{error}\n{trace}")
