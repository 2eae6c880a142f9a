"""What the trigger checks look at of one position: the candles of its pair as plain floats; whether any may fire."""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np
import numpy.typing as npt

from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trigger import TriggerModel
from trading_dagster.pricing.candle_pricing import PriceColumns
from trading_dagster.strategy.trigger import fired_trigger, trailed_stop
from trading_dagster.strategy.waiting_order import may_fire_between

_NOTHING = memoryview(b"")


class FeedColumns:
    """The columns of a stop-loss feed; lows and highs only where the model looks at them."""

    def __init__(self, opens: PriceColumns, model: TriggerModel) -> None:
        """Read the panel of ``opens``."""
        self.opens = opens
        self.is_intrabar = model is TriggerModel.intrabar
        self._extremes: dict[int, tuple[memoryview, memoryview]] = {}
        self._arrays: dict[int, npt.NDArray[np.float64]] = {}

    def array(self, pair_id: int) -> npt.NDArray[np.float64]:
        """Return the opens of a pair as an array."""
        array = self._arrays.get(pair_id)
        if array is None:
            array = self._arrays[pair_id] = np.asarray(self.opens.view(pair_id))
        return array

    def extremes(self, pair_id: int) -> tuple[memoryview, memoryview]:
        """Return lows and highs of a pair by bar number, NaN where there is no candle; empty if not looked at."""
        if not self.is_intrabar:
            return _NOTHING, _NOTHING
        known = self._extremes.get(pair_id)
        if known is None:
            panel = self.opens.panel
            row = panel.row_of(pair_id)
            low, high, opened = (panel.columns[name][row] for name in ("low", "high", "open"))
            exists = panel.exists[row]
            known = (
                memoryview(np.where(exists, np.fmin(low, opened), np.nan).data),
                memoryview(np.where(exists, np.fmax(high, opened), np.nan).data),
            )
            self._extremes[pair_id] = known
        return known


class Watch:
    """A position that is watched."""

    __slots__ = (
        "_open_array", "has_waiting", "highs", "is_open", "is_short", "liquidation_level", "lows", "opens", "position",
    )  # fmt: skip

    def __init__(self, position: TradingPosition, columns: FeedColumns) -> None:
        """Watch a position on the candles of its pair."""
        pair_id = position.pair.get_pricing_pair().internal_id or 0
        self.position = position
        self.opens = columns.opens.view(pair_id)
        self._open_array = columns.array(pair_id)
        self.lows, self.highs = columns.extremes(pair_id)
        self.is_short = position.is_short()
        self.liquidation_level = math.inf
        """The mid price at which the lending protocol ends the position; infinite without a debt."""
        self.is_open = self.has_waiting = False
        self.refresh()

    def refresh(self) -> None:
        """Look again at what trades and interest change."""
        position = self.position
        self.is_open = position.is_open()
        self.has_waiting = bool(position.pending_trades)
        if position.pair.has_loan:
            self.liquidation_level = position.get_liquidation_level() or math.inf

    def has_candle(self, bar: int) -> bool:
        """Tell whether a bar's low and high are known."""
        low: float = self.lows[bar]
        return low == low  # noqa: PLR0124 - NaN is not equal to itself

    def may_fire(self, first: int, last: int, last_at: datetime) -> bool:
        """Tell whether anything may fire, expire or move in bars first .. last, of which the last opens at a time."""
        position = self.position
        if self._is_stop_only():
            stop = position.stop_loss
            return stop is not None and bool(np.fmin.reduce(self._open_array[first : last + 1]) <= stop)
        low, high = self._range(first, last)
        if self.has_waiting and may_fire_between(position, last_at, low=low, high=high):
            return True
        if not self.is_open:
            return False
        if high >= self.liquidation_level or _fires_at(position, low):
            return True
        return _fires_at(position, high)

    def _is_stop_only(self) -> bool:
        """Tell whether nothing but a long's stop loss is looked for, at opens."""
        position = self.position
        return (
            position.take_profit is None
            and position.trailing_stop_loss_pct is None
            and self.is_open
            and not self.is_short
            and not self.has_waiting
            and not self.lows
        )

    def _range(self, first: int, last: int) -> tuple[float, float]:
        """Return the lowest and the highest price that is looked at."""
        opens = self._open_array[first : last + 1]
        low, high = float(np.fmin.reduce(opens)), float(np.fmax.reduce(opens))
        if self.lows:
            low = min(low, float(np.fmin.reduce(_part(self.lows, first, last))))
            high = max(high, float(np.fmax.reduce(_part(self.highs, first, last))))
        return low, high


def _part(view: memoryview, first: int, last: int) -> npt.NDArray[np.float64]:
    return np.asarray(view)[first : last + 1]


def _fires_at(position: TradingPosition, mid: float) -> bool:
    """Tell whether a mid price would close a position or move its trailing stop."""
    return fired_trigger(position, mid) is not None or trailed_stop(position, mid) is not None
