"""One decision cycle, the same in a backtest and in live trading, and the trigger checks between cycles.

The steps and their order are those of reference section 3. A cycle in which nothing happens costs next to nothing:
positions are valued when somebody asks, and equity is sampled later from the recorded holdings.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import numpy as np

from trading_dagster.accounting.equity_log import EquityLog
from trading_dagster.domain.error import StrategyFailed, TradingDagsterError
from trading_dagster.domain.event import CycleCompleted, TriggersMoved
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import from_unix_us, to_aware
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradeType
from trading_dagster.domain.trade_order import in_execution_order
from trading_dagster.execution.port import ExecutionModel
from trading_dagster.execution.review import check_returned, review_decision
from trading_dagster.pricing.candle_pricing import CandleMarks, PriceColumns
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.input import StrategyInput, StrategyTickHookInput
from trading_dagster.strategy.position_manager import PositionManager
from trading_dagster.strategy.trigger import fired_trigger, trailed_stop

MINIMUM_EQUITY_USD = 0.15
_MINIMUM_CASH = Decimal("0.15")
SCAN_FROM_BARS = 24
"""Windows with at least this many feed bars are scanned as arrays before they are walked."""

TRIGGERED = frozenset({TradeFlag.triggered})


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
        self._hooks = hooks or CycleHooks()
        self._has_hooks = hooks is not None
        self._handled_events = 0
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
        has_hooks = self._has_hooks
        if has_hooks:
            self._call_hook_before_cycle()
        if self._sync.queue:
            self._sync.sync_treasury(clock.timestamp, state)
        if portfolio.reserve.quantity >= _MINIMUM_CASH or portfolio.calculate_total_equity() >= MINIMUM_EQUITY_USD:
            first_planned_id = portfolio.next_trade_id
            try:
                trades = self._decide(self._input)
            except Exception as error:
                raise strategy_failure(self._input, "decide_trades", error) from error
            if trades.__class__ is not list or trades or portfolio.next_trade_id != first_planned_id:
                self._trade(trades, first_planned_id)
        if has_hooks:
            self._call_hook("after_strategy_tick", self._hooks.after_strategy_tick)
        changed = self.changed = len(state.new_events) != self._handled_events
        if changed:
            self.complete(index)

    def complete(self, index: int) -> None:
        """Record the end of a cycle; quiet cycles need this only when a run is cut after them."""
        state = self._state
        state.record(CycleCompleted(self._clock.aware, index + 1))
        self._handled_events = len(state.new_events)
        self.note_holdings(index)

    def note_holdings(self, index: int) -> None:
        """Value cycles from ``index`` on with the holdings of now."""
        shares = self._state.sync.treasury.share_count
        self._equity_log.begin(index, self._portfolio, float(shares or 0))
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
    trades = check_returned(returned, view.cycle)
    review_decision(view.state, trades, first_planned_id, view.cycle)
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


class TriggerChecks:
    """Samples the stop-loss feed at its bars' opens and closes positions whose trigger fires."""

    def __init__(
        self,
        *,
        feed: PriceColumns,
        clock: DecisionClock,
        position_manager: PositionManager,
        execution: ExecutionModel,
        marks: CandleMarks,
        equity_log: EquityLog,
    ) -> None:
        """Check on ``feed``; ``position_manager`` plans at ``clock`` with prices of the feed."""
        self._feed = feed
        self._last_bar = feed.panel.bar_count - 1
        self._clock = clock
        self._manager = position_manager
        self._execution = execution
        self._marks = marks
        self._equity_log = equity_log
        self._state = position_manager.state
        self._portfolio = position_manager.state.portfolio
        self._watched: list[tuple[TradingPosition, memoryview, bool]] = []
        self.refresh()

    def refresh(self) -> None:
        """Look again which open positions have triggers; call after anything changed."""
        feed = self._feed
        self._watched = [
            (position, feed.view(position.pair.get_pricing_pair().internal_id or 0), position.is_short())
            for position in self._portfolio.open_positions.values()
            if position.has_trigger() and self.can_watch(position.pair)
        ]

    def can_watch(self, pair: TradingPairIdentifier) -> bool:
        """Tell whether the feed has candles of a pair."""
        return self._feed.has_pair(pair.get_pricing_pair().internal_id)

    @property
    def is_watching(self) -> bool:
        """Tell whether any open position has a trigger."""
        return bool(self._watched)

    def run_window(self, cycle: int, start_us: int, end_us: int, skip_start: bool) -> bool:
        """Check every feed instant in [start, end]; returns whether anything changed.

        ``skip_start`` leaves out the instant ``start`` itself: nothing changed since it was checked as the end of
        the window before.
        """
        feed = self._feed
        first = -((feed.start_us - start_us) // feed.width_us)
        if skip_start and feed.start_us + first * feed.width_us == start_us:
            first += 1
        last = min((end_us - feed.start_us) // feed.width_us, self._last_bar + feed.tolerance_us // feed.width_us)
        first = max(first, 0)
        if last - first + 1 >= SCAN_FROM_BARS and last <= self._last_bar and not self._may_fire(first, last):
            return False
        changed = False
        for bar in range(first, last + 1):
            if self._run_instant(cycle, bar):
                changed = True
                if not self._watched:
                    break
        return changed

    def _may_fire(self, first: int, last: int) -> bool:
        for position, view, is_short in self._watched:
            prices = np.asarray(view)[first : last + 1]
            if _fires_at(position, float(np.fmin.reduce(prices))):
                return True
            is_stop_only = position.take_profit is None and position.trailing_stop_loss_pct is None
            if (is_short or not is_stop_only) and _fires_at(position, float(np.fmax.reduce(prices))):
                return True
        return False

    def _run_instant(self, cycle: int, bar: int) -> bool:
        changed = traded = False
        for position, view, is_short in self._watched:
            mid = view[bar] if bar <= self._last_bar else self._mid_after_the_end(position, bar)
            if position.trailing_stop_loss_pct is not None:
                level = trailed_stop(position, mid)
                if level is not None and mid == mid:  # noqa: PLR0124 - NaN is not equal to itself
                    self._move_stop(position, bar, mid, level)
                    changed = True
            stop, profit = position.stop_loss, position.take_profit
            if (stop is not None and mid <= stop) or (profit is not None and mid >= profit) or is_short:
                fired = fired_trigger(position, mid)
                if fired is not None:
                    self._close(position, bar, mid, fired)
                    traded = True
        if traded:
            self._equity_log.sample_instant(cycle, self._instant_us(bar), self._portfolio)
            self._marks.look_at_cycle()
            self.refresh()
        return changed or traded

    def _mid_after_the_end(self, position: TradingPosition, bar: int) -> float:
        """Return the last price of a feed that ended, while it is within the tolerance, then NaN."""
        pair_id = position.pair.get_pricing_pair().internal_id or 0
        mid = self._feed.at(pair_id, self._instant_us(bar))
        return math.nan if mid is None else mid

    def _instant_us(self, bar: int) -> int:
        return self._feed.start_us + bar * self._feed.width_us

    def _move_stop(self, position: TradingPosition, bar: int, mid: float, level: float) -> None:
        at = to_aware(from_unix_us(self._instant_us(bar)))
        self._state.record(
            TriggersMoved(at, position.position_id, mid, level, position.take_profit, position.trailing_stop_loss_pct)
        )

    def _close(self, position: TradingPosition, bar: int, mid: float, fired: TradeType) -> None:
        level = position.stop_loss if fired is TradeType.stop_loss else position.take_profit
        self._clock.stand_at(self._instant_us(bar))
        self._marks.look_at_triggers(self._instant_us(bar))
        trades: list[TradeExecution] = self._manager.close_position(
            position, trade_type=fired, notes=f"{fired.value} at level {level}, mid {mid}", flags=TRIGGERED
        )
        self._execution.execute_trades(self._clock.timestamp, self._state, trades, triggered=True)


def _fires_at(position: TradingPosition, mid: float) -> bool:
    """Tell whether a mid price would close a position or move its trailing stop."""
    return fired_trigger(position, mid) is not None or trailed_stop(position, mid) is not None
