"""Look for the parameters that suit a strategy best, where there are too many combinations to try them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from tqdm import tqdm

from trading_dagster.backtest.plan import BacktestOptions
from trading_dagster.domain.error import BadInput
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.research.grid_combination import CreateIndicators, GridCombination
from trading_dagster.research.grid_outcome import DataRetention
from trading_dagster.research.grid_pool import count_workers
from trading_dagster.research.grid_run import GridRunner
from trading_dagster.research.grid_search import wrap_functions
from trading_dagster.research.objective import (
    MinTradeCountFilter,
    OptimiserSearchResult,
    ResultFilter,
    SearchFunction,
    judge,
    settle_failures,
)
from trading_dagster.research.optimiser_result import OptimiserResult
from trading_dagster.research.proposer import Proposer
from trading_dagster.research.search_bench import SearchBench
from trading_dagster.research.search_space import Place, SearchSpace, prepare_optimiser_parameters
from trading_dagster.research.working_folder import working_folder
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameters import StrategyParameters

OnBatch: TypeAlias = Callable[[Sequence[OptimiserSearchResult]], object]

MIN_BATCH_SIZE = 4
DEFAULT_TIMEOUT_S = 600.0
DEFAULT_BACKTEST = BacktestOptions()
DEFAULT_FILTER = MinTradeCountFilter(50)


@dataclass(frozen=True, slots=True)
class OptimiserOptions:
    """How to search.

    Attributes:
        iterations: How many points to try; fewer where the space has not so many.
        search_func: What to look for.
        result_filter: Which results may be chosen.
        batch_size: Points that are proposed at once; None takes one for each worker, but 4 at least.
        rounding: What real numbers are multiples of.
        timeout_s: What a backtest may take; None is as long as it likes.
        seed: The same seed and batch size give the same points, however many workers there are.
        max_workers: Processes; None takes one for each processor core.
        result_path: Folder of kept results; None keeps none.
        data_retention: "all" keeps the ledgers, too.
        ignore_wallet_errors: Say nothing when a point runs out of money.
        backtest: Fees and tolerances that are not the strategy's.
    """

    iterations: int
    search_func: SearchFunction
    result_filter: ResultFilter = DEFAULT_FILTER
    batch_size: int | None = None
    rounding: Decimal = Decimal("0.01")
    timeout_s: float | None = DEFAULT_TIMEOUT_S
    seed: int = 1
    max_workers: int | None = None
    result_path: Path | None = None
    data_retention: DataRetention = "metrics_only"
    ignore_wallet_errors: bool = True
    backtest: BacktestOptions = DEFAULT_BACKTEST

    def __post_init__(self) -> None:
        """Check what can be checked before anything runs."""
        if self.iterations < 1:
            raise BadInput(f"iterations is {self.iterations}: give 1 or more")
        if self.batch_size is not None and self.batch_size < 1:
            raise BadInput(f"batch_size is {self.batch_size}: give 1 or more")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise BadInput(f"timeout is {self.timeout_s}: give seconds, or None for no limit")
        if not 0 <= self.seed < 2**32:
            raise BadInput(f"random_state is {self.seed}: give a number from 0 to 4294967295")
        if self.data_retention not in ("metrics_only", "all"):
            raise BadInput(f"data_retention is {self.data_retention!r}: use 'metrics_only' or 'all'")


def perform_optimisation(
    iterations: int,
    search_func: SearchFunction,
    decide_trades: Callable[..., Any],
    strategy_universe: TradingStrategyUniverse,
    parameters: type | StrategyParameters,
    create_indicators: CreateIndicators | None = None,
    max_workers: int | None = None,
    *,
    trading_strategy_engine_version: str = "0.5",
    result_path: Path | str | None = None,
    batch_size: int | None = None,
    real_space_rounding: Decimal | float | str = Decimal("0.01"),
    timeout: float | None = DEFAULT_TIMEOUT_S,
    result_filter: ResultFilter = DEFAULT_FILTER,
    ignore_wallet_errors: bool = True,
    random_state: int = 1,
    data_retention: DataRetention = "metrics_only",
    options: BacktestOptions | None = None,
    progress: bool = True,
    log_level: int | None = None,  # noqa: ARG001 - part of the vocabulary
    draw_visualisation: bool = False,  # noqa: ARG001 - part of the vocabulary
) -> OptimiserResult:
    """Try points that promise to be good, several at a time, and return all of them, best first.

    Points are proposed in batches from the values of those before: the same random state and batch size give the same
    points, however many workers there are. No point is tried twice; a space that has no more ends the search. Kept
    results are taken, so a search that was interrupted goes on, and one with more iterations runs what is new.

    Args:
        iterations: How many points to try.
        search_func: What to look for, such as `optimise_sharpe`; a function from a `GridSearchResult` to an
            `OptimiserSearchResult`.
        decide_trades: The strategy's function.
        strategy_universe: What every point trades on.
        parameters: With `Real`, `Integer` or `Categorical` in the place of values; see `prepare_optimiser_parameters`.
        create_indicators: Function or registry.
        max_workers: Processes; None takes one for each processor core; 1 runs everything in this process.
        trading_strategy_engine_version: What the strategy is written for.
        result_path: Folder that keeps results.
        batch_size: Points that are proposed at once; None takes one for each worker, but 4 at least.
        real_space_rounding: What real numbers are multiples of.
        timeout: Seconds that a backtest may take, else it fails; None is no limit. Needs a system with alarms (not
            Windows), and with one worker the main thread.
        result_filter: Tells which results may be chosen.
        ignore_wallet_errors: Say nothing when a point runs out of money; it fails all the same.
        random_state: Seed.
        data_retention: "all" keeps the ledgers, from which ``result.state`` is folded.
        options: Fees and tolerances that are not the strategy's.
        progress: Draw a progress bar on a terminal.
        log_level: Has no effect.
        draw_visualisation: Has no effect; see `visualise_optimisation`.

    Raises:
        BadInput: There is nothing to search, or an argument makes no sense.
        WorkerDied: A process ended without an answer.
    """
    strategy = wrap_functions("optimiser", decide_trades, create_indicators, trading_strategy_engine_version)
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
        data_retention=data_retention,
        ignore_wallet_errors=ignore_wallet_errors,
        backtest=options or DEFAULT_BACKTEST,
    )
    return optimise_strategy(strategy, strategy_universe, parameters, search, progress=progress)


def optimise_strategy(
    strategy: StrategyModule,
    universe: TradingStrategyUniverse,
    parameters: type | StrategyParameters,
    options: OptimiserOptions,
    *,
    progress: bool = False,
    title: str = "Optimising",
    on_batch: OnBatch | None = None,
) -> OptimiserResult:
    """Do what `perform_optimisation` does, for a loaded strategy; ``on_batch`` is told all points after each batch."""
    space = SearchSpace(prepare_optimiser_parameters(parameters), options.rounding)
    workers = count_workers(options.max_workers, options.iterations)
    batch_size = options.batch_size or max(MIN_BATCH_SIZE, workers)
    proposer = Proposer(space, options.seed)
    total = min(options.iterations, space.size)
    tried: list[OptimiserSearchResult] = []
    with working_folder("optimiser") as folder, _bar(total, title, progress) as advance:
        runner = GridRunner(
            strategy,
            universe,
            folder / "indicators",
            options.backtest,
            options.data_retention,
            options.ignore_wallet_errors,
            options.timeout_s,
        )
        with SearchBench(runner, min(workers, batch_size), folder / "universe") as bench:
            while len(tried) < total:
                places = proposer.ask(min(batch_size, total - len(tried)))
                if not places:
                    break
                batch = _combine(space, places, len(tried) + 1, options.result_path)
                for place, result in zip(places, bench.run(batch, advance), strict=True):
                    judged = judge(result, options.search_func, options.result_filter)
                    proposer.tell(place, judged.value if judged.is_valid() else None)
                    tried.append(judged)
                advance(0, describe_best(tried))
                if on_batch is not None:
                    on_batch(tried)
    return OptimiserResult(space.parameters, settle_failures(tried), proposer.get_importances())


def _combine(space: SearchSpace, places: Sequence[Place], first: int, folder: Path | None) -> list[GridCombination]:
    return [
        GridCombination(index, space.parameters_at(place), space.names, folder)
        for index, place in enumerate(places, start=first)
    ]


def describe_best(tried: Sequence[OptimiserSearchResult]) -> str:
    """Return "best" and the best value of some points; nothing when none may be chosen."""
    valid = [each for each in tried if each.is_valid()]
    return f"best {min(valid, key=lambda each: each.value).get_original_value():.4g}" if valid else ""


@contextmanager
def _bar(total: int, title: str, wanted: bool) -> Iterator[Callable[..., object]]:
    if not wanted:
        yield lambda _count, _best="": None
        return
    with tqdm(total=total, desc=title, unit="point", disable=None) as bar:

        def advance(count: int, best: str = "") -> None:
            if best:
                bar.set_postfix_str(best)
            bar.update(count)

        yield advance
