"""What descriptions may say of a pair besides its exchange: its pool, or the data whose candles it is traded on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier

ALIASES = "also_known_as"
"""Key of ``other_data``: a list of [chain id, exchange slug or None, base, quote, fee or None]."""


def with_alias(pair: TradingPairIdentifier, description: HumanReadableTradingPairDescription) -> TradingPairIdentifier:
    """Return a pair that a further description finds."""
    chain, slug, base, quote = description[:4]
    alias = [int(chain), slug, base, quote, description[4] if len(description) == 5 else None]
    return replace(pair, other_data={**pair.other_data, ALIASES: [*pair.other_data.get(ALIASES, []), alias]})


def is_venue(asked: str | None, slug: str | None, pair: TradingPairIdentifier | None) -> bool:
    """Tell whether what a description says of the venue fits: any, an exchange's slug, or the address of the pool."""
    return asked in (None, slug) or (pair is not None and asked is not None and asked.lower() == pair.pool_address)


def is_alias(pair: TradingPairIdentifier | None, description: HumanReadableTradingPairDescription) -> bool:
    """Tell whether a description is one of a pair's aliases; what either leaves open fits."""
    aliases: list[list[Any]] = [] if pair is None else pair.other_data.get(ALIASES, [])
    chain, slug, base, quote = description[:4]
    fee = description[4] if len(description) == 5 else None
    return any(
        (chain, base, quote) == (alias[0], alias[2], alias[3])
        and (None in (slug, alias[1]) or slug == alias[1])
        and (None in (fee, alias[4]) or fee == alias[4])
        for alias in aliases
    )
