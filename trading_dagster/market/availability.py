"""Which candles a live source has closed: what starts a cycle, and what keeps stale data from being traded on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeAlias, runtime_checkable

from trading_dagster.domain.identifier import HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket, to_naive
from trading_dagster.market.source import CandleSource, Market, choose_market, group_markets

Now: TypeAlias = Callable[[], datetime]
"""What tells the time, aware UTC."""

FIRST_LOOK_BARS = 64
WIDER_LOOK = 8


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


def utc_now() -> datetime:
    """Return the present by the wall clock, aware UTC."""
    return datetime.now(UTC)


def read_stored_availability(
    source: CandleSource, pairs: Sequence[HumanReadableTradingPairDescription], bucket: TimeBucket, now: datetime
) -> list[CandleAvailability]:
    """Return what a source of stored candles has closed, by the clock and by its own last candle.

    A candle counts once its bar is over; a bar made of finer candles counts once the finer ones reach its end. Nothing
    is known of bars after the last candle: whether they had no trades or are yet to be stored.

    Args:
        source: Where candles are.
        pairs: Human descriptions.
        bucket: Width of the bars asked for.
        now: The present, aware UTC.

    Raises:
        UnknownPair: The source does not have a pair.
        BadInput: The bucket cannot be made from the source's candles.
    """
    present = to_naive(now)
    markets = source.list_markets()
    chosen = [choose_market(markets, description, bucket, source.name) for description in pairs]
    limits = {market: bucket.floor(min(present, market.end_at)) for market in chosen}
    newest = find_newest_opens(source, limits)
    return [
        CandleAvailability(description, bucket, floor_or_none(newest[market], bucket))
        for description, market in zip(pairs, chosen, strict=True)
    ]


def floor_or_none(opened_at: datetime | None, bucket: TimeBucket) -> datetime | None:
    """Return the open of the bar in which a candle opened, None without a candle."""
    return None if opened_at is None else bucket.floor(opened_at)


def find_newest_opens(source: CandleSource, limits: Mapping[Market, datetime]) -> dict[Market, datetime | None]:
    """Return for each market the open of its newest candle that opens before a limit, None without any.

    Args:
        source: Where the candles are.
        limits: By market of the source the limit, naive UTC.
    """
    newest: dict[Market, datetime | None] = {}
    sought: dict[datetime, list[Market]] = {}
    for market, limit in limits.items():
        if market.first_at >= limit:
            newest[market] = None
        elif market.last_at < limit:
            newest[market] = market.last_at
        else:
            sought.setdefault(limit, []).append(market)
    for limit, members in sought.items():
        for group in group_markets(members):
            newest.update(_look_back(source, group, limit))
    return newest


def _look_back(source: CandleSource, markets: Sequence[Market], limit: datetime) -> dict[Market, datetime | None]:
    """Look for the newest candles in longer and longer stretches before a limit."""
    missing: dict[str, Market] = {market.pair: market for market in markets}
    found: dict[Market, datetime | None] = dict.fromkeys(markets)
    first_at = min(market.first_at for market in markets)
    end, span = limit, markets[0].bucket.to_timedelta() * FIRST_LOOK_BARS
    while missing and end > first_at:
        start = max(first_at, end - span)
        for pair, opened_at in _newest_of(source, list(missing.values()), start, end).items():
            found[missing.pop(pair)] = opened_at
        end, span = start, span * WIDER_LOOK
    return found


def _newest_of(source: CandleSource, markets: Iterable[Market], start: datetime, end: datetime) -> dict[str, datetime]:
    newest: dict[str, datetime] = {}
    for frame in source.load_candles(list(markets), start, end):
        for pair, opened_at in frame.groupby("pair", observed=True)["timestamp"].max().items():
            moment = opened_at.to_pydatetime()
            newest[str(pair)] = max(moment, newest.get(str(pair), moment))
    return newest
