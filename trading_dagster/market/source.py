"""The port through which market data comes in: anything that lists markets and loads their candles."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from trading_dagster.domain.error import BadInput, UnknownPair
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import Candles
from trading_dagster.market.exchange import centralised_pair, format_description, split_ticker
from trading_dagster.market.pair_alias import is_alias, is_venue


@dataclass(frozen=True, slots=True)
class Market:
    """Candles of one pair in one bucket that a source has.

    Args:
        chain_id: Chain, or centralised_exchange.
        exchange_slug: Venue.
        pair: "BASE/QUOTE".
        bucket: Width of the candles.
        first_at: Open of the first candle, naive UTC.
        last_at: Open of the last candle, naive UTC.
        fee: Trading fee as a fraction, where the source knows it.
        identifier: The pair with its addresses, where it lives on a chain.
    """

    chain_id: ChainId
    exchange_slug: str
    pair: str
    bucket: TimeBucket
    first_at: datetime
    last_at: datetime
    fee: float | None = None
    identifier: TradingPairIdentifier | None = None

    @property
    def description(self) -> HumanReadableTradingPairDescription:
        """Return (chain, exchange slug, base, quote[, fee])."""
        base, quote = split_ticker(self.pair)
        if self.fee is None:
            return (self.chain_id, self.exchange_slug, base, quote)
        return (self.chain_id, self.exchange_slug, base, quote, self.fee)

    @property
    def exact_description(self) -> HumanReadableTradingPairDescription:
        """Return a description that fits no other market: with the pool's address in place of the exchange, if any."""
        if self.identifier is None:
            return self.description
        chain, _, *rest = self.description
        return (chain, self.identifier.pool_address, *rest)

    @property
    def end_at(self) -> datetime:
        """Return the close of the last candle, naive UTC."""
        return self.last_at + self.bucket.to_timedelta()

    def to_pair(self, internal_id: int, fee: float | None = None) -> TradingPairIdentifier:
        """Return the pair to trade; ``fee`` counts where the source knows none."""
        own_fee = fee if self.fee is None else self.fee
        if self.identifier is not None:
            return replace(self.identifier, internal_id=internal_id, fee=own_fee)
        base, quote = split_ticker(self.pair)
        return centralised_pair(self.exchange_slug, base, quote, fee=own_fee, internal_id=internal_id)


class CandleSource(Protocol):
    """Where candles come from: files, the lake, an exchange, a chain."""

    @property
    def name(self) -> str:
        """Return the name for messages and lake folders."""

    def list_markets(self) -> Sequence[Market]:
        """Return what there is, in a fixed order."""

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the candles that open in [start, end), naive UTC, in frames of bounded size.

        Each frame has ``timestamp`` (naive UTC), ``pair`` (BASE/QUOTE), ``open``, ``high``, ``low``, ``close``,
        ``volume``. The markets of one call have one bucket and different pairs. The order of the rows is always the
        same; the lake's is by market, then time. Unless it is a `RemoteSource`, several threads may ask at once.
        """


@runtime_checkable
class UnorderedSource(Protocol):
    """A source that gives candles faster to whom their order does not matter."""

    def load_unordered(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield what `CandleSource.load_candles` does, in another order, but always in the same."""


@runtime_checkable
class FiledSource(Protocol):
    """A source that can tell from which file candles come."""

    def load_by_file(
        self, markets: Sequence[Market], start: datetime, end: datetime
    ) -> Iterator[tuple[Path, Iterator[Candles]]]:
        """Yield each file with what `CandleSource.load_candles` gives of it."""


@runtime_checkable
class LiquiditySource(Protocol):
    """A source that knows the TVL of markets."""

    def list_liquidity(self) -> Sequence[Market]:
        """Return the markets whose TVL there is, with the bucket and span of the TVL."""

    def load_liquidity(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield TVL in USD as frames with ``timestamp``, ``pair``, ``open``, ``high``, ``low``, ``close``."""


@runtime_checkable
class RemoteSource(Protocol):
    """A source that is asked over a network, one market at a time, and whose candles go on.

    What it has yet to publish must not be taken for a hole: the lake takes candles up to `closed_until` only.
    """

    def closed_until(self, bucket: TimeBucket) -> datetime:
        """Return the close of the newest candle that will not change any more, naive UTC."""

    def measure(self, markets: Sequence[Market]) -> Sequence[Market]:
        """Return the markets with their real first candle, which `list_markets` may only guess; in the same order."""


def find_markets(
    markets: Sequence[Market], description: HumanReadableTradingPairDescription, source_name: str
) -> list[Market]:
    """Return the markets that a description fits, in all buckets; aliases count where no market has that name.

    Raises:
        UnknownPair: There is none; the message names the closest ones.
        BadInput: The description is malformed.
    """
    if not isinstance(description, tuple | list) or len(description) not in (4, 5):
        raise BadInput(
            f"pairs: {description!r} is not a tuple (ChainId, exchange slug or pool address, base, quote[, fee]), "
            'such as (ChainId.centralised_exchange, "binance", "ETH", "USDT")'
        )
    chain, slug, base, quote = description[:4]
    fee = description[4] if len(description) == 5 else None
    found = [
        market
        for market in markets
        if (market.chain_id, market.pair) == (chain, f"{base}/{quote}")
        and is_venue(slug, market.exchange_slug, market.identifier)
        and (fee is None or market.fee in (None, fee))
    ] or [market for market in markets if is_alias(market.identifier, description)]
    if not found:
        raise UnknownPair(
            f"{source_name}: pairs: no {format_description(description)}; {suggest(markets, base, quote)}"
        )
    return found


def choose_market(
    markets: Sequence[Market], description: HumanReadableTradingPairDescription, bucket: TimeBucket, source_name: str
) -> Market:
    """Return the market that a description names, in the coarsest bucket from which the asked one can be made.

    Raises:
        UnknownPair: The source has no such pair; the message names the closest ones.
        BadInput: The description is malformed, fits several venues or fees, or the source's candles are coarser.
    """
    same = find_markets(markets, description, source_name)
    usable = usable_markets(same, bucket)
    if not usable:
        widths = ", ".join(sorted({market.bucket.name for market in same}))
        raise BadInput(
            f"{source_name}: time_bucket {bucket.name} of {same[0].pair} cannot be made from {widths} candles: "
            "choose that bucket or a whole multiple of it, or import finer candles"
        )
    if len(usable) > 1:
        is_told = len({market.description for market in usable}) == len(usable)
        described = (market.description if is_told else market.exact_description for market in usable)
        choices = " or ".join(map(format_description, described))
        raise BadInput(
            f"{source_name}: pairs: {format_description(description)} fits {len(usable)} markets: name {choices}"
        )
    return usable[0]


def usable_markets(markets: Iterable[Market], bucket: TimeBucket) -> list[Market]:
    """Return the markets in the coarsest bucket of which the asked one is a whole multiple."""
    asked = bucket.to_timedelta()
    fitting = [market for market in markets if not asked % market.bucket.to_timedelta()]
    coarsest = max((market.bucket.to_timedelta() for market in fitting), default=None)
    return [market for market in fitting if market.bucket.to_timedelta() == coarsest]


def group_markets(markets: Iterable[Market]) -> list[list[Market]]:
    """Return groups that one call of a source may ask for: one bucket, no pair name twice."""
    groups: dict[tuple[object, ...], list[Market]] = {}
    seen: Counter[tuple[object, ...]] = Counter()
    for market in markets:
        key = (market.bucket, int(market.chain_id), market.exchange_slug, market.fee)
        groups.setdefault((*key, seen[*key, market.pair]), []).append(market)
        seen[*key, market.pair] += 1
    return list(groups.values())


def suggest(markets: Sequence[Market], base: str, quote: str) -> str:
    """Return "did you mean ...?" with the closest markets, or what there is."""
    by_pair: dict[str, list[Market]] = {}
    for market in markets:
        by_pair.setdefault(market.pair.upper(), []).append(market)
    near = difflib.get_close_matches(f"{base}/{quote}".upper(), list(by_pair), n=3, cutoff=0.5)
    if near:
        found = dict.fromkeys(format_description(market.description) for pair in near for market in by_pair[pair])
        return f"did you mean {' or '.join(list(found)[:4])}?"
    known = ", ".join(format_description(market.description) for market in markets[:10])
    return f"it has {known}{' ...' if len(markets) > 10 else ''}" if known else "it has no markets"
