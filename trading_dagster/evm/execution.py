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
from fractions import Fraction
from itertools import groupby

from trading_dagster.accounting.account_check import DEFAULT_RELATIVE_EPSILON
from trading_dagster.domain.error import (
    BadInput,
    CallReverted,
    ContractMissing,
    InvalidTrade,
    NodeError,
    NotEnoughMoney,
    PriceImpactToleranceExceeded,
    TokenUnsafe,
)
from trading_dagster.domain.event import (
    TradeBroadcasted,
    TradeStarted,
)
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import RUNNING, TradeExecution, TradeStatus
from trading_dagster.domain.transaction import Finished, InFlight, Intent, IntentRecord, OutcomeStatus
from trading_dagster.evm.alarm import AlarmKind, AlarmSink
from trading_dagster.evm.allowance import AllowanceKeeper, Spending
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc20 import DECIMALS, read_balance
from trading_dagster.evm.first_buy import FirstBuyCheck
from trading_dagster.evm.loan_execution import LoanExecution
from trading_dagster.evm.loan_intent import is_loan
from trading_dagster.evm.loan_settlement import correct_loan_settlements
from trading_dagster.evm.native_price import NativePrice, no_price
from trading_dagster.evm.request_fill import is_request
from trading_dagster.evm.request_settlement import RequestSettlement
from trading_dagster.evm.settlement import correct_settlements, find_reopened
from trading_dagster.evm.swap_intent import (
    SwapLimits,
    amount_given,
    amount_planned,
    describe_outcome,
    describe_shortfall,
    plan_swap,
    read_swap_fill,
    require_of_trade,
    require_small_impact,
    token_given,
    trade_intent_id,
)
from trading_dagster.evm.trade_book import FIRED, TradeBook
from trading_dagster.evm.trade_route import RouteTable
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.transaction import EXPIRED_UNSIGNED, TransactionExecutor
from trading_dagster.evm.transaction_journal import TransactionJournal

logger = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True)
class SharedParts:
    """What the execution of loans, and of requests, shares with that of swaps: who records, and who sends and waits."""

    book: TradeBook
    wait: Callable[[Sequence[Intent], float], list[IntentRecord]]


class EvmExecution:
    """The execution of one strategy's trades with one wallet's key, for as long as a step has its state and lease."""

    def __init__(
        self,
        client: EvmClient,
        executor: TransactionExecutor,
        journal: TransactionJournal,
        routes: RouteTable,
        *,
        save: Callable[[], object],
        alarm: AlarmSink,
        now: Callable[[], datetime],
        setting: TradeExecutionSetting = TradeExecutionSetting(),
        first_buy: FirstBuyCheck | None = None,
        trader: TradingAccount | None = None,
        make_loans: Callable[[SharedParts], LoanExecution] | None = None,
        make_requests: Callable[[SharedParts], RequestSettlement] | None = None,
        native_price: NativePrice = no_price,
    ) -> None:
        """Take the parts; ``save`` makes the state's new events durable, ``now`` is aware UTC.

        With ``first_buy`` a token is probed before it is bought for the first time. ``trader`` is whose tokens are
        traded, by default those of the executor's wallet. Trades with loans are refused without ``make_loans``,
        those that vaults settle later without ``make_requests``.
        ``native_price`` is what gas is valued by.
        """
        self._client = client
        self._executor = executor
        self._journal = journal
        self._routes = routes
        self._save = save
        self._now = now
        self._setting = setting
        self._first_buy = first_buy
        self._trader = trader or TradingAccount.of_wallet(executor.account)
        self._book = TradeBook(executor.account, now, alarm, native_price)
        self._decimals: set[AssetIdentifier] = set()
        self._loans = None if make_loans is None else make_loans(SharedParts(self._book, self._wait))
        self._requests = None if make_requests is None else make_requests(SharedParts(self._book, self._wait))

    def execute_trades(
        self,
        timestamp: datetime,  # noqa: ARG002 - the port names it; events carry the time they happened
        state: State,
        trades: Sequence[TradeExecution],
        triggered: bool = False,
    ) -> None:
        """Execute planned trades in the order given; those that began or ended are left alone.

        Neighbours of one side are sent together: sells bring the cash for the buys after them; trades with loans go one
        by one, as all share the account's health. A trade that fails does not stop the others. One whose end is not
        known in time stops those of the other side: they stay planned.
        Triggered trades may have any price impact: getting out comes first, and their slippage is still limited.
        Raises NodeError when no node answers before the first trade begins, LeaseLost, StorageFailed.
        """
        if list_running(state):
            logger.warning("%s: nothing new is begun while the end of an earlier trade is not known", state.name)
            return
        self._client.read_head()
        if self._journal.find_wallet(self._executor.account) is None:
            self._executor.advance()  # so that from now on a journal that does not know the wallet is one that was lost
        for _, group in groupby(trades, _batch_of):
            planned = [trade for trade in group if trade.get_status() is TradeStatus.planned]
            begun = [trade for trade in planned if self._begin(state, trade, triggered=triggered)]
            self._save()
            if begun and self._carry_on(state, begun, self._setting.timeout_s):
                break

    def resume(self, timestamp: datetime, state: State) -> Sequence[TradeExecution]:  # noqa: ARG002 - as above
        """Go on with every trade that began and did not end; return those that still did not.

        What ended is compared with the chain again: a trade that a deep reorg moved is waited for, and a difference to
        what the ledger booked is booked as a correction, with an alarm.
        """
        account, timeout_s = self._executor.account, self._setting.timeout_s
        if self._journal.find_wallet(account) is None:
            for trade in list_running(state):
                self._book.lose(state, trade, f"the journal of transactions does not know wallet {account}")
        try:
            self._executor.advance()
        except (NodeError, CallReverted) as error:
            self._book.tell(AlarmKind.node_unavailable, str(error))
        running = list_running(state)
        unfinished = self._carry_on(state, running, timeout_s) if running else []
        if self._requests is not None:
            unfinished += self._requests.advance(state, timeout_s)
            self._save()
        reopened = find_reopened(state, self._journal, account)
        if reopened:
            self._wait([record.intent for _, record in reopened], 0 if unfinished else timeout_s)
            again = (trade for trade, _ in find_reopened(state, self._journal, account))
            unfinished += [trade for trade in again if trade not in unfinished]
        try:
            since = self._client.read_head().number - self._setting.lookback_blocks
        except NodeError as error:
            self._book.tell(AlarmKind.node_unavailable, str(error))
        else:
            for change in correct_settlements(state, self._journal, self._trader, max(1, since), self._now()):
                self._book.tell(AlarmKind.settlement_changed, str(change))
            first = max(1, since)
            for loan in correct_loan_settlements(state, self._journal, self._trader, first, self._now()):
                self._book.tell(AlarmKind.settlement_changed, str(loan))
        self._save()
        return unfinished

    # Trades of one side, together

    def _begin(self, state: State, trade: TradeExecution, *, triggered: bool) -> bool:
        """Record that a trade began, or discard it; tell whether it began."""
        position_id = trade.position_id
        wallet = self._journal.find_wallet(self._executor.account)
        if wallet is not None and wallet.halt_reason:
            reason = f"the wallet is halted: {wallet.halt_reason}"
            self._book.tell(AlarmKind.signing_forbidden, f"{trade} is dropped, {reason}")
            return self._book.discard(state, trade, reason)
        if position_id in state.portfolio.frozen_positions:
            return self._book.discard(state, trade, "its position was frozen before it began")
        try:
            self._require_possible(state, trade, triggered=triggered)
            state.record(TradeStarted(self._now(), trade.trade_id, position_id))
        except (InvalidTrade, NotEnoughMoney, PriceImpactToleranceExceeded, TokenUnsafe) as error:
            return self._book.discard(state, trade, str(error))
        if not is_loan(trade) and not amount_given(trade):
            return self._book.discard(state, trade, "it is smaller than the smallest unit of the token")
        return True

    def _require_possible(self, state: State, trade: TradeExecution, *, triggered: bool) -> None:
        """Raise a TradeError when a trade must not begin."""
        self._require_true_decimals(trade.pair.base.underlying or trade.pair.base)
        self._require_true_decimals(trade.reserve_currency)
        if is_loan(trade):
            self._require_loans(trade).check(state, trade, triggered=triggered)
            return
        dex, route = self._routes.exchange_of(trade.pair), self._routes.route_of(trade.pair, trade.is_buy())
        if not triggered:
            require_small_impact(trade, self._setting.limits.max_price_impact)
        vault = self._routes.vault_of(trade.pair)
        if vault is not None:
            if trade.pair.is_async_vault():
                self._require_requests(trade).require_alone(state, trade)
            vault.require_open(self._client, route, amount_planned(trade), self._client.read_head())
        if self._first_buy is not None:
            self._first_buy.check(state, trade, dex, route, self._client.read_head())

    def _require_true_decimals(self, asset: AssetIdentifier) -> None:
        """Raise InvalidTrade when amounts would be wrong by powers of ten; a token that does not say is let through."""
        if asset in self._decimals:
            return
        try:
            (decimals,) = self._client.call(asset.address, DECIMALS, (), "latest")
        except (CallReverted, ContractMissing):
            return
        if decimals != asset.decimals:
            raise InvalidTrade(
                f"{asset} has {decimals} decimals on the chain, the universe says {asset.decimals}: correct the "
                "deployment's pairs or the universe, else amounts are wrong by powers of ten"
            )
        self._decimals.add(asset)

    def _require_loans(self, trade: TradeExecution) -> LoanExecution:
        if self._loans is None:
            raise InvalidTrade(
                f"{trade.pair} needs a lending pool and the venue has none: name one (lending: in the deployment)"
            )
        return self._loans

    def _require_requests(self, trade: TradeExecution) -> RequestSettlement:
        if self._requests is None:
            raise InvalidTrade(f"{trade.pair} settles later and the venue has nothing that looks after its requests")
        return self._requests

    def _carry_on(self, state: State, trades: Sequence[TradeExecution], timeout_s: float) -> list[TradeExecution]:
        """Bring trades that began as far as time allows; return those that did not end."""
        swaps = [trade for trade in trades if not is_loan(trade)]
        unfinished = self._carry_on_swaps(state, swaps, timeout_s) if swaps else []
        for trade in trades:
            if is_loan(trade) and not self._carry_on_loan(state, trade, timeout_s):
                unfinished.append(trade)
        for trade in unfinished:
            self._book.tell(AlarmKind.trade_unfinished, f"the end of {trade} is not known yet")
        return unfinished

    def _carry_on_loan(self, state: State, trade: TradeExecution, timeout_s: float) -> bool:
        """Bring a trade with a loan as far as time allows; tell whether it ended."""
        try:
            is_ended = self._require_loans(trade).carry_on(state, trade, timeout_s)
        except InvalidTrade as error:
            self._book.tell(AlarmKind.trade_unfinished, f"{trade} waits: {error}")
            return False
        except NodeError as error:
            self._book.tell(AlarmKind.node_unavailable, f"{trade} waits: {error}")
            is_ended = False
        self._save()
        return is_ended

    def _carry_on_swaps(self, state: State, trades: Sequence[TradeExecution], timeout_s: float) -> list[TradeExecution]:
        try:
            self._plan_swaps(state, trades, timeout_s)
        except NodeError as error:
            self._book.tell(AlarmKind.node_unavailable, f"{len(trades)} trades wait: {error}")
        names = {trade_intent_id(state.name, t.trade_id): t for t in trades if t.get_status() in RUNNING}
        sent = {name: record for name in names if (record := self._find_swap(state, names[name])) is not None}
        for name in sent:
            if names[name].broadcasted_at is None:
                state.record(TradeBroadcasted(self._now(), names[name].trade_id, names[name].position_id))
        self._save()
        for end in self._wait([record.intent for record in sent.values()], timeout_s):
            if isinstance(end, Finished):
                self._settle(state, names[end.intent.intent_id], end)
        self._save()
        return [trade for trade in trades if trade.get_status() in RUNNING]

    def _plan_swaps(self, state: State, trades: Sequence[TradeExecution], timeout_s: float) -> None:
        """Plan the swaps that are not in the journal, once their tokens are approved; drop what is too old to send."""
        new = []
        for trade in trades:
            if self._find_swap(state, trade) is not None:
                continue
            if trade.broadcasted_at is None:
                new.append(trade)
            else:
                name = trade_intent_id(state.name, trade.trade_id)
                self._book.lose(state, trade, f"the journal of transactions does not have {name}")
        fresh = [trade for trade in new if self._is_fresh(state, trade)]
        ready = self._approve(state, self._list_reachable(state, fresh), timeout_s)
        if not ready:
            return
        head = self._client.read_head()
        amounts = self._cut_to_balance(ready, head)
        for trade, amount in zip(ready, amounts, strict=True):
            try:
                dex, route = self._routes.exchange_of(trade.pair), self._routes.route_of(trade.pair, trade.is_buy())
                intent = plan_swap(dex, route, trade, state, self._trader, head, self._setting.limits, amount)
            except (BadInput, InvalidTrade) as error:
                self._book.refuse(state, trade, f"never sent: {error}")
            else:
                self._executor.plan(intent)

    def _cut_to_balance(self, trades: Sequence[TradeExecution], head: BlockHeader) -> list[int]:
        """Return what each trade gives, in units: no more than there is, where accounts count that as equal.

        Tokens that rebase or round lose some units that the ledger has; all of them could never be sold.
        """
        left: dict[str, int] = {}
        amounts = []
        for trade in trades:
            amount, token = amount_given(trade), token_given(trade).address
            if token not in left:
                left[token] = read_balance(self._client, token, self._trader.address, head)
            if amount * (1 - Fraction(DEFAULT_RELATIVE_EPSILON)) <= left[token] < amount:
                amount = left[token]
            left[token] -= amount
            amounts.append(amount)
        return amounts

    def _find_swap(self, state: State, trade: TradeExecution) -> IntentRecord | None:
        """Return a trade's swap as the journal has it; raises IntentConflict when it is another trade's."""
        record = self._journal.find(trade_intent_id(state.name, trade.trade_id))
        if record is not None:
            require_of_trade(record.intent, state, trade)
        return record

    def _is_fresh(self, state: State, trade: TradeExecution) -> bool:
        """Tell whether a trade's decision may still be sent; drops the trade when it is too old.

        A stop loss or take profit waits no longer than its swap would: the next trigger check prices it anew.
        """
        age, max_age = to_naive(self._now()) - trade.decided_at, self._setting.max_age
        if trade.trade_type in FIRED:
            patience = timedelta(seconds=self._setting.limits.deadline_s)
            max_age = patience if max_age is None else min(patience, max_age)
        if max_age is None or age <= max_age:
            return True
        return self._book.discard(state, trade, f"never sent: the decision is {age} old, at most {max_age} are allowed")

    def _list_reachable(self, state: State, trades: Sequence[TradeExecution]) -> list[TradeExecution]:
        """Return the trades whose exchange is there, and fail the others: a call to nothing succeeds, for gas."""
        has_code: dict[str, bool] = {}
        reachable = []
        for trade in trades:
            try:
                dex = self._routes.exchange_of(trade.pair)
            except InvalidTrade as error:
                self._book.refuse(state, trade, f"never sent: {error}")
                continue
            if dex.spender not in has_code:
                has_code[dex.spender] = self._client.has_code(dex.spender, "latest")
            if has_code[dex.spender]:
                reachable.append(trade)
            else:
                self._book.refuse(state, trade, f"never sent: the exchange {dex.name} has no code at {dex.spender}")
        return reachable

    def _approve(self, state: State, trades: Sequence[TradeExecution], timeout_s: float) -> list[TradeExecution]:
        """Approve what trades give; return those that are approved, and fail those that never will be."""
        names = {trade_intent_id(state.name, trade.trade_id): trade for trade in trades}
        keeper = AllowanceKeeper(
            self._client,
            self._journal,
            self._trader,
            self._setting.limits.allowance_multiple,
            lambda intents: self._wait(intents, timeout_s),
        )
        spenders = {name: self._routes.exchange_of(trade.pair).spender for name, trade in names.items()}
        verdicts = keeper.provide(
            [Spending(n, token_given(t).address, spenders[n], amount_given(t)) for n, t in names.items()]
        )
        for name, reason in verdicts.items():
            if reason:
                self._book.refuse(state, names[name], f"never sent: {reason}")
        return [trade for name, trade in names.items() if verdicts.get(name) == ""]

    def _wait(self, intents: Sequence[Intent], timeout_s: float) -> list[IntentRecord]:
        """Plan intents and return them as they stand when all are finished, or time is up."""
        if not intents:
            return []
        wallet = self._journal.find_wallet(self._executor.account)
        if wallet is not None and wallet.halt_reason:
            is_sent = any(isinstance(self._journal.find(intent.intent_id), InFlight) for intent in intents)
            timeout_s = timeout_s if is_sent else 0  # a halted wallet signs nothing new, however long one waits
        return self._executor.execute(intents, timeout_s)

    # Ends

    def _settle(self, state: State, trade: TradeExecution, end: Finished) -> None:
        outcome = end.outcome
        if outcome.reason == EXPIRED_UNSIGNED and trade.is_shrinking():
            # It was never tried and all is still held: a frozen position's stop loss would rest from now on.
            self._book.discard(state, trade, describe_outcome(outcome))
            return None
        if outcome.status is OutcomeStatus.refused:
            return self._book.refuse(state, trade, describe_outcome(outcome))
        if outcome.status is not OutcomeStatus.confirmed:
            return self._book.fail(state, trade, describe_outcome(outcome))
        if is_request(end.intent):
            return self._require_requests(trade).accept(state, trade, end)
        fill = read_swap_fill(trade, outcome, self._trader.address)
        if not fill.is_complete:
            text = f"it moved {fill.quantity} {trade.pair.base.token_symbol} for {fill.reserve} reserve"
            return self._book.fail(state, trade, f"{describe_outcome(outcome)}, but {text}: check the accounts")
        missed = describe_shortfall(end.intent, trade, fill)
        if missed:
            self._book.tell(AlarmKind.fill_below_least, f"{trade}: {missed}")
        name = end.intent.intent_id
        approvals = (self._journal.find(f"{name}/{step}") for step in ("revoke", "approve"))
        return self._book.fill(state, trade, fill, outcome, [end, *approvals])


def _batch_of(trade: TradeExecution) -> tuple[bool, int]:
    """Return what neighbours must share to be sent together."""
    return trade.is_buy(), trade.trade_id if is_loan(trade) else 0


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
