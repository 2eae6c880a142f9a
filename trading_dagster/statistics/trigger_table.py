"""How trigger levels moved and what stop losses did, position by position."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State

STOP_LOSS_COLUMNS: dict[str, str] = {
    "trading_pair": "str",
    "triggered": "bool",
    "trailing": "bool",
    "updates": "int64",
    "duration": "timedelta64[us]",
    "profit": "float64",
    "initial": "float64",
    "drift_up": "float64",
    "drift_down": "float64",
    "opening_stop_loss": "float64",
    "lowest_stop_loss": "float64",
    "highest_stop_loss": "float64",
    "opening_price": "float64",
    "closing_price": "float64",
    "lowest_price": "float64",
    "highest_price": "float64",
}

TRIGGER_UPDATE_COLUMNS: dict[str, str] = {
    "position_id": "int64",
    "trading_pair": "str",
    "timestamp": "datetime64[us]",
    "mid_price": "float64",
    "stop_loss_before": "float64",
    "stop_loss_after": "float64",
    "take_profit_before": "float64",
    "take_profit_after": "float64",
}


def analyse_stop_losses(state: State) -> pd.DataFrame:
    """Return one row for each position that ever had a stop loss, by position id.

    Returns:
        ``triggered``: a stop loss closed it; ``trailing``: its stop trails the price; ``updates``: how often a level
        was set or moved, over ``duration`` from the first time to the last; ``profit``: realised percent, NaN while
        open; ``initial``: first level ÷ opening price - 1; ``drift_up`` and ``drift_down``: highest and lowest level ÷
        first level - 1; lowest and highest price are the mid prices at which levels were set. Percents are fractions.
    """
    positions = [p for p in _in_order(state) if p.get_original_stop_loss() is not None]
    index = pd.Index([p.position_id for p in positions], name="position_id", dtype="int64")
    rows = [_stop_loss_row(position) for position in positions]
    return pd.DataFrame(rows, index=index, columns=list(STOP_LOSS_COLUMNS)).astype(STOP_LOSS_COLUMNS)


def analyse_trigger_updates(state: State) -> pd.DataFrame:
    """Return one row each time a trigger level was set or moved, by position and time; levels are mid prices."""
    rows = [
        (
            position.position_id,
            position.pair.get_ticker(),
            update.timestamp,
            update.mid_price,
            update.stop_loss_before,
            update.stop_loss_after,
            update.take_profit_before,
            update.take_profit_after,
        )
        for position in _in_order(state)
        for update in position.trigger_updates
    ]
    return pd.DataFrame(rows, columns=list(TRIGGER_UPDATE_COLUMNS)).astype(TRIGGER_UPDATE_COLUMNS)


def _in_order(state: State) -> list[TradingPosition]:
    return sorted(state.portfolio.get_all_positions(), key=lambda p: p.position_id)


def _stop_loss_row(position: TradingPosition) -> tuple[object, ...]:
    updates = position.trigger_updates
    levels = [u.stop_loss_after for u in updates if u.stop_loss_after is not None]
    mids = _known(u.mid_price for u in updates)
    first, lowest, highest = levels[0], min(levels), max(levels)
    opening, closing = position.get_opening_price(), position.get_closing_price()
    return (
        position.pair.get_ticker(),
        position.is_stop_loss(),
        position.trailing_stop_loss_pct is not None,
        len(updates),
        updates[-1].timestamp - updates[0].timestamp,
        position.get_realised_profit_percent() if position.is_closed() else math.nan,
        first / opening - 1,
        highest / first - 1,
        lowest / first - 1,
        first,
        lowest,
        highest,
        opening,
        math.nan if closing is None else closing,
        min(mids, default=math.nan),
        max(mids, default=math.nan),
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
