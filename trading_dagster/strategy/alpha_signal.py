"""A pair's signal in an alpha model: from its alpha to what is traded, and why not more."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.strategy.size_risk import SizeRisk


class TradingPairSignalFlags(Enum):
    """Why a signal is not traded as it asked."""

    capped_by_pool_size = "capped_by_pool_size"
    capped_by_concentration = "capped_by_concentration"
    capped_by_chain_allocation = "capped_by_chain_allocation"
    capped_by_protocol_allocation = "capped_by_protocol_allocation"
    max_adjust_too_small = "max_adjust_too_small"
    individual_trade_size_too_small = "individual_trade_size_too_small"
    individual_trade_quantity_too_small = "individual_trade_quantity_too_small"
    close_position_weight_limit = "close_position_weight_limit"
    closed = "closed"
    cannot_deposit = "cannot_deposit"
    cannot_redeem = "cannot_redeem"
    settlement_pending = "settlement_pending"
    capped_by_pending_settlement_cash = "capped_by_pending_settlement_cash"
    capped_by_sync_cash = "capped_by_sync_cash"
    blacklisted = "blacklisted"
    frozen = "frozen"


@dataclass(slots=True)
class TradingPairSignal:
    """What an alpha model thinks of a pair.

    Attributes:
        pair: The pair.
        signal: Alpha, any scale; 0 closes.
        stop_loss: Fraction of the mid price, as in open_spot; so are the next two.
        leverage: Of a short.
        raw_weight: What the weighting method gave, 0 or more.
        normalised_weight: Share of the investable equity.
        old_weight: Share of the positions' value before the rebalance.
        old_value: Value before the rebalance, USD.
        position_target: Value after it, USD; None until it is known.
        position_adjust_usd: Target less old value.
        position_adjust_quantity: Base tokens to sell, negative; 0 for buys.
        position_size_risk: What the size-risk model said.
        position_id: The position traded, None for none.
        holds_short: The position before the rebalance is a short.
        carried_forward: The position keeps its value, whatever the signal.
        flags: Why it is not traded as asked.
    """

    pair: TradingPairIdentifier
    signal: float
    stop_loss: float | None = None
    take_profit: float | None = None
    trailing_stop_loss: float | None = None
    leverage: float | None = None
    raw_weight: float = 0.0
    normalised_weight: float = 0.0
    old_weight: float = 0.0
    old_value: float = 0.0
    position_target: float | None = None
    position_adjust_usd: float = 0.0
    position_adjust_quantity: float | Decimal = 0.0
    position_size_risk: SizeRisk | None = None
    position_id: int | None = None
    carried_forward: bool = False
    holds_short: bool = False
    flags: set[TradingPairSignalFlags] = field(default_factory=set)

    def __repr__(self) -> str:
        """Return a line a person can read."""
        return (
            f"<Signal {self.pair.get_ticker()} {self.signal} weight {self.normalised_weight:.4f} "
            f"adjust {self.position_adjust_usd:+.2f} USD>"
        )

    @property
    def pair_id(self) -> int:
        """Return the pair's internal id."""
        return self.pair.internal_id or 0

    def is_short(self) -> bool:
        """Tell whether the signal asks for a short."""
        return self.signal < 0

    def is_flip(self) -> bool:
        """Tell whether the position is on the other side than the signal asks for: it is closed, a new one opened."""
        return bool(self.signal and self.old_value) and self.is_short() != self.holds_short
