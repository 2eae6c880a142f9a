"""Series of prices and indicators that end at the decision time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, TypeAlias

import pandas as pd

from trading_dagster.domain.error import (
    IndicatorDependencyResolutionError,
    IndicatorNotFound,
    IndicatorWithVariations,
    InvalidForMultipairStrategy,
)
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.market.panel import OHLCV, CandlePanel, Integers
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.indicator_definition import IndicatorDefinition
from trading_dagster.strategy.indicator_resolver import IndicatorUniverse, combine_pairs, only_pair, resolve_pair
from trading_dagster.strategy.indicator_result import IndicatorResult, IndicatorResults, SeriesOrFrame
from trading_dagster.strategy.indicator_rule import visible_rows

PairLike: TypeAlias = TradingPairIdentifier | HumanReadableTradingPairDescription
PairFilter: TypeAlias = Collection[TradingPairIdentifier | int] | Callable[[TradingPairIdentifier], bool]


class IndicatorHistory:
    """Slices of whole series; every row shown has a bar that closed at or before the decision time.

    Slicing copies nothing, so a slice in every cycle is cheap, but a single value is read much faster with
    ``get_indicator_value``.
    """

    def __init__(self, universe: IndicatorUniverse, results: IndicatorResults, clock: DecisionClock | None) -> None:
        self.is_deciding = clock is not None
        self._universe = universe
        self._results = results
        candles = universe.candles
        self._clock = clock or DecisionClock([candles.start_us + candles.bar_count * candles.width_us])
        self._ohlcv: dict[int, pd.DataFrame] = {}

    @property
    def timestamp(self) -> datetime:
        """Return the decision time, naive UTC; outside a decision the close of the last candle."""
        return self._clock.timestamp

    @property
    def strategy_universe(self) -> IndicatorUniverse:
        """Return the universe."""
        return self._universe

    def has_indicator(self, name: str) -> bool:
        """Tell whether an indicator of that name is defined."""
        return name in self._results.indicators

    def get_indicator_series(
        self,
        name: str,
        column: str | None = None,
        pair: PairLike | None = None,
        unlimited: bool = False,
        parameters: Mapping[str, Any] | None = None,
    ) -> pd.Series | None:
        """Return an indicator's values whose bars closed by the decision time, or None when there are none.

        Args:
            name: Indicator name.
            column: Column of a DataFrame indicator.
            pair: Pair or its description; may be left out in a universe of one pair.
            unlimited: Show the whole series, the future included: for drawing only.
            parameters: Which variation of the indicator.
        """
        definition, result = self._find_result(name, pair, parameters)
        count = self._visible_count(result, unlimited)
        return result.series(column, definition.name).iloc[:count] if count else None

    def get_indicator_dataframe(
        self,
        name: str,
        pair: PairLike | None = None,
        unlimited: bool = False,
        parameters: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return all columns of an indicator, rows limited as in ``get_indicator_series``; may be empty."""
        definition, result = self._find_result(name, pair, parameters)
        frame = result.frame if result.is_frame else result.series(None, definition.name).to_frame()
        return frame.iloc[: self._visible_count(result, unlimited)]

    def resolve_indicator_data(
        self,
        name: str,
        column: str | None = None,
        pair: PairLike | None = None,
        unlimited: bool = False,
        parameters: Mapping[str, Any] | None = None,
    ) -> SeriesOrFrame:
        """Return a series, or with column="all" all columns, limited as in ``get_indicator_series``; may be empty."""
        if column == "all":
            return self.get_indicator_dataframe(name, pair, unlimited, parameters)
        definition, result = self._find_result(name, pair, parameters)
        return result.series(column, definition.name).iloc[: self._visible_count(result, unlimited)]

    def get_indicator_data_pairs_combined(
        self,
        name: str,
        pair_filter: PairFilter | None = None,
        unlimited: bool = False,
        parameters: Mapping[str, Any] | None = None,
    ) -> SeriesOrFrame:
        """Return an indicator of all pairs under a MultiIndex (pair_id, timestamp), limited as the series are.

        The values are copied: in every cycle over many pairs use ``get_indicator_values``.

        Args:
            name: Indicator name.
            pair_filter: Pairs or pair ids to keep, or a function that tells whether to keep a pair.
            unlimited: Show the whole series, the future included: for drawing only.
            parameters: Which variation of the indicator.
        """
        definition = self._definition(name, parameters)
        if not definition.source.is_per_pair():
            raise IndicatorDependencyResolutionError(
                f"Indicator {definition.label!r} is calculated once, not for each pair: use get_indicator_series"
            )
        heads: dict[tuple[int, int], pd.DatetimeIndex] = {}
        parts: dict[int, IndicatorResult] = {}
        for pair in self._universe.pairs:
            if pair.internal_id is None or not _keeps(pair_filter, pair):
                continue
            result = self._results.get(definition, pair.internal_id)
            count = self._visible_count(result, unlimited)
            if not count:
                continue
            index = heads.setdefault((id(result.index), count), result.index[:count])
            columns = {key: values[:count] for key, values in result.columns.items()}
            parts[pair.internal_id] = IndicatorResult(index, columns, result.is_frame, result.width_us)
        return combine_pairs(parts, definition.name)

    def get_price_series(
        self, column: str = "close", pair: PairLike | None = None, unlimited: bool = False
    ) -> pd.Series:
        """Return a candle column of the candles that closed by the decision time, indexed by open time.

        Args:
            column: "open", "high", "low", "close", "volume".
            pair: Pair or its description; may be left out in a universe of one pair.
            unlimited: Show the whole series, the future included: for drawing only.
        """
        series = self._universe.candles.series(self._pair_id(pair), column)
        return series.iloc[: self._visible_candles(series.index, unlimited)]

    def get_recent_price_series(
        self, column: str = "close", pair: PairLike | None = None, bars: int | None = None
    ) -> pd.Series:
        """Return the same as ``get_price_series``, only the last ``bars`` candles when given."""
        series = self.get_price_series(column, pair)
        return series if bars is None else series.iloc[max(0, len(series) - bars) :]

    def get_ohlcv(self, pair: PairLike | None = None, unlimited: bool = False) -> pd.DataFrame:
        """Return open, high, low, close and volume of the candles that closed by the decision time."""
        pair_id = self._pair_id(pair)
        frame = self._ohlcv.get(pair_id)
        if frame is None:
            candles = self._universe.candles
            frame = self._ohlcv[pair_id] = candles.frame(pair_id, [name for name in OHLCV if name in candles.columns])
        return frame.iloc[: self._visible_candles(frame.index, unlimited)]

    def _definition(self, name: str, parameters: Mapping[str, Any] | None) -> IndicatorDefinition:
        variations = self._results.indicators.get_variations(name)
        if parameters is not None:
            matching = [d for d in variations if d.parameters == parameters] or [
                d for d in variations if d.matches(parameters)
            ]
            if not matching:
                raise IndicatorNotFound(
                    f"Indicator {name!r} has no variation with {dict(parameters)}: "
                    f"there are {[dict(d.parameters) for d in variations]}"
                )
            variations = matching
        if len(variations) > 1:
            raise IndicatorWithVariations(
                f"Indicator {name!r} has {len(variations)} variations that match: name one with parameters=, "
                f"there are {[dict(d.parameters) for d in variations]}"
            )
        return variations[0]

    def _find_result(
        self, name: str, pair: PairLike | None, parameters: Mapping[str, Any] | None
    ) -> tuple[IndicatorDefinition, IndicatorResult]:
        definition = self._definition(name, parameters)
        pair_id = self._pair_id(pair, name) if definition.source.is_per_pair() else None
        return definition, self._results.get(definition, pair_id)

    def _resolve_pair(self, pair: PairLike | None, what: str = "A price") -> TradingPairIdentifier:
        if pair is None:
            pair = only_pair(self._universe)
        if pair is None:
            raise InvalidForMultipairStrategy(
                f"{what!r} was asked for without a pair, but the universe has {len(self._universe.pairs)} pairs: "
                "name one with pair="
            )
        return resolve_pair(self._universe, pair)

    def _pair_id(self, pair: PairLike | None, what: str = "A price") -> int:
        pair_id = self._resolve_pair(pair, what).internal_id
        assert pair_id is not None
        return pair_id

    def _visible_count(self, result: IndicatorResult, unlimited: bool) -> int:
        if unlimited or not self.is_deciding:
            return len(result)
        width_us = result.bar_width_us
        if width_us is None:  # one or two rows of unknown width: take the wider guess
            distance = int(result.times_us[-1] - result.times_us[0]) if len(result) else 0
            width_us = max(self._universe.candles.width_us, distance)
        return visible_rows(result.times_us, width_us, self._clock.timestamp_us)

    def _visible_candles(self, index: pd.Index, unlimited: bool) -> int:
        candles: CandlePanel = self._universe.candles
        if unlimited or not self.is_deciding:
            return len(index)
        if len(index) == candles.bar_count:
            return min(max(candles.bar_at(self._clock.timestamp_us), 0), len(index))
        times_us: Integers = pd.DatetimeIndex(index).asi8
        return visible_rows(times_us, candles.width_us, self._clock.timestamp_us)


def _keeps(pair_filter: PairFilter | None, pair: TradingPairIdentifier) -> bool:
    if pair_filter is None:
        return True
    if callable(pair_filter):
        return bool(pair_filter(pair))
    return pair in pair_filter or pair.internal_id in pair_filter
