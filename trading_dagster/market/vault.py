"""Vaults among the markets of a source: candles of a share's price, traded by the vault's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from trading_dagster.domain.error import BadInput, UnknownPair
from trading_dagster.domain.identifier import (
    ChainId,
    HumanReadableTradingPairDescription,
    TradingPairIdentifier,
    TradingPairKind,
)
from trading_dagster.domain.vault import VaultTerms
from trading_dagster.market.source import Market, find_markets

VaultAddress: TypeAlias = tuple[ChainId, str]


@dataclass(frozen=True, slots=True)
class Vault:
    """A market of a source that is a vault.

    Args:
        pair: Human description of share against reserve, or (chain, address) where the source knows addresses.
        terms: When it can be entered and left.
    """

    pair: HumanReadableTradingPairDescription | VaultAddress
    terms: VaultTerms = field(default_factory=VaultTerms)


VaultLike: TypeAlias = Vault | HumanReadableTradingPairDescription | VaultAddress


def find_vaults(
    available: Sequence[Market], vaults: Sequence[VaultLike], source_name: str
) -> dict[HumanReadableTradingPairDescription, VaultTerms]:
    """Return descriptions of the vaults' markets with their terms.

    Raises:
        UnknownPair: The source does not have a vault.
        BadInput: A vault is named twice, or fits several markets.
    """
    found: dict[HumanReadableTradingPairDescription, VaultTerms] = {}
    for item in vaults:
        vault = item if isinstance(item, Vault) else Vault(item)
        description = _describe(available, vault, source_name)
        if description in found:
            raise BadInput(f"{source_name}: vaults: {vault.pair} is named twice")
        found[description] = vault.terms
    return found


def mark_vaults(
    pairs: Sequence[TradingPairIdentifier],
    markets: Sequence[Market],
    vaults: Mapping[HumanReadableTradingPairDescription, VaultTerms],
) -> tuple[TradingPairIdentifier, ...]:
    """Return the pairs of markets, those of vaults as vaults: they carry the terms, and no fee unless they have one."""
    return tuple(
        pair if (terms := vaults.get(market.description)) is None else to_vault(pair, terms)
        for pair, market in zip(pairs, markets, strict=True)
    )


def to_vault(pair: TradingPairIdentifier, terms: VaultTerms) -> TradingPairIdentifier:
    """Return a pair as a vault with these terms; its name is the ticker's where the terms give none."""
    named = terms if terms.name else replace(terms, name=pair.base.token_symbol)
    return replace(
        pair,
        kind=TradingPairKind.vault,
        fee=pair.fee or 0.0,
        other_data={**pair.other_data, **named.to_data()},
    )


def _describe(available: Sequence[Market], vault: Vault, source_name: str) -> HumanReadableTradingPairDescription:
    pair = vault.pair
    if len(pair) == 2:
        chain, address = pair
        markets = [market for market in available if _is_at(market, chain, str(address).lower())]
        if not markets:
            raise UnknownPair(f"{source_name}: vaults: there is no vault {address} on chain {int(chain)}")
    else:
        markets = find_markets(available, pair, source_name)
    descriptions = {market.description for market in markets}
    if len(descriptions) > 1:
        raise BadInput(
            f"{source_name}: vaults: {pair} fits {len(descriptions)} markets: {sorted(map(str, descriptions))}"
        )
    return descriptions.pop()


def _is_at(market: Market, chain: ChainId, address: str) -> bool:
    pair = market.identifier
    return pair is not None and market.chain_id == chain and address in (pair.pool_address, pair.base.address)
