"""The ledger's events: everything that ever happens to a strategy, frozen; State is their fold.

Times are aware UTC. Events carry values, never references into State, so that replaying them gives the same State.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from trading_dagster.domain.fund_fee import FundFeeTake
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.loan import LoanChange
from trading_dagster.domain.purse import Purse
from trading_dagster.domain.trade import TradeCharges, TradePlan
from trading_dagster.domain.treasury import BalanceUpdate
from trading_dagster.domain.trigger import Trigger
from trading_dagster.domain.value import value


@dataclass(frozen=True, slots=True)
class Event:
    """What every event has: when it happened."""

    at: datetime


@value
class StateCreated(Event):
    """A strategy begins; the first event of every ledger."""

    name: str
    reserve_asset: AssetIdentifier


@value
class LedgerBound(Event):
    """A live ledger's first step said whose money it counts; no step with another's goes on with it."""

    purse: Purse


@value
class LedgerEnded(Event):
    """An operator ended a live ledger: its money may be another ledger's from now on.

    ``given_up`` are positions that could not be closed; they stay in the ledger as they are.
    """

    by: str
    reason: str
    given_up: tuple[int, ...] = ()


@value
class PairIntroduced(Event):
    """A pair is traded for the first time; later events refer to it by its key."""

    pair: TradingPairIdentifier


@value
class BalanceUpdated(Event):
    """Money moved without a trade. ``share_price`` (USD) is what a deposit paid or a redemption got for a share."""

    update: BalanceUpdate
    share_price: float | None = None


@value
class InterestAccrued(Event):
    """One side of a position's loan earned or owes interest: an update of cause interest, quantity above 0 or 0."""

    update: BalanceUpdate


@value
class FundFeesTaken(Event):
    """A fund's fees were taken as new shares of the manager."""

    take: FundFeeTake


@value
class RedemptionRequested(Event):
    """Somebody asked for reserve tokens, to be paid when cash covers them; on a chain to an address."""

    number: int
    amount: Decimal
    recipient: str


@value
class RedemptionEnded(Event):
    """A redemption was paid by a balance update, or will not be paid for a reason."""

    number: int
    balance_update_id: int | None = None
    reason: str | None = None


@value
class SharesCounted(Event):
    """A vault said how many shares there are; beside flows its own fees are in it, as they are taken in shares."""

    shares: Decimal


@value
class PositionOpened(Event):
    """A position was planned; its first trade follows."""

    position_id: int
    pair: TradingPairIdentifier
    portfolio_value_at_open: float
    notes: str | None = None


@value
class TradePlanned(Event):
    """A decision planned a trade; nothing moved yet."""

    plan: TradePlan


@value
class TradeStarted(Event):
    """A buy's reserve left cash, or a sell was begun."""

    trade_id: int
    position_id: int


@value
class TradeBroadcasted(Event):
    """The trade was sent to its venue."""

    trade_id: int
    position_id: int


@value
class SettlementRequested(Event):
    """A vault took a started order, and settles it in the first cycle at or after ``settles_at``, aware UTC."""

    trade_id: int
    position_id: int
    settles_at: datetime


@value
class SettlementMoved(Event):
    """What a vault took from the wallet (below 0) or gave it since an order was requested, in tokens, in all.

    On a chain: shares leave with the request of a redemption, and a part that is settled may come before the rest. Of
    these events of a trade the newest counts.
    """

    trade_id: int
    position_id: int
    quantity: Decimal
    reserve: Decimal


@value
class TradeExecuted(Event):
    """The venue filled the trade. Quantity is signed, fees in USD.

    On a chain ``tx_hash`` and ``block_number`` say where; ``gas_cost`` is native tokens, with the trade's approvals,
    and ``gas_usd`` what they were worth, None where nobody knew.
    ``loan`` is what it did to the loan of its position; a trade planned with one has one.
    """

    trade_id: int
    position_id: int
    quantity: Decimal
    reserve: Decimal
    price: float
    lp_fees: float
    tx_hash: str | None = None
    block_number: int | None = None
    gas_cost: Decimal | None = None
    loan: LoanChange | None = None
    gas_usd: float | None = None


@value
class TradeCharged(Event):
    """What an executed trade cost beside its fee, where costs are simulated; its gas leaves cash."""

    trade_id: int
    position_id: int
    charges: TradeCharges


@value
class DustKept(Event):
    """A trade left tokens in the wallet that no position holds, or used such up; quantity is signed, in tokens."""

    trade_id: int
    position_id: int
    asset: AssetIdentifier
    quantity: Decimal


@value
class TradeFailed(Event):
    """The venue refused the trade; its reserve is back in cash."""

    trade_id: int
    position_id: int
    reason: str


@value
class TradeDiscarded(Event):
    """A planned trade was rejected before it began, or begun and never sent: its reserve is back in cash.

    A position without other trades goes with it.
    """

    trade_id: int
    position_id: int
    reason: str


@value
class TradeWaits(Event):
    """A planned trade waits for one of its triggers; a position whose first trade waits is pending.

    A trade that fired and was not begun, because a step was interrupted, waits again.
    """

    trade_id: int
    position_id: int
    triggers: tuple[Trigger, ...]


@value
class TradeTriggered(Event):
    """A waiting trade's trigger fired: ``plan`` has the prices and the size of that instant. It is executed next."""

    plan: TradePlan
    trigger: Trigger

    @property
    def position_id(self) -> int:
        """Return the position of the trade."""
        return self.plan.position_id


@value
class TradeExpired(Event):
    """A waiting trade will not fire any more; a pending position that no buy waits for goes with it."""

    trade_id: int
    position_id: int
    reason: str


@value
class TriggersMoved(Event):
    """Trigger levels of a position were set or moved; levels are mid prices, None for none."""

    position_id: int
    mid_price: float | None
    stop_loss: float | None
    take_profit: float | None
    trailing_stop_loss_pct: float | None


@value
class PositionFrozen(Event):
    """A failed trade put the position aside."""

    position_id: int
    reason: str


@value
class PositionUnfrozen(Event):
    """An operator released a frozen position."""

    position_id: int
    reason: str


@value
class AssetBlacklisted(Event):
    """A token may not be bought any more."""

    asset: AssetIdentifier
    reason: str


@value
class AssetAllowed(Event):
    """A token may be bought again."""

    asset: AssetIdentifier
    reason: str


@value
class DataSaved(Event):
    """The strategy stored a value for later cycles; JSON-safe."""

    cycle: int
    name: str
    value: Any


@value
class StrategyReady(Event):
    """From here a backtest counts as strategy start."""


@value
class CycleDecided(Event):
    """A live cycle decided. ``at`` is the wall clock; ``decision_at``, aware UTC, is what the decision's views end at.

    No decision time is decided twice: a cycle that is begun again goes on with the trades named here, in the order they
    run in; ``position_ids`` says which position each belongs to.
    """

    cycle: int
    decision_at: datetime
    trade_ids: tuple[int, ...]
    position_ids: tuple[int, ...] = ()


@value
class CycleSkipped(Event):
    """A live decision time passed without a decision, and will get none."""

    decision_at: datetime
    reason: str


@value
class TradeRepaired(Event):
    """An operator settled a failed trade: it counts as if it had never been tried."""

    trade_id: int
    position_id: int
    reason: str


@value
class CycleCompleted(Event):
    """A decision cycle ended. Quiet cycles are covered by the next one that is not."""

    cycle: int
