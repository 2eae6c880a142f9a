"""The views of market data that ported strategies know as ``strategy_universe.data_universe``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import pandas as pd

from trading_dagster.domain.error import CandleSampleUnavailable
from trading_dagster.domain.identifier import ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us
from trading_dagster.market.contract import Candles
from trading_dagster.market.exchange import Exchange
from trading_dagster.market.lending import LendingUniverse
from trading_dagster.market.pair_universe import PairUniverse
from trading_dagster.market.panel import CandlePanel


class CandleUniverse:
    """Candles (or TVL) of all pairs as pandas frames, made on demand from a panel."""

    def __init__(self, panel: CandlePanel) -> None:
        self.panel = panel

    @property
    def time_bucket(self) -> TimeBucket:
        """Return the width of the candles."""
        return self.panel.bucket

    @cached_property
    def df(self) -> Candles:
        """Return all candles: timestamp, pair_id, the columns, sorted by pair and time."""
        frames = []
        for pair_id in self.panel.pair_ids:
            frame = self.panel.frame(pair_id, tuple(self.panel.columns))
            frame.insert(0, "pair_id", pair_id)
            frames.append(frame.reset_index(names="timestamp"))
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def get_pair_count(self) -> int:
        """Return the number of pairs."""
        return len(self.panel.pair_ids)

    def get_candle_count(self) -> int:
        """Return the number of candles, filled ones included."""
        return int(self.panel.exists.sum())

    def get_candles_by_pair(self, pair: TradingPairIdentifier | int) -> Candles:
        """Return the candles of a pair indexed by open time; raises UnknownPair."""
        return self.panel.frame(_pair_id(pair), tuple(self.panel.columns))

    def get_samples_by_pair(self, pair: TradingPairIdentifier | int) -> Candles:
        """Return the same as `get_candles_by_pair`."""
        return self.get_candles_by_pair(pair)

    def get_timestamp_range(self) -> tuple[datetime | None, datetime | None]:
        """Return the open times of the first and the last bar, (None, None) without data."""
        if self.panel.bar_count == 0:
            return None, None
        return self.panel.start_at, from_unix_us(int(self.panel.times_us[-1]))

    def get_price_with_tolerance(
        self, pair: TradingPairIdentifier | int, when: datetime, tolerance: timedelta, kind: str = "close"
    ) -> tuple[float, timedelta]:
        """Return the value of the bar that contains an instant, or of the latest earlier one, and that bar's age.

        Raises:
            CandleSampleUnavailable: No bar within the tolerance.
        """
        row = self.panel.row_of(_pair_id(pair))
        bar = min(self.panel.bar_at(to_unix_us(when)), self.panel.bar_count - 1)
        while bar >= 0 and not self.panel.exists[row, bar]:
            bar -= 1
        opened_at = self.panel.start_at + bar * self.panel.bucket.to_timedelta()
        age = when - opened_at
        if bar < 0 or age > tolerance:
            raise CandleSampleUnavailable(
                f"No candle of pair id {_pair_id(pair)} at {when} or within {tolerance} before it"
            )
        return float(self.panel.columns[kind][row, bar]), age


@dataclass(frozen=True, eq=False)
class DataUniverse:
    """Pairs, venues and candles of a universe."""

    time_bucket: TimeBucket
    chains: frozenset[ChainId]
    exchanges: Sequence[Exchange]
    pairs: PairUniverse
    candles: CandleUniverse
    liquidity: CandleUniverse | None
    lending_candles: LendingUniverse | None


def _pair_id(pair: TradingPairIdentifier | int) -> int:
    if isinstance(pair, TradingPairIdentifier):
        return -1 if pair.internal_id is None else pair.internal_id
    return pair
