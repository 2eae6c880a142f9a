"""The calculated values of one indicator for one pair, and of all indicators for a universe."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_dagster.domain.error import BadInput, IndicatorNotFound, NoIndicatorError
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.panel import ONE_US, CandlePanel, Floats, Integers
from trading_dagster.strategy.indicator_definition import IndicatorDefinition, IndicatorSet

Column: TypeAlias = npt.NDArray[Any]
SeriesOrFrame: TypeAlias = pd.Series | pd.DataFrame

SERIES_COLUMN = "value"
"""Name under which the values of a Series are kept."""

EMPTY_INDEX = pd.DatetimeIndex(np.empty(0, dtype="datetime64[us]"), name="timestamp")


@dataclass(frozen=True, eq=False)
class IndicatorResult:
    """What an indicator function returned, as columns.

    Args:
        index: Open times of the rows, naive UTC, microseconds, strictly ascending.
        columns: Arrays as long as the index; one called "value" for a Series.
        is_frame: True when the function returned a DataFrame.
        width_us: Width of a bar in microseconds: the bucket of the candles whose rows these are, else what the
            ``bucket`` attribute in ``Series.attrs`` says; None when neither is known.
        is_aligned: True when the rows are the candles of the pair.
        empty_reason: Why there are no rows, None when there are some.
    """

    index: pd.DatetimeIndex
    columns: Mapping[str, Column]
    is_frame: bool = False
    width_us: int | None = None
    is_aligned: bool = False
    empty_reason: str | None = None

    def __post_init__(self) -> None:
        """Make the columns read-only."""
        for array in self.columns.values():
            array.flags.writeable = False

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.index)

    @cached_property
    def times_us(self) -> Integers:
        """Return the open time of each row, microseconds since 1970."""
        times: Integers = self.index.asi8
        return times

    @cached_property
    def bar_width_us(self) -> int | None:
        """Return the bar width: the known one, else the distance of the last two rows; None below three rows."""
        if self.width_us is not None:
            return self.width_us
        if len(self) < 3:
            return None
        return int(self.times_us[-1] - self.times_us[-2])

    def column(self, name: str | None, indicator: str) -> Column:
        """Return a column; None means the values of a Series.

        Raises:
            IndicatorNotFound: The indicator is a DataFrame and no column, or an unknown one, was named.
        """
        if name is None and not self.is_frame:
            return self.columns[SERIES_COLUMN] if self.columns else np.empty(0)
        if name is not None and name in self.columns and self.is_frame:
            return self.columns[name]
        if not len(self):
            return np.empty(0)
        if not self.is_frame:
            raise IndicatorNotFound(f"Indicator {indicator!r} is a single series: leave out column={name!r}")
        raise IndicatorNotFound(
            f"Indicator {indicator!r} has the columns {', '.join(map(repr, self.columns))}: "
            + ("name one of them with column=" if name is None else f"there is no {name!r}")
        )

    def floats(self, name: str | None, indicator: str) -> Floats | None:
        """Return a numeric column as float64, or None when its values are objects."""
        array = self.column(name, indicator)
        if array.dtype == np.float64:
            return array
        return array.astype(np.float64) if array.dtype.kind in "fiub" else None

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Return all columns as a DataFrame."""
        return pd.DataFrame(dict(self.columns), index=self.index, copy=False)

    @cached_property
    def _series(self) -> dict[str | None, pd.Series]:
        return {}

    def series(self, name: str | None, indicator: str) -> pd.Series:
        """Return a column as a Series named like the column, or like the indicator."""
        if name not in self._series:
            values = self.column(name, indicator)
            self._series[name] = pd.Series(values, index=self.index, name=name or indicator, copy=False)
        return self._series[name]

    def to_pandas(self, indicator: str) -> SeriesOrFrame:
        """Return the Series or DataFrame the function returned."""
        return self.frame if self.is_frame else self.series(None, indicator)


def empty_result(reason: str) -> IndicatorResult:
    """Return a result without rows that says why."""
    return IndicatorResult(EMPTY_INDEX, {}, empty_reason=reason)


@dataclass(frozen=True, eq=False)
class IndicatorResults:
    """The results of all indicators of a set over one universe."""

    indicators: IndicatorSet
    _results: dict[tuple[str, int | None], IndicatorResult] = field(default_factory=dict)

    def put(self, definition: IndicatorDefinition, pair_id: int | None, result: IndicatorResult) -> None:
        """Keep a result; ``pair_id`` is None for an indicator that is calculated once."""
        self._results[definition.label, pair_id] = result

    def get(self, definition: IndicatorDefinition, pair_id: int | None) -> IndicatorResult:
        """Return a result in O(1); raises NoIndicatorError when it was not calculated."""
        try:
            return self._results[definition.label, pair_id if definition.source.is_per_pair() else None]
        except KeyError:
            where = f" for pair id {pair_id}" if definition.source.is_per_pair() else ""
            raise NoIndicatorError(
                f"Indicator {definition.label!r} is defined but was not calculated{where}: "
                "calculate the whole set over the same universe"
            ) from None

    def __iter__(self) -> Iterator[tuple[str, int | None]]:
        """Iterate over (label, pair id)."""
        return iter(self._results)

    def items(self) -> ItemsView[tuple[str, int | None], IndicatorResult]:
        """Iterate over ((label, pair id), result) in the order of calculation."""
        return self._results.items()

    def __len__(self) -> int:
        """Return the number of results."""
        return len(self._results)

    def get_empty_reasons(self) -> dict[tuple[str, int | None], str]:
        """Return why each empty result is empty, by (label, pair id)."""
        return {key: r.empty_reason for key, r in self._results.items() if r.empty_reason is not None}


def to_result(returned: object, candles: CandlePanel | None, pair_id: int | None) -> IndicatorResult:
    """Turn what an indicator function returned into columns.

    Args:
        returned: Series, DataFrame or None.
        candles: The candles it was calculated from, to recognise their rows.
        pair_id: The pair it was calculated for, None for the whole universe.

    Raises:
        BadInput: It is something else, or its index is not one of ascending naive times.
    """
    if returned is None:
        return empty_result("the function returned None")
    if not isinstance(returned, pd.Series | pd.DataFrame):
        raise BadInput(
            f"it returned {type(returned).__name__}: return a Series or a DataFrame indexed by bar open times, or None"
        )
    if not len(returned):
        return empty_result("the function returned no rows")
    is_frame = isinstance(returned, pd.DataFrame)
    if isinstance(returned, pd.DataFrame):
        if not returned.columns.is_unique:
            raise BadInput(f"its columns {list(returned.columns)} are not unique")
        columns = {str(name): _to_array(returned[name]) for name in returned.columns}
    else:
        columns = {SERIES_COLUMN: _to_array(returned)}
    rows = candle_index(candles, pair_id)
    is_aligned = rows is not None and (returned.index is rows or rows.equals(returned.index))
    if is_aligned and candles is not None and rows is not None:
        return IndicatorResult(rows, columns, is_frame, candles.width_us, is_aligned=True)
    index = _checked_index(returned.index)
    return IndicatorResult(index, columns, is_frame, _attribute_width(returned, index))


def candle_index(candles: CandlePanel | None, pair_id: int | None) -> pd.DatetimeIndex | None:
    """Return the open times of a pair's candles, of all bars when ``pair_id`` is None; None without candles."""
    if candles is None:
        return None
    if pair_id is None:
        return candles.index
    index = candles.series(pair_id, "close").index if candles.has_pair(pair_id) else None
    return index if isinstance(index, pd.DatetimeIndex) else None


def _to_array(series: pd.Series) -> Column:
    dtype: Any = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "fiub":
        return np.ascontiguousarray(series.to_numpy()).view()
    if pd.api.types.is_numeric_dtype(dtype) and not isinstance(dtype, np.dtype):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    return series.astype(object).to_numpy().copy()


def _checked_index(index: pd.Index) -> pd.DatetimeIndex:
    if not isinstance(index, pd.DatetimeIndex):
        raise BadInput(f"its index is a {type(index).__name__}: index the result by bar open times (DatetimeIndex)")
    if index.tz is not None:
        raise BadInput(f"its index has the time zone {index.tz}: use naive times that mean UTC, .tz_localize(None)")
    if index.hasnans or not (index.is_monotonic_increasing and index.is_unique):
        raise BadInput("its index is not strictly ascending: sort it and drop duplicates and missing times")
    return pd.DatetimeIndex(index.as_unit("us").to_numpy(), name="timestamp")


def _attribute_width(returned: SeriesOrFrame, index: pd.DatetimeIndex) -> int | None:
    """Return the bar width the function set, never less than the distance of the rows.

    pandas hands attributes on: daily bars resampled to weeks still say "1d", which would show a week before it is over.
    """
    bucket = returned.attrs.get("bucket", returned.attrs.get("time_bucket"))
    if bucket is None:
        return None
    if isinstance(bucket, str):
        bucket = TimeBucket(bucket)
    width = bucket.to_timedelta() if isinstance(bucket, TimeBucket) else bucket
    if not isinstance(width, timedelta) or width <= timedelta(0):
        raise BadInput(f"its bucket attribute is {bucket!r}: use a TimeBucket or a positive timedelta")
    distance_us = int(np.diff(index.asi8).min()) if len(index) > 1 else 0
    return max(width // ONE_US, distance_us)
