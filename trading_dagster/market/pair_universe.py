"""Look-ups of trading pairs and tokens by id, address and human description."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeAlias

from trading_dagster.domain.error import BadInput, UnknownAsset, UnknownPair
from trading_dagster.domain.identifier import (
    AssetIdentifier,
    ChainId,
    HumanReadableTradingPairDescription,
    TradingPairIdentifier,
)
from trading_dagster.market.exchange import Exchange, format_description
from trading_dagster.market.pair_alias import is_alias, is_venue

PairLike: TypeAlias = TradingPairIdentifier | HumanReadableTradingPairDescription
"""A pair, or its human description."""


class PairUniverse:
    """The pairs of a universe with constant-time look-ups; errors name the closest known pair.

    Args:
        pairs: Pairs with an internal id each, all different.
        exchanges: Venues that pairs may refer to by address.
    """

    def __init__(self, pairs: Sequence[TradingPairIdentifier], exchanges: Sequence[Exchange] = ()) -> None:
        self.pairs = tuple(pairs)
        self.exchanges = tuple(exchanges)
        self._by_id = {pair.internal_id: pair for pair in self.pairs}
        if None in self._by_id or len(self._by_id) != len(self.pairs):
            raise BadInput(
                f"Pairs need different internal ids, got {[pair.internal_id for pair in self.pairs][:20]}: "
                "leave all of them None to have them numbered"
            )
        self._by_pool: dict[tuple[int, str], TradingPairIdentifier] = {
            (pair.chain_id, pair.pool_address): pair for pair in self.pairs
        }
        self._slugs = {(int(venue.chain_id), venue.address): venue.exchange_slug for venue in self.exchanges}
        self._by_symbols: dict[tuple[int, str, str], list[TradingPairIdentifier]] = {}
        for pair in self.pairs:
            key = (pair.chain_id, pair.base.token_symbol, pair.quote.token_symbol)
            self._by_symbols.setdefault(key, []).append(pair)

    def get_count(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def iterate_pairs(self) -> Iterator[TradingPairIdentifier]:
        """Iterate over pairs in universe order."""
        return iter(self.pairs)

    def get_single(self) -> TradingPairIdentifier:
        """Return the only pair; raises BadInput when there are none or several."""
        if len(self.pairs) != 1:
            raise BadInput(
                f"The universe has {len(self.pairs)} pairs, not one: name the pair, for example with "
                "get_pair_by_human_description()"
            )
        return self.pairs[0]

    def get_pair_by_id(self, pair_id: int) -> TradingPairIdentifier:
        """Return the pair of an internal id; raises UnknownPair."""
        try:
            return self._by_id[pair_id]
        except KeyError:
            raise UnknownPair(f"No pair has internal id {pair_id}: {self._known()}") from None

    def get_pair_by_smart_contract(
        self, address: str, chain_id: ChainId | int | None = None
    ) -> TradingPairIdentifier | None:
        """Return the pair of a pool address, or None; the chain is needed only if several chains have it."""
        if chain_id is not None:
            return self._by_pool.get((int(chain_id), address.lower()))
        found = [pair for (_, pool), pair in self._by_pool.items() if pool == address.lower()]
        if len(found) > 1:
            raise BadInput(f"Pool {address} is on chains {sorted(pair.chain_id for pair in found)}: give chain_id")
        return found[0] if found else None

    def get_pair_by_human_description(self, description: HumanReadableTradingPairDescription) -> TradingPairIdentifier:
        """Return the pair of (chain, exchange slug or None, base symbol, quote symbol[, fee]), or of such an alias.

        The pool's address may stand in place of the exchange, to tell pools apart that have all else in common.

        Raises:
            UnknownPair: There is none; the message names the closest ones.
            BadInput: Not such a tuple, or several pairs fit.
        """
        if not isinstance(description, tuple | list) or len(description) not in (4, 5):
            raise BadInput(
                f"Pair description {description!r} is not a tuple (ChainId, exchange slug, base, quote[, fee]), "
                'such as (ChainId.centralised_exchange, "binance", "ETH", "USDT")'
            )
        chain, slug, base, quote = description[:4]
        fee = description[4] if len(description) == 5 else None
        found = [
            pair
            for pair in self._by_symbols.get((int(chain), base, quote), ())
            if is_venue(slug, self.get_exchange_slug(pair), pair) and (fee is None or pair.fee == fee)
        ] or [pair for pair in self.pairs if is_alias(pair, description)]
        if len(found) == 1:
            return found[0]
        if found:
            is_told = len({self.describe(pair) for pair in found}) == len(found)
            described = (self.describe(pair, is_exact=not is_told) for pair in found)
            choices = ", ".join(map(format_description, described))
            raise BadInput(
                f"Pair description {format_description(description)} fits {len(found)} pairs: name one of {choices}"
            )
        raise UnknownPair(f"No pair is {format_description(description)} here: {self._closest(base, quote)}")

    def resolve(self, pair: PairLike) -> TradingPairIdentifier:
        """Return the pair of this universe that a pair equals or a description names; raises UnknownPair."""
        if not isinstance(pair, TradingPairIdentifier):
            return self.get_pair_by_human_description(pair)
        for known in self._by_symbols.get((pair.chain_id, pair.base.token_symbol, pair.quote.token_symbol), ()):
            if known == pair:
                return known
        raise UnknownPair(f"{pair} is not here: {self._closest(pair.base.token_symbol, pair.quote.token_symbol)}")

    def get_exchange_slug(self, pair: TradingPairIdentifier) -> str | None:
        """Return the slug of the venue of a pair."""
        return self._slugs.get((pair.chain_id, pair.exchange_address), pair.exchange_name)

    def describe(self, pair: TradingPairIdentifier, *, is_exact: bool = False) -> HumanReadableTradingPairDescription:
        """Return the human description of a pair, with its fee where it has one; an exact one names the pool."""
        chain = ChainId(pair.chain_id)
        slug = pair.pool_address if is_exact else self.get_exchange_slug(pair)
        if pair.fee is None:
            return (chain, slug, pair.base.token_symbol, pair.quote.token_symbol)
        return (chain, slug, pair.base.token_symbol, pair.quote.token_symbol, pair.fee)

    def get_asset_by_address(self, address: str, chain_id: ChainId | int | None = None) -> AssetIdentifier:
        """Return the token of an address; raises UnknownAsset, or BadInput when several chains have it."""
        found = [
            asset for asset in self._assets if asset.address == address.lower() and chain_id in (None, asset.chain_id)
        ]
        if not found:
            known = ", ".join(str(asset) for asset in self._assets[:10])
            raise UnknownAsset(f"No token has address {address}: known are {known or 'none'}")
        if len(found) > 1:
            raise BadInput(f"Token {address} is on chains {[asset.chain_id for asset in found]}: give chain_id")
        return found[0]

    def get_asset_by_symbol(self, symbol: str) -> AssetIdentifier:
        """Return the token of a symbol; raises UnknownAsset, or BadInput when several tokens have it."""
        found = [asset for asset in self._assets if asset.token_symbol == symbol]
        if not found:
            known = sorted({asset.token_symbol for asset in self._assets})
            raise UnknownAsset(f"No token is called {symbol!r}: {_did_you_mean(symbol, known)}")
        if len(found) > 1:
            raise BadInput(f"{len(found)} tokens are called {symbol}: name one of {', '.join(map(str, found))}")
        return found[0]

    @cached_property
    def _assets(self) -> tuple[AssetIdentifier, ...]:
        return tuple(dict.fromkeys(asset for pair in self.pairs for asset in (pair.base, pair.quote)))

    def _closest(self, base: str, quote: str) -> str:
        by_ticker: dict[str, list[TradingPairIdentifier]] = {}
        for pair in self.pairs:
            by_ticker.setdefault(pair.get_ticker().upper(), []).append(pair)
        near = difflib.get_close_matches(f"{base}-{quote}".upper(), list(by_ticker), n=3, cutoff=0.5)
        if near:
            choices = " or ".join(
                format_description(self.describe(pair)) for ticker in near for pair in by_ticker[ticker][:3]
            )
            return f"did you mean {choices}?"
        return self._known()

    def _known(self) -> str:
        shown = ", ".join(f"{pair.internal_id} {pair.get_ticker()}" for pair in self.pairs[:10])
        return f"known pairs are {shown}{' ...' if len(self.pairs) > 10 else ''}" if shown else "there are no pairs"


def number_pairs(pairs: Iterable[TradingPairIdentifier]) -> tuple[TradingPairIdentifier, ...]:
    """Return pairs with an internal id each: ids that are set stay, the others take the free ones from 1."""
    pairs = tuple(pairs)
    taken = {pair.internal_id for pair in pairs}
    free = (number for number in range(1, 2 * len(pairs) + 1) if number not in taken)
    return tuple(pair if pair.internal_id is not None else replace(pair, internal_id=next(free)) for pair in pairs)


def _did_you_mean(asked: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(asked, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known[:20]) or 'none'}"
