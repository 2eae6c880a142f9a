"""Pairs of the Trading Strategy data service as a source: for downloads into the lake, and for live trading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput, MarketDataMissing, UnknownPair
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_naive, to_unix_us
from trading_dagster.market.availability import CandleAvailability, Now, utc_now
from trading_dagster.market.contract import Candles
from trading_dagster.market.exchange import format_description
from trading_dagster.market.panel import ONE_US, Floats
from trading_dagster.market.source import Market, choose_market
from trading_dagster.market.trading_strategy_api import (
    DEFAULT_KEY_VARIABLE,
    AnswerTooLong,
    PairAvailability,
    PairCandleApi,
    TradingStrategyApi,
)
from trading_dagster.market.trading_strategy_pair import ServedPair, choose_pairs, default_pair_file

EARLIEST = datetime(2015, 7, 30)  # noqa: DTZ001 - naive means UTC here
"""The first block of the oldest chain that is served."""
BUCKETS = (TimeBucket.m1, TimeBucket.m5, TimeBucket.m15, TimeBucket.h1, TimeBucket.h4, TimeBucket.d1)
PAGE_BARS = 10_000
US_PER_S = 1_000_000


class TradingStrategySource:
    """Candles of pairs of the service: prices in USD, volume in base tokens worth that many USD at the close.

    Args:
        api: The service.
        pairs: What is served.
        name: For messages and lake folders.
        now: The clock.
        page_bars: How many bars are asked for at once; fewer when the service finds that too much.
    """

    def __init__(
        self,
        api: PairCandleApi,
        pairs: Sequence[ServedPair],
        *,
        name: str = "trading_strategy",
        now: Now = utc_now,
        page_bars: int = PAGE_BARS,
    ) -> None:
        if not pairs:
            raise BadInput("pairs is empty: name at least one")
        self._api = api
        self.name = name
        self._pairs = tuple(pairs)
        self._by_address = {(int(pair.chain), pair.identifier.pool_address): pair for pair in pairs}
        self._now = now
        self._page_bars = page_bars
        self._first: dict[int, datetime] = {}

    def list_markets(self) -> Sequence[Market]:
        """Return pairs by bucket, each up to the candle in progress; the first candle is a guess."""
        present = to_naive(self._now())
        return tuple(
            Market(
                chain_id=pair.chain,
                exchange_slug=pair.identifier.exchange_name or "",
                pair=pair.ticker,
                bucket=bucket,
                first_at=bucket.floor(self._first.get(pair.pair_id, EARLIEST)),
                last_at=bucket.floor(present),
                fee=pair.identifier.fee,
                identifier=pair.identifier,
            )
            for bucket in BUCKETS
            for pair in self._pairs
        )

    def measure(self, markets: Sequence[Market]) -> Sequence[Market]:
        """Return the markets with their real first candle, and up to where the service has all; see `RemoteSource`.

        Raises:
            MarketDataMissing: The service has no candles of a pair.
            UnknownPair, SourceUnavailable: It does not know a pair, or does not answer.
        """
        measured = []
        for bucket in dict.fromkeys(market.bucket for market in markets):
            own = [market for market in markets if market.bucket is bucket]
            closed = self._read_closed([self._pair_of(market) for market in own], bucket)
            for market in own:
                pair = self._pair_of(market)
                first_at = max(market.first_at, bucket.floor(self._find_first(pair)))
                newest = max((at for at in closed[pair.pair_id] if at is not None), default=None)
                last_at = first_at - bucket.to_timedelta() if newest is None else bucket.floor(newest)
                measured.append(replace(market, first_at=first_at, last_at=last_at))
        places = {_key(market): market for market in measured}
        return tuple(places[_key(market)] for market in markets)

    def closed_until(self, bucket: TimeBucket) -> datetime:
        """Return the close of the newest bar that is over; what `measure` says of each pair may be earlier."""
        return bucket.floor(to_naive(self._now()))

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the candles that open in [start, end), a frame an answer, with buys and sells; see `CandleSource`.

        Of the candle in progress only the open is told: it stands for high, low and close, the volume is 0.

        Raises:
            MarketDataMissing: A market is not one of these.
            SourceUnavailable: The service does not answer.
        """
        for market in markets:
            pair = self._pair_of(market)
            for rows, in_progress in self._pages(pair, market.bucket, start, end):
                yield _to_frame(rows, market, in_progress)

    def read_availability(
        self, pairs: Sequence[HumanReadableTradingPairDescription], bucket: TimeBucket
    ) -> Sequence[CandleAvailability]:
        """Return what the service says is whole of each pair, in the order given, as far as it is past.

        Raises:
            UnknownPair: The service has not such a pair.
            BadInput: The bucket cannot be made from its candles, or its pair is another one than in the table.
            SourceUnavailable: It does not answer.
        """
        markets = self.list_markets()
        chosen = [choose_market(markets, description, bucket, self.name) for description in pairs]
        closed: dict[tuple[int, TimeBucket], tuple[datetime | None, datetime | None]] = {}
        for width in dict.fromkeys(market.bucket for market in chosen):
            members = [self._pair_of(market) for market in chosen if market.bucket is width]
            closed |= {(number, width): found for number, found in self._read_closed(members, width).items()}
        return [
            CandleAvailability(
                description,
                bucket,
                *(
                    _last_whole(at, market.bucket, bucket)
                    for at in closed[self._pair_of(market).pair_id, market.bucket]
                ),
            )
            for description, market in zip(pairs, chosen, strict=True)
        ]

    def _read_closed(
        self, pairs: Sequence[ServedPair], bucket: TimeBucket
    ) -> dict[int, tuple[datetime | None, datetime | None]]:
        """Return by pair the opens of the newest whole candle and of the newest bar about which all is known."""
        found = self._api.fetch_availability([pair.pair_id for pair in pairs], bucket)
        limit = bucket.floor(to_naive(self._now())) - bucket.to_timedelta()
        for pair in pairs:
            _check_same(pair, found.get(pair.pair_id))
        return {
            pair.pair_id: (
                _not_after(found[pair.pair_id].last_candle_at, bucket, limit),
                _not_after(found[pair.pair_id].last_supposed_candle_at, bucket, limit),
            )
            for pair in pairs
        }

    def _find_first(self, pair: ServedPair) -> datetime:
        """Return the day of a pair's first candle; one request a pair, once."""
        if pair.pair_id not in self._first:
            rows = next(self._pages(pair, TimeBucket.d1, EARLIEST, to_naive(self._now())), None)
            if rows is None:
                raise MarketDataMissing(
                    f"{self.name}: no candles of {pair.ticker}, pair {pair.pair_id}, at all: leave it out"
                )
            self._first[pair.pair_id] = from_unix_us(int(rows[0][0, 0]))
        return self._first[pair.pair_id]

    def _pages(
        self, pair: ServedPair, bucket: TimeBucket, start: datetime, end: datetime
    ) -> Iterator[tuple[Floats, datetime]]:
        """Yield candles that open in [start, end), each once, in order of time, and what was in progress when asked.

        An answer may be short, or repeat what came before: the next one begins after the last candle that came. That
        there are no more candles counts when two answers say so.
        """
        width = bucket.to_timedelta()
        position, end = bucket.ceil(start), min(end, to_naive(self._now()) + ONE_US)
        bars, seen_until = self._page_bars, position
        while position < end:
            stop = min(end, position + bars * width)
            in_progress = bucket.floor(to_naive(self._now()))
            try:
                page = self._api.fetch_candles(pair.pair_id, bucket, position, stop)
            except AnswerTooLong:
                asked = -((position - stop) // width)
                if asked <= 1:
                    raise
                bars = asked // 2
                continue
            rows = _ordered(page, position, stop)
            if len(rows):
                yield rows, in_progress
                position, seen_until = from_unix_us(int(rows[-1, 0])) + width, stop
            else:
                position, seen_until = max(position, min(stop, seen_until)), stop

    def _pair_of(self, market: Market) -> ServedPair:
        address = market.identifier.pool_address if market.identifier is not None else ""
        pair = self._by_address.get((int(market.chain_id), address))
        if pair is None:
            raise MarketDataMissing(f"{self.name}: no candles of {format_description(market.description)}")
        return pair


def open_trading_strategy(
    pairs: Sequence[str],
    *,
    chain: str = "",
    pair_file: Path | None = None,
    api_url: str | None = None,
    key_variable: str = DEFAULT_KEY_VARIABLE,
    name: str = "trading_strategy",
    now: Now = utc_now,
) -> TradingStrategySource:
    """Return pairs of the service as a source; see `choose_pairs` for their names and the file.

    Raises:
        BadConfiguration: The address or the key cannot be used.
        BadInput, UnknownPair: The pairs cannot be found.
    """
    api = TradingStrategyApi(api_url, key_variable=key_variable)
    served = choose_pairs(pairs, file=pair_file or default_pair_file(), api=api, chain=chain)
    return TradingStrategySource(api, served, name=name, now=now)


def _key(market: Market) -> tuple[object, ...]:
    address = market.identifier.pool_address if market.identifier is not None else ""
    return market.bucket, int(market.chain_id), address


def _check_same(pair: ServedPair, found: PairAvailability | None) -> None:
    if found is None:
        raise UnknownPair(
            f"Trading Strategy does not know pair {pair.pair_id}, {pair.ticker} {pair.identifier.pool_address}: "
            "leave it out, or delete the pair file to have it downloaded anew"
        )
    if (found.chain_id, found.pair_address) != (int(pair.chain), pair.identifier.pool_address):
        raise BadInput(
            f"pair {pair.pair_id} is {found.pair_address} on chain {found.chain_id} at Trading Strategy, but "
            f"{pair.identifier.pool_address} on chain {int(pair.chain)} in the pair file: delete the file to have it "
            "downloaded anew"
        )


def _not_after(at: datetime | None, bucket: TimeBucket, limit: datetime) -> datetime | None:
    return None if at is None else min(bucket.floor(at), limit)


def _last_whole(at: datetime | None, own: TimeBucket, asked: TimeBucket) -> datetime | None:
    """Return the open of the newest asked bar that ends with or before a bar of the own bucket."""
    return None if at is None else asked.floor(at + own.to_timedelta()) - asked.to_timedelta()


def _ordered(page: Floats, start: datetime, end: datetime) -> Floats:
    """Return an answer's candles within [start, end) by time, in microseconds; of two of one time the later counts."""
    rows = page.copy()
    rows[:, 0] *= US_PER_S
    _, last_of = np.unique(rows[::-1, 0], return_index=True)
    rows = rows[len(rows) - 1 - last_of]
    inside: Floats = rows[(rows[:, 0] >= to_unix_us(start)) & (rows[:, 0] < to_unix_us(end))]
    return inside


def _to_frame(rows: Floats, market: Market, in_progress: datetime) -> Candles:
    opens = rows[:, 0].astype(np.int64)
    prices, closes = rows[:, 1:5].copy(), rows[:, 4]
    volumes: Floats = np.divide(rows[:, 5], closes, out=np.zeros(len(rows)), where=closes > 0)
    counts = rows[:, 6:8].copy()
    begun = opens >= to_unix_us(in_progress)
    prices[begun] = prices[begun, 0:1]
    volumes[begun] = 0.0
    counts[begun] = 0.0
    columns: Mapping[str, Floats] = {
        **{name: prices[:, place] for place, name in enumerate(("open", "high", "low", "close"))},
        "volume": volumes,
        "buys": counts[:, 0],
        "sells": counts[:, 1],
    }
    return pd.DataFrame({"timestamp": pd.DatetimeIndex(opens.view("datetime64[us]")), "pair": market.pair, **columns})
