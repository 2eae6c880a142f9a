"""Pairs whose candles stop: their positions are closed at the last real price once the tolerance has passed.

Nothing is known of later: a pair counts as gone at the first decision at which it missed more of the market's candles
than the price tolerance allows, whether or not candles come again. Times without a candle of any pair, as in an outage
of the exchange, do not count. While it is gone a pair cannot be traded.

A vault that is gone settles first what waits, at the last real price and whenever it was due; then all shares are sold
at that price, at once and whatever its limits say.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.time import from_unix_us
from trading_dagster.domain.trade import TradeExecution, TradeType
from trading_dagster.execution.vault_settlement import VaultSettlement
from trading_dagster.market.panel import ONE_US, CandlePanel
from trading_dagster.pricing.candle_pricing import CandlePricing
from trading_dagster.strategy.position_manager import PositionManager

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LastPrice:
    """What is known of a pair that is gone: its last real price, and from when on it has no candle."""

    ticker: str
    price: float
    since: datetime

    def __str__(self) -> str:
        """Return a line a person can read."""
        return f"{self.ticker} is gone: no candle since {self.since}"


class Delistings:
    """The decisions at which pairs of a panel turn out to be gone."""

    def __init__(self, candles: CandlePanel, tolerance: timedelta, grid_us: npt.NDArray[np.int64]) -> None:
        """Look for pairs that miss candles for longer than ``tolerance``, on a grid of decision times."""
        self._candles = candles
        self._gone = _find_gone(candles, tolerance // ONE_US, grid_us)
        self._cycles = sorted(self._gone)

    def next_from(self, index: int) -> int | None:
        """Return the first cycle index from one on at which a pair is gone."""
        place = bisect_left(self._cycles, index)
        return self._cycles[place] if place < len(self._cycles) else None

    def plan_closes(self, index: int, manager: PositionManager, pricing: CandlePricing) -> list[TradeExecution]:
        """Plan to close the open positions on pairs that are gone at a cycle, where the manager's clock stands."""
        trades: list[TradeExecution] = []
        for position, last in self._list_gone(index, manager):
            if not position.get_available_trading_quantity() and not position.is_short():
                continue  # a deposit that was too little to buy anything
            text = f"{last}; closed at its last real price {last.price}"
            manager.log(text, logging.WARNING)
            with pricing.at_mid(last.price), pricing.without_impact():
                trades += manager.close_position(position, trade_type=TradeType.delisting, notes=text)
        return trades

    def settle_orders(self, index: int, manager: PositionManager, settlement: VaultSettlement) -> None:
        """Settle what vaults that are gone at a cycle still had to, where the manager's clock stands."""
        if not manager.state.portfolio.settlements:
            return
        for position, last in self._list_gone(index, manager):
            for trade in settlement.settle_last(manager.timestamp, manager.state, position, last.price):
                what = "deposit" if trade.is_buy() else "redemption"
                text = f"{last}; its {what} #{trade.trade_id} settled at its last real price {last.price}"
                manager.log(text, logging.WARNING)

    def _list_gone(self, index: int, manager: PositionManager) -> list[tuple[TradingPosition, LastPrice]]:
        """Return the open positions on pairs that are gone at a cycle, with their last real prices."""
        gone, candles = self._gone.get(index, {}), self._candles
        found = []
        for position in manager.state.portfolio.get_open_positions():
            pair_id = position.pair.get_pricing_pair().internal_id
            bar = None if pair_id is None else gone.get(pair_id)
            if bar is None or pair_id is None or position.is_credit_supply():
                continue
            price = float(candles.columns["close"][candles.row_of(pair_id), bar])
            since = from_unix_us(candles.start_us + (bar + 1) * candles.width_us)
            found.append((position, LastPrice(position.pair.get_ticker(), price, since)))
        return found


def _find_gone(candles: CandlePanel, tolerance_us: int, grid_us: npt.NDArray[np.int64]) -> Mapping[int, dict[int, int]]:
    """Return by cycle index the pairs that are first missed there, each with its last bar."""
    gone: dict[int, dict[int, int]] = {}
    if candles.exists.all():
        return gone
    market = np.cumsum(candles.exists.any(axis=0))  # bars of the market up to each
    for row, pair_id in enumerate(candles.pair_ids):
        if candles.exists[row].all():
            continue
        bars = np.flatnonzero(candles.exists[row])
        followed = np.append(bars[1:], candles.bar_count)
        missed = np.searchsorted(market, market[bars] + tolerance_us // candles.width_us, side="right")
        for place in np.flatnonzero(missed < followed).tolist():
            index = int(np.searchsorted(grid_us, candles.start_us + int(missed[place]) * candles.width_us))
            if index < len(grid_us) and grid_us[index] < candles.start_us + int(followed[place]) * candles.width_us:
                gone.setdefault(index, {})[pair_id] = int(bars[place])
    return gone
