"""Venues and the pairs of centralised ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier

PSEUDO_DECIMALS = 18


@dataclass(frozen=True, slots=True)
class Exchange:
    """A venue: a DEX deployment on a chain, or a centralised exchange."""

    exchange_id: int
    chain_id: ChainId
    address: str
    exchange_slug: str
    name: str = ""

    def __post_init__(self) -> None:
        """Normalise."""
        object.__setattr__(self, "address", self.address.lower())
        object.__setattr__(self, "name", self.name or self.exchange_slug)


def split_ticker(pair: str) -> tuple[str, str]:
    """Return base and quote symbol of "BASE/QUOTE"; raises BadInput."""
    base, slash, quote = pair.partition("/")
    if not base or not slash or not quote or "/" in quote:
        raise BadInput(f"Pair {pair!r} is not BASE/QUOTE, such as BTC/USD")
    return base, quote


def format_description(description: Iterable[object]) -> str:
    """Return a pair's human description the way it is written in a strategy."""
    shown = (f"ChainId.{part.name}" if isinstance(part, ChainId) else repr(part) for part in description)
    return f"({', '.join(shown)})"


def pseudo_address(*parts: str) -> str:
    """Return a fixed address made of names, for what has none on a chain."""
    return "0x" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


def centralised_exchange(slug: str, exchange_id: int = 1) -> Exchange:
    """Return the venue object of a centralised exchange."""
    return Exchange(exchange_id, ChainId.centralised_exchange, pseudo_address(slug), slug)


def centralised_asset(slug: str, symbol: str) -> AssetIdentifier:
    """Return the token of a symbol at a centralised exchange; one symbol at two venues is two tokens."""
    return AssetIdentifier(ChainId.centralised_exchange, pseudo_address(slug, symbol), symbol, PSEUDO_DECIMALS)


def centralised_pair(
    slug: str, base: str, quote: str, *, fee: float | None = None, internal_id: int | None = None
) -> TradingPairIdentifier:
    """Return the spot pair of two symbols at a centralised exchange."""
    venue = centralised_exchange(slug)
    return TradingPairIdentifier(
        base=centralised_asset(slug, base),
        quote=centralised_asset(slug, quote),
        pool_address=pseudo_address(slug, base, quote),
        exchange_address=venue.address,
        internal_id=internal_id,
        internal_exchange_id=venue.exchange_id,
        fee=fee,
        exchange_name=slug,
    )
