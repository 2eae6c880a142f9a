"""What a pricing model says about vaults: whether and how much can be deposited and redeemed now."""

from __future__ import annotations

from datetime import datetime

from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.time import require_naive_utc
from trading_dagster.domain.vault import VaultBook


class VaultRules:
    """Answers by the terms that vault pairs carry; every other pair is always open."""

    def __init__(self) -> None:
        """Begin with no terms read."""
        self._vaults = VaultBook()

    def get_max_deposit(self, timestamp: datetime, pair: TradingPairIdentifier) -> float | None:
        """Return the most USD a deposit may have at a naive UTC time; 0 is closed, None is no known limit."""
        require_naive_utc(timestamp)
        return self._vaults.get_max_deposit(pair, timestamp)

    def get_max_redemption(self, timestamp: datetime, pair: TradingPairIdentifier) -> float | None:
        """Return the most USD a redemption may have at a naive UTC time; 0 is closed, None is no known limit."""
        require_naive_utc(timestamp)
        return self._vaults.get_max_redemption(pair, timestamp)

    def can_deposit(self, timestamp: datetime, pair: TradingPairIdentifier) -> bool:
        """Tell whether a vault takes deposits."""
        return self.get_max_deposit(timestamp, pair) != 0

    def check_redemption(self, timestamp: datetime, pair: TradingPairIdentifier) -> bool:
        """Tell whether a vault gives redemptions."""
        return self.get_max_redemption(timestamp, pair) != 0
