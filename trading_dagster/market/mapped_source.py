"""Candles of one venue under the identity of the pools they are traded in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pandas as pd

from trading_dagster.domain.error import BadConfiguration, BadInput, MarketDataMissing
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.availability import AvailabilitySource, CandleAvailability
from trading_dagster.market.contract import Candles
from trading_dagster.market.exchange import format_description
from trading_dagster.market.pair_alias import with_alias
from trading_dagster.market.source import CandleSource, Market, choose_market, find_markets, group_markets


class MappedSource:
    """Another source's candles, as those of the pools in which the strategy trades.

    A strategy that names the data's pair, such as coinbase's BTC/USD, gets the pool's, such as WBTC/USDC on a chain,
    with its tokens, address and fee; it may as well name the pool's pair. Markets that are not mapped are left out, so
    that a strategy which takes all pairs takes those it can trade.

    Args:
        inner: Where the candles are.
        pools: By description in the data the pool. Its ``exchange_name`` is the exchange slug on its chain.

    Raises:
        BadConfiguration: A pool lacks its fee or exchange, is on an unknown chain, or is given two pairs' candles.
    """

    def __init__(
        self, inner: CandleSource, pools: Mapping[HumanReadableTradingPairDescription, TradingPairIdentifier]
    ) -> None:
        self.name = f"{inner.name} as pools"
        self._inner = inner
        self._pools = {data: with_alias(_checked(pool), data) for data, pool in pools.items()}
        owners: dict[str, HumanReadableTradingPairDescription] = {}
        for data, pool in self._pools.items():
            other = owners.setdefault(pool.get_identifier(), data)
            if other is not data:
                raise BadConfiguration(
                    f"Pool {pool.pool_address} of {pool.get_ticker()} is to have the candles of both "
                    f"{format_description(other)} and {format_description(data)}: map one"
                )

    def list_markets(self) -> Sequence[Market]:
        """Return the mapped markets; raises UnknownPair when the data has not what a pool is mapped to."""
        return tuple(link.shown for link in self._links())

    def load_candles(self, markets: Sequence[Market], start: datetime, end: datetime) -> Iterator[Candles]:
        """Yield the candles that open in [start, end) under the pools' names; see `CandleSource`."""
        links = {_key(link.shown): link for link in self._links()}
        asked = []
        for market in markets:
            if _key(market) not in links:
                raise MarketDataMissing(
                    f"{self.name}: no candles of {format_description(market.description)} in {market.bucket.value}"
                )
            asked.append(links[_key(market)])
        names = {link.inner: link.shown.pair for link in asked}
        for group in group_markets(names):
            renamed = {market.pair: names[market] for market in group}
            for frame in self._inner.load_candles(group, start, end):
                yield _rename(frame, renamed)

    def read_availability(
        self, pairs: Sequence[HumanReadableTradingPairDescription], bucket: TimeBucket
    ) -> Sequence[CandleAvailability]:
        """Return what is closed of each pair, as the inner source says; raises UnknownPair, BadInput."""
        if not isinstance(self._inner, AvailabilitySource):
            raise BadInput(f"{self._inner.name} does not know which candles are closed: it cannot serve live trading")
        links = {_key(link.shown): link for link in self._links()}
        shown = [link.shown for link in links.values()]
        chosen = [links[_key(choose_market(shown, pair, bucket, self.name))] for pair in pairs]
        found = self._inner.read_availability([link.inner.exact_description for link in chosen], bucket)
        return [replace(item, pair=pair) for item, pair in zip(found, pairs, strict=True)]

    def _links(self) -> list[_Link]:
        available = self._inner.list_markets()
        links = []
        for data, pool in self._pools.items():
            found = find_markets(available, data, self._inner.name)
            venues = dict.fromkeys(market.description for market in found)
            if len(venues) > 1:
                choices = " or ".join(format_description(venue) for venue in venues)
                raise BadInput(f"{self.name}: {format_description(data)} fits {len(venues)} markets: name {choices}")
            links += [_Link(market, _as_pool(market, pool)) for market in found]
        return links


@dataclass(frozen=True, slots=True)
class _Link:
    inner: Market
    shown: Market


def _checked(pool: TradingPairIdentifier) -> TradingPairIdentifier:
    where = f"Pool {pool.pool_address} of {pool.get_ticker()}"
    if pool.exchange_name is None:
        raise BadConfiguration(f"{where} has no exchange_name: give the exchange slug, such as uniswap-v2")
    if pool.fee is None:
        raise BadConfiguration(f"{where} has no fee: give it as a fraction, 0.003 for 0.3 %")
    if pool.base.chain_id != pool.quote.chain_id:
        raise BadConfiguration(f"{where} has tokens on chains {pool.base.chain_id} and {pool.quote.chain_id}")
    if pool.chain_id not in {chain.value for chain in ChainId}:
        known = ", ".join(f"{chain.value} ({chain.name})" for chain in ChainId)
        raise BadConfiguration(f"{where} is on chain {pool.chain_id}, which is not known: expected one of {known}")
    return pool


def _as_pool(market: Market, pool: TradingPairIdentifier) -> Market:
    assert pool.exchange_name is not None
    return replace(
        market,
        chain_id=ChainId(pool.chain_id),
        exchange_slug=pool.exchange_name,
        pair=f"{pool.base.token_symbol}/{pool.quote.token_symbol}",
        fee=pool.fee,
        identifier=pool,
    )


def _key(market: Market) -> tuple[str, TimeBucket]:
    assert market.identifier is not None
    return (market.identifier.get_identifier(), market.bucket)


def _rename(frame: Candles, names: Mapping[str, str]) -> Candles:
    pairs = frame["pair"]
    if isinstance(pairs.dtype, pd.CategoricalDtype):
        categories = [names.get(str(name), str(name)) for name in pairs.cat.categories]
        if len(set(categories)) == len(categories):
            return frame.assign(pair=pairs.cat.rename_categories(categories))
    return frame.assign(pair=pairs.astype("str").map(names))
