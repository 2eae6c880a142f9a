"""Calculate all indicators of a set over a universe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import pandas as pd

from trading_dagster.domain.error import BadInput, IndicatorCalculationFailed, IndicatorError
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.market.panel import CandlePanel
from trading_dagster.strategy.indicator_binding import IndicatorSource
from trading_dagster.strategy.indicator_definition import IndicatorDefinition, IndicatorSet
from trading_dagster.strategy.indicator_resolver import IndicatorDependencyResolver, IndicatorUniverse
from trading_dagster.strategy.indicator_result import IndicatorResult, IndicatorResults, empty_result, to_result

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with (done, total, label of the indicator) after each indicator."""


class IndicatorStore(Protocol):
    """Where results are kept between runs; see ``indicator_cache``."""

    def key_of(self, task: IndicatorTask) -> str | None:
        """Return a key that changes when anything the result depends on changes; None when that cannot be told."""

    def load(self, key: str, task: IndicatorTask) -> IndicatorResult | None:
        """Return the result kept under a key, None when there is none or it is damaged."""

    def save(self, key: str, task: IndicatorTask, result: IndicatorResult) -> None:
        """Keep a result under a key."""


@dataclass(frozen=True, slots=True, eq=False)
class IndicatorTask:
    """One call of one indicator function.

    Args:
        definition: The indicator.
        pair: The pair it is calculated for, None for the whole universe.
        universe: The universe.
        results: What has been calculated so far.
    """

    definition: IndicatorDefinition
    pair: TradingPairIdentifier | None
    universe: IndicatorUniverse
    results: IndicatorResults

    @property
    def pair_id(self) -> int | None:
        """Return the internal id of the pair, None for the whole universe."""
        return None if self.pair is None else self.pair.internal_id

    @property
    def candles(self) -> CandlePanel | None:
        """Return the candles the input is taken from: TVL or price."""
        return self.universe.liquidity if self.definition.source is IndicatorSource.tvl else self.universe.candles


def calculate_indicators(
    indicators: IndicatorSet,
    universe: IndicatorUniverse,
    *,
    store: IndicatorStore | None = None,
    progress: Progress | None = None,
) -> IndicatorResults:
    """Calculate every indicator for every pair, all of one order before the next.

    Args:
        indicators: What to calculate.
        universe: What to calculate it from.
        store: Results found there are not calculated again.
        progress: Called after each indicator; ``show_progress()`` gives a progress bar.

    Raises:
        IndicatorCalculationFailed: An indicator function raised, or returned something that is no indicator.
        IndicatorError: A function asked the dependency resolver for what it may not have.
    """
    results = IndicatorResults(indicators)
    ordered = indicators.in_order()
    for done, definition in enumerate(ordered, start=1):
        for pair in universe.pairs if definition.source.is_per_pair() else (None,):
            task = IndicatorTask(definition, pair, universe, results)
            results.put(definition, task.pair_id, _recall_or_calculate(task, store))
        if progress is not None:
            progress(done, len(ordered), definition.label)
    return results


def show_progress() -> Progress:
    """Return a progress callback that draws a bar on the terminal."""
    from tqdm.auto import tqdm  # only when a bar is wanted

    bar: Any = tqdm(desc="Calculating indicators", unit="indicator")

    def advance(done: int, total: int, label: str) -> None:
        bar.total = total
        bar.set_postfix_str(label, refresh=False)
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return advance


def _recall_or_calculate(task: IndicatorTask, store: IndicatorStore | None) -> IndicatorResult:
    key = None if store is None else store.key_of(task)
    if store is None or key is None:
        return calculate_task(task)[0]
    recalled = store.load(key, task)
    if recalled is not None:
        return recalled
    result, undeclared = calculate_task(task)
    if not undeclared:
        store.save(key, task, result)
    return result


def calculate_task(task: IndicatorTask) -> tuple[IndicatorResult, set[str]]:
    """Call one indicator function.

    Returns:
        The result, and the labels of the indicators it read although it declares dependencies without them.
    """
    definition, pair = task.definition, task.pair
    resolver = IndicatorDependencyResolver(task.universe, task.results, definition, pair)
    arguments = _prepare_arguments(task, resolver)
    if isinstance(arguments, str):
        return empty_result(arguments), set()
    positional, named = arguments
    try:
        returned = definition.func(*positional, **named)
        result = to_result(returned, task.candles, task.pair_id)
    except IndicatorError:
        raise
    except BadInput as error:
        raise IndicatorCalculationFailed(f"{_describe(task)}: {error}") from error
    except Exception as error:
        raise IndicatorCalculationFailed(f"{_describe(task)}: {type(error).__name__}: {error}") from error
    declared = definition.dependencies
    if declared is None:
        return result, set()
    allowed = {d.label for name in declared for d in task.results.indicators.get_variations(name)}
    return result, resolver.accessed - allowed


def _prepare_arguments(
    task: IndicatorTask, resolver: IndicatorDependencyResolver
) -> tuple[list[Any], dict[str, Any]] | str:
    """Return positional and named arguments, or why the function cannot be called."""
    definition, binding, indicators = task.definition, task.definition.binding, task.results.indicators
    context: dict[str, Any] = {
        "strategy_universe": task.universe,
        "dependency_resolver": resolver,
        "pair": task.pair,
        "execution_context": indicators.execution_context,
        "timestamp": indicators.timestamp,
    }
    named: dict[str, Any] = {**definition.parameters, **{name: context[name] for name in binding.context}}
    if binding.positional == "strategy_universe":
        return [task.universe], named
    wanted = dict(binding.columns)
    if binding.positional is not None:
        wanted[""] = binding.positional
    if not wanted:
        return [], named
    candles, pair_id = task.candles, task.pair_id
    if candles is None:
        return "the universe has no TVL data"
    if pair_id is None or not candles.has_pair(pair_id):
        return "the pair has no candles"
    if candles.last_real_bar(pair_id) is None:
        return f"the pair has no {'TVL' if definition.source is IndicatorSource.tvl else 'price'} candles"
    for column in wanted.values():
        if column not in candles.columns:
            return f"the candles have no column {column!r}"
    inputs = {name: _series(candles, pair_id, column) for name, column in wanted.items()}
    positional = [inputs.pop("")] if "" in inputs else []
    return positional, {**named, **inputs}


def _series(candles: CandlePanel, pair_id: int, column: str) -> pd.Series:
    return candles.series(pair_id, column).copy(deep=False)  # writing to it leaves the candles alone


def _describe(task: IndicatorTask) -> str:
    definition, candles = task.definition, task.candles
    subject = "the universe" if task.pair is None else f"{task.pair.get_ticker()} (pair id {task.pair_id})"
    rows = 0
    if candles is not None and task.pair_id is not None and candles.has_pair(task.pair_id):
        rows = int(candles.exists[candles.row_of(task.pair_id)].sum())
    elif candles is not None and task.pair is None:
        rows = candles.bar_count
    return f"Indicator {definition.name!r} for {subject}, parameters {dict(definition.parameters)}, {rows} rows"
