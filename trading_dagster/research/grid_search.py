"""Run a strategy with every combination of some parameters, on all cores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from trading_dagster.backtest.plan import BacktestOptions
from trading_dagster.domain.error import BadInput
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.research.grid_combination import RESULT_SUFFIX, CreateIndicators, GridCombination
from trading_dagster.research.grid_outcome import DataRetention, recall_outcome
from trading_dagster.research.grid_pool import count_workers, run_tasks
from trading_dagster.research.grid_result import GridSearchResult
from trading_dagster.research.grid_run import GridRunner, GridTask
from trading_dagster.research.working_folder import working_folder
from trading_dagster.strategy.execution_context import ExecutionContext, ExecutionMode
from trading_dagster.strategy.indicator_cache import DiskIndicatorCache
from trading_dagster.strategy.indicator_calculation import calculate_indicators
from trading_dagster.strategy.indicator_fingerprint import fingerprint
from trading_dagster.strategy.indicator_registry import IndicatorRegistry
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameters import StrategyParameters

FORMAT = 1
"""Of kept results; raise it when what a result holds changes."""


def perform_grid_search(
    decide_trades: Callable[..., Any],
    universe: TradingStrategyUniverse,
    combinations: Sequence[GridCombination],
    max_workers: int | None = None,
    *,
    create_indicators: CreateIndicators | None = None,
    multiprocess: bool = True,
    trading_strategy_engine_version: str = "0.5",
    data_retention: DataRetention = "metrics_only",
    ignore_wallet_errors: bool = True,
    options: BacktestOptions | None = None,
    progress: bool = True,
) -> list[GridSearchResult]:
    """Backtest every combination, several at a time; the results do not depend on how many.

    Indicators that combinations have in common are calculated once, before the first backtest. Cycle duration, range,
    cash and everything else come from a combination's own parameters. A combination that fails is a result with its
    exception. Results are kept in the combinations' ``result_path``, so that a search that was interrupted goes on,
    and one with more values runs what is new; kept results of other code, parameters, data or fees are not taken.

    Args:
        decide_trades: The strategy's function.
        universe: What every combination trades on.
        combinations: From `prepare_grid_combinations`.
        max_workers: Processes; None takes one for each processor core.
        create_indicators: Function or registry; None takes what the combinations were prepared with.
        multiprocess: False runs everything in this process, for debugging.
        trading_strategy_engine_version: What the strategy is written for.
        data_retention: "all" keeps the ledger, too, from which ``result.state`` is folded.
        ignore_wallet_errors: Say nothing when a combination runs out of money; it fails all the same.
        options: Fees and tolerances that are not the strategy's.
        progress: Draw a progress bar on a terminal.

    Returns:
        A result for each combination, in their order.

    Raises:
        BadInput: There is no combination, or nothing of the strategy can be sent to processes on this system.
        WorkerDied: A process ended without an answer, as when memory runs out.
    """
    if create_indicators is None:
        create_indicators = next((each.create_indicators for each in combinations if each.create_indicators), None)
    strategy = wrap_functions("grid search", decide_trades, create_indicators, trading_strategy_engine_version)
    return search_grid(
        strategy,
        universe,
        combinations,
        max_workers=max_workers if multiprocess else 1,
        data_retention=data_retention,
        ignore_wallet_errors=ignore_wallet_errors,
        options=options,
        progress=progress,
    )


def wrap_functions(
    name: str,
    decide_trades: Callable[..., Any],
    create_indicators: CreateIndicators | None,
    engine_version: str,
) -> StrategyModule:
    """Return a strategy of bare functions; its parameters are those of each point of a search."""
    return StrategyModule(
        name=name,
        decide_trades=decide_trades,
        create_indicators=create_indicators,
        parameters=StrategyParameters({}),
        engine_version=engine_version,
    )


def search_grid(
    strategy: StrategyModule,
    universe: TradingStrategyUniverse,
    combinations: Sequence[GridCombination],
    *,
    max_workers: int | None = None,
    data_retention: DataRetention = "metrics_only",
    ignore_wallet_errors: bool = True,
    options: BacktestOptions | None = None,
    progress: bool = False,
) -> list[GridSearchResult]:
    """Do what `perform_grid_search` does, for a loaded strategy."""
    if data_retention not in ("metrics_only", "all"):
        raise BadInput(f"data_retention is {data_retention!r}: use 'metrics_only' or 'all'")
    if len({each.index for each in combinations}) < max(len(combinations), 1):
        raise BadInput("A grid search needs combinations with different indices: see prepare_grid_combinations()")
    chosen = options or BacktestOptions()
    key_of = ResultKeys(strategy, universe, chosen, data_retention)
    tasks, outcomes = [], {}
    for each in combinations:
        path = None
        if each.result_path is not None:
            path = each.result_path / f"{key_of(each.parameters)}{RESULT_SUFFIX}"
        kept = None if path is None else recall_outcome(path)
        if kept is None:
            tasks.append(GridTask(each.index, each.parameters, path))
        else:
            outcomes[each.index] = kept
    cached = set(outcomes)
    with working_folder("grid-search") as folder, _bar(len(combinations), progress) as advance:
        runner = GridRunner(strategy, universe, folder / "indicators", chosen, data_retention, ignore_wallet_errors)
        advance(len(cached))
        calculate_shared_indicators(runner, tasks)
        for index, outcome in run_tasks(runner, tasks, count_workers(max_workers, len(tasks)), folder / "universe"):
            outcomes[index] = outcome
            advance(1)
    return [GridSearchResult(each, outcomes[each.index], each.index in cached) for each in combinations]


def calculate_shared_indicators(runner: GridRunner, tasks: Sequence[GridTask]) -> None:
    """Calculate each indicator of all combinations once; what fails here fails again, and is told, in its run."""
    for task in tasks:
        context = ExecutionContext(
            mode=ExecutionMode.backtesting,
            engine_version=runner.strategy.engine_version,
            grid_search=True,
            parameters=task.parameters,
        )
        try:
            indicators = runner.strategy.build_indicators(runner.universe, task.parameters, context)
            calculate_indicators(indicators, runner.universe, store=DiskIndicatorCache(runner.indicators))
        except Exception:  # noqa: BLE001, S112 - it is told by the combination's run
            continue


class ResultKeys:
    """Makes the keys of kept results: hashes of what a combination's backtest is a function of."""

    def __init__(
        self,
        strategy: StrategyModule,
        universe: TradingStrategyUniverse,
        options: BacktestOptions,
        retention: DataRetention,
    ) -> None:
        self._strategy, self._universe = strategy, universe
        self._options, self._retention = options, retention
        self._common: dict[str, Any] | None = None

    def __call__(self, parameters: StrategyParameters) -> str:
        """Return the key; raises ParameterTypeInvalid when a value is another text in every process."""
        if self._common is None:
            self._common = self._describe()
        body = {**self._common, "parameters": parameters.describe()}
        return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=16).hexdigest()

    def _describe(self) -> dict[str, Any]:
        strategy = self._strategy
        made_by = strategy.create_indicators
        functions = [strategy.decide_trades, strategy.before_strategy_tick, strategy.after_strategy_tick]
        functions += made_by.functions if isinstance(made_by, IndicatorRegistry) else [made_by]
        return {
            "format": FORMAT,
            "strategy": strategy.source_hash(),
            "code": fingerprint(*functions, is_strict=False),
            "engine": strategy.engine_version,
            "universe": self._universe.get_cache_key(),
            "options": repr(self._options),
            "retention": self._retention,
        }


@contextmanager
def _bar(total: int, wanted: bool) -> Iterator[Callable[[int], object]]:
    if not wanted:
        yield lambda _count: None
        return
    with tqdm(total=total, desc="Grid search", unit="combination", disable=None) as bar:
        yield bar.update
