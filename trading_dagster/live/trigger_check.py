"""The trigger check between cycles: moves trailing stops, closes positions whose stop loss or take profit fires."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from trading_dagster.domain.error import DataUnavailable
from trading_dagster.domain.event import TriggersMoved
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_aware
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradeType
from trading_dagster.live.message import freeze_messages, trigger_message, unpriced_message
from trading_dagster.live.step import LiveStep, open_step
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import load_universe
from trading_dagster.storage.ledger_store import Sample
from trading_dagster.storage.strategy_ledger import StrategyLedger
from trading_dagster.strategy.position_manager import PositionManager
from trading_dagster.strategy.trigger import fired_trigger, trailed_stop

TRIGGERED = frozenset({TradeFlag.triggered})


@dataclass(frozen=True, slots=True)
class TriggerReport:
    """What a trigger check did; ``at`` is naive UTC.

    ``moved`` are positions whose stop was trailed, ``unpriced`` those without a price now, ``unfinished`` trades whose
    end is not known yet.
    """

    at: datetime
    watched: int = 0
    moved: tuple[int, ...] = ()
    trades: tuple[TradeExecution, ...] = ()
    unpriced: tuple[int, ...] = ()
    unfinished: tuple[TradeExecution, ...] = ()
    sample: Sample | None = None
    notes: tuple[str, ...] = ()


def check_triggers(live: LiveStrategy, at: datetime | None = None) -> TriggerReport:
    """Check every open position's triggers at current prices and close those that fire.

    Costs one look into the ledger when nothing is to be watched. A position whose trade is under way is left alone.

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
        watched = [
            position
            for position in step.state.portfolio.open_positions.values()
            if position.has_trigger() and position.position_id not in busy and not position.unfinished_trade_count
        ]
        manager = step.make_position_manager(universe)
        moved: list[int] = []
        unpriced: list[int] = []
        trades: list[TradeExecution] = []
        for position in watched:
            try:
                mid = step.desk.pricing.get_mid_price(instant, position.pair)
            except DataUnavailable:
                unpriced.append(position.position_id)
                continue
            if _trail(step, position, mid):
                moved.append(position.position_id)
            trades += _close_if_fired(manager, position, mid)
        trades, notes = step.review(trades)
        if trades:
            step.desk.execution.execute_trades(instant, step.state, trades, triggered=True)
        trades = [*liquidated, *trades]
        sample = step.take_sample() if trades else None
        step.session.save([] if sample is None else [sample])
        if unpriced:
            live.reporter.report(unpriced_message(live.id, unpriced, live.clock.now()))
        if trades:
            live.reporter.report(trigger_message(live.id, step.state, trades=trades, at=live.clock.now()))
            for message in freeze_messages(live.id, trades, live.clock.now()):
                live.reporter.report(message)
        return TriggerReport(
            instant, len(watched), tuple(moved), tuple(trades), tuple(unpriced), tuple(unfinished), sample, notes
        )


def _is_worth_opening(state: State) -> bool:
    portfolio = state.portfolio
    return any(
        position.has_trigger() or position.is_short() or position.unfinished_trade_count
        for position in (*portfolio.open_positions.values(), *portfolio.frozen_positions.values())
    )


def _liquidate_breached(step: LiveStep, at: datetime) -> list[TradeExecution]:
    """End loans that are breached at the prices of now, where the venue only plays a chain."""
    penalty = step.desk.liquidation_penalty
    if penalty is None or not step.state.portfolio.loan_positions:
        return []
    return step.make_loan_service().liquidate_breached(at, penalty)


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


def _close_if_fired(manager: PositionManager, position: TradingPosition, mid: float) -> list[TradeExecution]:
    fired = fired_trigger(position, mid)
    if fired is None:
        return []
    level = position.stop_loss if fired is TradeType.stop_loss else position.take_profit
    return manager.close_position(
        position, trade_type=fired, notes=f"{fired.value} at level {level}, mid {mid}", flags=TRIGGERED
    )
