"""Equity over time: one sample a cycle and one at every instant where a trigger traded.

Between two changes of the holdings equity depends on prices only, so quiet cycles are valued later, all at once. The
arithmetic is the same, operation by operation, as Portfolio.calculate_total_equity, so cutting a run changes no bit.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.value import value
from trading_dagster.pricing.candle_pricing import CandleMarks

Floats = npt.NDArray[np.float64]
SAMPLE_COLUMNS = {
    "timestamp": "datetime64[us]",
    "equity": "float64",
    "cash": "float64",
    "position_equity": "float64",
    "open_positions": "int64",
    "share_count": "float64",
    "share_price": "float64",
}


@value
class _Holding:
    """A position's part in the equity: quantity x mid price x (1 - fee), and what no price moves.

    That is what is lent out (``fixed``), and what a vault took for shares to come (``allocated``).
    """

    pair_id: int
    factor: float
    quantity: float
    allocated: float = 0.0
    fixed: float = 0.0


@value
class _Segment:
    """Cycles from ``first`` on with unchanged holdings."""

    first: int
    cash: float
    share_count: float
    holdings: tuple[_Holding, ...]


@value
class _Instant:
    """A sample at a trigger instant in the window after cycle ``cycle``."""

    cycle: int
    timestamp_us: int
    cash: float
    position_equity: float
    equity: float
    open_positions: int
    share_count: float


class EquityLog:
    """Records holdings when they change and turns them into equity samples."""

    def __init__(
        self, grid_us: npt.NDArray[np.int64], marks: CandleMarks, first_cycle: int, portfolio: Portfolio
    ) -> None:
        """Begin at a cycle index of the grid with the portfolio as it is."""
        self._grid_us = grid_us
        self._marks = marks
        self._first = first_cycle
        self._segments: list[_Segment] = []
        self._instants: list[_Instant] = []
        self._share_count = 0.0
        self.begin(first_cycle, portfolio)

    def begin(self, cycle: int, portfolio: Portfolio, share_count: float | None = None) -> None:
        """Value cycles from this index on with the holdings of now."""
        if share_count is not None:
            self._share_count = share_count
        segment = _Segment(cycle, portfolio.get_cash(), self._share_count, tuple(self._holdings(portfolio)))
        if self._segments and self._segments[-1].first == cycle:
            self._segments[-1] = segment
        else:
            self._segments.append(segment)

    def sample_instant(self, cycle: int, timestamp_us: int, portfolio: Portfolio) -> None:
        """Take a sample at a trigger instant; the marks stand at that instant."""
        equity = portfolio.calculate_total_equity()
        cash = portfolio.get_cash()
        self._instants.append(
            _Instant(cycle, timestamp_us, cash, equity - cash, equity, len(portfolio.open_positions), self._share_count)
        )

    def take_samples(self, end_cycle: int, portfolio: Portfolio) -> dict[str, npt.NDArray[Any]]:
        """Return the samples up to a cycle index (exclusive) as columns, and begin anew there.

        Columns: timestamp (naive UTC), equity, cash, position_equity (USD), open_positions, share_count, share_price.
        """
        equity, cash, positions, shares = self._value_segments(end_cycle)
        times = self._grid_us[self._first : end_cycle]
        position_equity = equity - cash
        if self._instants:
            instants = self._instants
            places = np.concatenate(
                [np.arange(self._first, end_cycle) * 2, np.array([i.cycle * 2 + 1 for i in instants])]
            )
            order = np.argsort(places, kind="stable")
            times = np.concatenate([times, np.array([i.timestamp_us for i in instants], dtype=np.int64)])[order]
            equity = np.concatenate([equity, [i.equity for i in instants]])[order]
            cash = np.concatenate([cash, [i.cash for i in instants]])[order]
            position_equity = np.concatenate([position_equity, [i.position_equity for i in instants]])[order]
            positions = np.concatenate([positions, [float(i.open_positions) for i in instants]])[order]
            shares = np.concatenate([shares, [i.share_count for i in instants]])[order]
        self._first = end_cycle
        self._segments, self._instants = [], []
        self.begin(end_cycle, portfolio)
        return {
            "timestamp": times.view("datetime64[us]"),
            "equity": equity,
            "cash": cash,
            "position_equity": position_equity,
            "open_positions": positions.astype(np.int64),
            "share_count": shares,
            "share_price": np.divide(equity, shares, out=np.full(len(equity), np.nan), where=shares > 0),
        }

    def _holdings(self, portfolio: Portfolio) -> list[_Holding]:
        holdings = []
        for position in portfolio.open_positions.values():
            held, fixed = position.held, position.fixed_value
            allocated = float(position.allocated) if position.allocated else 0.0
            if held or allocated:
                pair_id, factor = self._marks.factor_of(position.pair)
                holdings.append(_Holding(pair_id, factor, held, allocated, fixed))
            elif fixed:
                holdings.append(_Holding(0, 1.0, 0.0, allocated, fixed))
        return holdings

    def _value_segments(self, end_cycle: int) -> tuple[Floats, Floats, Floats, Floats]:
        """Return equity, cash, number of positions and share count of each cycle."""
        segments, origin = self._segments, self._first
        ends = [*(segment.first for segment in segments[1:]), end_cycle]
        lengths = [end - segment.first for segment, end in zip(segments, ends, strict=True)]
        cash = np.repeat(np.array([segment.cash for segment in segments]), lengths)
        positions = np.repeat(np.array([float(len(segment.holdings)) for segment in segments]), lengths)
        shares = np.repeat(np.array([segment.share_count for segment in segments]), lengths)
        equity = cash.copy()
        columns = self._marks.columns
        times = self._grid_us[origin:end_cycle]
        bars = np.minimum((times - columns.start_us) // columns.width_us, columns.panel.bar_count - 1)
        step = _step_of(bars)
        opens_of = cache(lambda pair_id: np.asarray(columns.view(pair_id)))
        for segment, end in zip(segments, ends, strict=True):
            if not segment.holdings or end <= segment.first:
                continue
            first, last = segment.first - origin, end - origin
            if last - first == 1:  # the same arithmetic without arrays
                bar, value = int(bars[first]), segment.cash
                for holding in segment.holdings:
                    if holding.allocated or holding.fixed:
                        mid = columns.view(holding.pair_id)[bar] if holding.quantity else 0.0
                        value += _value_with_rest(holding, mid)
                    else:
                        value += holding.quantity * (columns.view(holding.pair_id)[bar] * holding.factor)
                equity[first] = value
                continue
            part = slice(int(bars[first]), int(bars[last - 1]) + 1, step) if step else bars[first:last]
            for holding in segment.holdings:
                mids = opens_of(holding.pair_id)[part] if holding.quantity else 0.0
                if holding.allocated or holding.fixed:
                    equity[first:last] += _value_with_rest(holding, mids)
                else:
                    equity[first:last] += holding.quantity * (mids * holding.factor)
        return equity, cash, positions, shares


def _step_of(bars: npt.NDArray[np.int64]) -> int:
    """Return by how many each bar number is larger than the one before it, 0 when that is not the same for all."""
    steps = np.diff(bars)
    return int(steps[0]) if len(steps) and (steps == steps[0]).all() else 0


def _value_with_rest(holding: _Holding, mid: Any) -> Any:
    """Return USD of a position, at one mid price or at an array of them, as TradingPosition.get_value does."""
    value = holding.quantity * (mid * holding.factor) if holding.quantity else 0.0
    if holding.fixed:
        value = holding.fixed + value
    return value + holding.allocated if holding.allocated else value
