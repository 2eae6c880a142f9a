"""How old the data of a universe is: what must not be traded on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from trading_dagster.domain.error import DataTooOld
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.time import from_unix_us, require_naive_utc, to_unix_us
from trading_dagster.market.availability import CandleAvailability
from trading_dagster.market.panel import CandlePanel
from trading_dagster.market.universe import TradingStrategyUniverse

LAG_TOLERANCE = timedelta(minutes=30)
"""By how much more than one bucket the newest closed candle may be old before a decision."""


@dataclass(frozen=True, slots=True)
class DataAge:
    """How old the newest real row of a pair is.

    Args:
        pair: Whose data.
        what: "candle" or "TVL".
        newest_at: Open of the newest row that is not filled, or of a later bar known to have had no trades; naive UTC,
            None without any.
        age: Time since then, None without any.
    """

    pair: TradingPairIdentifier
    what: str
    newest_at: datetime | None
    age: timedelta | None

    def __str__(self) -> str:
        """Return one line for a message."""
        name = f"{self.pair.get_ticker()} ({self.pair.exchange_name or self.pair.exchange_address})"
        if self.newest_at is None:
            return f"{name}: no {self.what} at all"
        return f"{name}: newest {self.what} {self.newest_at}, {self.age} old"


def check_lag(
    at: datetime,
    universe: TradingStrategyUniverse,
    *,
    pairs: Iterable[TradingPairIdentifier] | None = None,
    availability: Sequence[CandleAvailability] = (),
    tolerance: timedelta = LAG_TOLERANCE,
) -> list[DataAge]:
    """Refuse a decision on a universe in which a pair's newest closed candle is missing; return the ages.

    The newest candle of every pair that is closed at ``at``, filled ones not counted, may be older than its bucket by
    the tolerance, counted from its open. Bars of which the source says that they had no trades count as candles.

    Args:
        at: Time of the decision, naive UTC.
        universe: What would be decided on.
        pairs: Those in use; None takes all.
        availability: What the source says of its pairs, of which the bars without trades are looked at.
        tolerance: By how much a candle may be late.

    Raises:
        DataTooOld: Names the pairs that lag and their ages.
        UnknownPair: A pair or a description is not in the universe.
    """
    bucket = universe.time_bucket.to_timedelta()
    closed_until = require_naive_utc(at) - bucket
    quiet = _quiet_bars(universe, availability)
    ages = [
        _measure(universe.candles, pair, "candle", at, closed_until, quiet.get(pair.internal_id))
        for pair in _priced(universe, pairs)
    ]
    _refuse(ages, tolerance + bucket, f"at {at}: a decision needs candles no older than {tolerance + bucket}")
    return ages


def check_data_age(
    at: datetime,
    universe: TradingStrategyUniverse,
    max_delay: timedelta,
    *,
    pairs: Iterable[TradingPairIdentifier] | None = None,
    availability: Sequence[CandleAvailability] = (),
) -> list[DataAge]:
    """Refuse a universe in which a pair's newest real candle or TVL row is too old; return the ages.

    It may have opened ``max_delay`` before ``at``, not earlier. Filled rows do not count; the candle in progress does,
    where it is known. Run it at start and in every cycle.

    Args:
        at: The present, naive UTC.
        universe: What would be traded on.
        max_delay: Oldest that data may be.
        pairs: Those in use; None takes all.
        availability: As of `check_lag`.

    Raises:
        DataTooOld: Names the stale pairs and their ages.
        UnknownPair: A pair or a description is not in the universe.
    """
    require_naive_utc(at)
    quiet = _quiet_bars(universe, availability)
    chosen = _priced(universe, pairs)
    ages = [_measure(universe.candles, pair, "candle", at, at, quiet.get(pair.internal_id)) for pair in chosen]
    if universe.liquidity is not None:
        ages += [_measure(universe.liquidity, pair, "TVL", at, at, None) for pair in chosen]
    _refuse(ages, max_delay, f"at {at}: data may be {max_delay} old")
    return ages


def _quiet_bars(
    universe: TradingStrategyUniverse, availability: Sequence[CandleAvailability]
) -> dict[int | None, datetime]:
    """Return by pair id the newest bar known to have had no trades."""
    return {
        universe.resolve_pair(item.pair).internal_id: item.last_supposed_candle_at
        for item in availability
        if item.last_supposed_candle_at is not None
    }


def _priced(
    universe: TradingStrategyUniverse, pairs: Iterable[TradingPairIdentifier] | None
) -> list[TradingPairIdentifier]:
    """Return the pairs whose candles are looked at, each once."""
    chosen = universe.pairs if pairs is None else pairs
    own = (universe.resolve_pair(pair.get_pricing_pair()) for pair in chosen)
    return list({pair.internal_id: pair for pair in own}.values())


def _measure(
    panel: CandlePanel,
    pair: TradingPairIdentifier,
    what: str,
    at: datetime,
    newest_allowed: datetime,
    quiet_at: datetime | None,
) -> DataAge:
    """Return the age of a pair's newest real row that opened at or before a time."""
    assert pair.internal_id is not None
    row = panel.row_of(pair.internal_id)
    end = min(panel.bar_count, panel.bar_at(to_unix_us(newest_allowed)) + 1)
    real = np.flatnonzero(panel.exists[row, : max(0, end)] & ~panel.forward_filled[row, : max(0, end)])
    known = [] if quiet_at is None else [quiet_at]
    if len(real):
        known.append(from_unix_us(panel.start_us + int(real[-1]) * panel.width_us))
    newest_at = max(known, default=None)
    return DataAge(pair, what, newest_at, None if newest_at is None else at - newest_at)


def _refuse(ages: Sequence[DataAge], longest: timedelta, rule: str) -> None:
    stale = [age for age in ages if age.age is None or age.age > longest]
    if stale:
        raise DataTooOld(
            f"{len(stale)} of {len(ages)} data feeds are too old {rule}. "
            + "; ".join(map(str, stale))
            + ". Bring the data up to date, or take the pairs out of the universe if they stopped trading"
        )
