"""What a pricing model says about vaults: whether and how much can be deposited and redeemed now."""

from __future__ import annotations

from datetime import datetime

from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.vault_history import VaultBook, VaultHistory


class VaultRules:
    """Answers by the terms that vault pairs carry and what is known of their limits; other pairs are always open."""

    def __init__(self, history: VaultHistory) -> None:
        """Look limits up in a history, of which nothing later than the present is told."""
        self._vaults = VaultBook(history)

    def _refuse_later(self, timestamp: datetime) -> None:
        """Raise LookaheadRefused for a naive UTC time that is later than the present."""
        raise NotImplementedError

    def get_max_deposit(self, timestamp: datetime, pair: TradingPairIdentifier) -> float | None:
        """Return the most USD a deposit may have at a naive UTC time; 0 is closed, None no known limit."""
        self._refuse_later(timestamp)
        return self._vaults.get_max_deposit(pair, timestamp)

    def get_max_redemption(self, timestamp: datetime, pair: TradingPairIdentifier) -> float | None:
        """Return the most USD a redemption may have at a naive UTC time; 0 is closed, None no known limit."""
        self._refuse_later(timestamp)
        return self._vaults.get_max_redemption(pair, timestamp)

    def can_deposit(self, timestamp: datetime, pair: TradingPairIdentifier) -> bool:
        """Tell whether a vault takes deposits."""
        return self.get_max_deposit(timestamp, pair) != 0

    def check_redemption(self, timestamp: datetime, pair: TradingPairIdentifier) -> bool:
        """Tell whether a vault gives redemptions."""
        return self.get_max_redemption(timestamp, pair) != 0
