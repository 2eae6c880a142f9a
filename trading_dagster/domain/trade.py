"""A trade: what was planned, what came of it, and the status that follows from the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.loan import LoanChange
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.trigger import Trigger
from trading_dagster.domain.value import value
from trading_dagster.domain.vault import SettlementMove

MAX_SLIPPAGE_TOLERANCE = 0.33


class TradeType(Enum):
    """Why a trade is made."""

    rebalance = "rebalance"
    stop_loss = "stop_loss"
    take_profit = "take_profit"
    market_limit = "market_limit"
    flexible_trigger = "flexible_trigger"
    liquidation = "liquidation"
    """The lending protocol closed a loan whose collateral no longer covered it."""
    repair = "repair"
    accounting_correction = "accounting_correction"
    delisting = "delisting"
    """A backtest closes a position whose pair has no candles any more."""


class TradeStatus(Enum):
    """Where a trade stands."""

    planned = "planned"
    started = "started"
    broadcasted = "broadcasted"
    success = "success"
    failed = "failed"
    repaired = "repaired"
    expired = "expired"
    discarded = "discarded"
    vault_settlement_pending = "vault_settlement_pending"


RUNNING = (TradeStatus.started, TradeStatus.broadcasted)
"""Begun, and nobody knows yet how it ends."""


class TradeFlag(Enum):
    """What a trade does to its position, and how it came about."""

    open = "open"
    close = "close"
    increase = "increase"
    reduce = "reduce"
    close_protocol_last = "close_protocol_last"
    test_trade = "test_trade"
    simulated = "simulated"
    triggered = "triggered"
    missing_position_repair = "missing_position_repair"
    partial_take_profit = "partial_take_profit"
    ignore_open = "ignore_open"

    __hash__ = object.__hash__  # a flag is one object; Enum hashes its name, which takes a call for each look-up


NO_FLAGS: frozenset[TradeFlag] = frozenset()


@value
class TradePricing:
    """The price of a trade at an instant.

    ``price`` includes the fee, ``mid_price`` does not; both in reserve per base token.
    ``lp_fee`` is in USD, ``pair_fee`` a fraction, ``side`` True for a buy, ``market_feed_delay`` in seconds.
    """

    price: float
    mid_price: float
    lp_fee: float
    pair_fee: float
    side: bool
    read_at: datetime
    path: tuple[TradingPairIdentifier, ...] = ()
    market_feed_delay: float | None = None
    token_tax: float | None = None
    token_tax_percent: float | None = None
    block_number: int | None = None


@value
class TradePlan:
    """What a decision asked for. Quantity is signed: a buy is positive, a sell negative; reserve is never negative.

    ``loan`` says what the trade does to collateral and interest; None for trades without a loan.
    """

    trade_id: int
    position_id: int
    pair: TradingPairIdentifier
    trade_type: TradeType
    quantity: Decimal
    reserve: Decimal
    pricing: TradePricing
    reserve_currency: AssetIdentifier
    slippage_tolerance: float | None = None
    closing: bool = False
    flags: frozenset[TradeFlag] = NO_FLAGS
    notes: str | None = None
    other_data: Mapping[str, Any] = field(default_factory=dict)
    loan: LoanChange | None = None

    @property
    def allocation(self) -> Decimal:
        """Return the reserve tokens that leave cash when the trade is started."""
        if self.loan is not None:
            return max(self.loan.collateral_allocation, ZERO)
        return self.reserve if self.quantity > 0 else ZERO


@value
class TradeFill:
    """What the venue did. Quantity is signed as in the plan; price is reserve per base token; fees in USD."""

    executed_at: datetime
    quantity: Decimal
    reserve: Decimal
    price: float
    lp_fees: float
    profit: float | None
    """Realised profit of what shrinks the position against the average entry before it, USD; else None."""
    tx_hash: str | None = None
    block_number: int | None = None
    gas_cost: Decimal | None = None
    """What the chain took for it, native tokens; None where there is no chain."""
    loan: LoanChange | None = None
    """What it did to the loan of its position; None without one."""
    gas_usd: float | None = None
    """What the gas was worth, USD; None where that is not known."""

    def get_value(self, pair: TradingPairIdentifier) -> float:
        """Return the USD value: the reserve, for shorts what was borrowed or repaid at the price."""
        if not pair.has_loan or pair.is_credit_supply():
            return float(self.reserve)
        return abs(float(self.quantity)) * self.price


@value
class TradeCharges:
    """What a trade cost beside fee and tax. Gas is reserve tokens that left cash, the others are in its price, USD."""

    gas: Decimal = ZERO
    impact: float = 0.0
    """By its own size moving the price."""
    slippage: float = 0.0
    """Between quote and fill."""
    delay: float = 0.0
    """By the market moving between decision and fill; negative where it moved in favour of the trade."""


NO_CHARGES = TradeCharges()


class TradeExecution:
    """One trade of a position; its status is derived from the events that were applied to it."""

    __slots__ = (
        "activated_trigger", "allocated", "broadcasted_at", "charges", "discarded_at", "expired_at",
        "expired_triggers", "failed_at", "failure", "fill", "opened_at", "plan", "repaired_at", "settlement_move",
        "settles_at", "started_at", "triggers",
    )  # fmt: skip

    def __init__(self, plan: TradePlan, opened_at: datetime) -> None:
        """Make a planned trade; only State does this."""
        self.plan = plan
        self.opened_at = opened_at
        self.allocated = ZERO
        """Reserve that left cash when the trade was started."""
        self.started_at: datetime | None = None
        self.broadcasted_at: datetime | None = None
        self.settles_at: datetime | None = None
        """From when a vault settles the order; None for trades that do not wait for one."""
        self.settlement_move: SettlementMove | None = None
        """What that vault moved so far; None where only the money of a buy left the wallet."""
        self.fill: TradeFill | None = None
        self.charges = NO_CHARGES
        self.failed_at: datetime | None = None
        self.failure: str | None = None
        self.repaired_at: datetime | None = None
        self.expired_at: datetime | None = None
        self.discarded_at: datetime | None = None
        self.triggers: tuple[Trigger, ...] = ()
        """What the trade waits for."""
        self.activated_trigger: Trigger | None = None
        """The trigger that fired."""
        self.expired_triggers: tuple[Trigger, ...] = ()
        """Triggers that will not fire any more."""

    def __repr__(self) -> str:
        """Return a line a person can read."""
        side = "buy" if self.is_buy() else "sell"
        return (
            f"<Trade #{self.trade_id} {side} {abs(self.plan.quantity):f} {self.pair.base.token_symbol} "
            f"@ {self.plan.pricing.price} {'waits' if self.triggers else self.get_status().value}>"
        )

    @property
    def trade_id(self) -> int:
        """Return the id, unique over all positions of a state."""
        return self.plan.trade_id

    @property
    def position_id(self) -> int:
        """Return the id of the position this trade belongs to."""
        return self.plan.position_id

    @property
    def pair(self) -> TradingPairIdentifier:
        """Return the pair traded."""
        return self.plan.pair

    @property
    def trade_type(self) -> TradeType:
        """Return why the trade is made."""
        return self.plan.trade_type

    @property
    def flags(self) -> frozenset[TradeFlag]:
        """Return the flags."""
        return self.plan.flags

    @property
    def closing(self) -> bool:
        """Tell whether the trade closes its position."""
        return self.plan.closing

    @property
    def notes(self) -> str | None:
        """Return the notes."""
        return self.plan.notes

    @property
    def other_data(self) -> Mapping[str, Any]:
        """Return what the strategy attached."""
        return self.plan.other_data

    @property
    def slippage_tolerance(self) -> float | None:
        """Return the allowed slippage as a fraction."""
        return self.plan.slippage_tolerance

    @property
    def reserve_currency(self) -> AssetIdentifier:
        """Return the reserve token."""
        return self.plan.reserve_currency

    @property
    def planned_quantity(self) -> Decimal:
        """Return the planned quantity in base tokens, negative for a sell."""
        return self.plan.quantity

    @property
    def planned_reserve(self) -> Decimal:
        """Return the planned amount of reserve tokens."""
        return self.plan.reserve

    @property
    def planned_price(self) -> float:
        """Return the planned price including the fee."""
        return self.plan.pricing.price

    @property
    def planned_mid_price(self) -> float:
        """Return the planned price without the fee."""
        return self.plan.pricing.mid_price

    @property
    def price_structure(self) -> TradePricing:
        """Return how the price came about."""
        return self.plan.pricing

    @property
    def fee_tier(self) -> float:
        """Return the fee as a fraction."""
        return self.plan.pricing.pair_fee

    @property
    def lp_fees_estimated(self) -> float:
        """Return the planned fee, USD."""
        return self.plan.pricing.lp_fee

    @property
    def lp_fees_paid(self) -> float | None:
        """Return the fee paid, USD, or None when not executed."""
        return None if self.fill is None else self.fill.lp_fees

    @property
    def token_tax_paid(self) -> float:
        """Return what the token itself took, USD, 0 when not executed; of a candle's trade it is a part of the fee."""
        pricing = self.plan.pricing
        if self.fill is None or not pricing.token_tax:
            return 0.0
        return pricing.token_tax * (self.fill.lp_fees / pricing.lp_fee if pricing.lp_fee else 1.0)

    @property
    def executed_quantity(self) -> Decimal | None:
        """Return the executed quantity, negative for a sell, or None when not executed."""
        return None if self.fill is None else self.fill.quantity

    @property
    def executed_reserve(self) -> Decimal | None:
        """Return the reserve spent or received, or None when not executed."""
        return None if self.fill is None else self.fill.reserve

    @property
    def executed_price(self) -> float | None:
        """Return the executed price including the fee, or None when not executed."""
        return None if self.fill is None else self.fill.price

    @property
    def executed_at(self) -> datetime | None:
        """Return when the trade executed, or None."""
        return None if self.fill is None else self.fill.executed_at

    @property
    def profit(self) -> float | None:
        """Return the realised profit of an executed sell, USD, else None."""
        return None if self.fill is None else self.fill.profit

    @property
    def decided_at(self) -> datetime:
        """Return when it was decided to make the trade now, naive UTC: when it was planned, or its trigger fired."""
        fired = self.activated_trigger
        return self.opened_at if fired is None or fired.triggered_at is None else fired.triggered_at

    @property
    def planned_loan_update(self) -> LoanChange | None:
        """Return what the trade is to do to its position's loan; None without one."""
        return self.plan.loan

    @property
    def executed_loan_update(self) -> LoanChange | None:
        """Return what the trade did to its position's loan; None without one, or when not executed."""
        return None if self.fill is None else self.fill.loan

    @property
    def planned_collateral_allocation(self) -> Decimal | None:
        """Return reserve tokens to move from cash into collateral, below 0 back; None without a loan."""
        return None if self.plan.loan is None else self.plan.loan.collateral_allocation

    @property
    def executed_collateral_allocation(self) -> Decimal | None:
        """Return reserve tokens moved from cash into collateral, below 0 back; None without a loan."""
        change = self.executed_loan_update
        return None if change is None else change.collateral_allocation

    @property
    def planned_collateral_consumption(self) -> Decimal | None:
        """Return reserve tokens that sold debt is to bring, below 0 what buying it back is to take."""
        return None if self.plan.loan is None else self.plan.loan.collateral_consumption

    @property
    def executed_collateral_consumption(self) -> Decimal | None:
        """Return reserve tokens that sold debt brought, below 0 what buying it back took."""
        change = self.executed_loan_update
        return None if change is None else change.collateral_consumption

    @property
    def claimed_interest(self) -> float | None:
        """Return interest of the collateral that was claimed, USD; None without a loan, or when not executed."""
        change = self.executed_loan_update
        return None if change is None else float(change.claimed_interest)

    @property
    def paid_interest(self) -> float | None:
        """Return interest of the debt that was repaid, USD; None without a loan, or when not executed."""
        change = self.executed_loan_update
        return None if change is None or self.fill is None else float(change.repaid_interest) * self.fill.price

    @property
    def reserve_currency_allocated(self) -> Decimal:
        """Return the reserve that left cash for this trade and is not yet spent."""
        running = self.started_at is not None and not (self.fill or self.failed_at or self.discarded_at)
        return self.allocated if running else ZERO

    def get_status(self) -> TradeStatus:
        """Return where the trade stands."""
        if self.repaired_at is not None:
            return TradeStatus.repaired
        if self.fill is not None:
            return TradeStatus.success
        if self.failed_at is not None:
            return TradeStatus.failed
        if self.discarded_at is not None:
            return TradeStatus.discarded
        if self.expired_at is not None:
            return TradeStatus.expired
        if self.settles_at is not None:
            return TradeStatus.vault_settlement_pending
        if self.broadcasted_at is not None:
            return TradeStatus.broadcasted
        return TradeStatus.planned if self.started_at is None else TradeStatus.started

    def get_value(self) -> float:
        """Return the USD value: executed, planned while running or failed, 0 while planned, discarded or repaired."""
        if self.repaired_at is not None or self.discarded_at is not None:
            return 0.0
        if self.fill is not None:
            return self.fill.get_value(self.plan.pair)
        return 0.0 if self.started_at is None and self.failed_at is None else self.get_planned_value()

    def get_planned_value(self) -> float:
        """Return the planned USD value."""
        return abs(float(self.plan.quantity)) * self.plan.pricing.price

    def is_buy(self) -> bool:
        """Tell whether base tokens are bought."""
        return self.plan.quantity > 0

    def is_sell(self) -> bool:
        """Tell whether base tokens are sold."""
        return self.plan.quantity < 0

    def is_success(self) -> bool:
        """Tell whether the trade executed."""
        return self.fill is not None and self.repaired_at is None

    def is_failed(self) -> bool:
        """Tell whether the trade failed."""
        return self.failed_at is not None and self.repaired_at is None

    def is_unfinished(self) -> bool:
        """Tell whether the trade neither executed nor ended without."""
        return self.fill is None and self.failed_at is None and self.discarded_at is None and self.expired_at is None

    def is_planned(self) -> bool:
        """Tell whether the trade waits to be started."""
        return self.get_status() is TradeStatus.planned

    def is_waiting(self) -> bool:
        """Tell whether the trade waits for a trigger."""
        return bool(self.triggers)

    def is_partial_take_profit(self) -> bool:
        """Tell whether the trade takes profit of a part of its position."""
        return TradeFlag.partial_take_profit in self.plan.flags

    def is_stop_loss(self) -> bool:
        """Tell whether a stop loss made this trade."""
        return self.plan.trade_type is TradeType.stop_loss

    def is_take_profit(self) -> bool:
        """Tell whether a take profit made this trade."""
        return self.plan.trade_type is TradeType.take_profit

    def is_rebalance(self) -> bool:
        """Tell whether a decision made this trade."""
        return self.plan.trade_type is TradeType.rebalance

    def is_reduce(self) -> bool:
        """Tell whether the trade shrinks its position without closing it."""
        return self.is_shrinking() and not self.plan.closing

    def is_growing(self) -> bool:
        """Tell whether the trade opens its position or makes it larger."""
        return not self.is_shrinking()

    def is_shrinking(self) -> bool:
        """Tell whether the trade makes its position smaller: a sell, for shorts a repayment or released collateral."""
        plan = self.plan
        if not plan.pair.has_loan or plan.pair.is_credit_supply():
            return plan.quantity < 0
        return plan.quantity > 0 or (not plan.quantity and plan.loan is not None and not plan.allocation)

    def is_liquidation(self) -> bool:
        """Tell whether the lending protocol made this trade."""
        return self.plan.trade_type is TradeType.liquidation

    def is_short(self) -> bool:
        """Tell whether the trade changes a short."""
        return self.plan.pair.is_short()

    def is_spot(self) -> bool:
        """Tell whether the trade is on a spot market."""
        return self.plan.pair.is_spot()

    def is_credit_supply(self) -> bool:
        """Tell whether the trade lends out the reserve or takes it back."""
        return self.plan.pair.is_credit_supply()

    def is_test(self) -> bool:
        """Tell whether this is a test trade."""
        return TradeFlag.test_trade in self.plan.flags
