"""What a chain's native token is worth, so that gas can be told in USD beside the other costs of a trade."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from trading_dagster.domain.error import CallReverted, ContractMissing, InvalidTrade, NodeError, PoolEmpty
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.evm.amm_pricing import AmmPricing

logger = logging.getLogger(__name__)

NativePrice = Callable[[], float | None]
"""Returns reserve per native token, None where it is not known."""


def no_price() -> float | None:
    """Return that the price of native tokens is not known."""
    return None


def native_price(
    pricing: AmmPricing,
    at: datetime,
    pairs: Iterable[TradingPairIdentifier],
    reserve: AssetIdentifier,
    wrapped_native: str,
) -> NativePrice:
    """Return what tells the price of native tokens: that of the wrapped token's pair, among those that are traded.

    A universe without the pair knows no price: a pool that nobody looked up may be anybody's.

    Args:
        pricing: The pools, pinned to a block.
        at: What their prices are noted with, naive UTC.
        pairs: The pairs of the universe.
        reserve: The token that prices are in.
        wrapped_native: Address of the ERC-20 token that stands for a native one; empty when it is not known.
    """
    address = wrapped_native.lower()
    if not address:
        return no_price
    if reserve.address == address:
        return lambda: 1.0
    pair = next((p for p in pairs if p.is_spot() and p.base.address == address and p.quote == reserve), None)
    if pair is None:
        return no_price

    def read() -> float | None:
        try:
            return pricing.get_mid_price(at, pair)
        except (NodeError, CallReverted, ContractMissing, PoolEmpty, InvalidTrade) as error:
            logger.warning("The price of gas is not known, as that of %s is not: %s", pair.get_ticker(), error)
            return None

    return read
