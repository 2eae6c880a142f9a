"""Executes trades on an exchange of a chain, exactly once: every trade is in the ledger before its swap is planned.

planned ──TradeStarted, save──► approval ──► intent in the journal ──TradeBroadcasted, save──► settled ──► end, save

Starting again is looking up: a trade that began is found in the journal by its id. What is there is gone on with, and
what is not was never signed, so it is sent while its decision is fresh, or dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from trading_dagster.domain.error import (
    BadInput,
    CallReverted,
    ContractMissing,
    InvalidTrade,
    NodeError,
    NotEnoughMoney,
    PriceImpactToleranceExceeded,
)
from trading_dagster.domain.event import (
    PositionFrozen,
    TradeBroadcasted,
    TradeDiscarded,
    TradeExecuted,
    TradeFailed,
    TradeStarted,
)
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeExecution, TradeStatus
from trading_dagster.domain.transaction import Finished, Intent, IntentRecord, Outcome, OutcomeStatus, Planned
from trading_dagster.evm.alarm import Alarm, AlarmKind, AlarmSink
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Dex
from trading_dagster.evm.erc20 import read_allowance
from trading_dagster.evm.settlement import correct_settlements, find_reopened
from trading_dagster.evm.swap_intent import (
    SwapLimits,
    amount_given,
    plan_approvals,
    plan_swap,
    read_swap_fill,
    require_small_impact,
    total_gas_cost,
    trade_intent_id,
)
from trading_dagster.evm.trade_route import RouteTable
from trading_dagster.evm.transaction import TransactionExecutor
from trading_dagster.evm.transaction_journal import TransactionJournal

logger = logging.getLogger(__name__)

RUNNING = (TradeStatus.started, TradeStatus.broadcasted)


@dataclass(frozen=True, slots=True)
class TradeExecutionSetting:
    """How trades are executed.

    Attributes:
        limits: What a swap may accept.
        timeout_s: How long a step waits for the end of a trade, seconds; it should outlast the swap's deadline.
        max_age: How old a decision may be when its swap is planned; None for no limit.
        lookback_blocks: How far back a step compares settled trades with the ledger.
    """

    limits: SwapLimits = field(default_factory=SwapLimits)
    timeout_s: float = 300.0
    max_age: timedelta | None = timedelta(hours=1)
    lookback_blocks: int = 1_000


class EvmExecution:
    """The execution of one strategy's trades from one wallet, for as long as a step has its state and lease."""

    def __init__(
        self,
        client: EvmClient,
        executor: TransactionExecutor,
        journal: TransactionJournal,
        dex: Dex,
        routes: RouteTable,
        *,
        save: Callable[[], object],
        alarm: AlarmSink,
        now: Callable[[], datetime],
        setting: TradeExecutionSetting = TradeExecutionSetting(),
    ) -> None:
        """Take the parts; ``save`` makes the state's new events durable, ``now`` is aware UTC."""
        self._client = client
        self._executor = executor
        self._journal = journal
        self._dex = dex
        self._routes = routes
        self._save = save
        self._raise_alarm = alarm
        self._now = now
        self._setting = setting

    def execute_trades(
        self,
        timestamp: datetime,  # noqa: ARG002 - the port names it; events carry the time they happened
        state: State,
        trades: Sequence[TradeExecution],
        triggered: bool = False,
    ) -> None:
        """Execute planned trades in the order given; those that began or ended are left alone.

        A trade that fails does not stop the others. One whose end is not known in time does: the others stay planned.
        Triggered trades may have any price impact: getting out comes first, and their slippage is still limited.
        Raises NodeError when no node answers before the first trade begins, LeaseLost, StorageFailed.
        """
        if list_running(state):
            logger.warning("%s: nothing new is begun while the end of an earlier trade is not known", state.name)
            return
        self._client.read_head()
        for trade in trades:
            if trade.get_status() is TradeStatus.planned and self._begin(state, trade, triggered=triggered):
                self._save()
                if not self._carry_on(state, trade, self._setting.timeout_s):
                    break
        self._save()

    def resume(self, timestamp: datetime, state: State) -> Sequence[TradeExecution]:  # noqa: ARG002 - as above
        """Go on with every trade that began and did not end; return those that still did not.

        What ended is compared with the chain again: a trade that a deep reorg moved is waited for, and a difference to
        what the ledger booked is booked as a correction, with an alarm.
        """
        account = self._executor.account
        try:
            self._executor.advance()
        except (NodeError, CallReverted) as error:
            self._tell(AlarmKind.node_unavailable, str(error))
        unfinished: list[TradeExecution] = []
        for trade in list_running(state):
            if not self._carry_on(state, trade, 0 if unfinished else self._setting.timeout_s):
                unfinished.append(trade)
        for trade, record in find_reopened(state, self._journal, account):
            if not isinstance(self._wait(record, 0 if unfinished else self._setting.timeout_s), Finished):
                unfinished.append(trade)
        try:
            since = self._client.read_head().number - self._setting.lookback_blocks
        except NodeError as error:
            self._tell(AlarmKind.node_unavailable, str(error))
        else:
            for change in correct_settlements(state, self._journal, account, max(1, since), self._now()):
                self._tell(AlarmKind.settlement_changed, str(change))
        self._save()
        return unfinished

    # One trade

    def _begin(self, state: State, trade: TradeExecution, *, triggered: bool) -> bool:
        """Record that a trade began, or discard it; tell whether it began."""
        at, trade_id, position_id = self._now(), trade.trade_id, trade.position_id
        wallet = self._journal.find_wallet(self._executor.account)
        if wallet is not None and wallet.halt_reason:
            self._tell(AlarmKind.signing_forbidden, f"{trade} is dropped, the wallet is halted: {wallet.halt_reason}")
            return self._discard(state, trade, f"the wallet is halted: {wallet.halt_reason}")
        if position_id in state.portfolio.frozen_positions:
            return self._discard(state, trade, "its position was frozen before it began")
        try:
            self._routes.route_of(trade.pair, trade.is_buy())
            if not triggered:
                require_small_impact(trade, self._setting.limits.max_price_impact)
            state.record(TradeStarted(at, trade_id, position_id))
        except (InvalidTrade, NotEnoughMoney, PriceImpactToleranceExceeded) as error:
            return self._discard(state, trade, str(error))
        if not amount_given(trade):
            return self._discard(state, trade, "it is smaller than the smallest unit of the token")
        return True

    def _carry_on(self, state: State, trade: TradeExecution, timeout_s: float) -> bool:
        """Bring a trade that began as far as time allows; tell whether it ended."""
        intent_id = trade_intent_id(state.name, trade.trade_id)
        try:
            record = self._journal.find(intent_id)
            if record is None:
                intent = self._prepare(state, trade, intent_id, timeout_s)
                record = None if intent is None else self._executor.plan(intent)
        except NodeError as error:
            self._tell(AlarmKind.node_unavailable, f"{trade} waits: {error}")
            return False
        if record is None:
            self._save()
            return trade.get_status() not in RUNNING
        if trade.broadcasted_at is None:
            state.record(TradeBroadcasted(self._now(), trade.trade_id, trade.position_id))
            self._save()
        end = self._wait(record, timeout_s)
        if not isinstance(end, Finished):
            self._tell(AlarmKind.trade_unfinished, f"{trade}: the end of {intent_id} is not known yet")
            return False
        self._settle(state, trade, end)
        self._save()
        return True

    def _prepare(self, state: State, trade: TradeExecution, intent_id: str, timeout_s: float) -> Intent | None:
        """Return the swap to plan once the allowance is there; None when the trade ended, or the approval did not."""
        age = to_naive(self._now()) - trade.opened_at
        max_age = self._setting.max_age
        if max_age is not None and age > max_age:
            self._discard(state, trade, f"never sent: the decision is {age} old, at most {max_age} are allowed")
            return None
        try:
            if not self._approve(state, trade, intent_id, timeout_s):
                return None
            route = self._routes.route_of(trade.pair, trade.is_buy())
            head = self._client.read_head()
            return plan_swap(self._dex, route, trade, intent_id, self._executor.account, head, self._setting.limits)
        except (BadInput, CallReverted, ContractMissing, InvalidTrade) as error:
            self._fail(state, trade, f"never sent: {error}")
            return None

    def _approve(self, state: State, trade: TradeExecution, intent_id: str, timeout_s: float) -> bool:
        """Approve what the trade gives, if it is not; tell whether it is, failing the trade when it never will be."""
        token, account, spender = _token_given(trade), self._executor.account, self._dex.spender
        given = amount_given(trade)
        old = read_allowance(self._client, token, account.address, spender, self._client.read_head())
        if old >= given:
            return True
        amount = given * self._setting.limits.allowance_multiple
        for intent in plan_approvals(token, spender, intent_id, account, amount, old):
            record = self._journal.find(intent.intent_id) or self._executor.plan(intent)
            end = self._wait(record, timeout_s)
            if not isinstance(end, Finished):
                self._tell(AlarmKind.trade_unfinished, f"{trade} waits for its approval {intent.intent_id}")
                return False
            if end.outcome.status is not OutcomeStatus.confirmed:
                self._fail(state, trade, f"never sent: its approval was {_describe(end.outcome)}")
                return False
        return True

    def _wait(self, record: IntentRecord, timeout_s: float) -> IntentRecord:
        """Return an intent as it stands when it is finished, or time is up."""
        wallet = self._journal.find_wallet(self._executor.account)
        if isinstance(record, Planned) and wallet is not None and wallet.halt_reason:
            timeout_s = 0  # a halted wallet signs nothing new, however long one waits
        (end,) = self._executor.execute([record.intent], timeout_s)
        return end

    # Ends

    def _settle(self, state: State, trade: TradeExecution, end: Finished) -> None:
        outcome = end.outcome
        if outcome.status is not OutcomeStatus.confirmed:
            return self._fail(state, trade, _describe(outcome))
        fill = read_swap_fill(trade, outcome, self._executor.account.address)
        if not fill.is_complete:
            text = f"it moved {fill.quantity} {trade.pair.base.token_symbol} for {fill.reserve} reserve"
            return self._fail(state, trade, f"{_describe(outcome)}, but {text}: check the accounts")
        fee = trade.fee_tier
        gross = float(fill.reserve) if trade.is_buy() else float(fill.reserve) / (1 - fee)
        name = end.intent.intent_id
        approvals = (self._journal.find(f"{name}/{step}") for step in ("revoke", "approve"))
        state.record(
            TradeExecuted(
                self._now(),
                trade.trade_id,
                trade.position_id,
                fill.quantity,
                fill.reserve,
                fill.price,
                gross * fee,
                outcome.tx_hash,
                outcome.block_number,
                total_gas_cost([end, *approvals]),
            )
        )
        return None

    def _fail(self, state: State, trade: TradeExecution, reason: str) -> None:
        """End a trade that failed, and put its position aside."""
        logger.warning("%s failed: %s", trade, reason)
        state.record(TradeFailed(self._now(), trade.trade_id, trade.position_id, reason))
        if trade.position_id in state.portfolio.open_positions:
            state.record(PositionFrozen(self._now(), trade.position_id, f"trade #{trade.trade_id} failed: {reason}"))

    def _discard(self, state: State, trade: TradeExecution, reason: str) -> bool:
        logger.warning("%s is dropped: %s", trade, reason)
        state.record(TradeDiscarded(self._now(), trade.trade_id, trade.position_id, reason))
        return False

    def _tell(self, kind: AlarmKind, text: str) -> None:
        self._raise_alarm(Alarm(kind, self._executor.account, text))


def list_running(state: State) -> list[TradeExecution]:
    """Return the trades that began and did not end, in the order of their ids."""
    running = [
        trade
        for position in state.portfolio.get_open_and_frozen_positions()
        if position.unfinished_trade_count
        for trade in position.trades.values()
        if trade.get_status() in RUNNING
    ]
    return sorted(running, key=lambda trade: trade.trade_id)


def _token_given(trade: TradeExecution) -> str:
    return (trade.reserve_currency if trade.is_buy() else trade.pair.base).address


def _describe(outcome: Outcome) -> str:
    where = f" (transaction {outcome.tx_hash}, block {outcome.block_number})" if outcome.tx_hash else ""
    return f"{outcome.status.value}: {outcome.reason}{where}" if outcome.reason else f"{outcome.status.value}{where}"
