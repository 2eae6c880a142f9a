"""What a backtest is a function of: strategy, parameters, universe, indicators and range, checked before it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.accounting.simulated_treasury import SimulatedTreasury
from trading_dagster.domain.error import BadInput, NotEnoughHistory, StrategyModuleNotValid
from trading_dagster.domain.money import exact
from trading_dagster.domain.state import State
from trading_dagster.domain.time import CycleDuration, from_unix_us, require_naive_utc, to_unix_us
from trading_dagster.domain.trigger import TriggerModel
from trading_dagster.market.dataset import UniverseOptions
from trading_dagster.market.file_source import SAMPLE_NAME
from trading_dagster.market.lake import Lake
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.pricing.cost import Cost
from trading_dagster.strategy.execution_context import ExecutionContext, ExecutionMode
from trading_dagster.strategy.indicator_calculation import IndicatorStore, calculate_indicators, show_progress
from trading_dagster.strategy.indicator_result import IndicatorResults
from trading_dagster.strategy.input import CreateTradingUniverseInput
from trading_dagster.strategy.module import StrategyModule, load_strategy_file, load_strategy_module
from trading_dagster.strategy.parameters import StrategyParameters, require_for_backtest

logger = logging.getLogger(__name__)

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
        if self.trigger_model is TriggerModel.intrabar:
            check_feed_inside(self.universe, self.grid_us, self.cycle_duration)

    @property
    def grid(self) -> pd.DatetimeIndex:
        """Return the decision times, naive UTC."""
        return pd.DatetimeIndex(self.grid_us.view("datetime64[us]"), name="timestamp")

    @property
    def cycle_count(self) -> int:
        """Return how many decisions there are."""
        return len(self.grid_us)

    @property
    def trigger_model(self) -> TriggerModel:
        """Return how triggers are looked for between decisions."""
        model: TriggerModel = self.parameters.get("trigger_model") or TriggerModel.sampled
        return model

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


def _warn_off_grid(start: datetime, grid_us: npt.NDArray[np.int64], duration: CycleDuration) -> None:
    first = from_unix_us(int(grid_us[0]))
    if first != start:
        logger.warning(
            "The backtest start %s is not on the grid of %s cycles: the first decision is at %s",
            start, duration.value, first,
        )  # fmt: skip


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


def check_feed_inside(
    universe: TradingStrategyUniverse, grid_us: npt.NDArray[np.int64], duration: CycleDuration
) -> None:
    """Raise BadInput when a stop-loss candle lies over a decision: looking into it would look into the future."""
    feed = universe.stop_loss_candles
    if feed is None:
        return
    width = duration.to_timedelta() // timedelta(microseconds=1)
    if width % feed.width_us or int(grid_us[0] - feed.start_us) % feed.width_us:
        raise BadInput(
            f"trigger_model intrabar looks into stop-loss candles of {feed.bucket.value}, which lie over decisions "
            f"every {duration.value}: load candles whose length divides the cycle with stop_loss_time_bucket, or use "
            "TriggerModel.sampled"
        )


def plan_backtest(
    strategy: StrategyLike | None = None,
    *,
    universe: TradingStrategyUniverse | None = None,
    parameters: type | StrategyParameters | dict[str, Any] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    initial_cash: float | None = None,
    trigger_model: TriggerModel | None = None,
    costs: Sequence[Cost] | None = None,
    name: str | None = None,
    client: Any = None,
    options: BacktestOptions | None = None,
    indicator_store: IndicatorStore | None = None,
    execution_test_hook: Any = None,
    progress: bool = False,
    is_grid_search: bool = False,
    **functions: Any,
) -> BacktestPlan:
    """Load a strategy, build its universe and calculate its indicators; arguments as in run_backtest.

    ``is_grid_search`` tells the strategy that nobody will look at its plots and messages.
    """
    module = resolve_strategy(strategy, parameters, functions)
    values = _with_run_arguments(module.parameters, start, end, initial_cash, trigger_model, costs)
    require_for_backtest(values)
    first, last = values.backtest_start, values.backtest_end
    _warn_off_grid(first, decision_grid(first, last, values.cycle_duration), values.cycle_duration)
    context = ExecutionContext(
        mode=ExecutionMode.backtesting,
        engine_version=module.engine_version,
        grid_search=is_grid_search,
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
    parameters: StrategyParameters,
    start: datetime | None,
    end: datetime | None,
    initial_cash: float | None,
    trigger_model: TriggerModel | None,
    costs: Sequence[Cost] | None,
) -> StrategyParameters:
    given = {
        "backtest_start": start,
        "backtest_end": end,
        "initial_cash": initial_cash,
        "trigger_model": trigger_model,
        "costs": costs,
    }
    return parameters.replace(**{name: value for name, value in given.items() if value is not None})


def universe_input(
    parameters: StrategyParameters, context: ExecutionContext, client: Any
) -> CreateTradingUniverseInput:
    """Return what create_trading_universe is called with for a backtest: the range with its warm-up.

    Without a client it is given the source in the lake that the strategy's parameter ``market_feed`` names, if any.
    """
    feed = parameters.get("market_feed")
    if client is None and feed not in (None, SAMPLE_NAME):
        client = Lake().source(feed)
    history: timedelta = parameters.get("required_history_period") or timedelta(0)
    return CreateTradingUniverseInput(
        client=client,
        timestamp=parameters.backtest_start,
        parameters=parameters,
        execution_context=context,
        universe_options=UniverseOptions(
            start_at=parameters.backtest_start,
            end_at=parameters.backtest_end,
            history_period=history,
        ),
    )
