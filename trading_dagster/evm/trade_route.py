"""What a trade on a pair goes through: its pool, and one more when it is not quoted in the reserve; or its vault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.state import State
from trading_dagster.evm.dex import FEE_DENOMINATOR, Dex, Hop, Route
from trading_dagster.evm.vault_dex import VaultDex


class RouteTable:
    """The routes of an exchange, and of vaults, between the reserve token and the base tokens of pairs."""

    def __init__(
        self,
        dex: Dex,
        reserve_asset: AssetIdentifier,
        pairs: Sequence[TradingPairIdentifier],
        vaults: Mapping[str, VaultDex] = MappingProxyType({}),
    ) -> None:
        """Find intermediate pools among ``pairs``; the first that fits is taken, as in a backtest.

        ``vaults`` are those that may be traded, by address.
        """
        self._dex = dex
        self._vaults = vaults
        self._reserve = reserve_asset
        self._pairs = pairs

    @property
    def reserve_asset(self) -> AssetIdentifier:
        """Return the token that buys begin and sells end with."""
        return self._reserve

    def exchange_of(self, pair: TradingPairIdentifier) -> Dex:
        """Return what trades a pair: its vault, or the exchange; raises InvalidTrade as ``vault_of`` does."""
        return self.vault_of(pair) or self._dex

    def vault_of(self, pair: TradingPairIdentifier) -> VaultDex | None:
        """Return the vault of a pair that is one; raises InvalidTrade when it cannot be traded here."""
        if not pair.is_vault():
            return None
        if pair.base.address not in self._vaults:
            raise InvalidTrade(
                f"{pair.get_ticker()} is a vault at {pair.base.address} that the deployment does not name: add the "
                "address to vaults: once you looked it up"
            )
        vault = self._vaults[pair.base.address]
        if pair.is_async_vault() != vault.later_sides.is_any:
            terms = "later" if pair.is_async_vault() else "at once"
            raise InvalidTrade(
                f"{pair.get_ticker()} settles {terms} by its terms, its vault says that it settles {vault.later_sides} "
                "later (ERC-7540): correct its VaultTerms"
            )
        return vault

    def path_of(self, pair: TradingPairIdentifier) -> tuple[TradingPairIdentifier, ...]:
        """Return the pairs traded through, in order from the reserve; raises InvalidTrade when there is no way."""
        if pair.is_vault() and pair.quote == self._reserve:
            return (pair,)
        if not pair.is_spot():
            raise InvalidTrade(
                f"{pair} cannot be traded on a chain as it is: only spot pairs, and vaults that hold "
                f"{self._reserve.token_symbol}, can"
            )
        path = (pair,) if pair.quote == self._reserve else (*self._middle_of(pair), pair)
        if len(path) > self._dex.max_hops:
            raise InvalidTrade(
                f"{pair.get_ticker()} is {len(path)} pools from {self._reserve.token_symbol}, {self._dex.name} swaps "
                f"through at most {self._dex.max_hops}: trade pairs that are quoted in the reserve token"
            )
        return path

    def route_of(self, pair: TradingPairIdentifier, is_buy: bool) -> Route:
        """Return the route of a buy, from the reserve to the base token, or of a sell; raises InvalidTrade."""
        path = self.path_of(pair)
        if is_buy:
            return Route(tuple(Hop(p.quote.address, p.base.address, _fee_of(p)) for p in path))
        return Route(tuple(Hop(p.base.address, p.quote.address, _fee_of(p)) for p in reversed(path)))

    def _middle_of(self, pair: TradingPairIdentifier) -> tuple[TradingPairIdentifier, ...]:
        for candidate in self._pairs:
            if candidate.is_spot() and candidate.base == pair.quote and candidate.quote == self._reserve:
                return (candidate,)
        raise InvalidTrade(
            f"{pair.get_ticker()} is quoted in {pair.quote.token_symbol} and the universe has no pair of it with "
            f"{self._reserve.token_symbol}: add that pair, or trade pairs that are quoted in the reserve token"
        )


def list_legs(state: State) -> list[TradingPairIdentifier]:
    """Return the pairs that trades of open and frozen positions went through, in the order they were first traded.

    What a position came through it can leave through, though the universe does not have that pair any more.
    """
    positions = state.portfolio.get_open_and_frozen_positions()
    trades = (trade for position in positions for trade in position.trades.values())
    return list(dict.fromkeys(pair for trade in trades for pair in trade.price_structure.path))


def _fee_of(pair: TradingPairIdentifier) -> Fraction | None:
    return None if pair.fee is None else Fraction(pair.fee).limit_denominator(FEE_DENOMINATOR)
