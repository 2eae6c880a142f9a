"""An operator releases frozen positions: a failed trade counts as never tried, or is tried again.

Nothing is rewritten. The failure gave the trade's capital back already; what is added says that it is settled, and
lets the position go on: open while it holds something, closed or dropped when it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from trading_dagster.accounting.account_check import AccountTable
from trading_dagster.domain.error import BadInput, DataUnavailable
from trading_dagster.domain.event import PositionUnfrozen, TradePlanned, TradeRepaired
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import TradeExecution, TradePlan
from trading_dagster.domain.trade_order import in_execution_order
from trading_dagster.live.loan_retry import plan_loan_again
from trading_dagster.live.operation import (
    TradingResult,
    open_operation,
    require_no_waiting,
    require_permission,
    run_trades,
)
from trading_dagster.live.retry_gate import find_danger
from trading_dagster.live.step import LiveStep
from trading_dagster.live.strategy import LiveStrategy

DEFAULT_REASON = "released by an operator"
RETRY_OF = "retry_of"
"""Key of a trade's other data: which failed trade it tries again."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What became of frozen positions, by id; ``refused`` says in words which stay frozen and why."""

    opened: tuple[int, ...]
    closed: tuple[int, ...]
    dropped: tuple[int, ...]
    refused: tuple[str, ...]
    accounts: AccountTable


def repair(
    live: LiveStrategy,
    position_ids: Sequence[int] = (),
    reason: str = DEFAULT_REASON,
    *,
    force: bool = False,
) -> RepairReport:
    """Release frozen positions, by default all: their failed trades count as never tried. Nothing is traded.

    Args:
        live: The strategy.
        position_ids: Which; none for all.
        reason: Why, for the notes of the positions.
        force: Release those, too, whose failed trade could still take effect. If it does, the accounts will differ.

    Raises:
        BadInput: A position is not frozen.
        ExecutorBusy: Another executor works on the strategy or its wallet.
        UncleanState: The end of an earlier trade is still unknown.
    """
    with open_operation(live, "the repair") as step:
        refused: list[str] = []
        released: list[int] = []
        for position in _choose(step, position_ids):
            danger = "" if force else _find_danger(step, position)
            if danger:
                refused.append(f"{position} stays frozen: {danger}")
                continue
            _settle(step, position, reason)
            step.state.record(PositionUnfrozen(live.clock.now(), position.position_id, reason))
            released.append(position.position_id)
        step.session.save()
        portfolio = step.state.portfolio
        return RepairReport(
            opened=tuple(number for number in released if number in portfolio.open_positions),
            closed=tuple(number for number in released if number in portfolio.closed_positions),
            dropped=tuple(number for number in released if number in portfolio.expired_positions),
            refused=tuple(refused),
            accounts=step.read_accounts(),
        )


def retry(live: LiveStrategy, position_ids: Sequence[int] = (), reason: str = "tried again") -> TradingResult:
    """Try the newest failed trade of frozen positions again at the price of now, as a new trade; by default of all.

    A position whose failed trade could still take effect, or cannot be planned again, stays frozen and is named in the
    notes. A trade that fails again freezes its position again.

    Raises:
        BadInput: A position is not frozen.
        ExecutorBusy, UncleanState, TradeError: As for close_all, and while trades of a cycle wait.
    """
    require_permission(live)
    with open_operation(live, "the retry") as step:
        require_no_waiting(step)
        notes: list[str] = []
        trades: list[TradeExecution] = []
        cash = step.state.portfolio.reserve.quantity
        for position in _choose(step, position_ids):
            danger = _find_danger(step, position)
            try:
                plan = None if danger else _plan_again(step, position, cash)
            except (BadInput, DataUnavailable) as error:
                danger, plan = str(error), None
            if plan is None:
                notes.append(f"{position} stays frozen: {danger}")
                continue
            cash -= plan.allocation
            at = live.clock.now()
            _settle(step, position, reason)
            step.state.record(TradePlanned(at, plan))
            step.state.record(PositionUnfrozen(at, position.position_id, reason))
            trades.append(position.trades[plan.trade_id])
        return run_trades(step, in_execution_order(trades), notes)


def _choose(step: LiveStep, position_ids: Sequence[int]) -> list[TradingPosition]:
    frozen = step.state.portfolio.frozen_positions
    unknown = [number for number in position_ids if number not in frozen]
    if unknown:
        listing = ", ".join(f"#{number}" for number in frozen) or "none"
        raise BadInput(f"{step.live.id}: position #{unknown[0]} is not frozen; frozen are: {listing}")
    return [frozen[number] for number in (position_ids or list(frozen))]


def _failed_trades(position: TradingPosition) -> list[TradeExecution]:
    return [trade for trade in position.trades.values() if trade.is_failed()]


def _find_danger(step: LiveStep, position: TradingPosition) -> str:
    """Return why a failed trade of a position could still take effect, nothing when none can."""
    dangers = ((trade, find_danger(step, trade)) for trade in _failed_trades(position))
    return "; ".join(f"{trade}: {danger}" for trade, danger in dangers if danger)


def _settle(step: LiveStep, position: TradingPosition, reason: str) -> None:
    for trade in _failed_trades(position):
        step.state.record(TradeRepaired(step.live.clock.now(), trade.trade_id, position.position_id, reason))


def _plan_again(step: LiveStep, position: TradingPosition, cash: Decimal) -> TradePlan:
    """Return the newest failed trade of a position as a plan at the price of now."""
    failed = _failed_trades(position)
    if not failed:
        raise BadInput("none of its trades failed: release it with repair")
    old, now = failed[-1].plan, step.clock.timestamp
    if old.loan is not None:
        if old.allocation > cash:
            raise BadInput(f"trade #{old.trade_id} needs {old.allocation} of {cash} in cash that are left")
        plan = plan_loan_again(position, old, step.state.portfolio.next_trade_id, step.desk.pricing, now)
        return replace(plan, other_data={**old.other_data, RETRY_OF: old.trade_id})
    if old.quantity > 0:
        quantity, reserve, closing = Decimal(0), old.reserve, False
        if reserve > cash:
            raise BadInput(f"trade #{old.trade_id} needs {reserve} {old.reserve_currency.token_symbol}, of {cash} left")
        if not step.state.is_good_pair(old.pair):
            raise BadInput(f"{old.pair.get_ticker()} is blacklisted")
    else:
        held = position.get_quantity()
        quantity = -held if old.closing else max(old.quantity, -held)
        reserve, closing = Decimal(0), quantity == -held
        if not quantity:
            raise BadInput("it holds nothing to sell: release it with repair")
    return _price_again(step, old, quantity, reserve, closing, now)


def _price_again(
    step: LiveStep, old: TradePlan, quantity: Decimal, reserve: Decimal, closing: bool, now: datetime
) -> TradePlan:
    pricing_model, pair = step.desk.pricing, old.pair
    if old.quantity > 0:
        pricing = pricing_model.get_buy_price(now, pair, float(reserve))
        quantity = reserve / Decimal(pricing.price)
    else:
        pricing = pricing_model.get_sell_price(now, pair, float(-quantity))
        reserve = -quantity * Decimal(pricing.price)
    return TradePlan(
        step.state.portfolio.next_trade_id,
        old.position_id,
        pair,
        old.trade_type,
        quantity,
        reserve,
        pricing,
        old.reserve_currency,
        old.slippage_tolerance,
        closing,
        old.flags,
        old.notes,
        {**old.other_data, RETRY_OF: old.trade_id},
    )
