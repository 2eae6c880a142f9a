"""Find indicators that look into the future, by calculating them again without it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.domain.time import from_unix_us, to_unix_us
from trading_dagster.market.lending import LendingUniverse
from trading_dagster.market.panel import CandlePanel
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.indicator_calculation import calculate_indicators
from trading_dagster.strategy.indicator_definition import IndicatorDefinition, IndicatorSet
from trading_dagster.strategy.indicator_result import Column, IndicatorResult
from trading_dagster.strategy.indicator_rule import instant_us, visible_rows


class IndicatorFactory(Protocol):
    """What makes an indicator set, such as an IndicatorRegistry."""

    def create_indicators(
        self, timestamp: datetime | None, parameters: Any, strategy_universe: Any, execution_context: Any, /
    ) -> IndicatorSet:
        """Return the indicators of a universe."""


@dataclass(frozen=True, slots=True)
class LookaheadFinding:
    """An indicator whose past changes when the future is taken away.

    Attributes:
        indicator: Label of the indicator.
        order: Its order; indicators that read a biased one are biased too, so mend the lowest order first.
        pair: Ticker, None for an indicator of the whole universe.
        pair_id: Internal id of the pair.
        column: Column of a DataFrame indicator.
        known_at: The decision time without whose future the indicator was calculated again.
        bar: Open time of the first bar that differs, naive UTC.
        with_future: Its value calculated from all data; None when the bar is missing.
        without_future: Its value calculated from data up to ``known_at``; None when the bar is missing.
    """

    indicator: str
    order: int
    pair: str | None
    pair_id: int | None
    column: str | None
    known_at: datetime
    bar: datetime
    with_future: Any
    without_future: Any

    def __str__(self) -> str:
        """Say what was found in a sentence."""
        where = "" if self.pair is None else f" of {self.pair}"
        column = "" if self.column is None else f", column {self.column!r}"
        return (
            f"Indicator {self.indicator!r}{where}{column} looks ahead: at the bar {self.bar} it is "
            f"{self.with_future!r} with all data, but was {self.without_future!r} at {self.known_at}"
        )


def find_lookahead(
    indicators: IndicatorSet | IndicatorFactory,
    universe: TradingStrategyUniverse,
    parameters: Any,
    at: Iterable[datetime],
    execution_context: Any = None,
) -> list[LookaheadFinding]:
    """Compare indicators of the whole data with indicators of the data known at some times.

    At each time every candle that closes later is taken away, everything is calculated again, and all bars that had
    closed by then are compared bit for bit.

    Args:
        indicators: The set, or what makes it; then it is made again for each truncated universe.
        universe: All data.
        parameters: Handed to ``create_indicators``; not used with a ready set.
        at: Decision times to try, naive UTC; a few, spread over the data, find most mistakes.
        execution_context: Handed to ``create_indicators``.

    Returns:
        At most one finding for each indicator, column, pair and time; empty when nothing looks ahead.

    Raises:
        IndicatorCalculationFailed: A function failed, perhaps only on the shortened data.
    """
    complete_set = _indicators_of(indicators, universe, parameters, execution_context)
    complete = calculate_indicators(complete_set, universe)
    pairs = {pair.internal_id: pair.get_ticker() for pair in universe.pairs}
    findings: list[LookaheadFinding] = []
    for timestamp in at:
        known_us = instant_us(timestamp)
        past = truncate_universe(universe, known_us)
        past_set = _indicators_of(indicators, past, parameters, execution_context)
        truncated = calculate_indicators(past_set, past)
        definitions = {definition.label: definition for definition in past_set}
        for definition in complete_set:
            if definition.label not in definitions:
                continue
            for pair_id in pairs if definition.source.is_per_pair() else (None,):
                whole, cut = complete.get(definition, pair_id), truncated.get(definition, pair_id)
                findings += [
                    _finding(definition, (pair_id, pairs.get(pair_id)), column, known_us, difference)
                    for column, difference in find_differences(whole, cut, known_us)
                ]
    return findings


def truncate_universe(universe: TradingStrategyUniverse, known_us: int) -> TradingStrategyUniverse:
    """Return a universe without the candles that close after an instant (microseconds since 1970)."""
    candles = _truncate(universe.candles, known_us)
    feed, liquidity, lending = universe.stop_loss_candles, universe.liquidity, universe.lending
    is_shared = feed is universe.candles
    return replace(
        universe,
        candles=candles,
        stop_loss_candles=candles if is_shared else None if feed is None else _truncate(feed, known_us),
        liquidity=None if liquidity is None else _truncate(liquidity, known_us),
        lending=None if lending is None else _truncate_rates(lending, known_us),
        end_at=from_unix_us(known_us),
    )


def _truncate(panel: CandlePanel, known_us: int) -> CandlePanel:
    open_bar = panel.start_us + panel.bar_at(known_us) * panel.width_us
    return panel.clip(None, from_unix_us(open_bar))


def _truncate_rates(lending: LendingUniverse, known_us: int) -> LendingUniverse:
    last_open = pd.Timestamp(from_unix_us(known_us)) - lending.time_bucket.to_timedelta()
    return replace(lending, rates={key: rate[rate.index <= last_open] for key, rate in lending.rates.items()})


def _indicators_of(
    indicators: IndicatorSet | IndicatorFactory,
    universe: TradingStrategyUniverse,
    parameters: Any,
    execution_context: Any,
) -> IndicatorSet:
    if isinstance(indicators, IndicatorSet):
        return indicators
    return indicators.create_indicators(None, parameters, universe, execution_context)


_Difference = tuple[datetime, Any, Any]


def find_differences(
    whole: IndicatorResult, cut: IndicatorResult, known_us: int
) -> Iterable[tuple[str | None, tuple[datetime, Any, Any]]]:
    """Yield the first difference of each column among the bars that had closed: column, (bar, one, other).

    The column is None for a Series; an absent row counts as NaN.
    """
    width_us = whole.bar_width_us or cut.bar_width_us or 0
    count = visible_rows(whole.times_us, width_us, known_us)
    past_count = visible_rows(cut.times_us, width_us, known_us)
    names = dict.fromkeys((*(whole.columns if count else ()), *(cut.columns if past_count else ())))
    for name in names:
        difference = _first_difference(
            (whole.times_us[:count], whole.columns.get(name)), (cut.times_us[:past_count], cut.columns.get(name))
        )
        if difference is not None:
            yield (name if whole.is_frame or cut.is_frame else None), difference


def _first_difference(
    whole: tuple[npt.NDArray[np.int64], Column | None], cut: tuple[npt.NDArray[np.int64], Column | None]
) -> _Difference | None:
    (times, values), (past_times, past_values) = whole, cut
    if values is None:
        values, times = np.empty(0), times[:0]
    if past_values is None:
        past_values, past_times = np.empty(0), past_times[:0]
    values, past_values = values[: len(times)], past_values[: len(past_times)]
    if np.array_equal(times, past_times):
        differing = np.flatnonzero(~_is_identical(values, past_values))
        if not len(differing):
            return None
        at = int(differing[0])
        return from_unix_us(int(times[at])), _plain(values[at]), _plain(past_values[at])
    mine = dict(zip(times.tolist(), values, strict=True))
    theirs = dict(zip(past_times.tolist(), past_values, strict=True))
    for moment in sorted({*mine, *theirs}):
        one, other = mine.get(moment, _MISSING), theirs.get(moment, _MISSING)
        if _is_no_value(one) and _is_no_value(other):
            continue  # a strategy reads an absent row and a NaN alike: no value
        if one is _MISSING or other is _MISSING or not _is_identical(np.array([one]), np.array([other]))[0]:
            return from_unix_us(moment), _plain(one), _plain(other)
    return None


_MISSING = object()


def _is_no_value(value: Any) -> bool:
    return value is _MISSING or (isinstance(value, float) and math.isnan(value))


def _is_identical(one: Column, other: Column) -> npt.NDArray[np.bool_]:
    """Compare element by element; NaN equals NaN, and 0.0 differs from -0.0."""
    if one.dtype.kind == other.dtype.kind == "f" and one.dtype == other.dtype:
        bits = np.dtype(f"i{one.dtype.itemsize}")
        same_bits = np.ascontiguousarray(one).view(bits) == np.ascontiguousarray(other).view(bits)
        result: npt.NDArray[np.bool_] = same_bits | (np.isnan(one) & np.isnan(other))
        return result
    return np.array([_same(a, b) for a, b in zip(one.tolist(), other.tolist(), strict=True)], dtype=np.bool_)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return bool(np.array_equal(one, other))
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124 - NaN is missing on both sides


def _plain(value: Any) -> Any:
    if value is _MISSING:
        return None
    return value.item() if isinstance(value, np.generic) else value


def _finding(
    definition: IndicatorDefinition,
    pair: tuple[int | None, str | None],
    column: str | None,
    known_us: int,
    difference: _Difference,
) -> LookaheadFinding:
    bar, with_future, without_future = difference
    return LookaheadFinding(
        indicator=definition.label,
        order=definition.order,
        pair_id=pair[0],
        pair=pair[1],
        column=column,
        known_at=from_unix_us(known_us),
        bar=bar,
        with_future=with_future,
        without_future=without_future,
    )


def spread_times(universe: TradingStrategyUniverse, count: int = 5) -> list[datetime]:
    """Return decision times spread evenly over the candles of a universe, the ends left out."""
    candles = universe.candles
    first, last = candles.start_us, to_unix_us(candles.end_at)
    width = candles.width_us
    times = {first + (last - first) * number // (count + 1) // width * width for number in range(1, count + 1)}
    return [from_unix_us(moment) for moment in sorted(times) if first < moment < last]
