"""What vaults took and gave when, kept apart from their pairs: a strategy is given the pairs, not the future.

A vault's pair says by what rules it settles. What was open when is history, which ends at the time it is asked about as
candles do. A universe takes it out of the pairs that it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.vault import LIMITS, VAULT, VaultLimit, VaultTerms


@dataclass(frozen=True, slots=True)
class VaultHistory:
    """The limits of vaults, by the identifier of their pair, each vault's in order of time."""

    limits: Mapping[str, tuple[VaultLimit, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Tell whether a limit of any vault is known."""
        return bool(self.limits)

    def of(self, pair: TradingPairIdentifier) -> tuple[VaultLimit, ...]:
        """Return the limits of a pair, in order of time."""
        return self.limits.get(pair.get_identifier(), ())

    def until(self, timestamp: datetime) -> VaultHistory:
        """Return what was known at a naive UTC time."""
        known = {key: tuple(x for x in limits if x.at <= timestamp) for key, limits in self.limits.items()}
        return VaultHistory({key: limits for key, limits in known.items() if limits})

    def of_pairs(self, pairs: Iterable[TradingPairIdentifier]) -> VaultHistory:
        """Return the history of some pairs, in their order."""
        found = {pair.get_identifier(): self.of(pair) for pair in pairs if pair.is_vault()}
        return VaultHistory({key: limits for key, limits in found.items() if limits})

    def to_data(self) -> dict[str, Any]:
        """Return plain data."""
        return {key: [limit.to_data() for limit in limits] for key, limits in self.limits.items()}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> VaultHistory:
        """Return the history of ``to_data``."""
        return cls({key: tuple(map(VaultLimit.from_data, limits)) for key, limits in data.items()})


NO_HISTORY = VaultHistory()


def take_out_limits(
    pairs: tuple[TradingPairIdentifier, ...], known: VaultHistory = NO_HISTORY
) -> tuple[tuple[TradingPairIdentifier, ...], VaultHistory]:
    """Return pairs that carry no limits, and the history of these pairs: what was known and what they carried."""
    carried = {pair.get_identifier(): VaultTerms.of_pair(pair).limits for pair in pairs if _carries_limits(pair)}
    if carried:
        pairs = tuple(_without_limits(pair) if _carries_limits(pair) else pair for pair in pairs)
    if not carried and not known:
        return pairs, known
    return pairs, VaultHistory({**known.limits, **carried}).of_pairs(pairs)


class VaultBook:
    """The terms of vaults, read once each, with the limits of a history."""

    def __init__(self, history: VaultHistory = NO_HISTORY) -> None:
        """Look limits up in a history; those that a pair carries count only where the history has none of it."""
        self._history = history
        self._terms: dict[str, VaultTerms] = {}

    def terms_of(self, pair: TradingPairIdentifier) -> VaultTerms:
        """Return the terms of a vault pair."""
        key = pair.get_identifier()
        terms = self._terms.get(key)
        if terms is None:
            terms = VaultTerms.of_pair(pair)
            limits = self._history.limits.get(key)
            if limits is not None:
                terms = replace(terms, limits=limits)
            self._terms[key] = terms
        return terms

    def get_max_deposit(self, pair: TradingPairIdentifier, timestamp: datetime) -> float | None:
        """Return the most USD a pair takes at a naive UTC time; 0 is closed, None no known limit."""
        return self.terms_of(pair).get_max_deposit(timestamp) if pair.is_vault() else None

    def get_max_redemption(self, pair: TradingPairIdentifier, timestamp: datetime) -> float | None:
        """Return the most USD a pair gives back at a naive UTC time; 0 is closed, None no known limit."""
        return self.terms_of(pair).get_max_redemption(timestamp) if pair.is_vault() else None


def _carries_limits(pair: TradingPairIdentifier) -> bool:
    return pair.is_vault() and bool((pair.other_data.get(VAULT) or {}).get(LIMITS))


def _without_limits(pair: TradingPairIdentifier) -> TradingPairIdentifier:
    terms = {name: value for name, value in pair.other_data[VAULT].items() if name != LIMITS}
    return replace(pair, other_data={**pair.other_data, VAULT: terms})
