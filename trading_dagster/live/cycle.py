"""A live decision cycle in steps, each of which may be run again at any point: a decision time is decided once.

decide    resume what is unfinished, treasury, account check, decision, review: the planned trades are in the ledger
execute   approval, execution: each trade that began is in the ledger before anything is sent
complete  nothing is unfinished, account check, equity sample: the cycle is over

A step that is run again, by a retry or after a crash, goes on from what the ledger says. A cycle that an earlier
process left open is finished before the next one decides: what began is looked up, what did not begin is dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from trading_dagster.cycle import MINIMUM_EQUITY_USD, call_tick_hook, decide
from trading_dagster.domain.error import ApprovalMissing, UncleanState
from trading_dagster.domain.event import CycleCompleted, CycleDecided, CycleSkipped
from trading_dagster.domain.state import State
from trading_dagster.domain.time import require_naive_utc, to_aware
from trading_dagster.domain.trade import TradeExecution, TradeStatus
from trading_dagster.execution.approval import Waiting
from trading_dagster.execution.limit import discard_refused
from trading_dagster.live.message import approval_message, cycle_message, freeze_messages
from trading_dagster.live.step import LiveStep, find_trades, open_step
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import calculate, check_freshness, load_universe
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.storage.ledger_store import Sample
from trading_dagster.strategy.indicator_lookup import StrategyInputIndicators
from trading_dagster.strategy.indicator_result import IndicatorResults
from trading_dagster.strategy.input import StrategyInput
from trading_dagster.strategy.universe_view import VisibleUniverse

NOT_EXECUTED = "the cycle ended before it was executed"


class CycleStatus(Enum):
    """What a step did."""

    done = "done"
    already_done = "already done"
    """The ledger says that this step, or a later one, was done before."""
    waiting = "waiting"
    """The trades wait for an approval."""
    skipped = "skipped"
    """The decision time gets no decision."""


@dataclass(frozen=True, slots=True)
class CycleReport:
    """What a step of a cycle did; ``decision_at`` is naive UTC, ``trades`` are those it planned or executed.

    ``notes`` say in words what a person should know: trades refused, dropped, or why nothing was decided.
    """

    decision_at: datetime
    cycle: int
    status: CycleStatus
    trades: tuple[TradeExecution, ...] = ()
    sample: Sample | None = None
    notes: tuple[str, ...] = ()


def decide_cycle(
    live: LiveStrategy, universe: TradingStrategyUniverse, indicators: IndicatorResults, decision_at: datetime
) -> CycleReport:
    """Decide what to trade at a decision time, once.

    Raises:
        ExecutorBusy: Another executor works on the strategy or its wallet.
        UncleanState: The end of an earlier trade is still unknown.
        UnexpectedAccountingCorrectionIssue: What is held is not what the ledger says.
        StrategyFailed: decide_trades raised or broke the protocol; nothing of its plans is kept.
        DataTooOld: A pair lacks its newest candle.
    """
    require_naive_utc(decision_at)
    with open_step(live, universe, decision_at, "the decision") as step:
        state = step.state
        if _is_past(state, decision_at):
            return _report(state, decision_at, CycleStatus.already_done)
        check_freshness(live, universe, decision_at)
        _finish_open_cycle(step)
        forbidden = live.forbid_trading()
        if forbidden:
            _skip(step, decision_at, forbidden)
            return CycleReport(decision_at, state.cycle, CycleStatus.skipped, notes=(forbidden,))
        told = step.end_fee_period()
        view = _make_input(step, indicators)
        hook = live.strategy.before_strategy_tick
        if hook is not None:
            call_tick_hook(view, "before_strategy_tick", hook)
        step.service_loans()
        step.desk.treasury.sync_treasury(decision_at, state)
        step.pay_redemptions()
        if step.desk.settlement is not None:
            step.desk.settlement.settle(decision_at, state)
        step.session.save()
        step.read_accounts().require_clean(f"{live.id} before the decision at {decision_at}")
        trades: Sequence[TradeExecution] = ()
        if state.portfolio.calculate_total_equity() >= MINIMUM_EQUITY_USD:
            trades = decide(view, live.strategy.decide_trades)
        trades, notes = step.review(trades)
        trade_ids = tuple(trade.trade_id for trade in trades)
        position_ids = tuple(trade.position_id for trade in trades)
        state.record(CycleDecided(live.clock.now(), state.cycle, to_aware(decision_at), trade_ids, position_ids))
        step.session.save(shown_at=decision_at)
        return CycleReport(decision_at, state.cycle, CycleStatus.done, tuple(trades), notes=(*told, *notes))


def execute_cycle(
    live: LiveStrategy,
    universe: TradingStrategyUniverse,
    decision_at: datetime,
    sleep: Callable[[float], None] = time.sleep,
) -> CycleReport:
    """Execute what was decided for a decision time, once it is approved; what was begun before is gone on with.

    While an approval is awaited the strategy's lease is free, so that trigger checks go on. Trades are dropped, not
    executed, when the next decision time has come, when nobody approves them in time or the kill switch is on.

    Raises:
        UncleanState: Nothing was decided for that time.
        ExecutorBusy: Another executor works on the strategy or its wallet.
    """
    while True:
        report = _execute_once(live, universe, decision_at)
        if report.status is not CycleStatus.waiting:
            return report
        sleep(live.approval_poll_s)


def _execute_once(live: LiveStrategy, universe: TradingStrategyUniverse, decision_at: datetime) -> CycleReport:
    with open_step(live, universe, decision_at, "the execution") as step:
        state = step.state
        if not _is_open(state, decision_at):
            return _report(state, decision_at, CycleStatus.already_done)
        step.resume_trades()
        trades = _decided_trades(state, TradeStatus.planned)
        late = live.now() >= decision_at + live.cycle_duration.to_timedelta()
        reason = f"too late to execute, at {live.now()}" if late else live.forbid_trading()
        if trades and not reason:
            try:
                outcome = live.approval.decide(state, trades, state.cycle, decision_at)
            except ApprovalMissing as error:
                reason = str(error)
            else:
                if isinstance(outcome, Waiting):
                    live.reporter.report(approval_message(live.id, outcome.approval.request, live.clock.now()))
                    return CycleReport(decision_at, state.cycle, CycleStatus.waiting, tuple(trades))
                discard_refused(state, outcome.refused, live.clock.now())
                trades = [trade for trade in trades if trade.is_planned()]
        notes: tuple[str, ...] = ()
        if trades and reason:
            step.discard(trades, reason)
            notes, trades = (reason,), []
        if trades:
            trades, notes = step.review(trades)  # again: an approval may have taken long
        if trades:
            step.desk.execution.execute_trades(decision_at, state, trades)
        step.session.save()
        for message in freeze_messages(live.id, trades, live.clock.now()):
            live.reporter.report(message)
        return CycleReport(decision_at, state.cycle, CycleStatus.done, tuple(trades), notes=notes)


def complete_cycle(
    live: LiveStrategy,
    universe: TradingStrategyUniverse,
    indicators: IndicatorResults,
    decision_at: datetime,
) -> CycleReport:
    """End a cycle: check that nothing is unfinished and that accounts agree, take an equity sample, tell a vault.

    Raises:
        UncleanState: The end of a trade is still unknown; run the step again later, or let the next cycle do it.
        UnexpectedAccountingCorrectionIssue: What is held is not what the ledger says.
    """
    with open_step(live, universe, decision_at, "the end of the cycle") as step:
        state = step.state
        if not _is_open(state, decision_at):
            return _report(state, decision_at, CycleStatus.already_done)
        step.require_finished()
        step.discard(_decided_trades(state, TradeStatus.planned), NOT_EXECUTED)
        step.read_accounts().require_clean(f"{live.id} after the trades of {decision_at}")
        hook = live.strategy.after_strategy_tick
        if hook is not None:
            call_tick_hook(_make_input(step, indicators), "after_strategy_tick", hook)
        sample = step.take_sample()
        if step.desk.reporter is not None:  # before the cycle is over: a step that is run again goes on with it
            step.desk.reporter.report(decision_at, state)
        cycle, trades = state.cycle, _decided_trades(state, *TradeStatus)
        state.record(CycleCompleted(live.clock.now(), cycle))
        state.perform_integrity_check()
        step.session.save([sample], shown_at=decision_at)
        live.reporter.report(
            cycle_message(live.id, state, cycle=cycle, decision_at=decision_at, trades=trades, at=live.clock.now())
        )
        return CycleReport(decision_at, cycle, CycleStatus.done, tuple(trades), sample)


def skip_cycle(live: LiveStrategy, universe: TradingStrategyUniverse, decision_at: datetime, reason: str) -> bool:
    """Record that a decision time gets no decision; False when it was decided or skipped before."""
    with open_step(live, universe, decision_at) as step:
        if _is_past(step.state, decision_at):
            return False
        _skip(step, decision_at, reason)
        return True


def run_cycle(
    live: LiveStrategy, decision_at: datetime | None = None, sleep: Callable[[float], None] = time.sleep
) -> CycleReport:
    """Run all steps of a cycle, by default that of the newest decision time; returns the report of the last one."""
    at = live.newest_decision_at() if decision_at is None else decision_at
    universe = load_universe(live, at)
    indicators = calculate(live, universe)
    decided = decide_cycle(live, universe, indicators, at)
    if decided.status is CycleStatus.skipped:
        return decided
    execute_cycle(live, universe, at, sleep)
    return complete_cycle(live, universe, indicators, at)


def _make_input(step: LiveStep, indicators: IndicatorResults) -> StrategyInput:
    live, clock = step.live, step.clock
    visible = VisibleUniverse(step.universe, clock)
    return StrategyInput(
        clock=clock,
        state=step.state,
        strategy_universe=visible,
        parameters=live.parameters,
        indicators=StrategyInputIndicators(step.universe, indicators, clock),
        pricing_model=step.desk.pricing,
        position_manager=step.make_position_manager(visible),
        execution_context=live.context,
    )


def _skip(step: LiveStep, decision_at: datetime, reason: str) -> None:
    step.state.record(CycleSkipped(step.live.clock.now(), to_aware(decision_at), reason))
    step.session.save()


def _finish_open_cycle(step: LiveStep) -> None:
    """End the cycle that an earlier process left open: look up what began, drop what did not."""
    step.require_finished()
    state = step.state
    if state.decision is not None:
        step.discard(_decided_trades(state, TradeStatus.planned), NOT_EXECUTED)
        state.record(CycleCompleted(step.live.clock.now(), state.decision.cycle))
        step.clock.first_cycle = state.cycle
        step.session.save()


def _decided_trades(state: State, *statuses: TradeStatus) -> list[TradeExecution]:
    return [] if state.decision is None else find_trades(state, state.decision, *statuses)


def _is_past(state: State, decision_at: datetime) -> bool:
    """Tell whether a decision time was decided or skipped."""
    return state.last_decision_at is not None and decision_at <= state.last_decision_at


def _is_open(state: State, decision_at: datetime) -> bool:
    """Tell whether a decision time was decided and its cycle goes on; raises UncleanState when it never was."""
    if state.decision is not None and state.decision.decision_at == decision_at:
        return True
    if not _is_past(state, decision_at):
        raise UncleanState(f"Nothing was decided for {decision_at}: run the decision step first")
    return False


def _report(state: State, decision_at: datetime, status: CycleStatus) -> CycleReport:
    cycle = state.cycle if state.decision is not None else state.cycle - 1
    return CycleReport(decision_at, cycle, status, tuple(_decided_trades(state, *TradeStatus)))
