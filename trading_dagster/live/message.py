"""Messages to an operator, built from what happened: cycles, triggers, failed trades, errors, alarms of a chain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from trading_dagster.domain.error import (
    ApprovalMissing,
    DataUnavailable,
    NodeError,
    PriceImpactToleranceExceeded,
    TradeLimitExceeded,
    UncleanState,
    UnexpectedAccountingCorrectionIssue,
)
from trading_dagster.domain.message import Message, MessageKind, MessageLevel
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution, TradeFlag, TradeStatus
from trading_dagster.evm.alarm import Alarm, AlarmKind
from trading_dagster.execution.approval import ApprovalRequest

_KIND_OF_ERROR: tuple[tuple[type[Exception], MessageKind], ...] = (
    (UncleanState, MessageKind.unclean_state),
    (UnexpectedAccountingCorrectionIssue, MessageKind.accounts),
    (DataUnavailable, MessageKind.data_lag),
    (ApprovalMissing, MessageKind.approval),
    (TradeLimitExceeded, MessageKind.limit),
    (PriceImpactToleranceExceeded, MessageKind.limit),
    (NodeError, MessageKind.node),
)

_KIND_OF_ALARM: dict[AlarmKind, tuple[MessageKind, MessageLevel]] = {
    AlarmKind.foreign_use: (MessageKind.wallet, MessageLevel.alarm),
    AlarmKind.nonce_gap: (MessageKind.wallet, MessageLevel.alarm),
    AlarmKind.fee_above_cap: (MessageKind.low_gas, MessageLevel.alarm),
    AlarmKind.gas_missing: (MessageKind.low_gas, MessageLevel.alarm),
    AlarmKind.signing_forbidden: (MessageKind.kill_switch, MessageLevel.alarm),
    AlarmKind.node_unavailable: (MessageKind.node, MessageLevel.alarm),
    AlarmKind.reorganised: (MessageKind.node, MessageLevel.trade_high),
    AlarmKind.settlement_changed: (MessageKind.accounts, MessageLevel.alarm),
    AlarmKind.loan_incomplete: (MessageKind.freeze, MessageLevel.alarm),
    AlarmKind.liquidated: (MessageKind.accounts, MessageLevel.alarm),
    AlarmKind.fill_below_least: (MessageKind.accounts, MessageLevel.alarm),
    AlarmKind.settlement_overdue: (MessageKind.accounts, MessageLevel.alarm),
    AlarmKind.claim_failed: (MessageKind.accounts, MessageLevel.alarm),
    AlarmKind.request_lost: (MessageKind.accounts, MessageLevel.alarm),
    AlarmKind.assets_unreported: (MessageKind.accounts, MessageLevel.alarm),
    AlarmKind.trade_unfinished: (MessageKind.unclean_state, MessageLevel.alarm),
}


def cycle_message(
    strategy_id: str,
    state: State,
    *,
    cycle: int,
    decision_at: datetime,
    trades: Sequence[TradeExecution],
    at: datetime,
    notes: Sequence[str] = (),
) -> Message:
    """Return what a cycle decided, how its trades went against the plan, and what the portfolio is worth.

    Args:
        strategy_id: Id of the deployment.
        state: The state after the cycle, with prices of now.
        cycle: Its number.
        decision_at: Its decision time, naive UTC.
        trades: What it planned, whatever became of it.
        at: The present, aware UTC.
        notes: What else there is to say, a line each.
    """
    decided = f"{len(trades)} trade{'s' * (len(trades) != 1)}" if trades else "no trades"
    subject = f"{strategy_id}: cycle {cycle} of {decision_at:%Y-%m-%d %H:%M}, {decided}"
    lines = [*map(describe_trade, trades), *notes, describe_portfolio(state)]
    return Message(strategy_id, _level_of(trades), MessageKind.cycle, subject, "\n".join(lines), at)


def trigger_message(
    strategy_id: str,
    state: State,
    *,
    trades: Sequence[TradeExecution],
    at: datetime,
    expired: Sequence[TradeExecution] = (),
) -> Message:
    """Return which positions a trigger check closed, traded or could not, which orders it gave up; ``at`` is aware."""
    parts = []
    made = [trade for trade in trades if trade.is_success()]
    running = [trade for trade in trades if trade.is_unfinished()]
    for verb, chosen in (
        ("closed", [trade for trade in made if trade.closing]),
        ("traded", [trade for trade in made if not trade.closing]),
        ("began to trade", running),
        ("could not trade", [trade for trade in trades if trade not in made and trade not in running]),
        ("gave up orders of", expired),
    ):
        if chosen:
            numbers = dict.fromkeys(f"#{trade.position_id}" for trade in chosen)
            parts.append(f"{verb} position {', '.join(numbers)}")
    lines = [*map(describe_trade, (*trades, *expired)), describe_portfolio(state)]
    subject = f"{strategy_id}: triggers {' and '.join(parts)} at {at:%Y-%m-%d %H:%M:%S}"
    level = MessageLevel.trade_high if trades else MessageLevel.trade
    return Message(strategy_id, level, MessageKind.triggers, subject, "\n".join(lines), at)


def unpriced_message(strategy_id: str, position_ids: Sequence[int], at: datetime) -> Message:
    """Return the alarm of positions whose triggers could not be checked; ``at`` is aware UTC."""
    ids = ", ".join(f"#{number}" for number in position_ids)
    subject = f"{strategy_id}: there is no price for position {ids}"
    text = (
        "Without a price its stop loss and take profit cannot be checked, nor can it be sold: look at its pool, or at "
        "what brings its candles. It is checked again each time"
    )
    return Message(strategy_id, MessageLevel.alarm, MessageKind.data_lag, subject, text, at)


def freeze_messages(strategy_id: str, trades: Iterable[TradeExecution], at: datetime) -> list[Message]:
    """Return a message for each trade that failed; ``at`` is aware UTC."""
    return [
        Message(
            strategy_id,
            MessageLevel.trade_high,
            MessageKind.freeze,
            f"{strategy_id}: trade #{trade.trade_id} failed, position #{trade.position_id} is frozen",
            f"{describe_trade(trade)}\nThe other positions go on. Look into it, then release or close the position",
            at,
        )
        for trade in trades
        if trade.get_status() is TradeStatus.failed
    ]


def settlement_messages(strategy_id: str, trades: Iterable[TradeExecution], at: datetime) -> list[Message]:
    """Return a message for each trade that was settled; ``at`` is aware UTC."""
    return [
        Message(
            strategy_id,
            MessageLevel.trade,
            MessageKind.cycle,
            f"{strategy_id}: trade #{trade.trade_id} was settled by its vault",
            describe_trade(trade),
            at,
        )
        for trade in trades
        if trade.is_success()
    ]


def approval_message(strategy_id: str, request: ApprovalRequest, at: datetime) -> Message:
    """Return the question whether trades may run; asking again gives the same subject. ``at`` is aware UTC."""
    deadline = f"{request.deadline:%Y-%m-%d %H:%M:%S} UTC"
    subject = f"{strategy_id}: approve {len(request.trades)} trades ({request.digest[:12]}) by {deadline}"
    lines = [
        f"#{trade.trade_id} {trade.side} {trade.quantity} {trade.ticker} at {trade.price:.8g}, {trade.value:,.2f} USD"
        for trade in request.trades
    ]
    return Message(strategy_id, MessageLevel.trade_high, MessageKind.approval, subject, "\n".join(lines), at)


def failure_message(strategy_id: str, step: str, error: Exception, at: datetime) -> Message:
    """Return the alarm of a step that ended with an error; ``at`` is aware UTC."""
    kind = next((kind for cls, kind in _KIND_OF_ERROR if isinstance(error, cls)), MessageKind.failure)
    subject = f"{strategy_id}: {step} ended with {type(error).__name__}"
    return Message(strategy_id, MessageLevel.alarm, kind, subject, str(error), at)


def alarm_message(strategy_id: str, alarm: Alarm, at: datetime) -> Message:
    """Return the message of what a chain's executor must tell; ``at`` is aware UTC."""
    kind, level = _KIND_OF_ALARM.get(alarm.kind, (MessageKind.failure, MessageLevel.alarm))
    subject = f"{strategy_id}: {alarm.kind.value.replace('_', ' ')}, wallet {alarm.account}"
    return Message(strategy_id, level, kind, subject, alarm.text, at)


def describe_trade(trade: TradeExecution) -> str:
    """Return a line that says what a trade was to do and what came of it."""
    quantity = abs(trade.executed_quantity or trade.planned_quantity)
    why = "" if trade.is_rebalance() else f"{trade.trade_type.value.replace('_', ' ')}: "
    side = "buy" if trade.is_buy() else "sell"
    what = f"#{trade.trade_id} {why}{side} {float(quantity):.8g} {trade.pair.base.token_symbol}"
    status, price = trade.get_status(), trade.executed_price
    if status is TradeStatus.success and price is not None:
        drift = price / trade.planned_price - 1
        done = (
            f"{what} at {price:.8g} (planned {trade.planned_price:.8g}: {drift:+.2%}) for "
            f"{float(trade.executed_reserve or 0):,.2f} {trade.reserve_currency.token_symbol}, "
            f"fee {trade.lp_fees_paid or 0:,.2f} USD"
        )
        profit = "" if trade.profit is None else f", profit {trade.profit:+,.2f} USD"
        return f"{done}{profit}{_effect(trade)}"
    planned = f"{what} at {trade.planned_price:.8g}"
    said = {TradeStatus.failed: "failed", TradeStatus.discarded: "was not run", TradeStatus.expired: "expired"}
    if status in said:
        return f"{planned} {said[status]}: {trade.failure}"
    return f"{planned} is {status.value}"


def describe_portfolio(state: State) -> str:
    """Return a line with equity, cash and the number of positions."""
    portfolio = state.portfolio
    frozen = len(portfolio.frozen_positions)
    return (
        f"Equity {portfolio.calculate_total_equity():,.2f} USD, cash {portfolio.get_cash():,.2f} USD, "
        f"{len(portfolio.open_positions)} positions open" + (f", {frozen} frozen" if frozen else "")
    )


def _effect(trade: TradeExecution) -> str:
    if trade.closing:
        return f", closes position #{trade.position_id}"
    return f", opens position #{trade.position_id}" if TradeFlag.open in trade.flags else ""


def _level_of(trades: Sequence[TradeExecution]) -> MessageLevel:
    if not trades:
        return MessageLevel.info
    matters = any(
        trade.get_status() is TradeStatus.failed
        or (trade.is_success() and (trade.closing or trade.flags & {TradeFlag.open, TradeFlag.triggered}))
        for trade in trades
    )
    return MessageLevel.trade_high if matters else MessageLevel.trade
