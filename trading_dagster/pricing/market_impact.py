"""Price impact measured on candles: what was known of a pair's market before a trade."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np

from trading_dagster.domain.error import ParameterTypeInvalid
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.trade import TradePricing
from trading_dagster.market.panel import ONE_US, CandlePanel
from trading_dagster.pricing.candle_pricing import PriceColumns
from trading_dagster.pricing.cost import PriceImpact

DAY = timedelta(days=1)
CLOSES_FOR_VOLATILITY = 3


def impact_of(pricing: TradePricing) -> float:
    """Return the price impact in a candle's price: i of x (1 + i) for a buy, ÷ (1 + i) for a sell."""
    plain = price_without_impact(pricing)
    if pricing.price == plain:
        return 0.0
    return pricing.price / plain - 1 if pricing.side else plain / pricing.price - 1


def price_without_impact(pricing: TradePricing) -> float:
    """Return what a candle's price would be for a trade without size: mid with the fee."""
    return pricing.mid_price * (1 + pricing.pair_fee if pricing.side else 1 - pricing.pair_fee)


class MarketImpact:
    """Measures a strategy's price impact on its candles; sees nothing that was not known at the trade's time."""

    def __init__(
        self, impact: PriceImpact, candles: CandlePanel, liquidity: CandlePanel | None, tolerance: timedelta
    ) -> None:
        """Measure volume on ``candles`` and TVL on ``liquidity``, which may be ``tolerance`` old."""
        self._impact = impact
        self._candles = candles
        self._liquidity = None if liquidity is None else PriceColumns(liquidity, "open", tolerance)

    def fraction_of(self, pair: TradingPairIdentifier, timestamp_us: int, value: float) -> float:
        """Return the impact of a trade worth ``value`` USD, see PriceImpact.

        Raises:
            LiquidityDataUnavailable: there is nothing to measure it on.
            ParameterTypeInvalid: an impact of the user's own is no number from 0 on.
        """
        if pair.is_vault():  # a vault has one price for everybody
            return 0.0
        fraction = self._impact.impact(value, _Depth(self, pair, timestamp_us))
        if not 0 <= fraction < math.inf:
            raise ParameterTypeInvalid(
                f"{self._impact!r} gave {fraction!r} for {value} USD of {pair.get_ticker()}: a fraction from 0 on is "
                "expected, a cost never gives money"
            )
        return float(fraction)

    def tvl_of(self, pair: TradingPairIdentifier, timestamp_us: int) -> float | None:
        """Return the open of the TVL candle at or before a time, None when it is missing or too old."""
        columns, pair_id = self._liquidity, pair.internal_id
        if columns is None or pair_id is None or not columns.has_pair(pair_id):
            return None
        return columns.at(pair_id, timestamp_us)

    def closed_bars(
        self, pair: TradingPairIdentifier, timestamp_us: int, window: timedelta
    ) -> tuple[int, slice] | None:
        """Return the panel's row of a pair, and its bars of a window that closed by a time; None without any."""
        panel, pair_id = self._candles, pair.internal_id
        if pair_id is None or not panel.has_pair(pair_id):
            return None
        end = min((timestamp_us - panel.start_us) // panel.width_us, panel.bar_count)
        first = max(end - max(window // ONE_US // panel.width_us, 1), 0)
        return None if end <= first else (panel.row_of(pair_id), slice(first, end))

    @property
    def candles(self) -> CandlePanel:
        """Return the candles volume is measured on."""
        return self._candles


class _Depth:
    """A pair's market at a time: a MarketDepth."""

    __slots__ = ("_impact", "_timestamp_us", "pair")

    def __init__(self, impact: MarketImpact, pair: TradingPairIdentifier, timestamp_us: int) -> None:
        self._impact = impact
        self._timestamp_us = timestamp_us
        self.pair = pair.get_pricing_pair()

    def tvl(self) -> float | None:
        return self._impact.tvl_of(self.pair, self._timestamp_us)

    def daily_volume(self, window: timedelta, is_volume_in_usd: bool) -> float | None:
        found = self._impact.closed_bars(self.pair, self._timestamp_us, window)
        if found is None:
            return None
        panel, (row, bars) = self._impact.candles, found
        exists = panel.exists[row, bars]
        volume = np.where(exists, panel.columns["volume"][row, bars], 0.0)
        if not is_volume_in_usd:
            volume = volume * np.where(exists, panel.columns["close"][row, bars], 0.0)
        listed = len(volume) - int(np.argmax(exists)) if exists.any() else len(volume)
        days = listed * (panel.bucket.to_timedelta() / DAY)
        return float(volume.sum()) / days

    def daily_volatility(self, window: timedelta) -> float | None:
        found = self._impact.closed_bars(self.pair, self._timestamp_us, window)
        if found is None:
            return None
        panel, (row, bars) = self._impact.candles, found
        closes = panel.columns["close"][row, bars][panel.exists[row, bars]]
        if len(closes) < CLOSES_FOR_VOLATILITY:
            return None
        deviation = float(np.diff(np.log(closes)).std(ddof=1))
        return deviation * math.sqrt(DAY / panel.bucket.to_timedelta())
