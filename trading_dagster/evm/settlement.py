"""What became of trades after the ledger had booked them: a deep reorg can take an end back and give another.

The audit of the transaction protocol reopens what moved. Here the final end is compared with the ledger, and a
difference is booked as a correction of cash and position: what was booked before stays, as a ledger never changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.error import UnexpectedAccountingCorrectionIssue
from trading_dagster.domain.event import BalanceUpdated
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeExecution, TradeStatus
from trading_dagster.domain.transaction import (
    Account,
    Finished,
    InFlight,
    Intent,
    IntentRecord,
    Outcome,
    OutcomeStatus,
)
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.domain.vault import SettlementMove
from trading_dagster.evm.loan_intent import is_loan
from trading_dagster.evm.loan_progress import parse_step_id
from trading_dagster.evm.request_fill import VaultOrder, is_request, parse_claim_id
from trading_dagster.evm.swap_intent import find_trade, is_of_ledger, parse_trade_id, read_swap_fill, trade_intent_id
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.transaction_journal import TransactionJournal, list_to_compare

NOTHING = SettlementMove(ZERO, ZERO)
UNENDED = (TradeStatus.planned, TradeStatus.started, TradeStatus.broadcasted)


@dataclass(frozen=True, slots=True)
class SettlementChange:
    """What must be added to the ledger so that it has the final end of a trade; signed, in tokens."""

    position: TradingPosition
    trade: TradeExecution
    intent_id: str
    outcome: Outcome
    quantity: Decimal
    cash: Decimal

    def __str__(self) -> str:
        """Say what changed."""
        return (
            f"{self.intent_id} was settled otherwise than the ledger had booked: it is {self.outcome.status.value} in "
            f"{self.outcome.tx_hash}, block {self.outcome.block_number}; "
            f"{self.quantity:+f} {self.trade.pair.base.token_symbol}, "
            f"{self.cash:+f} {self.trade.reserve_currency.token_symbol}"
        )


def find_reopened(state: State, journal: TransactionJournal, account: Account) -> list[tuple[TradeExecution, InFlight]]:
    """Return the trades that ended in the ledger and whose transactions a reorg took back."""
    found = []
    for record in journal.list_unfinished(account):
        trade = _find_trade(state, record.intent)
        if isinstance(record, InFlight) and trade is not None and trade[1].get_status() not in UNENDED:
            found.append((trade[1], record))
    return found


def find_changes(
    state: State, journal: TransactionJournal, trader: TradingAccount, since_block: int
) -> Iterator[SettlementChange]:
    """Yield the differences of ledger and journal among what ended in a block of that number or later."""
    seen: set[int] = set()
    reopened = {
        found[1].trade_id for r in journal.list_reopened(trader.account) if (found := _find_trade(state, r.intent))
    }
    for record in list_to_compare(journal, trader.account, since_block):
        found = _find_trade(state, record.intent)
        if found is None or found[1].is_unfinished() or is_loan(found[1]) or found[1].trade_id in seen:
            continue
        position, trade = found
        seen.add(trade.trade_id)
        intent_id = trade_intent_id(state.name, trade.trade_id)
        first = record if record.intent.intent_id == intent_id else journal.find(intent_id)
        moved = _compare(journal, trade, record, first, trader.address)
        if moved is None:
            continue
        quantity, cash = moved
        if quantity or cash or trade.trade_id in reopened:
            booked = list(_booked(state, position, intent_id))
            quantity -= sum((u.quantity for u in booked if u.asset == trade.pair.base), ZERO)
            cash -= sum((u.quantity for u in booked if u.asset == trade.reserve_currency), ZERO)
        if quantity or cash:
            yield SettlementChange(position, trade, intent_id, record.outcome, quantity, cash)


def correct_settlements(
    state: State, journal: TransactionJournal, trader: TradingAccount, since_block: int, at: datetime
) -> list[SettlementChange]:
    """Book the differences as corrections and return them; running it again books nothing.

    Args:
        state: The ledger's state.
        journal: Where the final ends are.
        trader: Whose fills they are.
        since_block: The first block to look at.
        at: When it is booked, aware UTC.

    Raises:
        UnexpectedAccountingCorrectionIssue: There is less cash in the ledger than a correction takes.
    """
    changes = list(find_changes(state, journal, trader, since_block))
    for change in changes:
        cash = state.portfolio.reserve.quantity
        if cash + change.cash < 0:
            raise UnexpectedAccountingCorrectionIssue(
                f"{change}, but the ledger has only {cash} in cash: compare balances and ledger by hand"
            )
        position, trade = change.position, change.trade
        if change.quantity:
            _record(state, change, trade.pair.base, change.quantity, position.quantity, trade.planned_price, at)
        if change.cash:
            reserve = state.portfolio.reserve
            _record(state, change, reserve.asset, change.cash, cash, reserve.reserve_token_price, at)
    return changes


def _record(
    state: State,
    change: SettlementChange,
    asset: AssetIdentifier,
    quantity: Decimal,
    old: Decimal,
    price: float,
    at: datetime,
) -> None:
    is_reserve = asset == change.trade.reserve_currency
    update = BalanceUpdate(
        balance_update_id=state.portfolio.next_balance_update_id,
        cause=BalanceUpdateCause.correction,
        position_type=BalanceUpdatePositionType.reserve if is_reserve else BalanceUpdatePositionType.open_position,
        asset=asset,
        quantity=quantity,
        old_balance=old,
        usd_value=float(quantity) * price,
        block_mined_at=to_naive(at),
        strategy_cycle_included_at=state.last_decision_at,
        position_id=None if is_reserve else change.position.position_id,
        tx_hash=change.outcome.tx_hash,
        notes=f"{change.intent_id} was settled otherwise: {change.outcome.status.value}",
    )
    state.record(BalanceUpdated(at, update))


def _booked(state: State, position: TradingPosition, intent_id: str) -> Iterator[BalanceUpdate]:
    """Yield the corrections booked for an intent before."""
    for updates in (position.balance_updates, state.portfolio.reserve.balance_updates):
        for update in updates.values():
            if update.cause is BalanceUpdateCause.correction and (update.notes or "").startswith(f"{intent_id} "):
                yield update


def _compare(
    journal: TransactionJournal, trade: TradeExecution, record: Finished, first: IntentRecord | None, trader: str
) -> tuple[Decimal, Decimal] | None:
    """Return by how much what a trade moved differs from what was booked at its end, None while it is not known.

    ``first`` is the trade's own intent, ``record`` that or a claim after it. Of a request the ledger has what it and
    its claims had moved.
    """
    if first is None or not is_request(first.intent):
        quantity, cash = _final(trade, record, trader)
        if trade.fill is not None:
            quantity -= trade.fill.quantity
            cash -= _signed(trade, trade.fill.reserve)
        return quantity, cash
    order = VaultOrder.of(journal, trade, first)
    if len(order.ended) <= len(order.claims):
        return None
    move, booked = order.read_move(trader), trade.settlement_move or NOTHING
    return move.quantity - booked.quantity, move.reserve - booked.reserve


def _final(trade: TradeExecution, record: Finished, trader: str) -> tuple[Decimal, Decimal]:
    """Return what a finished swap moved: base tokens and cash, signed."""
    if record.outcome.status is not OutcomeStatus.confirmed:
        return ZERO, ZERO
    fill = read_swap_fill(trade, record.outcome, trader)
    return fill.quantity, _signed(trade, fill.reserve)


def _signed(trade: TradeExecution, reserve: Decimal) -> Decimal:
    return -reserve if trade.is_buy() else reserve


def _find_trade(state: State, intent: Intent) -> tuple[TradingPosition, TradeExecution] | None:
    trade_id = parse_trade_id(state.name, intent.intent_id)
    if trade_id is None:
        trade_id = parse_step_id(state.name, intent.intent_id)
    if trade_id is None:
        trade_id = parse_claim_id(state.name, intent.intent_id)
    if trade_id is None or not is_of_ledger(intent, state):
        return None
    return find_trade(state, intent, trade_id)
