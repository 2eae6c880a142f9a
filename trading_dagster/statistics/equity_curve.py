"""The equity curve of a state whose samples are attached."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.state import State
from trading_dagster.statistics.returns import Returns, calculate_daily_returns_from_curve


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


def calculate_daily_returns(state: State) -> Returns:
    """Return daily returns over the strategy's range; the undefined first day is dropped."""
    return calculate_daily_returns_from_curve(calculate_equity_curve(state), state.get_strategy_time_range()[1])
