"""Candles in frames as a source: the twin of files and exchanges for tests and notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import pandas as pd

from trading_dagster.domain.error import MarketDataMissing
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.availability import CandleAvailability, Now, read_stored_availability, utc_now
from trading_dagster.market.contract import Candles
from trading_dagster.market.source import Market


class MemorySource:
    """Candles of one venue held in memory.

    Args:
        candles: By bucket a frame with ``timestamp`` (naive UTC), ``pair`` (BASE/QUOTE) and open, high, low, close,
            volume.
        exchange: Venue.
        liquidity: By bucket a frame with ``timestamp``, ``pair``, open, high, low, close of TVL in USD.
        fee: Trading fee of all pairs as a fraction, None if unknown.
        name: For messages.
        now: The clock that tells which candles are closed.
    """

    def __init__(
        self,
        candles: dict[TimeBucket, Candles],
        *,
        exchange: str = "memory",
        liquidity: dict[TimeBucket, Candles] | None = None,
        fee: float | None = None,
        name: str = "memory",
        now: Now = utc_now,
    ) -> None:
        self.name = name
        self._candles = candles
        self._liquidity = liquidity or {}
        self._exchange = exchange
        self._fee = fee
        self._now = now

    def list_markets(self) -> Sequence[Market]:
        """Return the pairs of all frames, by bucket and pair."""
        return self._markets(self._candles)

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the candles that open in [start, end); see `CandleSource`."""
        yield from self._select(self._candles, markets, start, end)

    def read_availability(
        self, pairs: Sequence[HumanReadableTradingPairDescription], bucket: TimeBucket
    ) -> Sequence[CandleAvailability]:
        """Return what is closed of each pair; see `read_stored_availability`."""
        return read_stored_availability(self, pairs, bucket, self._now())

    def list_liquidity(self) -> Sequence[Market]:
        """Return the pairs whose TVL there is."""
        return self._markets(self._liquidity)

    def load_liquidity(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the TVL of [start, end); see `LiquiditySource`."""
        yield from self._select(self._liquidity, markets, start, end)

    def _markets(self, frames: dict[TimeBucket, Candles]) -> tuple[Market, ...]:
        return tuple(
            Market(
                ChainId.centralised_exchange,
                self._exchange,
                str(pair),
                bucket,
                times.min().to_pydatetime(),
                times.max().to_pydatetime(),
                self._fee,
            )
            for bucket, frame in frames.items()
            for pair, times in frame.groupby("pair", sort=True, observed=True)["timestamp"]
        )

    def _select(
        self, frames: dict[TimeBucket, Candles], markets: Sequence[Market], start: datetime, end: datetime
    ) -> Iterator[Candles]:
        for bucket in dict.fromkeys(market.bucket for market in markets):
            if bucket not in frames:
                raise MarketDataMissing(f"{self.name}: no {bucket.value} candles: there are {[*frames]}")
            frame = frames[bucket]
            times = frame["timestamp"]
            wanted = frame["pair"].isin([market.pair for market in markets])
            yield frame[wanted & (times >= pd.Timestamp(start)) & (times < pd.Timestamp(end))]
