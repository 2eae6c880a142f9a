"""State: what the events of the ledger add up to.

``State.record`` is the only way anything changes. Replaying the same events gives the same State.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from trading_dagster.domain import trade_fold, waiting
from trading_dagster.domain.binding import Binding
from trading_dagster.domain.equity_statistics import Statistics
from trading_dagster.domain.error import IntegrityError, LedgerError
from trading_dagster.domain.event import (
    AssetAllowed,
    AssetBlacklisted,
    BalanceUpdated,
    CycleCompleted,
    CycleDecided,
    CycleSkipped,
    DataSaved,
    DustKept,
    Event,
    FundFeesTaken,
    InterestAccrued,
    LedgerBound,
    LedgerEnded,
    PairIntroduced,
    PositionFrozen,
    PositionOpened,
    PositionUnfrozen,
    RedemptionEnded,
    RedemptionRequested,
    SettlementMoved,
    SettlementRequested,
    SharesCounted,
    StateCreated,
    StrategyReady,
    TradeBroadcasted,
    TradeCharged,
    TradeDiscarded,
    TradeExecuted,
    TradeExpired,
    TradeFailed,
    TradePlanned,
    TradeRepaired,
    TradeStarted,
    TradeTriggered,
    TradeWaits,
    TriggersMoved,
)
from trading_dagster.domain.fund_fee import FundFeeEntry
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.other_data import OtherData
from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.position import Marks, TradingPosition
from trading_dagster.domain.position_profit import TriggerPriceUpdate
from trading_dagster.domain.run_range import BacktestData, CycleClock, OpenDecision
from trading_dagster.domain.state_action import StateActions
from trading_dagster.domain.time import from_unix_us, to_aware, to_naive
from trading_dagster.domain.trade import NO_CHARGES, TradeExecution
from trading_dagster.domain.treasury import (
    BalanceUpdateCause,
    BalanceUpdatePositionType,
    Redemption,
    Sync,
)
from trading_dagster.domain.visualisation import Visualisation


class State(StateActions):
    """Portfolio, positions, trades and treasury of one strategy."""

    def __init__(self, created: StateCreated, marks: Marks | None = None) -> None:
        """Begin from the first event of a ledger."""
        self.created_at = to_naive(created.at)
        self.name = created.name
        self.last_updated_at: datetime | None = None
        self._cycle = 1
        self._last_cycle_at: datetime | None = None
        self._clock: CycleClock | None = None
        self.decision: OpenDecision | None = None
        """The live cycle that decided and is not completed."""
        self.last_decision_at: datetime | None = None
        """The newest live decision time that was decided or skipped, naive UTC."""
        self.initial_share_price = 1.0
        self.portfolio = Portfolio(created.reserve_asset, marks)
        self.sync = Sync()
        self.binding = Binding()
        self.visualisation = Visualisation()
        self.stats = Statistics()
        """Equity samples, attached by whoever has them; not part of the fold."""
        self.blacklisted_assets: dict[AssetIdentifier, str] = {}
        self.backtest_data: BacktestData | None = None
        self.ready_at: datetime | None = None
        self.other_data = OtherData(self)
        self.known_pairs: dict[str, TradingPairIdentifier] = {}
        self.new_events: list[Event] = [created]
        """Events since the store took the last ones."""
        self._now = self._aware = created.at
        self._at = self.created_at
        """When the event that is folded happened, as strategies see it; ``_aware`` is the same as the event has it."""
        self.is_restoring = False
        """Set while live positions are folded again without the interest of their loans: none of them closes then."""
        self._folds: dict[type[Event], Callable[[Any], None]] = {
            LedgerBound: self.binding.bind,
            LedgerEnded: self.binding.end,
            PairIntroduced: self._fold_pair,
            BalanceUpdated: self._fold_balance,
            FundFeesTaken: self._fold_fund_fees,
            SharesCounted: self._fold_shares,
            RedemptionRequested: self._fold_redemption_requested,
            RedemptionEnded: self._fold_redemption_ended,
            InterestAccrued: self._fold_interest,
            PositionOpened: self._fold_position_opened,
            TradePlanned: self._fold_planned,
            TradeWaits: self._fold_waits,
            TradeTriggered: self._fold_triggered,
            TradeExpired: self._fold_expired,
            TradeStarted: self._fold_started,
            TradeBroadcasted: self._fold_broadcasted,
            SettlementRequested: self._fold_settlement_requested,
            SettlementMoved: self._fold_settlement_moved,
            TradeExecuted: self._fold_executed,
            TradeCharged: self._fold_charged,
            DustKept: self._fold_dust,
            TradeFailed: self._fold_failed,
            TradeDiscarded: self._fold_discarded,
            TriggersMoved: self._fold_triggers,
            TradeRepaired: self._fold_repaired,
            PositionFrozen: self._fold_frozen,
            PositionUnfrozen: self._fold_unfrozen,
            AssetBlacklisted: self._fold_blacklisted,
            AssetAllowed: self._fold_allowed,
            DataSaved: self.other_data.apply,
            StrategyReady: self._fold_ready,
            CycleDecided: self._fold_decided,
            CycleSkipped: self._fold_skipped,
            CycleCompleted: self._fold_cycle,
        }

    # -- ledger ---------------------------------------------------------------------------------------------------

    @classmethod
    def replay(cls, events: Iterable[Event], marks: Marks | None = None) -> State:
        """Fold a ledger from its first event; the result has no events waiting to be stored."""
        iterator = iter(events)
        first = next(iterator, None)
        if not isinstance(first, StateCreated):
            raise LedgerError(f"A ledger begins with StateCreated, got {type(first).__name__}: is its start missing?")
        state = cls(first, marks)
        for event in iterator:
            state.apply(event)
        state.new_events.clear()
        return state

    def record(self, event: Event) -> None:
        """Fold an event and keep it for the store."""
        at = event.at
        if at is not self._aware:
            self._look_at(at)
        self._folds[type(event)](event)
        self._now = at
        self.new_events.append(event)

    def apply(self, event: Event) -> None:
        """Fold an event that is stored already."""
        fold = self._folds.get(type(event))
        if fold is None:
            raise LedgerError(f"{type(event).__name__} cannot be replayed inside a ledger")
        self._look_at(event.at)
        fold(event)
        self._now = event.at

    def use_marks(self, marks: Marks) -> None:
        """Value positions with other prices from now on."""
        self.portfolio.marks = marks
        for position in self.portfolio.get_positions_in_memory():
            position.use_marks(marks)

    def use_clock(self, clock: CycleClock) -> None:
        """Count cycles by a clock: those in which nothing happened leave no event."""
        self._clock = clock

    @property
    def cycle(self) -> int:
        """Return the number of the running cycle, from 1; between cycles that of the next one."""
        return self._cycle if self._clock is None else max(self._cycle, self._clock.index + 1)

    @property
    def last_cycle_at(self) -> datetime | None:
        """Return the decision time of the last cycle that ended, naive UTC; None in the first."""
        clock = self._clock
        if clock is None or clock.index < self._cycle:
            return self._last_cycle_at
        return from_unix_us(clock.grid_us[clock.index - 1])

    def take_events(self) -> list[Event]:
        """Return the events since the last call; the caller stores them."""
        events, self.new_events = self.new_events, []
        return events

    def clock_at(self) -> datetime:
        """Return the time of the newest event, aware UTC."""
        return self._now

    def aware_at(self, timestamp: datetime) -> datetime:
        """Return a naive UTC time as events have it; those of one moment share one object."""
        return self._aware if timestamp == self._at else to_aware(timestamp)

    # -- folds ----------------------------------------------------------------------------------------------------

    def _fold_pair(self, event: PairIntroduced) -> None:
        self.known_pairs[event.pair.get_identifier()] = event.pair

    def _fold_balance(self, event: BalanceUpdated) -> None:
        update = event.update
        portfolio, treasury = self.portfolio, self.sync.treasury
        key = update.chain_key()
        if key in treasury.applied_chain_keys:
            raise LedgerError(f"Balance update {key} was applied before: the same log may count only once")
        if update.balance_update_id < portfolio.next_balance_update_id:
            raise _used_id("balance update", update.balance_update_id, portfolio.next_balance_update_id)
        reserve = portfolio.reserve
        if update.position_type is BalanceUpdatePositionType.reserve:
            portfolio.add_cash(update.quantity)
            reserve.last_sync_at = reserve.last_pricing_at = self._at
            reserve.balance_updates[update.balance_update_id] = update
            if reserve.initial_deposit is None and update.cause is BalanceUpdateCause.deposit:
                reserve.initial_deposit = update.quantity
                reserve.initial_deposit_reserve_token_price = reserve.reserve_token_price
        else:
            position = self._position(update.position_id or 0)
            position.apply_balance(update)
        portfolio.next_balance_update_id = update.balance_update_id + 1
        treasury.last_updated_at = self._at
        treasury.last_cycle_at = update.strategy_cycle_included_at
        if event.share_price and update.position_type is BalanceUpdatePositionType.reserve:
            minted = update.quantity * Decimal(reserve.reserve_token_price) / Decimal(event.share_price)
            treasury.share_count = (treasury.share_count or ZERO) + minted
        treasury.note_flow(update)

    def _fold_interest(self, event: InterestAccrued) -> None:
        update = event.update
        portfolio = self.portfolio
        if update.balance_update_id < portfolio.next_balance_update_id:
            raise _used_id("balance update", update.balance_update_id, portfolio.next_balance_update_id)
        self._position(update.position_id or 0).apply_balance(update)
        portfolio.next_balance_update_id = update.balance_update_id + 1
        self.sync.interest_last_sync_at = self._at

    def _fold_fund_fees(self, event: FundFeesTaken) -> None:
        take, treasury = event.take, self.sync.treasury
        treasury.share_count = (treasury.share_count or ZERO) + take.management_shares + take.performance_shares
        treasury.fund_fees.append(FundFeeEntry(self._at, take))

    def _fold_redemption_requested(self, event: RedemptionRequested) -> None:
        treasury = self.sync.treasury
        if event.number < treasury.next_redemption:
            raise _used_id("redemption", event.number, treasury.next_redemption)
        treasury.redemptions[event.number] = Redemption(event.number, self._at, event.amount, event.recipient)
        treasury.next_redemption = event.number + 1
        self._count_redemptions()

    def _fold_redemption_ended(self, event: RedemptionEnded) -> None:
        if self.sync.treasury.redemptions.pop(event.number, None) is None:
            raise LedgerError(f"Redemption {event.number} ended that does not wait: a ledger ends each once")
        self._count_redemptions()

    def _count_redemptions(self) -> None:
        treasury = self.sync.treasury
        waiting = sum((redemption.amount for redemption in treasury.redemptions.values()), ZERO)
        treasury.pending_redemptions = float(waiting) * self.portfolio.reserve.reserve_token_price

    def _fold_shares(self, event: SharesCounted) -> None:
        self.sync.treasury.share_count = event.shares

    def _fold_position_opened(self, event: PositionOpened) -> None:
        portfolio = self.portfolio
        if event.position_id < portfolio.next_position_id:
            raise _used_id("position", event.position_id, portfolio.next_position_id)
        position = TradingPosition(
            event.position_id,
            event.pair,
            opened_at=self._at,
            reserve_currency=portfolio.reserve.asset,
            portfolio_value_at_open=event.portfolio_value_at_open,
            marks=portfolio.marks,
        )
        position.notes = event.notes
        portfolio.add_open(position)
        portfolio.next_position_id = event.position_id + 1

    def _fold_planned(self, event: TradePlanned) -> None:
        plan, portfolio = event.plan, self.portfolio
        if plan.trade_id < portfolio.next_trade_id:
            raise _used_id("trade", plan.trade_id, portfolio.next_trade_id)
        self._position(plan.position_id).add_trade(TradeExecution(plan, self._at))
        portfolio.next_trade_id = plan.trade_id + 1

    def _fold_waits(self, event: TradeWaits) -> None:
        position, portfolio = self._position(event.position_id), self.portfolio
        waiting.wait(position, event.trade_id, event.triggers)
        if not position.trades and position.position_id in portfolio.open_positions:
            position.pending_since_at = self._at
            portfolio.remove_open(position)
            portfolio.loan_positions.pop(position.position_id, None)
            portfolio.pending_positions[position.position_id] = position

    def _fold_triggered(self, event: TradeTriggered) -> None:
        position, portfolio, at = self._position(event.position_id), self.portfolio, self._at
        waiting.fire(position, event, at)
        if portfolio.pending_positions.pop(position.position_id, None) is not None:
            position.opened_at = at
            portfolio.add_open(position)

    def _fold_expired(self, event: TradeExpired) -> None:
        position, at = self._position(event.position_id), self._at
        waiting.expire(position, event.trade_id, at, event.reason)
        if position.position_id in self.portfolio.pending_positions and not waiting.is_entry_awaited(position):
            self._expire(position, at)

    def _fold_started(self, event: TradeStarted) -> None:
        position = self._position(event.position_id)
        trade_fold.start_trade(self.portfolio, position, position.trades[event.trade_id], self._at)

    def _fold_broadcasted(self, event: TradeBroadcasted) -> None:
        self._position(event.position_id).trades[event.trade_id].broadcasted_at = self._at

    def _fold_settlement_requested(self, event: SettlementRequested) -> None:
        trade_fold.await_settlement(self.portfolio, self._position(event.position_id).trades[event.trade_id], event)

    def _fold_settlement_moved(self, event: SettlementMoved) -> None:
        trade_fold.move_settlement(self.portfolio, self._position(event.position_id).trades[event.trade_id], event)

    def _fold_executed(self, event: TradeExecuted) -> None:
        position, portfolio = self._position(event.position_id), self.portfolio
        trade = position.trades[event.trade_id]
        if portfolio.settlements:
            portfolio.settlements.pop(event.trade_id, None)
        trade_fold.fill_trade(portfolio, position, trade, event, self._at)
        may_close = trade.is_shrinking() or trade.plan.closing  # an empty trade closes what a correction took away
        if may_close and self._is_nothing_left(position) and position.closed_at is None:
            self._close(position, self._at)

    def _fold_charged(self, event: TradeCharged) -> None:
        trade = self._position(event.position_id).trades[event.trade_id]
        if trade.fill is None or trade.charges is not NO_CHARGES:
            raise LedgerError(f"{trade} cannot be charged: a trade is executed, then charged once")
        if event.charges.gas:
            self.portfolio.add_cash(-event.charges.gas)
        trade.charges = event.charges

    def _fold_dust(self, event: DustKept) -> None:
        self.portfolio.keep_dust(event.asset, event.quantity)

    def _fold_failed(self, event: TradeFailed) -> None:
        position = self._position(event.position_id)
        trade = position.trades[event.trade_id]
        self.portfolio.settlements.pop(event.trade_id, None)
        trade_fold.give_back(self.portfolio, position, trade)
        trade.failed_at = self._at
        trade.failure = event.reason
        position.finish_trade()

    def _fold_repaired(self, event: TradeRepaired) -> None:
        trade = self._position(event.position_id).trades[event.trade_id]
        if trade.failed_at is None or trade.repaired_at is not None:
            raise LedgerError(f"{trade} cannot be repaired: only a failed trade can, and only once")
        trade.repaired_at = self._at

    def _fold_discarded(self, event: TradeDiscarded) -> None:
        position = self._position(event.position_id)
        trade = position.trades[event.trade_id]
        self.portfolio.settlements.pop(event.trade_id, None)
        trade_fold.give_back(self.portfolio, position, trade)
        trade.discarded_at = self._at
        trade.failure = event.reason
        position.finish_trade()
        if all(t.discarded_at is not None or t.repaired_at is not None for t in position.trades.values()):
            self._expire(position, trade.discarded_at)

    def _close(self, position: TradingPosition, at: datetime) -> None:
        portfolio = self.portfolio
        position.close(at)
        waiting.expire_all(position, at, "its position closed")
        trade_fold.keep_left_over(portfolio, position)
        self._take_out(position)
        portfolio.closed_positions[position.position_id] = position

    def _is_nothing_left(self, position: TradingPosition) -> bool:
        return position.can_be_closed() and not self.is_restoring

    def _expire(self, position: TradingPosition, at: datetime) -> None:
        position.expired_at = at
        waiting.expire_all(position, at, "its position never opened")
        self._take_out(position)
        self.portfolio.expired_positions[position.position_id] = position

    def _take_out(self, position: TradingPosition) -> None:
        """Take a position from the open, frozen or pending ones."""
        portfolio = self.portfolio
        if position.position_id in portfolio.open_positions:
            portfolio.remove_open(position)
        else:
            portfolio.frozen_positions.pop(position.position_id, None)
            portfolio.pending_positions.pop(position.position_id, None)
        portfolio.loan_positions.pop(position.position_id, None)

    def _fold_triggers(self, event: TriggersMoved) -> None:
        position = self._position(event.position_id)
        position.trigger_updates.append(
            TriggerPriceUpdate(
                timestamp=self._at,
                mid_price=event.mid_price,
                stop_loss_before=position.stop_loss,
                stop_loss_after=event.stop_loss,
                take_profit_before=position.take_profit,
                take_profit_after=event.take_profit,
            )
        )
        position.stop_loss = event.stop_loss
        position.take_profit = event.take_profit
        position.trailing_stop_loss_pct = event.trailing_stop_loss_pct

    def _fold_frozen(self, event: PositionFrozen) -> None:
        position = self._position(event.position_id)
        self.portfolio.remove_open(position)
        self.portfolio.frozen_positions[position.position_id] = position
        position.frozen_at, position.unfrozen_at = self._at, None
        position.notes = event.reason if position.notes is None else f"{position.notes}\n{event.reason}"

    def _fold_unfrozen(self, event: PositionUnfrozen) -> None:
        portfolio = self.portfolio
        position = portfolio.frozen_positions.pop(event.position_id, None)
        if position is None:
            raise LedgerError(f"Position #{event.position_id} is not frozen, so it cannot be released")
        position.unfrozen_at = self._at
        position.notes = event.reason if position.notes is None else f"{position.notes}\n{event.reason}"
        if position.unfinished_trade_count or not self._is_nothing_left(position):
            portfolio.add_open(position)
        elif position.executed_trade_count:
            self._close(position, position.unfrozen_at)
        else:
            self._expire(position, position.unfrozen_at)

    def _fold_blacklisted(self, event: AssetBlacklisted) -> None:
        self.blacklisted_assets[event.asset] = event.reason

    def _fold_allowed(self, event: AssetAllowed) -> None:
        self.blacklisted_assets.pop(event.asset, None)

    def _fold_ready(self, event: StrategyReady) -> None:  # noqa: ARG002 - every fold is given its event
        self.ready_at = self._at
        if self.backtest_data is not None:
            self.backtest_data.ready_at = self.ready_at

    def _fold_decided(self, event: CycleDecided) -> None:
        if self.decision is not None:
            raise LedgerError(f"Cycle {event.cycle} decides while cycle {self.decision.cycle} is not completed")
        decision_at = self._pass_decision_time(event.decision_at)
        self.decision = OpenDecision(event.cycle, decision_at, event.trade_ids, event.position_ids)

    def _fold_skipped(self, event: CycleSkipped) -> None:
        self._pass_decision_time(event.decision_at)

    def _pass_decision_time(self, decision_at: datetime) -> datetime:
        """Return a decision time as naive UTC; none is decided twice, or after a later one."""
        naive = to_naive(decision_at)
        if self.last_decision_at is not None and naive <= self.last_decision_at:
            raise LedgerError(f"{naive} was decided or skipped already: the newest was {self.last_decision_at}")
        self.last_decision_at = naive
        return naive

    def _fold_cycle(self, event: CycleCompleted) -> None:
        self._cycle = event.cycle + 1
        self.last_updated_at = self._at
        self._last_cycle_at = self.last_updated_at if self.decision is None else self.decision.decision_at
        self.decision = None

    def _look_at(self, at: datetime) -> None:
        self._aware, self._at = at, to_naive(at)

    def _position(self, position_id: int) -> TradingPosition:
        position = self.portfolio.open_positions.get(position_id)
        return self.portfolio.get_position_by_id(position_id) if position is None else position


def _used_id(what: str, new_id: int, next_id: int) -> IntegrityError:
    return IntegrityError(
        f"The ledger has a second {what} #{new_id}, the next free id is {next_id}: "
        "do two processes write it, or was a part stored twice?"
    )
