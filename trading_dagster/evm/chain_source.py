"""Swaps of pools as a candle source: history, live availability and TVL straight from a chain's nodes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np

from trading_dagster.domain.error import BadInput, EventsMissing, MarketDataMissing
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.block_time import US
from trading_dagster.evm.chain import Chain
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.event_scan import EventScanner, ScanSetting
from trading_dagster.evm.pool import ChainPool
from trading_dagster.evm.pool_book import PoolBook
from trading_dagster.evm.pool_candle import make_candles
from trading_dagster.evm.pool_event import POOL_SHAPES
from trading_dagster.market.availability import CandleAvailability
from trading_dagster.market.contract import Candles, bucket_width_us
from trading_dagster.market.exchange import format_description
from trading_dagster.market.month_file import TVL_COLUMNS
from trading_dagster.market.panel import PRICE_COLUMNS, Flags, Integers
from trading_dagster.market.source import CandleSource, Market, choose_market

logger = logging.getLogger(__name__)

BUCKETS = (TimeBucket.m1, TimeBucket.m5, TimeBucket.m15, TimeBucket.h1, TimeBucket.h4, TimeBucket.d1)
ATTEMPTS = 3


class ChainSource:
    """Candles of pools of one chain, from their swaps; a `CandleSource`, `LiquiditySource` and `AvailabilitySource`.

    Events are kept exactly, as the chain has them, in a folder; each look at the source reads what is new. Prices are
    the pool's mid price after each swap (see `pool_candle`). TVL is in quote tokens and listed only for pools whose
    quote is a stablecoin. A bar is closed once a block with the wanted confirmations is at or after its end.

    Args:
        client: Reads the chain, through any number of nodes.
        chain: What is known of the chain.
        pools: The pools; see `pool.read_pool`.
        folder: Where events are kept.
        confirmations: Blocks on top of the one that closes a bar; None is the chain's number.
        setting: How the chain is read; None fits it to the chain.
        buckets: Widths to be listed; every one is made from swaps.
        progress: Show progress of reading logs.
    """

    def __init__(
        self,
        client: EvmClient,
        chain: Chain,
        pools: Sequence[ChainPool],
        folder: Path,
        *,
        confirmations: int | None = None,
        setting: ScanSetting | None = None,
        buckets: Sequence[TimeBucket] = BUCKETS,
        progress: bool = False,
    ) -> None:
        if not pools:
            raise BadInput("pools is empty: name at least one pool")
        self.name = f"{chain.slug} swaps"
        self.pools = tuple(pools)
        self._progress = progress
        self._buckets = tuple(buckets)
        self._confirmations = chain.execution.confirmations if confirmations is None else confirmations
        depth = max(chain.execution.replan_depth, chain.client.max_lag + 1, self._confirmations)
        chosen = setting or ScanSetting(final_depth=depth)
        if chosen.final_depth < self._confirmations:
            raise BadInput(
                f"final_depth {chosen.final_depth} is less than the {self._confirmations} confirmations: give more"
            )
        firsts = {pool.address: pool.first_block for pool in pools}
        self._scanner = EventScanner(client, POOL_SHAPES, firsts, folder, chosen)
        self._books = {pool.address: PoolBook(pool, self._scanner.stores[pool.address], client) for pool in pools}
        self._keys = {pool.address: pool for pool in pools}
        self._client = client
        self._head: BlockHeader | None = None
        self._closing: BlockHeader | None = None
        self._final: BlockHeader | None = None

    def refresh(self) -> BlockHeader:
        """Read what is new on the chain; return the head that the source is at.

        Raises:
            NodeError: The nodes do not answer.
            EventsMissing: A node leaves out events, again and again.
        """
        for attempt in range(ATTEMPTS):
            try:
                return self._refresh(accepts_gifts=attempt == ATTEMPTS - 1)
            except EventsMissing as error:
                if attempt == ATTEMPTS - 1:
                    raise
                logger.warning("%s: reading again", error)
                self._distrust(error.block, is_deep=attempt > 0)
        raise AssertionError

    def list_markets(self) -> Sequence[Market]:
        """Return the pools that have swaps, in all buckets."""
        self.refresh()
        return self._markets(self.pools)

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the candles that open in [start, end), the one in progress too; see `CandleSource`.

        They have ``buys`` and ``sells`` (how many swaps), and TVL as in the lake.
        """
        for market in markets:
            pool = self._keys.get(_market_key(market))
            if pool is None:
                raise MarketDataMissing(f"{self.name}: no pool is {format_description(market.description)}")
            book = self._books[pool.address]
            bars = book.bars(market.bucket, self._scanner.times)
            frame = make_candles(market.pair, book.samples(), bars, with_tvl=pool.is_quote_usd)
            yield frame[(frame["timestamp"] >= start) & (frame["timestamp"] < end)]

    def list_liquidity(self) -> Sequence[Market]:
        """Return the pools whose quote is a stablecoin; see `LiquiditySource`."""
        self.refresh()
        return self._markets([pool for pool in self.pools if pool.is_quote_usd])

    def load_liquidity(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield TVL in USD of the bars that have candles; see `LiquiditySource`."""
        names = dict(zip(TVL_COLUMNS, PRICE_COLUMNS, strict=True))
        for frame in self.load_candles(markets, start, end):
            if TVL_COLUMNS[0] in frame.columns:
                yield frame[["timestamp", "pair", *TVL_COLUMNS]].dropna().rename(columns=names)

    def read_availability(
        self, pairs: Sequence[HumanReadableTradingPairDescription], bucket: TimeBucket
    ) -> Sequence[CandleAvailability]:
        """Return what is closed of each pair by the chain's own time; a closed bar without swaps had no trades."""
        markets = self.list_markets()
        assert self._closing is not None
        closed_us = to_unix_us(bucket.floor(from_unix_us(self._closing.timestamp * US)))
        supposed = from_unix_us(closed_us - bucket_width_us(bucket))
        found = []
        for description in pairs:
            pool = self._keys[_market_key(choose_market(markets, description, bucket, self.name))]
            is_traded, bars = self._traded_bars(pool, bucket)
            closed = bars[is_traded & (bars < closed_us)]
            last = from_unix_us(int(closed[-1])) if len(closed) else None
            found.append(CandleAvailability(description, bucket, last, supposed if last != supposed else None))
        return found

    def settled(self) -> SettledCandles:
        """Return the candles that no reorg is expected to change any more, for import into the lake."""
        return SettledCandles(self)

    def settled_end(self, bucket: TimeBucket) -> datetime:
        """Return the end of the last bar that no reorg is expected to change, naive UTC; `refresh` moves it."""
        assert self._final is not None
        return bucket.floor(from_unix_us(self._final.timestamp * US))

    # Reading

    def _refresh(self, *, accepts_gifts: bool) -> BlockHeader:
        tail = self._scanner.refresh(progress=self._progress)
        for pool in self.pools:
            book = self._books[pool.address]
            own = tail.logs.take(tail.logs.owner == self._scanner.owner_of(pool.address))
            book.extend(own)
            if self._head is None or self._head.hash != tail.head.hash:
                book.check(tail.head, accepts_gifts=accepts_gifts)
        by_number = {header.number: header for header in tail.headers}
        self._head = tail.head
        self._closing = by_number.get(tail.head.number - self._confirmations) or tail.headers[0]
        self._final = tail.headers[0]
        return tail.head

    def _distrust(self, block: int, *, is_deep: bool) -> None:
        """Read again from before a block; everything when that did not help."""
        self._scanner.doubt()
        for pool in self.pools:
            store, book = self._scanner.stores[pool.address], self._books[pool.address]
            pieces = store.pieces()
            reaching = [piece for piece in pieces if is_deep or piece.last >= block - 1]
            if pieces:
                store.drop_after((reaching or pieces[-1:])[0].first - 1)
            book.forget()

    def _markets(self, pools: Sequence[ChainPool]) -> tuple[Market, ...]:
        found = []
        for bucket in self._buckets:
            for pool in sorted(pools, key=lambda pool: pool.address):
                is_traded, bars = self._traded_bars(pool, bucket)
                opens = bars[is_traded]
                if len(opens):
                    found.append(_to_market(pool, bucket, int(opens[0]), int(opens[-1])))
        return tuple(found)

    def _traded_bars(self, pool: ChainPool, bucket: TimeBucket) -> tuple[Flags, Integers]:
        book = self._books[pool.address]
        samples = book.samples()
        is_traded = samples.is_swap & np.isfinite(samples.price) & (samples.price > 0)
        return is_traded, book.bars(bucket, self._scanner.times)


class SettlingSource(CandleSource, Protocol):
    """A source that knows which of its candles may still change."""

    def settled_end(self, bucket: TimeBucket) -> datetime:
        """Return the end of the last bar that no reorg is expected to change, naive UTC."""
        ...


class SettledCandles:
    """The candles of a chain source whose bars ended below the depth of reorgs; a `CandleSource` for `import_candles`.

    Args:
        source: The source.
    """

    def __init__(self, source: SettlingSource) -> None:
        self._source = source
        self.name = source.name

    def list_markets(self) -> Sequence[Market]:
        """Return the pools that have settled candles."""
        found = []
        for market in self._source.list_markets():
            end = self._source.settled_end(market.bucket)
            if market.last_at < end:
                found.append(market)
                continue
            (frame,) = self._source.load_candles([market], market.first_at, end)
            if len(frame):
                found.append(replace(market, last_at=frame["timestamp"].iloc[-1].to_pydatetime()))
        return tuple(found)

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the settled candles that open in [start, end)."""
        for market in markets:
            yield from self._source.load_candles([market], start, min(end, self._source.settled_end(market.bucket)))


def _to_market(pool: ChainPool, bucket: TimeBucket, first_us: int, last_us: int) -> Market:
    return Market(
        chain_id=ChainId(pool.base.chain_id),
        exchange_slug=pool.exchange_slug,
        pair=f"{pool.base.token_symbol}/{pool.quote.token_symbol}",
        bucket=bucket,
        first_at=from_unix_us(first_us),
        last_at=from_unix_us(last_us),
        fee=float(pool.fee),
        identifier=replace(pool.to_pair(), internal_id=None),
    )


def _market_key(market: Market) -> str:
    return "" if market.identifier is None else market.identifier.pool_address
