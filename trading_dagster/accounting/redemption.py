"""Redemptions that were asked for: they wait in the ledger until cash covers them, and become a balance update."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from trading_dagster.accounting.simulated_treasury import share_price
from trading_dagster.domain.event import BalanceUpdated, RedemptionEnded, RedemptionRequested
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.treasury import (
    BalanceUpdate,
    BalanceUpdateCause,
    BalanceUpdatePositionType,
    Redemption,
)


def request_redemption(at: datetime, state: State, amount: Decimal, recipient: str) -> Redemption:
    """Record that somebody asks for reserve tokens; ``at`` is aware UTC."""
    number = state.sync.treasury.next_redemption
    state.record(RedemptionRequested(at, number, amount, recipient))
    return state.sync.treasury.redemptions[number]


def end_redemption(at: datetime, state: State, redemption: Redemption, reason: str) -> None:
    """Record that a redemption will not be paid; ``at`` is aware UTC."""
    state.record(RedemptionEnded(at, redemption.number, reason=reason))


def list_payable(state: State) -> Sequence[Redemption]:
    """Return the redemptions that wait, in the order they were asked for."""
    return list(state.sync.treasury.redemptions.values())


def book_redemption(
    at: datetime,
    timestamp: datetime,
    state: State,
    redemption: Redemption,
    *,
    quantity: Decimal,
    tx_hash: str | None = None,
    log_index: int | None = None,
) -> BalanceUpdate:
    """Record that a redemption was paid, at the share price of now.

    Args:
        at: When, aware UTC.
        timestamp: The time of the step that pays it, naive UTC.
        state: The ledger's state.
        redemption: What was asked for.
        quantity: What left, reserve tokens above 0.
        tx_hash: The transaction, on a chain.
        log_index: Its Transfer event.
    """
    portfolio = state.portfolio
    reserve = portfolio.reserve
    update = BalanceUpdate(
        balance_update_id=portfolio.next_balance_update_id,
        cause=BalanceUpdateCause.redemption,
        position_type=BalanceUpdatePositionType.reserve,
        asset=reserve.asset,
        quantity=-quantity,
        old_balance=reserve.quantity,
        usd_value=-float(quantity) * reserve.reserve_token_price,
        block_mined_at=to_naive(at),
        strategy_cycle_included_at=timestamp,
        previous_update_at=reserve.last_sync_at,
        tx_hash=tx_hash,
        log_index=log_index,
        owner_address=redemption.recipient or None,
        notes=f"redemption {redemption.number}, asked for at {redemption.requested_at}",
    )
    state.record(BalanceUpdated(at, update, share_price(state)))
    state.record(RedemptionEnded(at, redemption.number, balance_update_id=update.balance_update_id))
    return update
