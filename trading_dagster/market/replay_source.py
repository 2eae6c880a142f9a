"""Candles of the past served as if they happened now: what makes a live strategy run on history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd

from trading_dagster.domain.error import BadConfiguration, BadInput, MarketDataMissing
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket, require_naive_utc, to_naive
from trading_dagster.market.availability import CandleAvailability, Now, find_newest_opens, floor_or_none
from trading_dagster.market.contract import Candles
from trading_dagster.market.exchange import format_description
from trading_dagster.market.panel import OHLCV, PRICE_COLUMNS
from trading_dagster.market.source import CandleSource, LiquiditySource, Market, choose_market

ONE_US = timedelta(microseconds=1)
MarketKey = tuple[int, str, str, TimeBucket, float | None]
Load = Callable[[Sequence[Market], datetime, datetime], Iterator[Candles]]


class ReplaySource:
    """Another source's candles up to a moving present, and nothing later.

    Served are the candles that are closed, and of the one in progress only what is known when it opens: its open
    stands for high, low and close, its volume is 0. A bar of a coarser bucket made of these is in progress too. All
    becomes visible ``publication_delay`` after it happened: the close of one candle with the open of the next.

    Args:
        inner: Where the candles are. Give pools their identity inside of it: ``ReplaySource(MappedSource(...), now)``.
        now: The clock of the replay, aware UTC; a picklable one can be taken to another process.
        publication_delay: How long after a candle's close it appears, in the time of the replay.
        complete_until: Up to when, naive UTC, ``inner`` is known to have all candles, so that a missing one means that
            there were no trades; None takes each market's own last candle.
    """

    def __init__(
        self,
        inner: CandleSource,
        now: Now,
        *,
        publication_delay: timedelta = timedelta(0),
        complete_until: datetime | None = None,
    ) -> None:
        if publication_delay < timedelta(0):
            raise BadConfiguration(f"publication_delay is {publication_delay}: candles appear after their close")
        self.name = f"replay of {inner.name}"
        self._inner = inner
        self._now = now
        self._delay = publication_delay
        self._complete_until = None if complete_until is None else require_naive_utc(complete_until)

    def list_markets(self) -> Sequence[Market]:
        """Return the markets that have begun, each up to its newest candle, closed or in progress."""
        return self._begun(self._inner.list_markets(), self._inner, self.seen_until())

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield what is known of the candles that open in [start, end); see `CandleSource`."""
        yield from self._load(self._inner.list_markets(), self._inner.load_candles, OHLCV, markets, (start, end))

    def list_liquidity(self) -> Sequence[Market]:
        """Return the markets whose TVL has begun; raises BadInput when the replayed source has no TVL."""
        inner = _Liquidity(self._inner)
        return self._begun(inner.list_markets(), inner, self.seen_until())

    def load_liquidity(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield what is known of the TVL of [start, end); see `LiquiditySource`."""
        inner = _Liquidity(self._inner)
        yield from self._load(inner.list_markets(), inner.load_candles, PRICE_COLUMNS, markets, (start, end))

    def read_availability(
        self, pairs: Sequence[HumanReadableTradingPairDescription], bucket: TimeBucket
    ) -> Sequence[CandleAvailability]:
        """Return what is closed of each pair.

        A bar without a candle had no trades, if the replayed source has later candles of the pair or is complete.
        """
        seen_until = self.seen_until()
        markets = self._inner.list_markets()
        chosen = [choose_market(markets, description, bucket, self.name) for description in pairs]
        limits = {
            market: bucket.floor(min(seen_until, max(market.end_at, self._complete_until or market.end_at)))
            for market in chosen
        }
        newest = find_newest_opens(self._inner, limits)
        return [
            _describe(description, bucket, newest[market], limits[market])
            for description, market in zip(pairs, chosen, strict=True)
        ]

    def read_open(self, pair: HumanReadableTradingPairDescription, bucket: TimeBucket) -> tuple[datetime, float] | None:
        """Return time and price of the newest open that is known of a pair, None before its first candle.

        Raises UnknownPair, BadInput.
        """
        market = choose_market(self._inner.list_markets(), pair, bucket, self.name)
        opened_at = find_newest_opens(self._inner, {market: self.seen_until() + ONE_US})[market]
        if opened_at is None:
            return None
        for frame in self._inner.load_candles([market], opened_at, opened_at + ONE_US):
            for price in frame["open"]:
                return opened_at, float(price)
        raise MarketDataMissing(f"{self._inner.name}: the candle of {market.pair} at {opened_at} is gone")

    def seen_until(self) -> datetime:
        """Return up to when everything that happened is visible now, naive UTC."""
        return to_naive(self._now()) - self._delay

    def _begun(self, markets: Sequence[Market], inner: CandleSource, seen_until: datetime) -> tuple[Market, ...]:
        newest = find_newest_opens(inner, dict.fromkeys(markets, seen_until + ONE_US))
        return tuple(replace(market, last_at=last_at) for market in markets if (last_at := newest[market]) is not None)

    def _load(
        self,
        known: Sequence[Market],
        load: Load,
        columns: Sequence[str],
        markets: Sequence[Market],
        span: tuple[datetime, datetime],
    ) -> Iterator[Candles]:
        """Load from the markets of the replayed source what those asked for are up to now."""
        seen_until = self.seen_until()
        by_key = {_key(market): market for market in known}
        wanted = []
        for market in markets:
            if _key(market) not in by_key:
                raise MarketDataMissing(
                    f"{self.name}: no candles of {format_description(market.description)} in {market.bucket.value}"
                )
            wanted.append(by_key[_key(market)])
        start, end = span[0], min(span[1], seen_until + ONE_US)
        if not wanted or start >= end:
            return
        width = wanted[0].bucket.to_timedelta()
        for frame in load(wanted, start, end):
            yield _hide_future(frame, columns, seen_until, width)


class _Liquidity:
    """The TVL of a source in the shape of candles; raises BadInput when it has none."""

    def __init__(self, inner: CandleSource) -> None:
        if not isinstance(inner, LiquiditySource):
            raise BadInput(f"liquidity: {inner.name} has no TVL; load without, or use a source that has it")
        self.name = inner.name
        self._inner = inner

    def list_markets(self) -> Sequence[Market]:
        return self._inner.list_liquidity()

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        return self._inner.load_liquidity(markets, start, end)


def _key(market: Market) -> MarketKey:
    return (int(market.chain_id), market.exchange_slug, market.pair, market.bucket, market.fee)


def _describe(
    pair: HumanReadableTradingPairDescription, bucket: TimeBucket, newest: datetime | None, limit: datetime
) -> CandleAvailability:
    last_at = floor_or_none(newest, bucket)
    last_closed = limit - bucket.to_timedelta()
    is_quiet = last_at is not None and last_at < last_closed
    return CandleAvailability(pair, bucket, last_at, last_closed if is_quiet else None)


def _hide_future(frame: Candles, columns: Sequence[str], seen_until: datetime, width: timedelta) -> Candles:
    """Return the candles that have opened, without what happened in those that are not closed."""
    times = frame["timestamp"]
    shown = frame.loc[times <= pd.Timestamp(seen_until), ["timestamp", "pair", *columns]].copy()
    in_progress = shown["timestamp"] > pd.Timestamp(seen_until - width)
    for name in ("high", "low", "close"):
        shown[name] = shown[name].where(~in_progress, shown["open"])
    if "volume" in columns:
        shown["volume"] = shown["volume"].where(~in_progress, 0.0)
    return shown
