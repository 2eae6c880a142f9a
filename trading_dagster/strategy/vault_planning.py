"""What planning must know of vaults: whether a pair can be entered or left now, and which orders settle later."""

from __future__ import annotations

from dataclasses import dataclass

from trading_dagster.domain.error import DataUnavailable, SettlementPending, VaultClosed
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.money import FLOAT_ROUNDING
from trading_dagster.domain.position import TradingPosition
from trading_dagster.strategy.trade_planning import TradePlanning

WITH_ROUNDING = 1 + float(FLOAT_ROUNDING)
"""An order for just as much as a vault takes or gives may exceed that by the rounding of shares x price."""


@dataclass(frozen=True, slots=True)
class EnterCheck:
    """Whether a pair can be bought now; ``reason`` says why not, "" when it can."""

    pair: TradingPairIdentifier
    reason: str = ""

    def __bool__(self) -> bool:
        """Tell whether it can be bought."""
        return not self.reason

    @property
    def can_enter(self) -> bool:
        """Tell whether it can be bought."""
        return not self.reason


class VaultPlanning(TradePlanning):
    """Answers questions about vaults, and refuses orders that a vault would refuse."""

    def check_enter_position(self, pair: TradingPairIdentifier | HumanReadableTradingPairDescription) -> EnterCheck:
        """Say whether a pair can be bought now, and if not why: blacklist, price, a vault's deposits, an open order."""
        pair = self.strategy_universe.resolve_pair(pair)
        if self.is_problematic_pair(pair):
            return EnterCheck(pair, f"{pair.get_ticker()} is blacklisted")
        try:
            self.pricing_model.get_mid_price(self.timestamp, pair)
        except DataUnavailable as error:
            return EnterCheck(pair, str(error))
        if not self.can_deposit(pair):
            return EnterCheck(pair, f"{pair.get_ticker()} takes no deposits at {self.timestamp}")
        position = self._portfolio.get_open_position_for_pair(pair)
        if position is not None and position.is_settling():
            return EnterCheck(pair, f"{position} waits for a settlement")
        return EnterCheck(pair)

    def is_async_vault_sell_pair(self, pair: TradingPairIdentifier) -> bool:
        """Tell whether a sell of the pair only requests a redemption, whose money comes in a later cycle."""
        return pair.is_async_vault()

    def can_deposit(self, pair: TradingPairIdentifier) -> bool:
        """Tell whether the pair takes money now; a pair that is no vault always does."""
        return self.get_max_deposit(pair) != 0

    def can_redeem(self, position: TradingPosition) -> bool:
        """Tell whether the position's shares can be given back now; a position that is in no vault always can."""
        return self.get_max_redemption(position.pair) != 0 and not (position.is_vault() and position.is_settling())

    def get_max_deposit(self, pair: TradingPairIdentifier) -> float | None:
        """Return the most USD the pair takes now; 0 is closed, None no known limit."""
        return self.pricing_model.get_max_deposit(self.timestamp, pair)

    def get_max_redemption(self, pair: TradingPairIdentifier) -> float | None:
        """Return the most USD the pair gives back now; 0 is closed, None no known limit."""
        return self.pricing_model.get_max_redemption(self.timestamp, pair)

    def _refuse_closed_deposit(self, pair: TradingPairIdentifier, value: float) -> None:
        """Raise VaultClosed for more money than a vault takes now."""
        limit = self.get_max_deposit(pair)
        if limit is not None and value > limit * WITH_ROUNDING:
            raise VaultClosed(
                f"{pair.get_ticker()} takes deposits of at most {limit} USD at {self.timestamp}, got {value}: ask "
                "position_manager.check_enter_position() or pricing_model.get_max_deposit() first"
            )

    def _refuse_closed_redemption(self, pair: TradingPairIdentifier, value: float) -> None:
        """Raise VaultClosed for more money than a vault gives now."""
        limit = self.get_max_redemption(pair)
        if limit is not None and value > limit * WITH_ROUNDING:
            raise VaultClosed(
                f"{pair.get_ticker()} gives redemptions of at most {limit} USD at {self.timestamp}, asked for {value}: "
                "ask position_manager.can_redeem() or pricing_model.get_max_redemption() first"
            )


def refuse_settling(position: TradingPosition) -> None:
    """Raise SettlementPending for a position whose vault has an order that did not settle."""
    if position.is_settling():
        raise SettlementPending(
            f"{position} waits for its vault to settle an order: check position.is_settling() first"
        )
