"""Which candles a live source has closed: what starts a cycle, and what keeps stale data from being traded on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from trading_dagster.domain.identifier import HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket


@dataclass(frozen=True, slots=True)
class CandleAvailability:
    """What a source has of one pair in one bucket; opens of closed candles, naive UTC.

    ``last_supposed_candle_at``: the newest bar known to have had no trades, for which no candle will come.
    """

    pair: HumanReadableTradingPairDescription
    bucket: TimeBucket
    last_candle_at: datetime | None
    last_supposed_candle_at: datetime | None = None

    @property
    def newest_at(self) -> datetime | None:
        """Return the open of the newest bar about which all is known, None without any."""
        known = [at for at in (self.last_candle_at, self.last_supposed_candle_at) if at is not None]
        return max(known, default=None)

    def is_ready(self, decision_at: datetime) -> bool:
        """Tell whether every candle that a decision at a naive UTC time may see is there."""
        newest = self.newest_at
        return newest is not None and newest >= decision_at - self.bucket.to_timedelta()


@runtime_checkable
class AvailabilitySource(Protocol):
    """A candle source that can serve live trading: it knows what is closed, and the open of the candle in progress.

    Its ``load_candles`` also yields the candle in progress, as far as it is known, when asked for a range that has it.
    """

    def read_availability(
        self, pairs: Sequence[HumanReadableTradingPairDescription], bucket: TimeBucket
    ) -> Sequence[CandleAvailability]:
        """Return what there is of each pair, in the order given; raises UnknownPair, DataUnavailable."""
        ...
