"""What an indicator function reads other indicators through."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from trading_dagster.domain.error import (
    IndicatorDependencyResolutionError,
    IndicatorNotFound,
    IndicatorOrderError,
    InvalidForMultipairStrategy,
    UnknownPair,
)
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.market.panel import CandlePanel
from trading_dagster.strategy.indicator_binding import IndicatorFunction
from trading_dagster.strategy.indicator_definition import IndicatorDefinition
from trading_dagster.strategy.indicator_result import IndicatorResult, IndicatorResults, SeriesOrFrame


class IndicatorUniverse(Protocol):
    """What indicators need of a universe; TradingStrategyUniverse has it."""

    @property
    def pairs(self) -> tuple[TradingPairIdentifier, ...]:
        """Return the pairs; row i of every panel belongs to pair i."""

    @property
    def candles(self) -> CandlePanel:
        """Return the candles of all pairs."""

    @property
    def liquidity(self) -> CandlePanel | None:
        """Return the TVL candles, None when there are none."""

    def get_cache_key(self) -> str:
        """Return a hash of all that the universe holds."""

    def get_pair_by_id(self, internal_id: int, /) -> TradingPairIdentifier:
        """Return a pair by its id; raises UnknownPair."""

    def get_pair_by_human_description(
        self, description: HumanReadableTradingPairDescription, /
    ) -> TradingPairIdentifier:
        """Return a pair by its description; raises UnknownPair."""


class IndicatorDependencyResolver:
    """Hands an indicator function the results of indicators of a lower order.

    Look-ups are O(1): results are kept in a dict by indicator and pair.
    """

    def __init__(
        self,
        universe: IndicatorUniverse,
        results: IndicatorResults,
        current: IndicatorDefinition,
        pair: TradingPairIdentifier | None,
    ) -> None:
        """Serve one indicator function for one pair, or for the universe when ``pair`` is None."""
        self.strategy_universe = universe
        self.accessed: set[str] = set()
        self._results = results
        self._current = current
        self._pair = pair

    def get_indicator_data(
        self,
        name: str | IndicatorFunction,
        column: str | None = None,
        pair: TradingPairIdentifier | HumanReadableTradingPairDescription | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> SeriesOrFrame:
        """Return the Series of an indicator, a column of a DataFrame indicator, or with column="all" the DataFrame.

        Args:
            name: Indicator name, or the function it was defined by.
            column: Needed for a DataFrame indicator.
            pair: Whose result; the pair being calculated when not given.
            parameters: Which variation; without it there must be exactly one.

        Raises:
            IndicatorOrderError: The indicator is of an equal or higher order.
            IndicatorDependencyResolutionError: No or several variations match.
            IndicatorNotFound: No indicator, or column, has that name.
            InvalidForMultipairStrategy: A pair must be named.
        """
        definition = self._resolve(name, parameters)
        pair_id = self._pair_id(definition, pair) if definition.source.is_per_pair() else None
        result = self._results.get(definition, pair_id)
        if column == "all":
            return (result.frame if result.is_frame or not len(result) else result.series(None, definition.name)).copy(
                deep=False
            )
        return result.series(column, definition.name).copy(deep=False)

    def get_indicator_data_pairs_combined(
        self, name: str | IndicatorFunction, parameters: Mapping[str, Any] | None = None
    ) -> SeriesOrFrame:
        """Return the results of all pairs as one Series with a MultiIndex (pair_id, timestamp), without empty pairs.

        A DataFrame indicator gives a DataFrame. Raises as ``get_indicator_data`` does.
        """
        definition = self._resolve(name, parameters)
        if not definition.source.is_per_pair():
            raise IndicatorDependencyResolutionError(
                f"Indicator {definition.label!r} is calculated once, not for each pair: use get_indicator_data"
            )
        results = {i: self._results.get(definition, i) for i in self.strategy_universe.candles.pair_ids}
        return combine_pairs(results, definition.name)

    def _resolve(self, name: str | IndicatorFunction, parameters: Mapping[str, Any] | None) -> IndicatorDefinition:
        try:
            definition = self._results.indicators.resolve(name, parameters)
        except IndicatorNotFound as error:
            raise IndicatorNotFound(f"Indicator {self._current.name!r} asked for another: {error}") from None
        if definition.order >= self._current.order:
            raise IndicatorOrderError(
                f"Indicator {self._current.name!r} of order {self._current.order} asked for {definition.name!r} of "
                f"order {definition.order}: only lower orders are calculated by then; declare it in dependencies=, "
                f"or give order={definition.order + 1}"
            )
        self.accessed.add(definition.label)
        return definition

    def _pair_id(
        self,
        definition: IndicatorDefinition,
        pair: TradingPairIdentifier | HumanReadableTradingPairDescription | None,
    ) -> int | None:
        if pair is None:
            pair = self._pair or only_pair(self.strategy_universe)
        if pair is None:
            raise InvalidForMultipairStrategy(
                f"Indicator {self._current.name!r} asked for {definition.name!r} without a pair: "
                "name one with pair=, or read all with get_indicator_data_pairs_combined"
            )
        return resolve_pair(self.strategy_universe, pair).internal_id


def only_pair(universe: IndicatorUniverse) -> TradingPairIdentifier | None:
    """Return the pair of a universe of one pair, else None."""
    return universe.pairs[0] if len(universe.pairs) == 1 else None


def resolve_pair(
    universe: IndicatorUniverse, pair: TradingPairIdentifier | HumanReadableTradingPairDescription
) -> TradingPairIdentifier:
    """Return the universe's own object of a pair or description; raises UnknownPair."""
    if not isinstance(pair, TradingPairIdentifier):
        return universe.get_pair_by_human_description(pair)
    if pair.internal_id is not None:
        try:
            found = universe.get_pair_by_id(pair.internal_id)
        except UnknownPair:
            found = None
        if found is not None and found == pair:
            return found
    market = pair.get_pricing_pair()
    for candidate in universe.pairs:
        if candidate in (pair, market):
            return candidate
    raise UnknownPair(f"Pair {pair} is not in the universe, so it has no indicators: use a pair of the universe")


def combine_pairs(results: Mapping[int, IndicatorResult], name: str) -> SeriesOrFrame:
    """Join the results of pairs under a MultiIndex (pair_id, timestamp), leaving out empty ones."""
    filled = {pair_id: result for pair_id, result in results.items() if len(result)}
    times = _union([result.index for result in filled.values()])
    pair_codes = np.repeat(np.arange(len(filled)), [len(result) for result in filled.values()])
    time_codes = [
        np.arange(len(times)) if result.index is times else np.searchsorted(times.asi8, result.times_us)
        for result in filled.values()
    ]
    levels: Any = [pd.Index(list(filled), dtype=np.int64), times]
    codes: Any = [pair_codes, np.concatenate(time_codes) if time_codes else np.empty(0, dtype=np.int64)]
    index = pd.MultiIndex(levels=levels, codes=codes, names=["pair_id", "timestamp"], verify_integrity=False)
    names = _column_names(filled.values())
    if names is None:
        columns = [result.column(None, name) for result in filled.values()]
        return pd.Series(np.concatenate(columns) if columns else np.empty(0), index=index, name=name)
    return pd.DataFrame(
        {c: np.concatenate([result.column(c, name) for result in filled.values()]) for c in names}, index=index
    )


def _column_names(results: Collection[IndicatorResult]) -> list[str] | None:
    for result in results:
        if result.is_frame:
            return list(result.columns)
    return None


def _union(indexes: list[pd.DatetimeIndex]) -> pd.DatetimeIndex:
    distinct = list({id(index): index for index in indexes}.values())
    if len(distinct) == 1:
        return distinct[0]
    times = np.unique(np.concatenate([index.asi8 for index in distinct])) if distinct else np.empty(0, dtype=np.int64)
    return pd.DatetimeIndex(times.view("datetime64[us]"), name="timestamp")
