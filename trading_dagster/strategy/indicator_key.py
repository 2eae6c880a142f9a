"""The key of an indicator result: it changes when anything the result depends on changes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.market.panel import CandlePanel
from trading_dagster.strategy.indicator_binding import IndicatorSource
from trading_dagster.strategy.indicator_calculation import IndicatorTask, calculate_task
from trading_dagster.strategy.indicator_code import Unfingerprintable, library_versions
from trading_dagster.strategy.indicator_definition import IndicatorDefinition
from trading_dagster.strategy.indicator_fingerprint import fingerprint
from trading_dagster.strategy.indicator_resolver import IndicatorUniverse
from trading_dagster.strategy.indicator_result import IndicatorResult, IndicatorResults

FORMAT = "1"


class IndicatorKeys:
    """Makes keys, remembering what the tasks of one calculation share.

    A key covers the function with everything it refers to, its parameters, the identity of the pair (chain, addresses,
    kind, fee), the content of the input, the keys of the indicators it may read, and the versions of Python and of the
    numeric libraries. There is no key for functions that load data themselves, or read clocks, files or chance.
    """

    def __init__(self) -> None:
        self._functions: WeakKeyDictionary[IndicatorResults, dict[str, str | None]] = WeakKeyDictionary()
        self._dependencies: WeakKeyDictionary[IndicatorResults, dict[str, str]] = WeakKeyDictionary()
        self._keys: WeakKeyDictionary[IndicatorResults, dict[tuple[str, int | None], str]] = WeakKeyDictionary()
        self._panels: WeakKeyDictionary[CandlePanel, dict[int, str]] = WeakKeyDictionary()
        self._universes: WeakKeyDictionary[IndicatorUniverse, str] = WeakKeyDictionary()

    def key_of(self, task: IndicatorTask) -> str | None:
        """Return the key of a task's result, None when it must be calculated anew."""
        function = self._function(task)
        if function is None:
            return None
        parts = [function, *self._input(task)]
        context = task.definition.binding.context
        takes_universe = task.definition.source is IndicatorSource.strategy_universe
        if takes_universe or not context.isdisjoint(("strategy_universe", "dependency_resolver")):
            parts.append(self._universe(task.universe))
        if "dependency_resolver" in context:
            try:
                parts.append(self._dependency_keys(task))
            except Unfingerprintable:
                return None
        key = _digest(parts)
        self._keys.setdefault(task.results, {})[task.definition.label, task.pair_id] = key
        return key

    def _function(self, task: IndicatorTask) -> str | None:
        known = self._functions.setdefault(task.results, {})
        definition = task.definition
        if definition.label not in known:
            known[definition.label] = self._function_key(definition, task)
        return known[definition.label]

    def _function_key(self, definition: IndicatorDefinition, task: IndicatorTask) -> str | None:
        if definition.source is IndicatorSource.external_per_pair:
            return None
        indicators = task.results.indicators
        context = {"execution_context": indicators.execution_context, "timestamp": indicators.timestamp}
        named = {name: value for name, value in context.items() if name in definition.binding.context}
        try:
            called = (definition.source.value, definition.parameters, named)
            own = fingerprint(definition.func, called)
        except Unfingerprintable:
            return None
        return _digest((FORMAT, library_versions(), _engine_key(type(task.universe)), own))

    def _input(self, task: IndicatorTask) -> list[str]:
        if task.pair is None:
            return ["universe"]
        parts = [pair_identity(task.pair)]
        if not task.definition.binding.context.isdisjoint(("pair", "dependency_resolver")):
            parts.append(str(task.pair_id))  # the function can see the number
        candles, pair_id = task.candles, task.pair_id
        if task.definition.source.is_dependencies_only():
            return parts
        if candles is None or pair_id is None or not candles.has_pair(pair_id):
            return [*parts, "no candles"]
        return [*parts, self._content(candles, pair_id)]

    def _content(self, candles: CandlePanel, pair_id: int) -> str:
        known = self._panels.setdefault(candles, {})
        if pair_id not in known:
            known[pair_id] = candles.content_hash(pair_id)
        return known[pair_id]

    def _universe(self, universe: IndicatorUniverse) -> str:
        known = self._universes.get(universe)
        if known is None:
            known = self._universes[universe] = universe.get_cache_key()
        return known

    def _dependency_keys(self, task: IndicatorTask) -> str:
        """Return a key of all that the resolver may hand out."""
        definition, results = task.definition, task.results
        known = self._dependencies.setdefault(results, {})
        if definition.label not in known:
            if definition.dependencies is None:
                readable = [d for d in results.indicators if d.order < definition.order]
            else:
                readable = [d for name in definition.dependencies for d in results.indicators.get_variations(name)]
            labels = {d.label for d in readable}
            keys = self._keys.get(results, {})
            known[definition.label] = _digest(
                f"{label} {pair_id} {keys.get((label, pair_id)) or _content_of(result)}"
                for (label, pair_id), result in results.items()
                if label in labels
            )
        return known[definition.label]


@functools.cache
def _engine_key(universe_type: type) -> str:
    """Return a key of the engine's own code that shapes what functions get."""
    return fingerprint(calculate_task, IndicatorSource, universe_type, CandlePanel, is_strict=False)


def pair_identity(pair: TradingPairIdentifier) -> str:
    """Return what makes a pair the same pair in another universe: chain, addresses, kind and fee."""
    return " ".join(
        str(part)
        for part in (
            pair.chain_id,
            pair.base.address,
            pair.quote.address,
            pair.pool_address,
            pair.exchange_address,
            pair.kind.value,
            pair.fee,
        )
    )


def _content_of(result: IndicatorResult) -> str:
    return fingerprint(result.times_us, dict(result.columns), result.width_us)


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        digest.update(f"{len(part)} {part}\n".encode())
    return digest.hexdigest()
