"""The treasury of a backtest: queued deposits and redemptions, applied in the cycle at or after their time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.event import BalanceUpdated
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import exact
from trading_dagster.domain.state import State
from trading_dagster.domain.time import require_naive_utc, to_aware
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType


@dataclass(frozen=True, slots=True)
class QueuedFlow:
    """Money on its way: a deposit when positive, a redemption when negative; reserve tokens."""

    at: datetime
    amount: Decimal


class SimulatedTreasury:
    """The sync model of backtests."""

    def __init__(self, move_tokens: Callable[[AssetIdentifier, Decimal], None]) -> None:
        """Move reserve tokens into and out of the wallet through a callable."""
        self._move_tokens = move_tokens
        self.queue: list[QueuedFlow] = []
        self.before_flow: Callable[[datetime, State], None] | None = None
        """Called at a naive UTC time before money comes or goes."""

    def simulate_funding(self, at: datetime, amount: float | Decimal) -> None:
        """Queue a deposit (amount above 0) or a redemption (below 0) for the first cycle at or after a time."""
        quantity = exact(amount, "amount")
        if not quantity:
            raise BadInput(f"A flow at {at} needs an amount other than 0")
        self.queue.append(QueuedFlow(require_naive_utc(at), quantity))

    def sync_treasury(self, timestamp: datetime, state: State) -> list[BalanceUpdate]:
        """Apply every queued flow with a time up to the cycle's; returns the balance updates made.

        A redemption that cash cannot cover waits in the queue and shows in ``pending_redemptions``.
        """
        updates: list[BalanceUpdate] = []
        waiting: list[QueuedFlow] = []
        for flow in sorted(self.queue, key=lambda f: f.at):
            if flow.at > timestamp or -flow.amount > state.portfolio.reserve.quantity:
                waiting.append(flow)
            else:
                updates.append(self._apply(flow, timestamp, state))
        self.queue = waiting
        pending = -sum(f.amount for f in waiting if f.amount < 0 and f.at <= timestamp)
        state.sync.treasury.pending_redemptions = float(pending)
        return updates

    def _apply(self, flow: QueuedFlow, timestamp: datetime, state: State) -> BalanceUpdate:
        portfolio = state.portfolio
        reserve = portfolio.reserve
        if self.before_flow is not None:
            self.before_flow(timestamp, state)
        self._move_tokens(reserve.asset, flow.amount)
        update = BalanceUpdate(
            balance_update_id=portfolio.next_balance_update_id,
            cause=BalanceUpdateCause.deposit if flow.amount > 0 else BalanceUpdateCause.redemption,
            position_type=BalanceUpdatePositionType.reserve,
            asset=reserve.asset,
            quantity=flow.amount,
            old_balance=reserve.quantity,
            usd_value=float(flow.amount) * reserve.reserve_token_price,
            block_mined_at=flow.at,
            strategy_cycle_included_at=timestamp,
            previous_update_at=reserve.last_sync_at,
        )
        state.record(BalanceUpdated(to_aware(timestamp), update, share_price(state)))
        return update


def share_price(state: State) -> float:
    """Return NAV per share before a flow; the initial share price while there is nothing to share."""
    shares = state.sync.treasury.share_count
    net_asset_value = state.portfolio.get_net_asset_value()
    if not shares or net_asset_value <= 0:
        return state.initial_share_price
    return net_asset_value / float(shares)
