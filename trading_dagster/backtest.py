"""Backtests: a loop over cycles, in one piece or cut into ranges that continue from a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from trading_dagster.accounting.equity_log import EquityLog
from trading_dagster.accounting.simulated_treasury import QueuedFlow, SimulatedTreasury
from trading_dagster.backtest_result import BacktestResult
from trading_dagster.cycle import CycleHooks, DecisionCycle, TriggerChecks
from trading_dagster.domain.error import BadInput, NotEnoughHistory, StrategyModuleNotValid
from trading_dagster.domain.event import Event, StateCreated
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.money import exact
from trading_dagster.domain.state import BacktestData, State
from trading_dagster.domain.time import CycleDuration, require_naive_utc, to_aware, to_unix_us
from trading_dagster.execution.simulated import SimulatedExecution
from trading_dagster.execution.wallet import SimulatedWallet, check_wallet
from trading_dagster.market.dataset import UniverseOptions
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.pricing.candle_pricing import CandleMarks, CandlePricing, FeeSchedule
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.execution_context import ExecutionContext, ExecutionMode
from trading_dagster.strategy.indicator_calculation import IndicatorStore, calculate_indicators, show_progress
from trading_dagster.strategy.indicator_lookup import StrategyInputIndicators
from trading_dagster.strategy.indicator_result import IndicatorResults
from trading_dagster.strategy.input import CreateTradingUniverseInput, StrategyInput
from trading_dagster.strategy.module import StrategyModule, load_strategy_file, load_strategy_module
from trading_dagster.strategy.parameters import StrategyParameters, require_for_backtest
from trading_dagster.strategy.position_manager import DEFAULT_SLIPPAGE_TOLERANCE, PositionManager

PROGRESS_STEPS = 200

ExecutionTestHook = Callable[[int, datetime, State, SimulatedTreasury], None]
StrategyLike = StrategyModule | str | Path | ModuleType
Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class BacktestOptions:
    """Choices of a backtest that are not the strategy's: fees are fractions."""

    trading_fee_override: float | None = None
    default_fee: float | None = None
    allow_missing_fees: bool = False
    three_leg_resolution: bool = True
    data_delay_tolerance: timedelta | None = None


@dataclass(frozen=True, eq=False)
class BacktestPlan:
    """Everything a backtest is a function of: code, parameters, data and range."""

    strategy: StrategyModule
    parameters: StrategyParameters
    universe: TradingStrategyUniverse
    indicators: IndicatorResults
    start: datetime
    end: datetime
    cycle_duration: CycleDuration
    initial_cash: Decimal
    context: ExecutionContext
    options: BacktestOptions = BacktestOptions()
    name: str = "backtest"
    execution_test_hook: Any = None
    grid_us: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Check the range against the data and lay out the decision times."""
        object.__setattr__(self, "grid_us", decision_grid(self.start, self.end, self.cycle_duration))
        check_range(self.universe, self.start, self.end, self.parameters.get("required_history_period"))

    @property
    def grid(self) -> pd.DatetimeIndex:
        """Return the decision times, naive UTC."""
        return pd.DatetimeIndex(self.grid_us.view("datetime64[us]"), name="timestamp")

    @property
    def cycle_count(self) -> int:
        """Return how many decisions there are."""
        return len(self.grid_us)

    def cycle_at(self, timestamp: datetime) -> int:
        """Return the index of the first decision at or after a naive UTC time."""
        return int(np.searchsorted(self.grid_us, to_unix_us(require_naive_utc(timestamp))))


def decision_grid(start: datetime, end: datetime, duration: CycleDuration) -> npt.NDArray[np.int64]:
    """Return the decision times in [start snapped down, end), microseconds since 1970; raises BadInput when empty."""
    require_naive_utc(start)
    require_naive_utc(end)
    if duration is CycleDuration.cycle_unknown:
        raise BadInput("cycle_duration is unknown: choose one such as CycleDuration.cycle_1h")
    if start >= end:
        raise BadInput(f"The backtest starts at {start} but ends at {end}: the end must be later")
    first = to_unix_us(duration.round_down(start))
    return np.arange(first, to_unix_us(end), duration.to_timedelta() // timedelta(microseconds=1), dtype=np.int64)


def check_range(universe: TradingStrategyUniverse, start: datetime, end: datetime, history: timedelta | None) -> None:
    """Raise BadInput when candles do not cover [start, end), NotEnoughHistory when the warm-up is too short."""
    candles = universe.candles
    if start < candles.start_at or end > candles.end_at:
        raise BadInput(
            f"The backtest runs from {start} to {end} but candles cover {candles.start_at} to {candles.end_at}: "
            "change backtest_start and backtest_end, or load more data"
        )
    if history is not None and start - history < candles.start_at:
        raise NotEnoughHistory(
            f"The strategy requires {history} of history before {start} but candles begin at {candles.start_at}: "
            f"start at {candles.start_at + history} or later, load older data, or lower required_history_period"
        )


class BacktestRun:
    """A backtest in progress: cycles are run in order, and what happened can be taken out piece by piece."""

    def __init__(self, plan: BacktestPlan, state: State | None = None, next_cycle: int = 0) -> None:
        """Begin a new backtest, or continue one from its replayed state at a cycle index."""
        universe = plan.universe
        self.plan = plan
        self.next_cycle = next_cycle
        self.clock = DecisionClock(plan.grid_us.tolist())
        options = plan.options
        fees = FeeSchedule(
            universe.get_reserve_asset(),
            universe.pairs,
            trading_fee_override=options.trading_fee_override,
            default_fee=options.default_fee,
            allow_missing_fees=options.allow_missing_fees,
            three_leg_resolution=options.three_leg_resolution,
        )
        tolerance = options.data_delay_tolerance or universe.price_data_delay_tolerance
        self.marks = CandleMarks(universe.candles, universe.stop_loss_candles, fees, self.clock)
        self.clock.move(min(next_cycle, plan.cycle_count - 1))
        self.wallet = SimulatedWallet()
        self.treasury = SimulatedTreasury(self.wallet.add)
        is_new = state is None
        if state is None:
            created = StateCreated(to_aware(self.clock.timestamp), plan.name, universe.get_reserve_asset())
            state = State(created, self.marks)
            self.treasury.simulate_funding(self.clock.timestamp, plan.initial_cash)
        else:
            state.use_marks(self.marks)
        self.state = state
        state.backtest_data = BacktestData(plan.start, plan.end, plan.cycle_duration)
        pricing = CandlePricing(
            universe.candles, fees, self.clock, liquidity=universe.liquidity, data_delay_tolerance=tolerance
        )
        slippage = plan.parameters.get("slippage_tolerance", DEFAULT_SLIPPAGE_TOLERANCE)
        manager = PositionManager(self.clock, universe, state, pricing, slippage)
        self.input = StrategyInput(
            clock=self.clock,
            state=state,
            strategy_universe=universe,
            parameters=plan.parameters,
            indicators=StrategyInputIndicators(universe, plan.indicators, self.clock),
            pricing_model=pricing,
            position_manager=manager,
            execution_context=plan.context,
        )
        feed = universe.stop_loss_candles
        execution = SimulatedExecution(self.wallet, self._has_trigger_feed)
        self.equity_log = EquityLog(plan.grid_us, self.marks, next_cycle, state.portfolio)
        self.cycle = DecisionCycle(
            clock=self.clock,
            strategy_input=self.input,
            decide_trades=plan.strategy.decide_trades,
            execution=execution,
            sync_model=self.treasury,
            equity_log=self.equity_log,
            hooks=_hooks_of(plan),
        )
        self.triggers: TriggerChecks | None = None
        if feed is not None:
            trigger_clock = DecisionClock([int(plan.grid_us[0])])
            trigger_pricing = CandlePricing(feed, fees, trigger_clock, data_delay_tolerance=tolerance)
            self.triggers = TriggerChecks(
                feed=trigger_pricing.opens,
                clock=trigger_clock,
                position_manager=PositionManager(trigger_clock, universe, state, trigger_pricing, slippage),
                execution=execution,
                marks=self.marks,
                equity_log=self.equity_log,
            )
        if not is_new:
            self.cycle.note_holdings(next_cycle)

    @classmethod
    def resume(
        cls,
        plan: BacktestPlan,
        events: Iterable[Event],
        *,
        next_cycle: int,
        wallet: dict[AssetIdentifier, Decimal],
        queue: Iterable[QueuedFlow],
    ) -> BacktestRun:
        """Continue from a ledger: State is its fold; raises AccountingMismatch when the wallet does not agree."""
        state = State.replay(events)
        run = cls(plan, state, next_cycle)
        run.wallet.balances.update(wallet)
        run.treasury.queue = list(queue)
        check_wallet(state, run.wallet)
        run.cycle.note_holdings(next_cycle)
        if run.triggers is not None:
            run.triggers.refresh()
        return run

    def advance(self, to_cycle: int, progress: Progress | None = None) -> None:
        """Run the cycles up to an index (exclusive), each with the trigger window after it."""
        total = to_cycle - self.next_cycle
        block = max(1, total // PROGRESS_STEPS) if progress is not None else total
        while self.next_cycle < to_cycle:
            end = min(self.next_cycle + block, to_cycle)
            self._run_block(self.next_cycle, end, is_last=end == to_cycle)
            if progress is not None:
                progress(total - (to_cycle - end), total)

    def _run_block(self, first: int, end: int, is_last: bool) -> None:
        run_cycle, triggers, cycle = self.cycle.run, self.triggers, self.cycle
        grid = self.clock.grid_us
        width = self.plan.cycle_duration.to_timedelta() // timedelta(microseconds=1)
        is_first = True
        for index in range(first, end):
            run_cycle(index)
            if is_last and index == end - 1 and not cycle.changed:
                cycle.complete(index)
                cycle.changed = True
            if triggers is not None:
                if cycle.changed:
                    triggers.refresh()
                start_us = grid[index]
                if triggers.is_watching and triggers.run_window(
                    index, start_us, start_us + width, skip_start=not (cycle.changed or is_first)
                ):
                    cycle.note_holdings(index + 1)
            is_first = False
            self.next_cycle = index + 1

    def take_segment(self) -> tuple[list[Event], pd.DataFrame]:
        """Return the events and equity samples since the last call."""
        samples = self.equity_log.take_samples(self.next_cycle, self.state.portfolio)
        events = self.state.take_events()
        self.cycle.forget_events()
        check_wallet(self.state, self.wallet)
        return events, samples

    def _has_trigger_feed(self, pair: TradingPairIdentifier) -> bool:
        feed = self.plan.universe.stop_loss_candles
        pair_id = pair.get_pricing_pair().internal_id
        return feed is not None and pair_id is not None and feed.has_pair(pair_id)


def _hooks_of(plan: BacktestPlan) -> CycleHooks | None:
    hook, strategy = plan.execution_test_hook, plan.strategy
    on_before_cycle = getattr(hook, "on_before_cycle", hook)
    if on_before_cycle is None and strategy.before_strategy_tick is None and strategy.after_strategy_tick is None:
        return None
    return CycleHooks(on_before_cycle, strategy.before_strategy_tick, strategy.after_strategy_tick)


def plan_backtest(
    strategy: StrategyLike | None = None,
    *,
    universe: TradingStrategyUniverse | None = None,
    parameters: type | StrategyParameters | dict[str, Any] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    initial_cash: float | None = None,
    name: str | None = None,
    client: Any = None,
    options: BacktestOptions | None = None,
    indicator_store: IndicatorStore | None = None,
    execution_test_hook: Any = None,
    progress: bool = False,
    **functions: Any,
) -> BacktestPlan:
    """Load a strategy, build its universe and calculate its indicators; arguments as in run_backtest."""
    module = resolve_strategy(strategy, parameters, functions)
    values = _with_run_arguments(module.parameters, start, end, initial_cash)
    require_for_backtest(values)
    first, last = values.backtest_start, values.backtest_end
    decision_grid(first, last, values.cycle_duration)
    context = ExecutionContext(
        mode=ExecutionMode.backtesting,
        engine_version=module.engine_version,
        progress_bars=progress,
        parameters=values,
    )
    if universe is None:
        universe = module.build_universe(universe_input(values, context, client))
    check_range(universe, first, last, values.get("required_history_period"))
    indicator_set = module.build_indicators(universe, values, context)
    results = calculate_indicators(
        indicator_set,
        universe,
        store=indicator_store,
        progress=show_progress() if progress and len(indicator_set) else None,
    )
    return BacktestPlan(
        strategy=module,
        parameters=values,
        universe=universe,
        indicators=results,
        start=first,
        end=last,
        cycle_duration=values.cycle_duration,
        initial_cash=exact(values.initial_cash, "initial_cash"),
        context=context,
        options=options or BacktestOptions(),
        name=name or module.name,
        execution_test_hook=execution_test_hook,
    )


def resolve_strategy(
    strategy: StrategyLike | None,
    parameters: type | StrategyParameters | dict[str, Any] | None,
    functions: dict[str, Any],
) -> StrategyModule:
    """Return the strategy of a path, module or bare functions, with its parameters replaced or changed."""
    if strategy is None:
        module = _from_functions(functions)
    elif functions:
        raise BadInput(f"Give a strategy or bare functions, not both: got {strategy!r} and {sorted(functions)}")
    elif isinstance(strategy, StrategyModule):
        module = strategy
    elif isinstance(strategy, ModuleType):
        module = load_strategy_module(strategy)
    elif isinstance(strategy, str | Path):
        module = load_strategy_file(strategy)
    else:
        raise BadInput(f"A strategy is a path, a module or a StrategyModule, got {type(strategy).__name__}")
    if parameters is None:
        return module
    if isinstance(parameters, type):
        parameters = StrategyParameters.from_class(parameters)
    return module.with_parameters(dict(parameters))


FUNCTION_NAMES = (
    "decide_trades",
    "create_indicators",
    "create_trading_universe",
    "create_charts",
    "before_strategy_tick",
    "after_strategy_tick",
)


def _from_functions(functions: dict[str, Any]) -> StrategyModule:
    unknown = set(functions) - set(FUNCTION_NAMES)
    if unknown:
        raise TypeError(f"run_backtest() got unexpected arguments {sorted(unknown)}")
    if "decide_trades" not in functions:
        raise StrategyModuleNotValid("Give a strategy file or module, or at least decide_trades=")
    return StrategyModule(name="strategy", parameters=StrategyParameters({}), **functions)


def _with_run_arguments(
    parameters: StrategyParameters, start: datetime | None, end: datetime | None, initial_cash: float | None
) -> StrategyParameters:
    given = {"backtest_start": start, "backtest_end": end, "initial_cash": initial_cash}
    return parameters.replace(**{name: value for name, value in given.items() if value is not None})


def universe_input(
    parameters: StrategyParameters, context: ExecutionContext, client: Any
) -> CreateTradingUniverseInput:
    """Return what create_trading_universe is called with for a backtest: the range with its warm-up."""
    history: timedelta = parameters.get("required_history_period") or timedelta(0)
    return CreateTradingUniverseInput(
        client=client,
        timestamp=parameters.backtest_start,
        parameters=parameters,
        execution_context=context,
        universe_options=UniverseOptions(
            start_at=parameters.backtest_start - history,
            end_at=parameters.backtest_end,
            history_period=history,
        ),
    )


def run_backtest(
    strategy: StrategyLike | None = None,
    *,
    universe: TradingStrategyUniverse | None = None,
    parameters: type | StrategyParameters | dict[str, Any] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    initial_cash: float | None = None,
    name: str | None = None,
    client: Any = None,
    options: BacktestOptions | None = None,
    indicator_store: IndicatorStore | None = None,
    execution_test_hook: Any = None,
    progress: bool = True,
    **functions: Any,
) -> BacktestResult:
    """Run a strategy over recorded candles, from start to end in one piece.

    Args:
        strategy: Path of a strategy file, a module, or a StrategyModule; None when bare functions are given
            (``decide_trades=``, ``create_indicators=``, ``create_trading_universe=``).
        universe: Trade on this universe instead of calling create_trading_universe.
        parameters: A class or mapping whose values replace those of the strategy's Parameters, or add to them.
        start: First decision, naive UTC; default ``Parameters.backtest_start``.
        end: Exclusive end, naive UTC; default ``Parameters.backtest_end``.
        initial_cash: USD; default ``Parameters.initial_cash``.
        name: Shown in reports.
        client: Market data source handed to create_trading_universe; None is the embedded sample.
        options: Fees and tolerances that are not the strategy's.
        indicator_store: Where calculated indicators are kept between runs.
        execution_test_hook: ``on_before_cycle(cycle, timestamp, state, sync_model)``, or an object with that method;
            deposits and redemptions are queued there with ``sync_model.simulate_funding(at, amount)``.
        progress: Draw progress bars on a terminal.
        **functions: The bare functions.

    Raises:
        BadInput: strategy, parameters, range or data are unusable; the message says what to change.
        StrategyFailed: decide_trades raised; the message has cycle, time and traceback.
        TradeError: a planned trade cannot be executed.

    >>> run_backtest("strategies/ema_cross.py").equity_curve.iloc[-1]  # doctest: +SKIP
    """
    plan = plan_backtest(
        strategy,
        universe=universe,
        parameters=parameters,
        start=start,
        end=end,
        initial_cash=initial_cash,
        name=name,
        client=client,
        options=options,
        indicator_store=indicator_store,
        execution_test_hook=execution_test_hook,
        progress=progress,
        **functions,
    )
    return run_plan(plan, progress=progress)


def run_plan(plan: BacktestPlan, *, progress: bool = False) -> BacktestResult:
    """Run a planned backtest in one piece."""
    run = BacktestRun(plan)
    with _progress_bar(plan.cycle_count, progress) as advance:
        run.advance(plan.cycle_count, advance)
    _, samples = run.take_segment()
    return BacktestResult(plan, run.state, samples)


@contextmanager
def _progress_bar(total: int, wanted: bool) -> Iterator[Progress | None]:
    if not wanted:
        yield None
        return
    with tqdm(total=total, desc="Backtesting", unit="cycle", disable=None) as bar:
        yield lambda done, _total: bar.update(done - bar.n)
