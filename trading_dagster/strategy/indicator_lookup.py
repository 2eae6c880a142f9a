"""What a strategy reads as ``input.indicators``: values and series that end at the decision time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

import numpy as np

from trading_dagster.domain.error import (
    IndicatorDataNotFoundWithinDataTolerance,
    IndicatorNotFound,
    LiquidityDataUnavailable,
    LookaheadRefused,
    MarketDataMissing,
)
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.time import from_unix_us
from trading_dagster.market.panel import CandlePanel, Floats, Integers
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.indicator_cross_section import CrossSections
from trading_dagster.strategy.indicator_history import IndicatorHistory, PairLike
from trading_dagster.strategy.indicator_resolver import IndicatorUniverse
from trading_dagster.strategy.indicator_result import Column, IndicatorResult, IndicatorResults
from trading_dagster.strategy.indicator_rule import (
    Duration,
    Outcome,
    PreviousBarRule,
    PriceRule,
    Rows,
    instant_us,
    to_us,
)

WEEK = timedelta(days=7)

ValueSettings: TypeAlias = tuple[int, Duration, Duration | Literal["auto"]]
"""(index, clock_shift, data_delay_tolerance)"""

PriceSettings: TypeAlias = tuple[Duration, int, datetime | None]
"""(data_lag_tolerance, index, timestamp)"""

_COMPARABLE = (str, bytes, bool, int, float, list, tuple, set, frozenset, dict)


Prepared: TypeAlias = tuple[TradingPairIdentifier | None, Any, memoryview]
"""The answers to one question for all decision times.

The very pair object the question named, None when it named none; by number of the decision time the values, NaN where
there is none, and the outcomes. A plain tuple, which is taken apart faster than one with names.
"""

AUTO: Literal["auto"] = "auto"


class StrategyInputIndicators(IndicatorHistory):
    """Indicator values and prices as of the decision time; a strategy sees it as ``input.indicators``.

    Nothing here shows a bar that closes after ``clock.timestamp_us``. The first look-up of an indicator computes its
    value for every decision time of the clock's grid, each from bars that closed by then, so that a look-up in the loop
    is one read from an array.

    Args:
        universe: Pairs and candles.
        results: What ``calculate_indicators`` returned for the same universe.
        clock: The decision time; None outside a decision, where everything is visible.
    """

    def __init__(
        self, universe: IndicatorUniverse, results: IndicatorResults, clock: DecisionClock | None = None
    ) -> None:
        super().__init__(universe, results, clock)
        self._grid_us: Integers = np.asarray(self._clock.grid_us, dtype=np.int64)
        self._values: dict[tuple[Any, ...], Prepared] = {}
        self._usual: dict[str | tuple[str, int | None], Prepared] = {}
        """Those asked for with a name, or a name and a pair, and nothing else."""
        self._prices: dict[tuple[Any, ...], Prepared] = {}
        self._tvls: dict[tuple[Any, ...], Prepared] = {}
        self._sections = CrossSections(universe.candles.pair_ids, self._grid_us)

    def get_indicator_value(
        self,
        name: str,
        column: str | None = None,
        pair: PairLike | None = None,
        index: int = -1,
        clock_shift: Duration = 0,
        data_delay_tolerance: Duration | Literal["auto"] = AUTO,
        na_conversion: bool = True,
        parameters: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the value of an indicator at the last bar that closed at or before the decision time.

        Args:
            name: Indicator name.
            column: Column of a DataFrame indicator.
            pair: Pair or its description; may be left out in a universe of one pair.
            index: -1 is the last completed bar, -2 the one before.
            clock_shift: Moves the bar asked for; a negative timedelta looks further back.
            data_delay_tolerance: How old the value may be when the bar asked for is missing; "auto" is one bar,
                14 days for weekly bars. When given, the decision time is not rounded down to a bar first.
            na_conversion: Return NaN as None.
            parameters: Which variation of the indicator.

        Returns:
            A float (whatever the function put there, if it is no number), or None when there is no value: the series
            has not begun, has ended, or holds NaN.

        Raises:
            IndicatorDataNotFoundWithinDataTolerance: The latest value is older than the tolerance.
            LookaheadRefused: The bar asked for closes after the decision time.
            IndicatorNotFound: No indicator of that name, or a column is missing or unknown.
            IndicatorWithVariations: Parameters must be given.
            NoIndicatorError: The indicator was not calculated.
            InvalidForMultipairStrategy: A pair must be given.
        """
        try:
            if column is None and index == -1 and clock_shift == 0 and data_delay_tolerance is AUTO:
                known, values, outcomes = self._usual[name if pair is None else (name, pair.internal_id)]  # type: ignore[union-attr]
            else:
                pair_id = None if pair is None else pair.internal_id  # type: ignore[union-attr]
                known, values, outcomes = self._values[name, column, pair_id, index, clock_shift, data_delay_tolerance]
            if known is pair and parameters is None:
                value = values[self._clock.index]
                if value == value:  # noqa: PLR0124 - only NaN differs from itself
                    return value
                if outcomes[self._clock.index] <= Outcome.absent:
                    return None if na_conversion or outcomes[self._clock.index] else value
        except (KeyError, AttributeError, TypeError):
            pass  # not prepared yet, a description as pair, or something unhashable
        value = self._find_value(name, column, pair, parameters, (index, clock_shift, data_delay_tolerance))
        return None if na_conversion and isinstance(value, float) and np.isnan(value) else value

    def get_price(
        self,
        pair: PairLike | None = None,
        data_lag_tolerance: Duration = WEEK,
        index: int = -1,
        timestamp: datetime | None = None,
        column: str = "close",
    ) -> float | None:
        """Return a price of the candle that closed last; by default its close.

        Args:
            pair: Pair or its description; may be left out in a universe of one pair.
            data_lag_tolerance: How far to walk back when that candle is missing.
            index: -1 is the last completed candle, -2 the one before.
            timestamp: Take the candle that contains this instant instead.
            column: Candle column.

        Returns:
            None when there is no candle within the tolerance.

        Raises:
            LookaheadRefused: The candle asked for closes after the decision time.
            InvalidForMultipairStrategy: A pair must be given.
        """
        try:
            known, prices, outcomes = self._prices[
                None if pair is None else pair.internal_id, data_lag_tolerance, index, column  # type: ignore[union-attr]
            ]
            if known is pair and timestamp is None:
                price: float = prices[self._clock.index]
                if price == price:  # noqa: PLR0124 - only NaN differs from itself
                    return price
                if outcomes[self._clock.index] <= Outcome.absent:
                    return None
        except (KeyError, AttributeError, TypeError):
            pass  # not prepared yet, or a description as pair
        settings = (data_lag_tolerance, index, timestamp)
        return self._find_price(self._prices, self._universe.candles, column, pair, settings)

    def get_tvl(
        self, pair: PairLike | None = None, data_lag_tolerance: Duration = WEEK, index: int = -1
    ) -> float | None:
        """Return the TVL in USD at the close of the last completed TVL candle, by the rule of ``get_price``.

        Raises:
            LiquidityDataUnavailable: The universe has no TVL data at all.
            LookaheadRefused: The candle asked for closes after the decision time.
            InvalidForMultipairStrategy: A pair must be given.
        """
        liquidity = self._universe.liquidity
        if liquidity is None:
            raise LiquidityDataUnavailable(
                "The universe has no TVL data: load it with liquidity=True before asking get_tvl()"
            )
        if isinstance(pair, TradingPairIdentifier):
            found = self._tvls.get((pair.internal_id, data_lag_tolerance, index, "close"))
            if found is not None and found[0] is pair:
                tvl: float = found[1][self._clock.index]
                if tvl == tvl:  # noqa: PLR0124 - only NaN differs from itself
                    return tvl
        return self._find_price(self._tvls, liquidity, "close", pair, (data_lag_tolerance, index, None))

    def get_indicator_values(
        self,
        name: str,
        column: str | None = None,
        index: int = -1,
        *,
        clock_shift: Duration = 0,
        data_delay_tolerance: Duration | Literal["auto"] = AUTO,
        parameters: Mapping[str, Any] | None = None,
    ) -> Floats:
        """Return an indicator's values of all pairs at once, by the rule of ``get_indicator_value``.

        For universes of many pairs: one row of a matrix, no loop.

        Returns:
            float64 of shape (pairs,), value i belongs to ``pairs[i]`` of the universe; read-only. NaN where
            ``get_indicator_value`` would return None or find the value too old.

        Raises:
            LookaheadRefused: The bar asked for closes after the decision time.
            IndicatorNotFound: No indicator of that name, or a column is missing or unknown.
        """
        definition = self._definition(name, parameters)
        rule = self._previous_bar_rule(index, clock_shift, data_delay_tolerance)
        shared: dict[tuple[int, int | None], Rows] = {}

        def find(pair_id: int, grid_us: Integers) -> tuple[Rows, Floats]:
            result = self._results.get(definition, pair_id)
            values = result.floats(column, definition.name)
            if values is None:
                raise IndicatorNotFound(f"Indicator {name!r} holds no numbers: read it with get_indicator_value")
            kind = (id(result.index), result.bar_width_us)
            if kind not in shared:
                shared[kind] = rule.find(result.times_us, result.bar_width_us, grid_us)
            return shared[kind], values

        key = ("value", definition.label, column, rule)
        return self._sections.read(key, f"Indicator {name!r}", self._clock.index, find)

    def get_prices(self, column: str = "close", index: int = -1, data_lag_tolerance: Duration = WEEK) -> Floats:
        """Return a price of all pairs at once, by the rule of ``get_price``.

        Returns:
            float64 of shape (pairs,), value i belongs to ``pairs[i]`` of the universe; NaN where there is none.

        Raises:
            LookaheadRefused: The candle asked for closes after the decision time.
        """
        panel = self._universe.candles
        rule = PriceRule(index, to_us(data_lag_tolerance, "data_lag_tolerance"), self.is_deciding)

        def find(pair_id: int, grid_us: Integers) -> tuple[Rows, Floats]:
            return rule.find(panel, panel.latest_bar(pair_id), grid_us), panel.columns[column][panel.row_of(pair_id)]

        return self._sections.read(("price", column, rule), f"Price {column!r}", self._clock.index, find)

    def _previous_bar_rule(
        self, index: int, clock_shift: Duration, tolerance: Duration | Literal["auto"]
    ) -> PreviousBarRule:
        return PreviousBarRule(
            index=index,
            clock_shift_us=to_us(clock_shift, "clock_shift"),
            tolerance_us=None if isinstance(tolerance, str) else to_us(tolerance, "data_delay_tolerance"),
            is_deciding=self.is_deciding,
        )

    def _find_value(
        self,
        name: str,
        column: str | None,
        pair: PairLike | None,
        parameters: Mapping[str, Any] | None,
        settings: ValueSettings,
    ) -> Any:
        """Answer what the prepared values do not: prepare them, resolve pairs and variations, or raise."""
        definition = self._definition(name, parameters)
        known = self._resolve_pair(pair, name) if definition.source.is_per_pair() else None
        canonical = None if pair is None else known
        if canonical is not pair or parameters is not None:
            return self.get_indicator_value(definition.label, column, canonical, *settings, na_conversion=False)
        result = self._results.get(definition, None if known is None else known.internal_id)
        values = result.column(column, definition.name)
        rule = self._previous_bar_rule(*settings)
        pair_id = None if known is None or pair is None else known.internal_id
        key = (name, column, pair_id, *settings)
        if key not in self._values:
            rows = rule.find(result.times_us, result.bar_width_us, self._grid_us)
            self._values[key] = canonical, *_spread(rows, values)
            if column is None and settings == (-1, 0, AUTO):
                self._usual[name if canonical is None else (name, pair_id)] = self._values[key]
        now = np.array([self._clock.timestamp_us], dtype=np.int64)
        return _value_now(definition.label, result, values, rule.find(result.times_us, result.bar_width_us, now), now)

    def _find_price(
        self,
        prepared: dict[tuple[Any, ...], Prepared],
        panel: CandlePanel,
        column: str,
        pair: PairLike | None,
        settings: PriceSettings,
    ) -> float | None:
        """Answer what the prepared prices do not."""
        if column not in panel.columns:
            raise MarketDataMissing(f"The candles have no column {column!r}: use one of {', '.join(panel.columns)}")
        pair_id = self._pair_id(pair)
        tolerance, index, timestamp = settings
        rule = PriceRule(index, to_us(tolerance, "data_lag_tolerance"), self.is_deciding)
        values, latest = panel.columns[column][panel.row_of(pair_id)], panel.latest_bar(pair_id)
        known = None if pair is None else self._resolve_pair(pair)
        key = (None if pair is None else pair_id, tolerance, index, column)
        if known is pair and timestamp is None and key not in prepared:
            prepared[key] = known, *_spread(rule.find(panel, latest, self._grid_us), values)
        now = np.array([self._clock.timestamp_us], dtype=np.int64)
        target = None if timestamp is None else np.array([instant_us(timestamp)], dtype=np.int64)
        rows = rule.find(panel, latest, now, target)
        if rows.outcome[0] == Outcome.refused:
            raise LookaheadRefused(
                f"The candle at {from_unix_us(int(rows.target_us[0]))} was asked for at the decision time "
                f"{self.timestamp}, before it has closed: use index=-1 or less, or an earlier timestamp"
            )
        price = float(rows.take(values)[0])
        return None if np.isnan(price) else price


def _spread(rows: Rows, values: Column) -> tuple[Any, memoryview]:
    """Return the value and the outcome of every decision time, fast to index.

    Numbers become a memoryview of float64, other values a list, and None when they cannot be compared with themselves.
    """
    outcomes = rows.outcome.data
    if values.dtype.kind in "fiub":
        return rows.take(values.astype(np.float64, copy=False)).data, outcomes
    if not all(isinstance(value, _COMPARABLE) or value is None for value in values):
        return None, outcomes
    found = rows.outcome == Outcome.found
    return [values[row] if ok else np.nan for row, ok in zip(rows.row, found, strict=True)], outcomes


def _value_now(label: str, result: IndicatorResult, values: Column, rows: Rows, now: Integers) -> Any:
    """Return the value of one decision time, None when absent; raises when too old or refused."""
    row, outcome, target = int(rows.row[0]), rows.outcome[0], from_unix_us(int(rows.target_us[0]))
    if outcome == Outcome.refused:
        raise LookaheadRefused(
            f"Indicator {label!r} was asked for the bar at {target}, which closes after the decision time "
            f"{from_unix_us(int(now[0]))}: use index=-1 or less, and no positive clock_shift"
        )
    if outcome == Outcome.too_old:
        raise IndicatorDataNotFoundWithinDataTolerance(
            f"Indicator {label!r} has no value at {target}; the latest before it is of {result.index[row]}, older than "
            "the tolerance: give data_delay_tolerance=timedelta(...) if that will do, or load data without the gap"
        )
    if outcome == Outcome.absent or not len(values):
        return None
    value = values[row]
    return float(value) if values.dtype.kind in "fiub" else value
