"""A trading position: its trades, its trigger levels and the profit that follows from them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.loan import Loan
from trading_dagster.domain.money import DUST, QUANTITY_ZERO_EPSILON, ZERO
from trading_dagster.domain.position_profit import PositionProfit, TriggerPriceUpdate
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradeStatus
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause


class Marks(Protocol):
    """Where positions read the price they are valued at."""

    def price_of(self, pair: TradingPairIdentifier) -> float | None:
        """Return reserve per base token a position on the pair is worth now, None if never priced."""
        ...

    def priced_at(self) -> datetime | None:
        """Return when the marks were taken, naive UTC."""
        ...


class TradingPosition(PositionProfit):
    """A position on one pair, from its first planned trade to its last; changed only by State."""

    __slots__ = (
        "_fixed", "_held", "_loan", "_marks", "allocated", "balance_updates", "executed_trade_count", "expired_at",
        "expired_trades", "fees_paid", "frozen_at", "last_executed_trade", "last_fired_at", "last_price_when_closed",
        "last_reserve_price", "liquidation_price", "notes", "other_data", "pending_since_at", "pending_trades",
        "position_id", "quantity", "reserve_currency", "stop_loss", "take_profit", "trades",
        "trailing_stop_loss_pct", "unfinished_trade_count", "unfrozen_at",
    )  # fmt: skip

    def __init__(
        self,
        position_id: int,
        pair: TradingPairIdentifier,
        *,
        opened_at: datetime,
        reserve_currency: AssetIdentifier,
        portfolio_value_at_open: float,
        marks: Marks,
    ) -> None:
        """Make a position without trades; only State does this."""
        self.position_id = position_id
        self.pair = pair
        self.opened_at = opened_at
        self.reserve_currency = reserve_currency
        self.portfolio_value_at_open = portfolio_value_at_open
        self._marks = marks
        self.pending_since_at: datetime | None = None
        """Since when the position waits, or waited, for its first trade's trigger."""
        self.closed_at: datetime | None = None
        self.expired_at: datetime | None = None
        """When it was given up before its first trade."""
        self.last_fired_at: datetime | None = None
        """When a waiting trade of it fired last: an instant makes one trade of a position."""
        self.frozen_at: datetime | None = None
        self.unfrozen_at: datetime | None = None
        self.trades: dict[int, TradeExecution] = {}
        self.pending_trades: dict[int, TradeExecution] = {}
        self.expired_trades: dict[int, TradeExecution] = {}
        self.stop_loss: float | None = None
        self.take_profit: float | None = None
        self.trailing_stop_loss_pct: float | None = None
        self.trigger_updates: list[TriggerPriceUpdate] = []
        self.balance_updates: dict[int, BalanceUpdate] = {}
        self.notes: str | None = None
        self.other_data: dict[str, Any] = {}
        self._loan: Loan | None = None
        self.liquidation_price: float | None = None
        """The mid price at which the newest plan's loan is liquidated, before fees and interest; None without debt."""
        self.claimed_interest = 0.0
        self.repaid_interest = 0.0
        self.last_reserve_price = 1.0
        self.quantity = ZERO
        self._held = 0.0
        self._fixed = 0.0
        self.executed_trade_count = 0
        self.unfinished_trade_count = 0
        self.allocated = ZERO
        self.last_executed_trade: TradeExecution | None = None
        self.fees_paid = 0.0
        self.last_price_when_closed: float | None = None
        self._bought_quantity = ZERO
        self._bought_value = 0.0
        self._sold_quantity = ZERO
        self._sold_value = 0.0

    def __repr__(self) -> str:
        """Return a line a person can read."""
        return f"<Position #{self.position_id} {self.pair.get_ticker()} {self.quantity:f} {self._describe_status()}>"

    def _describe_status(self) -> str:
        if self.frozen_at is not None and self.unfrozen_at is None:
            return f"frozen at {self.frozen_at}"
        if self.expired_at is not None:
            return f"expired at {self.expired_at}"
        if self.is_pending():
            return f"pending since {self.pending_since_at}"
        return "open" if self.closed_at is None else f"closed at {self.closed_at}"

    # -- quantity and value ---------------------------------------------------------------------------------------

    def get_quantity(self, planned: bool = False) -> Decimal:
        """Return base tokens held: executed quantities plus balance updates; within 1e-18 of zero is zero.

        With ``planned`` as if the trades that are planned and do not wait for a trigger had executed as planned.
        """
        quantity = ZERO if abs(self.quantity) <= QUANTITY_ZERO_EPSILON else self.quantity
        if planned and self.unfinished_trade_count:
            quantity += sum((t.planned_quantity for t in self.trades.values() if t.is_unfinished()), ZERO)
        return quantity

    def get_pending_quantity(self) -> Decimal:
        """Return base tokens that waiting entries bring, below 0 of a short, by the prices they were planned at."""
        return sum((t.planned_quantity for t in self.pending_trades.values() if t.is_growing()), ZERO)

    @property
    def held(self) -> float:
        """Return the base tokens whose price makes the value: negative for a short, 0 for a credit supply."""
        return self._held

    @property
    def fixed_value(self) -> float:
        """Return the part of the value that no price moves: what is lent out with its interest, USD."""
        return self._fixed

    @property
    def loan(self) -> Loan | None:
        """Return the loan at the last price, None for a position without one."""
        loan = self._loan
        return loan if loan is None or loan.borrowed is None else loan.at_price(self.last_token_price)

    def get_liquidation_level(self) -> float | None:
        """Return the mid price at which the protocol liquidates the loan, interest included; None without debt."""
        return None if self._loan is None else self._loan.get_liquidation_price()

    def get_token_balances(self) -> tuple[tuple[AssetIdentifier, Decimal], ...]:
        """Return the tokens that belong to the position and how many a wallet holds of them; debt tokens count up."""
        loan = self._loan
        if loan is None:
            return ((self.pair.base, self.quantity),)
        if loan.borrowed is None:
            return ((loan.collateral.asset, loan.collateral.total),)
        return ((loan.borrowed.asset, loan.borrowed.total), (loan.collateral.asset, loan.collateral.total))

    @property
    def last_token_price(self) -> float:
        """Return the price the position was last valued at, reserve per base token; 1 for a credit supply."""
        if self.last_price_when_closed is not None:
            return self.last_price_when_closed
        if self.pair.has_loan and self.pair.is_credit_supply():
            return 1.0
        price = self._marks.price_of(self.pair)
        return self.get_opening_price() if price is None else price

    @property
    def last_pricing_at(self) -> datetime | None:
        """Return when the position was last valued, naive UTC."""
        return self.closed_at or self._marks.priced_at()

    def get_current_price(self) -> float:
        """Return the price the position was last valued at."""
        return self.last_token_price

    def get_value(self) -> float:
        """Return the USD value: quantity at the last price plus reserve allocated to started trades.

        With a loan it is the loan's net asset value.
        """
        if self.closed_at is not None:
            return 0.0
        held = self._held
        value = held * self.last_token_price if held else 0.0
        if self._loan is not None:
            value = self._fixed + value
        if self.allocated:
            value += float(self.allocated)
        return value

    def get_equity(self) -> float:
        """Return the USD value."""
        return self.get_value()

    def get_available_trading_quantity(self) -> Decimal:
        """Return what may still be sold: quantity less planned sells that are not partial take profits.

        Of a short it is what may still be repaid, below 0.
        """
        quantity = self.get_quantity()
        if not self.unfinished_trade_count:
            return quantity
        return quantity + sum(
            (
                t.planned_quantity
                for t in self.trades.values()
                if t.plan.quantity
                and t.is_shrinking()
                and t.is_unfinished()
                and TradeFlag.partial_take_profit not in t.flags
            ),
            ZERO,
        )

    def is_settling(self) -> bool:
        """Tell whether a vault has an order of the position that did not settle: it cannot trade meanwhile."""
        return bool(self.unfinished_trade_count) and any(
            trade.get_status() is TradeStatus.vault_settlement_pending for trade in self.trades.values()
        )

    def can_be_closed(self) -> bool:
        """Tell whether what is left counts as nothing; of a loan both sides."""
        if abs(self.quantity) > DUST.close_epsilon(self.pair.kind):
            return False
        return self._loan is None or self._loan.collateral.total <= DUST.collateral

    # -- trades ---------------------------------------------------------------------------------------------------

    @property
    def last_trade(self) -> TradeExecution | None:
        """Return the newest trade, whatever its status."""
        return next(reversed(self.trades.values()), None)

    def get_first_trade(self) -> TradeExecution:
        """Return the oldest trade that was not discarded before it began."""
        for trade in self.trades.values():
            if trade.discarded_at is None:
                return trade
        return self._any_trades()[0]

    def get_last_trade(self) -> TradeExecution:
        """Return the newest trade that was not discarded before it began."""
        for trade in reversed(self.trades.values()):
            if trade.discarded_at is None:
                return trade
        return self._any_trades()[-1]

    def _any_trades(self) -> list[TradeExecution]:
        """Return the trades of a position that has no good one: all, those that wait, or those that expired."""
        return list((self.trades or self.pending_trades or self.expired_trades).values())

    def get_successful_trades(self) -> list[TradeExecution]:
        """Return the trades that executed, oldest first."""
        return [t for t in self.trades.values() if t.is_success()]

    def get_opening_price(self) -> float:
        """Return the executed price of the first trade, the planned one before it executed."""
        first = self.get_first_trade()
        return first.planned_price if first.executed_price is None else first.executed_price

    def get_opening_quantity(self) -> Decimal:
        """Return the executed quantity of the first trade, the planned one before it executed."""
        first = self.get_first_trade()
        return first.planned_quantity if first.executed_quantity is None else first.executed_quantity

    def get_closing_price(self) -> float | None:
        """Return the executed price of the last trade of a closed position, else None."""
        if self.closed_at is None or self.last_executed_trade is None:
            return None
        return self.last_executed_trade.executed_price

    def get_value_at_open(self) -> float:
        """Return the executed value of the first trade, USD."""
        return self.get_first_trade().get_value()

    # -- state ----------------------------------------------------------------------------------------------------

    def is_open(self) -> bool:
        """Tell whether the position is neither closed nor frozen, and does not wait for its first trade."""
        return (
            self.closed_at is None
            and self.expired_at is None
            and (self.frozen_at is None or not self.is_frozen())
            and (self.pending_since_at is None or not self.is_pending())
        )

    def is_pending(self) -> bool:
        """Tell whether the position waits for the trigger of its first trade."""
        return self.pending_since_at is not None and not self.trades and self.expired_at is None

    def get_status(self) -> str:
        """Return closed, frozen, expired, pending or open."""
        if self.closed_at is not None:
            return "closed"
        if self.is_frozen():
            return "frozen"
        if self.expired_at is not None:
            return "expired"
        return "pending" if self.is_pending() else "open"

    def is_expired(self) -> bool:
        """Tell whether the position was given up before its first trade."""
        return self.expired_at is not None

    def is_closed(self) -> bool:
        """Tell whether the position is closed."""
        return self.closed_at is not None

    def is_frozen(self) -> bool:
        """Tell whether a failed trade froze the position."""
        return self.frozen_at is not None and self.unfrozen_at is None

    def is_long(self) -> bool:
        """Tell whether the position gains when the price rises."""
        return not self.pair.is_short() and not self.pair.is_credit_supply()

    def is_short(self) -> bool:
        """Tell whether the position gains when the price falls."""
        return self.pair.is_short()

    def is_spot(self) -> bool:
        """Tell whether the position holds the token."""
        return self.pair.is_spot()

    def is_credit_supply(self) -> bool:
        """Tell whether the position lends out the reserve."""
        return self.pair.is_credit_supply()

    def is_vault(self) -> bool:
        """Tell whether the position holds vault shares."""
        return self.pair.is_vault()

    def is_test(self) -> bool:
        """Tell whether the position was opened by a test trade."""
        return self.get_first_trade().is_test()

    def has_trigger(self) -> bool:
        """Tell whether a stop loss, take profit, trailing stop or waiting trade must be watched."""
        return (
            self.stop_loss is not None
            or self.take_profit is not None
            or self.trailing_stop_loss_pct is not None
            or bool(self.pending_trades)
        )

    def has_automatic_close(self) -> bool:
        """Tell whether a stop loss, take profit or trailing stop must be watched."""
        return self.stop_loss is not None or self.take_profit is not None or self.trailing_stop_loss_pct is not None

    def is_stop_loss(self) -> bool:
        """Tell whether a stop loss closed the position."""
        return self.closed_at is not None and self.get_last_trade().is_stop_loss()

    def is_take_profit(self) -> bool:
        """Tell whether a take profit closed the position."""
        return self.closed_at is not None and self.get_last_trade().is_take_profit()

    def is_trailing_stop_loss(self) -> bool:
        """Tell whether a trailing stop closed the position."""
        return self.is_stop_loss() and self.trailing_stop_loss_pct is not None

    # -- folding --------------------------------------------------------------------------------------------------

    def add_trade(self, trade: TradeExecution) -> None:
        """Add a planned trade; only State calls this."""
        self.trades[trade.plan.trade_id] = trade
        self.unfinished_trade_count += 1

    def finish_trade(self) -> None:
        """Count a trade that failed, was discarded or waits for a trigger as finished; only State calls this."""
        self.unfinished_trade_count -= 1

    def apply_fill(self, trade: TradeExecution) -> None:
        """Add an executed trade to the aggregates; only State calls this."""
        fill = trade.fill
        if fill is None:
            return
        change = fill.loan
        if change is None:
            self.quantity += fill.quantity
            self._held = float(self.get_quantity())
        else:
            loan = self._loan
            self._owe(
                Loan.begin(self.pair, change, fill.quantity, fill.executed_at)
                if loan is None
                else loan.apply(change, fill.quantity)
            )
            self.claimed_interest += float(change.claimed_interest)
            self.repaid_interest += float(change.repaid_interest) * fill.price
            self.liquidation_price = change.liquidation_price
        self.unfinished_trade_count -= 1
        self.executed_trade_count += 1
        self.last_executed_trade = trade
        self.fees_paid += fill.lp_fees
        if fill.quantity > 0:
            self._bought_quantity += fill.quantity
            self._bought_value += float(fill.reserve) if change is None else fill.get_value(self.pair)
        else:
            self._sold_quantity -= fill.quantity
            self._sold_value += float(fill.reserve) if change is None else fill.get_value(self.pair)

    def apply_balance(self, update: BalanceUpdate) -> None:
        """Add tokens that came or went without a trade; only State calls this.

        An in-kind redemption takes its part of the cost with it, at the average buy price. Interest and corrections of
        a loan belong to the side of their token.
        """
        if self._loan is not None:
            if update.cause is BalanceUpdateCause.interest:
                self._owe(self._loan.accrue(update.asset, update.quantity, update.block_mined_at))
            else:
                self._owe(self._loan.correct(update.asset, update.quantity))
            self.balance_updates[update.balance_update_id] = update
            return
        average_buy = self.get_average_buy()
        if update.cause is BalanceUpdateCause.redemption and average_buy is not None:
            self._bought_quantity += update.quantity
            self._bought_value += average_buy * float(update.quantity)
        self.quantity += update.quantity
        self._held = float(self.get_quantity())
        self.balance_updates[update.balance_update_id] = update

    def restore_loan(self, loan: Loan) -> None:
        """Set the loan to what it was at a checkpoint; only State's restoring calls this."""
        self._owe(loan)

    def _owe(self, loan: Loan) -> None:
        """Take over a loan: the quantity is what is lent out, or less than 0 what is owed."""
        self._loan = loan
        self._fixed = float(loan.collateral.total)
        self.quantity = loan.collateral.total if loan.borrowed is None else -loan.borrowed.total
        self._held = 0.0 if loan.borrowed is None else float(self.get_quantity())

    def use_marks(self, marks: Marks) -> None:
        """Read prices elsewhere from now on; only State calls this."""
        self._marks = marks

    def close(self, at: datetime) -> None:
        """Mark the position closed; only State calls this."""
        last = self.last_executed_trade
        self.last_price_when_closed = self.last_token_price if last is None else last.executed_price
        self.closed_at = at
