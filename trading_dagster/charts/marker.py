"""Sort trades into the kinds of markers a price chart shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from trading_dagster.charts.palette import GAIN, LOSS, NEUTRAL, STOP_LOSS, TAKE_PROFIT

UNDONE = ("failed", "repaired", "expired")


@dataclass(frozen=True, slots=True)
class MarkerKind:
    """How trades of one kind look; `symbol` is plotly's name of the shape, `shape` matplotlib's."""

    name: str
    colour: str
    symbol: str
    shape: str


BUY = MarkerKind("Buy", GAIN, "triangle-up", "^")
SELL = MarkerKind("Sell", LOSS, "triangle-down", "v")
STOPPED = MarkerKind("Stop loss", STOP_LOSS, "x", "X")
TAKEN = MarkerKind("Take profit", TAKE_PROFIT, "star", "*")
TRIGGERED = MarkerKind("Other trigger", "#12a5b8", "diamond", "D")
CORRECTED = MarkerKind("Repair or correction", NEUTRAL, "square", "s")
FAILED = MarkerKind("Failed", NEUTRAL, "circle-x-open", "o")
MARKER_KINDS = (BUY, SELL, STOPPED, TAKEN, TRIGGERED, CORRECTED, FAILED)
"""All kinds, in the order of the legend."""


def sort_markers(trades: pd.DataFrame) -> dict[MarkerKind, pd.DataFrame]:
    """Return the trades of each kind that occurs, with columns `marker_at` and `marker_price` added.

    Executed trades are marked at their execution time and price; trades that failed, were repaired or expired at the
    time they were planned and their planned price. Trades still under way are not marked.

    Args:
        trades: the engine's table of trades
    """
    if trades.empty:
        return {}
    status = trades["status"].astype("str")
    undone = status.isin(UNDONE).to_numpy()
    shown = undone | (status == "success").to_numpy()
    kind = trades["trade_type"].astype("str")
    is_buy = (trades["side"].astype("str") == "buy").to_numpy()
    names = np.where(is_buy, BUY.name, SELL.name)
    for trade_types, marker in (
        (("stop_loss",), STOPPED),
        (("take_profit",), TAKEN),
        (("market_limit", "flexible_trigger"), TRIGGERED),
        (("repair", "accounting_correction"), CORRECTED),
    ):
        names = np.where(kind.isin(trade_types).to_numpy(), marker.name, names)
    names = np.where(undone, FAILED.name, names)
    done = trades.assign(
        marker_at=trades["executed_at"].where(~undone, trades["opened_at"]),
        marker_price=trades["executed_price"].where(~undone, trades["planned_price"]).astype("float64"),
    )
    shown &= done["marker_at"].notna().to_numpy() & np.isfinite(done["marker_price"].to_numpy())
    return {kind: done[shown & (names == kind.name)] for kind in MARKER_KINDS if (shown & (names == kind.name)).any()}
