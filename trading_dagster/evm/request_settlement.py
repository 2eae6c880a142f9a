"""Brings trades that a vault settles later to their ends: looks what it settled, claims it, and books what came.

requested ──SettlementRequested, SettlementMoved, save──► vault settles ──► claim in the journal ──► end, save

Whatever it learns follows from the journal and the chain, so that looking again after a crash books the same once. A
request that the vault has no more, without a claim of ours, is over once no reorg can bring it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trading_dagster.domain.error import CallReverted, ContractMissing, InvalidTrade, NodeError
from trading_dagster.domain.event import SettlementMoved, SettlementRequested
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_aware, to_naive
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.transaction import Finished, InFlight, Intent, IntentRecord, OutcomeStatus, Planned
from trading_dagster.domain.vault import SettlementMove, VaultTerms
from trading_dagster.evm.alarm import AlarmKind
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc7540 import VaultRequest
from trading_dagster.evm.request_fill import (
    GIVEN_BACK,
    VaultOrder,
    add_moves,
    amount_claimed,
    claim_id,
    parse_claim_id,
    read_pushed,
    to_fill,
)
from trading_dagster.evm.swap_intent import (
    describe_outcome,
    find_trade,
    is_of_ledger,
    mark_trade,
    require_of_trade,
    trade_intent_id,
)
from trading_dagster.evm.trade_book import TradeBook
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.transaction_journal import TransactionJournal

LEAST_PART = 100
"""A part that is settled before the rest is claimed when it is at least this fraction of the whole: 1 in as many."""
LEAST_REST = 1_000_000
"""A rest that a vault neither settles nor has any more is rounding, when it is at most this fraction of the whole."""
REVERTED_BLOCKS = 50
"""After a claim reverted and cost gas, the next waits as many blocks, twice as many after each one more."""
MOST_DOUBLED = 10
DAY = timedelta(days=1)
NOTHING = SettlementMove(ZERO, ZERO)


@dataclass(frozen=True, slots=True)
class RequestSettlement:
    """What looks after the requests of one account.

    Attributes:
        book: Records the ends.
        wait: Plans intents, and returns them as they stand when all are finished or seconds are over.
        forbid_signing: Says why an intent may not be signed now, or nothing.
        final_depth: How many blocks must follow for a block to be final.
    """

    client: EvmClient
    journal: TransactionJournal
    trader: TradingAccount
    book: TradeBook
    wait: Callable[[Sequence[Intent], float], list[IntentRecord]]
    forbid_signing: Callable[[Intent], str]
    final_depth: int

    def require_alone(self, state: State, trade: TradeExecution) -> None:
        """Raise InvalidTrade while another order of the vault did not end: a vault may count them together."""
        for position in state.portfolio.get_open_and_frozen_positions():
            if position.pair.base != trade.pair.base or not position.unfinished_trade_count:
                continue
            for other in position.trades.values():
                if other.trade_id != trade.trade_id and other.is_unfinished() and other.started_at is not None:
                    raise InvalidTrade(f"{other} of the same vault did not end: one order at a time")

    def accept(self, state: State, trade: TradeExecution, end: Finished) -> None:
        """Let a trade wait whose request took effect; fails it when the receipt has no request."""
        order = VaultOrder.of(self.journal, trade, end)
        if order.find_request(self.trader.address) is None:
            text = "but its receipt has no request of ours (ERC-7540): check the accounts"
            return self.book.fail(state, trade, f"{describe_outcome(end.outcome)}, {text}")
        now = self.book.now()
        settles_at = VaultTerms.of_pair(trade.pair).settles_at(to_naive(now)) or to_naive(now)
        state.record(SettlementRequested(now, trade.trade_id, trade.position_id, to_aware(settles_at)))
        return self._note(state, trade, order.read_move(self.trader.address))

    def advance(self, state: State, timeout_s: float) -> list[TradeExecution]:
        """Claim what is settled and end what is done; returns the trades of which it is not known how they stand."""
        trades = state.portfolio.get_settling_trades()
        orders = [order for trade in trades if (order := self._find_order(state, trade)) is not None]
        undone = self._list_undone(state)
        if not orders and not undone:
            return []
        try:
            self._claim(state, orders, undone, timeout_s)
            head = self.client.read_head()
        except NodeError as error:
            self.book.tell(AlarmKind.node_unavailable, f"{len(orders)} orders of vaults are not looked at: {error}")
            return [order.trade for order in orders if _is_sent(order)]
        unknown = []
        for order in orders:
            try:
                is_known = self._end(state, VaultOrder.of(self.journal, order.trade, order.record), head)
            except NodeError as error:
                self.book.tell(AlarmKind.node_unavailable, f"{order.trade} is not looked at: {error}")
                is_known = not _is_sent(order)
            except (CallReverted, ContractMissing) as error:
                self._tell_overdue(state, order, f"its vault does not say how its request stands: {error}")
                is_known = True
            if not is_known:
                unknown.append(order.trade)
        return unknown

    # Looking and claiming

    def _find_order(self, state: State, trade: TradeExecution) -> VaultOrder | None:
        """Return a trade's request when it stands, else None; ends the trade when there is none and never will be."""
        name = trade_intent_id(state.name, trade.trade_id)
        record = self.journal.find(name)
        if record is None:
            self.book.lose(state, trade, f"the journal of transactions does not have {name}")
            return None
        require_of_trade(record.intent, state, trade)
        if not isinstance(record, Finished):
            return None  # a reorg took it back: it is waited for again
        if record.outcome.status is not OutcomeStatus.confirmed:
            self._note(state, trade, NOTHING)
            self.book.refuse(state, trade, f"a reorg took its request back: {describe_outcome(record.outcome)}")
            return None
        return VaultOrder.of(self.journal, trade, record)

    def _list_undone(self, state: State) -> list[VaultOrder]:
        """Return the orders that ended, and whose last claim a reorg undid for good: what it took is still there."""
        orders = []
        for record in self.journal.list_reopened(self.trader.account):
            trade_id = parse_claim_id(state.name, record.intent.intent_id)
            if trade_id is None or record.outcome.status is OutcomeStatus.confirmed:
                continue
            request = self.journal.find(trade_intent_id(state.name, trade_id))
            if request is None or not is_of_ledger(record.intent, state):
                continue
            order = VaultOrder.of(self.journal, find_trade(state, record.intent, trade_id)[1], request)
            if order.trade.fill is not None and order.claims[-1].intent == record.intent:
                orders.append(order)
        return orders

    def _claim(
        self, state: State, orders: Sequence[VaultOrder], undone: Sequence[VaultOrder], timeout_s: float
    ) -> None:
        """Claim what can be claimed, and wait for it; raises NodeError."""
        head = self.client.read_head()
        intents = []
        for order in (*orders, *undone):
            try:
                intent = self._plan_claim(state, order, head)
            except (CallReverted, ContractMissing):
                continue  # told when its end is looked for
            if intent is not None:
                intents.append(intent)
        ends = self.wait(intents, 0.0) if intents else []
        if any(isinstance(end, InFlight) for end in ends):  # what waits for gas or a lower fee is not waited for
            ends = self.wait(intents, timeout_s)
        for end in ends:
            if isinstance(end, Finished) and end.outcome.status is not OutcomeStatus.confirmed:
                text = f"{end.intent.intent_id} failed and is tried again: {describe_outcome(end.outcome)}"
                self.book.tell(AlarmKind.claim_failed, text)

    def _plan_claim(self, state: State, order: VaultOrder, head: BlockHeader) -> Intent | None:
        """Return the claim that is under way or due, None when there is none or it may not be signed now."""
        last = order.claims[-1] if order.claims else None
        if last is not None and not isinstance(last, Finished):
            return last.intent if isinstance(last, InFlight) or self._may_sign(last.intent) else None
        request = order.find_request(self.trader.address)
        if request is None or _must_rest(order, head):
            return None
        left = request.amount - order.claimed if order.trade.fill is None else amount_claimed(order.claims[-1])
        amount = self._find_due(request, left, head)
        if not amount:
            return None
        call = request.claim(amount)
        call = replace(call, arguments={**call.arguments, **mark_trade(state, order.trade)})
        name = claim_id(order.record.intent.intent_id, len(order.claims) + 1)
        intent = self.trader.wrap(call).to_intent(name, self.trader.account)
        return intent if self._may_sign(intent) else None

    def _find_due(self, request: VaultRequest, left: int, head: BlockHeader) -> int:
        """Return how much of what is left is worth a transaction now."""
        if left <= 0:
            return 0
        pending, claimable = request.read_open(self.client, head)
        due = min(claimable, left)
        return due if due == left or not pending or due * LEAST_PART >= request.amount else 0

    def _may_sign(self, intent: Intent) -> bool:
        wallet = self.journal.find_wallet(self.trader.account)
        return (wallet is None or not wallet.halt_reason) and not self.forbid_signing(intent)

    # Ends

    def _end(self, state: State, order: VaultOrder, head: BlockHeader) -> bool:
        """Book what came, and end the trade when nothing more will; tell whether it is known how it stands."""
        trade, move = order.trade, order.read_move(self.trader.address)
        self._note(state, trade, move)
        if _is_sent(order):
            return False
        request = order.find_request(self.trader.address)
        assert request is not None, "an order that waits was found in its receipt"
        if order.claimed >= request.amount:
            self._book(state, order, move)
            return True
        pending, claimable = request.read_open(self.client, head)
        if pending or claimable:
            text = f"{pending} units are pending and {claimable} can be claimed of {request.amount}"
            self._tell_overdue(state, order, text)
            return True
        if order.claimed and request.amount - order.claimed <= max(1, request.amount // LEAST_REST):
            self._book(state, order, move)
            return True
        final = self.client.read_block(max(0, head.number - self.final_depth))
        is_new = isinstance(order.record, Finished) and order.record.outcome.block_number > final.number
        if is_new or any(request.read_open(self.client, final)):
            return False  # gone, but a reorg could bring it back
        self._end_without_claim(state, order, move, final)
        return True

    def _end_without_claim(self, state: State, order: VaultOrder, move: SettlementMove, final: BlockHeader) -> None:
        """End a trade whose vault has nothing of it any more: rejected, taken back, or paid out without a claim."""
        trade, vault = order.trade, order.record.intent.to
        pushed = read_pushed(self.client, self.journal, order, self.trader.address, final)
        total = add_moves((move, pushed))
        given, got = (-total.reserve, total.quantity) if trade.is_buy() else (-total.quantity, total.reserve)
        is_returned = bool(pushed.reserve if trade.is_buy() else pushed.quantity)
        shares, reserve = (amount.normalize() for amount in (pushed.quantity, pushed.reserve))
        text = f"vault {vault} has no request any more, gave {shares:f} shares and {reserve:f} reserve"
        if given <= 0 and got <= 0:
            self.book.refuse(state, trade, f"{GIVEN_BACK}: {text}")
        elif to_fill(trade, total).is_complete and given > 0:
            is_short = not is_returned and not (pushed.quantity if trade.is_buy() else pushed.reserve)
            if is_short:
                self.book.tell(AlarmKind.request_lost, f"{trade}: {text}, and a part of it is missing")
            self._book(state, order, total)
        else:
            reason = (
                f"{text}: {given.normalize():f} that were given are missing. Find out why, then correct the accounts"
            )
            self.book.fail(state, trade, reason)
            self.book.tell(AlarmKind.request_lost, f"{trade}: {reason}")

    def _book(self, state: State, order: VaultOrder, move: SettlementMove) -> None:
        last = order.confirmed[-1]
        steps = (self.journal.find(f"{order.record.intent.intent_id}/{step}") for step in ("revoke", "approve"))
        self.book.fill(state, order.trade, to_fill(order.trade, move), last.outcome, [*order.ended, *steps])

    def _note(self, state: State, trade: TradeExecution, move: SettlementMove) -> None:
        if trade.settlement_move != move:
            at = self.book.now()
            state.record(SettlementMoved(at, trade.trade_id, trade.position_id, move.quantity, move.reserve))

    def _tell_overdue(self, state: State, order: VaultOrder, how: str) -> None:
        """Tell once a day what should have been settled long ago."""
        trade, now = order.trade, to_naive(self.book.now())
        asked, expected = trade.started_at, trade.settles_at
        assert asked is not None, "a trade that waits began"
        assert expected is not None, "a trade that waits is expected to settle"
        if now < expected + max(expected - asked, DAY):
            return
        name = f"overdue settlement of trade {trade.trade_id}"
        told = state.other_data.load_latest(name)
        if told is None or now - datetime.fromisoformat(told) >= DAY:
            state.other_data.save(state.cycle, name, now.isoformat())
            text = f"{trade} was asked for at {asked}, its vault {order.record.intent.to} should settle by {expected}"
            self.book.tell(AlarmKind.settlement_overdue, f"{text}: {how}")


def _is_sent(order: VaultOrder) -> bool:
    """Tell whether a claim may be on the chain whose end is not known; one that was never signed changes nothing."""
    return any(not isinstance(record, Finished | Planned) for record in order.claims)


def _must_rest(order: VaultOrder, head: BlockHeader) -> bool:
    """Tell whether a claim reverted so lately that another would only cost gas, too."""
    ends = [record.outcome for record in order.claims if isinstance(record, Finished)]
    blocks = [end.block_number for end in ends if end.status is OutcomeStatus.reverted]
    return bool(blocks) and head.number - blocks[-1] < REVERTED_BLOCKS * 2 ** min(len(blocks) - 1, MOST_DOUBLED)


def is_disturbed(
    client: EvmClient, journal: TransactionJournal, trader: TradingAccount, state: State, block: BlockHeader
) -> bool:
    """Tell whether a vault may have sent something at a block that the ledger does not know yet.

    Then what the account has beyond its cash is no deposit. Raises NodeError.
    """
    for trade in state.portfolio.get_settling_trades():
        record = journal.find(trade_intent_id(state.name, trade.trade_id))
        if record is None:
            return True
        order = VaultOrder.of(journal, trade, record)
        request = order.find_request(trader.address)
        try:
            if request is None or sum(request.read_open(client, block)) + order.claimed < request.amount:
                return True
        except (CallReverted, ContractMissing):
            return True
    return False
