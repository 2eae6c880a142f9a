"""The equity curve of a state whose samples are attached, and what of it is performance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.state import State
from trading_dagster.statistics.returns import (
    ROUNDING,
    FloatArray,
    Returns,
    as_floats,
    calculate_daily_returns_from_curve,
)


def calculate_equity_curve(state: State) -> pd.Series:
    """Return total equity in USD by naive UTC time, the last of equal times.

    Raises:
        BadInput: The state has no samples; a backtest's result and its state have them.
    """
    samples = state.stats
    if not len(samples):
        raise BadInput(
            "This state has no equity samples: take the state of a backtest's result, "
            "or use equity_curve of run_backtest"
        )
    index = pd.DatetimeIndex(np.asarray(samples.columns["timestamp"], dtype="datetime64[us]"), name="timestamp")
    curve = pd.Series(np.asarray(samples.columns["equity"], dtype=np.float64), index=index, name="equity")
    if index.is_monotonic_increasing and index.is_unique:  # asked in this order no table of all times is made
        return curve
    return curve[~index.duplicated(keep="last")]


def calculate_performance_curve(state: State) -> pd.Series:
    """Return what the equity of the first sample became, deposits and redemptions after it taken out; USD.

    They change the number of shares and not their price, so equity is divided by what they made of that number. Shares
    made as fees of a fund are left out of it: trading is measured before them. While everything is paid out the curve
    holds its value. Without flows it is the equity curve, bit by bit.

    Raises:
        BadInput: The state has no samples.
    """
    equity = calculate_equity_curve(state)
    samples = state.stats.columns
    times = pd.DatetimeIndex(np.asarray(samples["timestamp"], dtype="datetime64[us]"))
    counts = np.asarray(samples["share_count"], dtype=np.float64)[~times.duplicated(keep="last")]
    fees = np.zeros(len(equity))
    for entry in state.sync.treasury.fund_fees:
        place = int(equity.index.searchsorted(pd.Timestamp(entry.at)))
        if place < len(fees):
            fees[place] += float(entry.take.management_shares + entry.take.performance_shares)
    values = _take_out_flows(as_floats(equity), counts, fees)
    return equity if values is None else pd.Series(values, index=equity.index, name="performance")


def _take_out_flows(equity: FloatArray, shares: FloatArray, fees: FloatArray) -> FloatArray | None:
    """Return equity without flows, None where there are none; ``fees`` are shares made since the sample before."""
    before, after = shares[:-1] + fees[1:], shares[1:]
    with np.errstate(invalid="ignore"):
        changed = np.flatnonzero(np.abs(after - before) > ROUNDING * np.maximum(before, 1.0)) + 1
    if not len(changed):
        return None
    curve, units = equity.copy(), 1.0
    for first, stop in pairwise([*changed.tolist(), len(equity)]):
        was, now, held = before[first - 1], shares[first], curve[first - 1]
        if now > 0:
            units = units * now / was if was > 0 else equity[first] / held if held > 0 else 1.0
        curve[first:stop] = equity[first:stop] / units if now > 0 else held
    return curve


def calculate_daily_returns(state: State) -> Returns:
    """Return daily returns over the strategy's range, of performance; the undefined first day is dropped."""
    return calculate_daily_returns_from_curve(calculate_performance_curve(state), state.get_strategy_time_range()[1])
