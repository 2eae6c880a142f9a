"""Judge a way of choosing parameters: choose them on the past, trade the time after it, and move on.

Nothing that happens after a window's parameters are chosen can have an influence on them: the search is given a
universe that ends there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from trading_dagster.backtest.plan import BacktestOptions, BacktestPlan, plan_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.backtest.run import BacktestRun
from trading_dagster.domain.error import BadInput, SearchFailed
from trading_dagster.domain.event import Event
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.research.grid_combination import CreateIndicators
from trading_dagster.research.grid_search import wrap_functions
from trading_dagster.research.indicator_folder import SharedIndicatorCache
from trading_dagster.research.objective import ResultFilter, SearchFunction
from trading_dagster.research.optimiser import (
    DEFAULT_BACKTEST,
    DEFAULT_FILTER,
    DEFAULT_TIMEOUT_S,
    OptimiserOptions,
    optimise_strategy,
)
from trading_dagster.research.optimiser_result import OptimiserResult
from trading_dagster.research.search_space import SearchSpace, prepare_optimiser_parameters
from trading_dagster.research.walk_forward_result import WalkForwardResult, WalkForwardStep
from trading_dagster.research.walk_forward_window import WalkForwardWindow, end_universe, plan_windows
from trading_dagster.research.working_folder import working_folder
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameters import StrategyParameters, require_for_backtest

FIXED = ("cycle_duration", "backtest_start", "backtest_end", "initial_cash", "required_history_period")
"""Parameters that are the same in all windows."""


@dataclass(frozen=True, slots=True)
class WalkForwardOptions:
    """How to walk: lengths of what parameters are chosen on and traded on, and whether the former keeps its start."""

    train: timedelta
    test: timedelta
    anchored: bool = False


def perform_walk_forward(
    iterations: int,
    search_func: SearchFunction,
    decide_trades: Callable[..., Any],
    strategy_universe: TradingStrategyUniverse,
    parameters: type | StrategyParameters,
    create_indicators: CreateIndicators | None = None,
    *,
    train: timedelta,
    test: timedelta,
    anchored: bool = False,
    max_workers: int | None = None,
    trading_strategy_engine_version: str = "0.5",
    result_path: Path | str | None = None,
    batch_size: int | None = None,
    real_space_rounding: Decimal | float | str = Decimal("0.01"),
    timeout: float | None = DEFAULT_TIMEOUT_S,
    result_filter: ResultFilter = DEFAULT_FILTER,
    ignore_wallet_errors: bool = True,
    random_state: int = 1,
    options: BacktestOptions | None = None,
    progress: bool = True,
) -> WalkForwardResult:
    """Choose parameters on one range, trade the range after it with them, move on, and chain what was traded.

    Args:
        iterations: How many points to try in each window.
        search_func: What to look for, such as `optimise_sharpe`.
        decide_trades: The strategy's function.
        strategy_universe: What to trade on.
        parameters: With dimensions; ``backtest_start`` is where the first range to choose on begins.
        create_indicators: Function or registry.
        train: Length of what parameters are chosen on.
        test: Length of what is traded with them.
        anchored: Choose on everything since the start, instead of on a window that rolls along.
        max_workers: As the following, of `perform_optimisation`.
        trading_strategy_engine_version: What the strategy is written for.
        result_path: Folder that keeps results, so that an interrupted walk goes on.
        batch_size: Points that are proposed at once.
        real_space_rounding: What real numbers are multiples of.
        timeout: Seconds that a backtest may take.
        result_filter: Tells which results may be chosen.
        ignore_wallet_errors: Say nothing when a point runs out of money.
        random_state: Seed.
        options: Fees and tolerances that are not the strategy's.
        progress: Draw a progress bar for each window.

    Raises:
        BadInput: There is nothing to search, or no room for a window.
        SearchFailed: In the first window no point can be chosen.
        WorkerDied: A process ended without an answer.
    """
    strategy = wrap_functions("strategy", decide_trades, create_indicators, trading_strategy_engine_version)
    search = OptimiserOptions(
        iterations=iterations,
        search_func=search_func,
        result_filter=result_filter,
        batch_size=batch_size,
        rounding=Decimal(str(real_space_rounding)),
        timeout_s=timeout,
        seed=random_state,
        max_workers=max_workers,
        result_path=None if result_path is None else Path(result_path),
        ignore_wallet_errors=ignore_wallet_errors,
        backtest=options or DEFAULT_BACKTEST,
    )
    walk = WalkForwardOptions(train, test, anchored)
    return walk_strategy_forward(strategy, strategy_universe, parameters, search, walk, progress=progress)


def walk_strategy_forward(
    strategy: StrategyModule,
    universe: TradingStrategyUniverse,
    parameters: type | StrategyParameters,
    search: OptimiserOptions,
    walk: WalkForwardOptions,
    *,
    progress: bool = False,
    on_window: Callable[[WalkForwardStep], object] | None = None,
) -> WalkForwardResult:
    """Do what `perform_walk_forward` does, for a loaded strategy; ``on_window`` is told what each window chose."""
    prepared = prepare_optimiser_parameters(parameters)
    space = SearchSpace(prepared, search.rounding)
    for name in FIXED:
        if name in space.axes:
            raise BadInput(f"Parameters.{name} is {prepared[name]!r}: a walk-forward needs one value for all windows")
    require_for_backtest(space.parameters_at(tuple(axis.low for axis in space.axes.values())))
    windows = plan_windows(
        prepared.backtest_start,
        prepared.backtest_end,
        prepared.cycle_duration,
        walk.train,
        walk.test,
        anchored=walk.anchored,
    )
    steps: list[WalkForwardStep] = []
    for window in windows:
        title = f"Window {window.index} of {len(windows)}"
        found = _search(strategy, universe, prepared, search, window, progress=progress, title=title)
        steps.append(_choose(window, found, space, steps))
        if on_window is not None:
            on_window(steps[-1])
    return WalkForwardResult(steps, trade_steps(strategy, universe, steps, search))


def _search(
    strategy: StrategyModule,
    universe: TradingStrategyUniverse,
    prepared: StrategyParameters,
    search: OptimiserOptions,
    window: WalkForwardWindow,
    *,
    progress: bool,
    title: str,
) -> OptimiserResult:
    ranged = prepared.replace(backtest_start=window.train_start, backtest_end=window.train_end)
    known = end_universe(universe, window.train_end)
    return optimise_strategy(strategy, known, ranged, search, progress=progress, title=title)


def _choose(
    window: WalkForwardWindow, found: OptimiserResult, space: SearchSpace, before: Sequence[WalkForwardStep]
) -> WalkForwardStep:
    best = found.best
    if best is not None and best.combination is not None:
        return WalkForwardStep(window, found, space.names, best.combination.parameters)
    if not before:
        raise SearchFailed(f"Window {window.train_start} to {window.train_end}: {found.explain_no_best()}")
    return WalkForwardStep(window, found, space.names, before[-1].parameters, is_kept=True)


def trade_steps(
    strategy: StrategyModule,
    universe: TradingStrategyUniverse,
    steps: Sequence[WalkForwardStep],
    search: OptimiserOptions,
) -> BacktestResult:
    """Trade every window with its parameters; each continues with the positions of the one before."""
    start, end = steps[0].window.test_start, steps[-1].window.test_end
    events: list[Event] = []
    samples: list[pd.DataFrame] = []
    run: BacktestRun | None = None
    with working_folder("walk-forward") as folder:
        for step in steps:
            plan = plan_backtest(
                replace(strategy, parameters=step.parameters),
                universe=universe,
                start=start,
                end=end,
                options=search.backtest,
                indicator_store=SharedIndicatorCache(folder),
                name=f"{strategy.name} walk-forward",
            )
            run = _continue(plan, run, events)
            run.advance(plan.cycle_at(step.window.test_end))
            happened, sampled = run.take_segment()
            events.extend(happened)
            samples.append(sampled.frame)
    assert run is not None
    return BacktestResult(run.plan, run.state, pd.concat(samples, ignore_index=True), events)


def _continue(plan: BacktestPlan, before: BacktestRun | None, events: Sequence[Event]) -> BacktestRun:
    if before is None:
        return BacktestRun(plan)
    run = BacktestRun.resume(
        plan,
        events,
        next_cycle=before.next_cycle,
        wallet=dict(before.wallet.balances),
        queue=before.treasury.queue,
    )
    run.state.visualisation = before.state.visualisation
    return run
