"""Candles of a centralised exchange as a source: for downloads into the lake, and for live trading on paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadConfiguration, MarketDataMissing, UnknownPair
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_naive, to_unix_us
from trading_dagster.market.availability import CandleAvailability, Now, utc_now
from trading_dagster.market.contract import Candles
from trading_dagster.market.exchange import format_description
from trading_dagster.market.exchange_api import CandleApi, CcxtApi, ClockedApi
from trading_dagster.market.panel import OHLCV, ONE_US, Floats
from trading_dagster.market.source import Market, choose_market, suggest

EARLIEST = datetime(2010, 1, 1)  # noqa: DTZ001 - naive means UTC here
"""No exchange has candles from before."""

SETTLE = timedelta(minutes=2)
"""How long after its close a candle may still be missing or change."""

RECENT_BARS = 4


class ExchangeSource:
    """Candles of an exchange's spot pairs.

    Args:
        api: The exchange; a name is one of ccxt's, such as "binance".
        pairs: BASE/QUOTE of the pairs to serve; None for all, delisted ones too.
        name: For messages and lake folders; None takes the exchange's.
        settle: How long after its close a candle may still be missing or change. A bar that has no candle by then had
            no trades.
        now: The clock.
    """

    def __init__(
        self,
        api: CandleApi | str,
        *,
        pairs: Sequence[str] | None = None,
        name: str | None = None,
        settle: timedelta = SETTLE,
        now: Now = utc_now,
    ) -> None:
        self._api = CcxtApi(api) if isinstance(api, str) else api
        self.name = name or self._api.name
        self._wanted = None if pairs is None else tuple(dict.fromkeys(pairs))
        self._settle = settle
        self._now = now
        self._pairs: tuple[str, ...] | None = None
        self._first: dict[str, datetime] = {}
        self._closed: dict[tuple[str, TimeBucket], tuple[datetime, datetime | None]] = {}

    def list_markets(self) -> Sequence[Market]:
        """Return pairs by bucket and name, each up to the candle in progress; the first candle is a guess.

        Raises:
            UnknownPair: The exchange has not one of the pairs asked for.
            SourceUnavailable: It does not answer.
        """
        present = self._read_clock()
        return tuple(
            Market(
                chain_id=ChainId.centralised_exchange,
                exchange_slug=self._api.name,
                pair=pair,
                bucket=bucket,
                first_at=bucket.floor(self._first.get(pair, EARLIEST)),
                last_at=bucket.floor(present),
            )
            for bucket in self._api.list_buckets()
            for pair in self._list_pairs()
        )

    def measure(self, markets: Sequence[Market]) -> Sequence[Market]:
        """Return the markets with their real first candle, see `RemoteSource`; one request a pair, once."""
        widest = max(
            (bucket for bucket in self._api.list_buckets() if bucket.to_timedelta() <= timedelta(days=1)),
            key=lambda bucket: bucket.to_timedelta(),
        )
        for pair in dict.fromkeys(market.pair for market in markets):
            if pair not in self._first:
                rows = self._api.fetch_page(pair, widest, EARLIEST, 1)
                self._first[pair] = from_unix_us(int(rows[0, 0])) if len(rows) else EARLIEST
        return tuple(
            replace(market, first_at=max(market.first_at, market.bucket.floor(self._first[market.pair])))
            for market in markets
        )

    def closed_until(self, bucket: TimeBucket) -> datetime:
        """Return the close of the newest candle that will not change any more; see `RemoteSource`."""
        return bucket.floor(self._read_clock() - self._settle)

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the candles that open in [start, end), a frame a page; see `CandleSource`.

        Of the candle in progress only the open is told: it stands for high, low and close, the volume is 0.

        Raises:
            MarketDataMissing: A market is of another venue.
            SourceUnavailable: The exchange does not answer.
        """
        for market in markets:
            if market.exchange_slug != self._api.name or market.chain_id is not ChainId.centralised_exchange:
                raise MarketDataMissing(f"{self.name}: no candles of {format_description(market.description)}")
            for rows, in_progress in self._pages(market, start, end):
                yield _to_frame(rows, market, in_progress)

    def read_availability(
        self, pairs: Sequence[HumanReadableTradingPairDescription], bucket: TimeBucket
    ) -> Sequence[CandleAvailability]:
        """Return what is closed of each pair, in the order given.

        A bar is closed when a later candle has begun, or some time after its end. A closed bar without a candle had no
        trades.

        Raises:
            UnknownPair: The exchange has not such a pair.
            BadInput: The bucket cannot be made from the exchange's candles.
            SourceUnavailable: It does not answer.
        """
        markets = self.list_markets()
        found = []
        for description in pairs:
            market = choose_market(markets, description, bucket, self.name)
            closed, newest = self._read_closed(market, bucket)
            last_bar = closed - bucket.to_timedelta()
            last_at = None if newest is None else bucket.floor(newest)
            is_quiet = last_at is None or last_at < last_bar
            found.append(CandleAvailability(description, bucket, last_at, last_bar if is_quiet else None))
        return found

    def _read_closed(self, market: Market, bucket: TimeBucket) -> tuple[datetime, datetime | None]:
        """Return up to where bars of a bucket are closed, and the open of the newest candle before that."""
        present = self._read_clock()
        limit = bucket.floor(present)
        known = self._closed.get((market.pair, bucket))
        if known is not None and known[0] == limit:
            return known
        width = bucket.to_timedelta()
        since = limit - RECENT_BARS * width
        opens = [
            from_unix_us(int(opened))
            for rows, _ in self._pages(market, since, present + ONE_US)
            for opened in rows[:, 0].tolist()
        ]
        is_final = any(opened >= limit for opened in opens) or present >= limit + self._settle
        closed = limit if is_final else limit - width
        newest = max((opened for opened in opens if opened < closed), default=None)
        if is_final:
            self._closed[market.pair, bucket] = (closed, newest)
        return closed, newest

    def _pages(self, market: Market, start: datetime, end: datetime) -> Iterator[tuple[Floats, datetime]]:
        """Yield candles that open in [start, end), each once, in order of time, and what was in progress when asked.

        A page may be short, or repeat what came before: the next one begins after the last candle that came. A page
        with nothing new is asked for once more before it counts as a stretch without trades.
        """
        width = market.bucket.to_timedelta()
        position, end = market.bucket.ceil(start), min(end, self._read_clock() + ONE_US)
        is_repeated = False
        while position < end:
            asked = min(self._api.page_rows, -((position - end) // width))
            in_progress = market.bucket.floor(self._read_clock())
            page = self._api.fetch_page(market.pair, market.bucket, position, asked)
            times = page[:, 0]
            _, last_of = np.unique(times[::-1], return_index=True)
            rows = page[len(times) - 1 - last_of]  # of two candles of one time the later is the newer one
            rows = rows[(rows[:, 0] >= to_unix_us(position)) & (rows[:, 0] < to_unix_us(end))]
            if len(rows):
                yield rows, in_progress
                position, is_repeated = from_unix_us(int(rows[-1, 0])) + width, False
            elif len(page) and times.min() >= to_unix_us(end):
                return  # the exchange skips to the next candle there is
            elif is_repeated:
                position, is_repeated = position + asked * width, False
            else:
                is_repeated = True

    def _read_clock(self) -> datetime:
        """Return the present, naive UTC: the exchange's where the clock here is ahead of it."""
        lead = self._api.clock_lead if isinstance(self._api, ClockedApi) else timedelta(0)
        return to_naive(self._now()) - lead

    def _list_pairs(self) -> tuple[str, ...]:
        if self._pairs is None:
            available = self._api.list_pairs()
            unknown = [pair for pair in self._wanted or () if pair not in set(available)]
            if unknown:
                markets = [_placeholder(self._api.name, pair) for pair in available]
                base, _, quote = unknown[0].partition("/")
                raise UnknownPair(f"{self.name}: pairs: no {unknown[0]}; {suggest(markets, base, quote)}")
            self._pairs = tuple(available) if self._wanted is None else self._wanted
        if not self._pairs:
            raise BadConfiguration(f"{self.name}: pairs is empty: name at least one, or leave it out for all")
        return self._pairs


def _placeholder(slug: str, pair: str) -> Market:
    return Market(ChainId.centralised_exchange, slug, pair, TimeBucket.d1, EARLIEST, EARLIEST)


def _to_frame(rows: Floats, market: Market, in_progress: datetime) -> Candles:
    opens = rows[:, 0].astype(np.int64)
    values = rows[:, 1:].copy()
    begun = opens >= to_unix_us(in_progress)
    values[begun, 1:4] = values[begun, 0:1]
    values[begun, 4] = 0.0
    columns = {name: values[:, place] for place, name in enumerate(OHLCV)}
    return pd.DataFrame({"timestamp": pd.DatetimeIndex(opens.view("datetime64[us]")), "pair": market.pair, **columns})
