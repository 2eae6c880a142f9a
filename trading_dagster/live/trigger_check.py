"""The trigger check between cycles: stops trail, positions close, trades that waited for a price or time are made."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from trading_dagster.domain.error import ContractMissing, DataUnavailable, TradeError
from trading_dagster.domain.event import TriggersMoved
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_aware
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.live.message import freeze_messages, trigger_message, unpriced_message
from trading_dagster.live.operation import list_waiting
from trading_dagster.live.step import LiveStep, open_step
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import load_universe
from trading_dagster.storage.ledger_store import Sample
from trading_dagster.storage.strategy_ledger import StrategyLedger
from trading_dagster.strategy.position_manager import PositionManager
from trading_dagster.strategy.trigger import fired_trigger, trailed_stop
from trading_dagster.strategy.waiting_order import find_firing, has_fired, list_expired

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TriggerReport:
    """What a trigger check did; ``at`` is naive UTC.

    ``moved`` are positions whose stop was trailed, ``unpriced`` those without a price now, ``expired`` trades that
    waited and will not fire any more, ``unfinished`` trades whose end is not known yet.
    """

    at: datetime
    watched: int = 0
    moved: tuple[int, ...] = ()
    trades: tuple[TradeExecution, ...] = ()
    unpriced: tuple[int, ...] = ()
    expired: tuple[TradeExecution, ...] = ()
    unfinished: tuple[TradeExecution, ...] = ()
    sample: Sample | None = None
    notes: tuple[str, ...] = ()


def check_triggers(live: LiveStrategy, at: datetime | None = None) -> TriggerReport:
    """Check every position's triggers at current prices; close those that fire, make the trades that waited.

    At most one trade a position: stop loss, take profit, then waiting trades by id. Costs one look into the ledger when
    nothing is to be watched. A position whose trade is under way is left alone.

    Args:
        live: The strategy.
        at: The instant, naive UTC; the present by default.

    Raises:
        ExecutorBusy: Another executor works on the strategy or its wallet.
    """
    instant = live.now() if at is None else at
    forbidden = live.forbid_trading()
    if forbidden:
        return TriggerReport(instant, notes=(forbidden,))
    state = StrategyLedger(live.store, live.id).load()
    if state is None or not _is_worth_opening(state):
        return TriggerReport(instant)
    universe = load_universe(live, instant)
    with open_step(live, universe, instant, "the trigger check", is_trigger_check=True) as step:
        unfinished = step.resume_trades()
        step.desk.treasury.sync_treasury(instant, step.state)
        liquidated = _liquidate_breached(step, instant)
        busy = {trade.position_id for trade in unfinished}
        check = _Check(step, instant, step.make_position_manager(universe), _group_waiting(step))
        watched = list(_list_watched(step.state, busy, check.decided))
        for position in watched:
            check.look_at(position)
        trades, notes = step.review(check.trades)
        if trades:
            step.desk.execution.execute_trades(instant, step.state, trades, triggered=True)
        trades = [*liquidated, *trades]
        sample = step.take_sample() if trades else None
        step.session.save([] if sample is None else [sample])
        _tell(live, step.state, trades, check)
        return TriggerReport(
            instant,
            len(watched),
            tuple(check.moved),
            tuple(trades),
            tuple(check.unpriced),
            tuple(check.expired),
            tuple(unfinished),
            sample,
            notes,
        )


@dataclass(slots=True)
class _Check:
    """A check in progress: what it found of the positions it looked at.

    ``decided`` are the trades of a cycle in progress that did not begin, by position: they wait for an approval, or for
    the next step of a cycle that was interrupted. A stop loss does not wait with them.
    """

    step: LiveStep
    instant: datetime
    manager: PositionManager
    decided: dict[int, list[TradeExecution]]
    moved: list[int] = field(default_factory=list)
    unpriced: list[int] = field(default_factory=list)
    trades: list[TradeExecution] = field(default_factory=list)
    expired: list[TradeExecution] = field(default_factory=list)

    def look_at(self, position: TradingPosition) -> None:
        """Move the position's stop, then plan at most one trade of it.

        What cannot be priced or sold keeps no other position from being looked at.
        """
        try:
            self._look_at(position, self.step.desk.pricing.get_mid_price(self.instant, position.pair))
        except (DataUnavailable, TradeError, ContractMissing) as error:
            logger.warning("%s cannot be looked at: %s", position, error)
            self.unpriced.append(position.position_id)

    def _look_at(self, position: TradingPosition, mid: float) -> None:
        if position.is_open() and _trail(self.step, position, mid):
            self.moved.append(position.position_id)
        if has_fired(position, self.instant):
            return
        waiting = self.decided.get(position.position_id, [])
        fired = fired_trigger(position, mid) if position.is_open() else None
        if fired is not None:
            self.step.discard(waiting, f"{fired.value} fired before it began")
            closing = self.manager.close_fired(position, fired, mid)
            self.trades += closing
            if closing or waiting:
                return
        if position.pending_trades and not waiting:
            waited = list(position.pending_trades.values())
            self._look_at_waiting(position, mid)
            self.expired += [trade for trade in waited if trade.expired_at is not None]

    def _look_at_waiting(self, position: TradingPosition, mid: float) -> None:
        for trade in list_expired(position, self.instant):
            if trade.trade_id in position.pending_trades:  # an entry takes the others with it
                self.manager.expire_waiting_trade(trade, "it did not fire in time")
        firing = find_firing(position, self.instant, mid)
        if firing is not None:
            brought = sum((-t.plan.allocation or t.planned_reserve for t in self.trades), ZERO)
            cash = self.step.state.portfolio.reserve.quantity + brought
            self.trades += self.manager.fire_waiting_trade(position, firing, cash)


def _group_waiting(step: LiveStep) -> dict[int, list[TradeExecution]]:
    """Return the trades of the cycle in progress that did not begin, by the position they would change."""
    waiting: dict[int, list[TradeExecution]] = {}
    for trade in list_waiting(step):
        waiting.setdefault(trade.position_id, []).append(trade)
    return waiting


def _list_watched(
    state: State, busy: set[int], decided: Mapping[int, Sequence[TradeExecution]]
) -> Iterable[TradingPosition]:
    """Yield what is to be looked at, open positions first; none of which a trade is under way or about to open it."""
    portfolio = state.portfolio
    for position in (*portfolio.open_positions.values(), *portfolio.pending_positions.values()):
        waiting = decided.get(position.position_id, ())
        is_idle = position.unfinished_trade_count == len(waiting)
        is_held = not waiting or bool(position.get_quantity())
        if position.has_trigger() and position.position_id not in busy and is_idle and is_held:
            yield position


def _is_worth_opening(state: State) -> bool:
    portfolio = state.portfolio
    return bool(portfolio.pending_positions) or any(
        position.has_trigger() or position.is_short() or position.unfinished_trade_count
        for position in (*portfolio.open_positions.values(), *portfolio.frozen_positions.values())
    )


def _liquidate_breached(step: LiveStep, at: datetime) -> list[TradeExecution]:
    """End loans that are breached at the prices of now, where the venue only plays a chain."""
    penalty = step.desk.liquidation_penalty
    if penalty is None or not step.state.portfolio.loan_positions:
        return []
    return step.make_loan_service().liquidate_breached(at, penalty)


def _tell(live: LiveStrategy, state: State, trades: list[TradeExecution], check: _Check) -> None:
    now = live.clock.now()
    if check.unpriced:
        live.reporter.report(unpriced_message(live.id, check.unpriced, now))
    if trades or check.expired:
        message = trigger_message(live.id, state, trades=trades, expired=check.expired, at=now)
        live.reporter.report(message)
    for message in freeze_messages(live.id, trades, now):
        live.reporter.report(message)


def _trail(step: LiveStep, position: TradingPosition, mid: float) -> bool:
    level = trailed_stop(position, mid)
    if level is None:
        return False
    step.state.record(
        TriggersMoved(
            to_aware(step.clock.timestamp),
            position.position_id,
            mid,
            level,
            position.take_profit,
            position.trailing_stop_loss_pct,
        )
    )
    return True
