"""What became of loan trades after the ledger had booked them: a deep reorg can take steps back and give others.

As for swaps the final end is compared with the ledger, and the difference is booked as corrections: of cash, and of the
loan while its position is open. Tokens left over in the wallet are not among them; the account check shows those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.error import InvalidTrade, UnexpectedAccountingCorrectionIssue
from trading_dagster.domain.event import BalanceUpdated
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import ZERO, from_units
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.transaction import Finished
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.evm.loan_intent import loan_tokens
from trading_dagster.evm.loan_progress import LoanGoal, fold_steps, list_steps, parse_step_id
from trading_dagster.evm.settlement import UNENDED
from trading_dagster.evm.swap_intent import find_trade, is_of_ledger, trade_intent_id
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.transaction_journal import TransactionJournal, list_to_compare


@dataclass(frozen=True, slots=True)
class LoanSettlementChange:
    """What must be added to the ledger so that it has the final end of a loan trade; signed, in tokens."""

    position: TradingPosition
    trade: TradeExecution
    name: str
    cash: Decimal
    collateral: Decimal
    debt: Decimal

    def __str__(self) -> str:
        """Say what changed."""
        return (
            f"{self.name} was settled otherwise than the ledger had booked: {self.cash:+f} cash, "
            f"{self.collateral:+f} collateral, {self.debt:+f} debt"
        )


def find_loan_changes(
    state: State, journal: TransactionJournal, trader: TradingAccount, since_block: int
) -> Iterator[LoanSettlementChange]:
    """Yield the differences of ledger and journal among loan trades that had a step in a block of that number or later.

    Trades with a step that has no end, and those that the ledger has not ended, are left for later.
    """
    seen: set[int] = set()
    for record in list_to_compare(journal, trader.account, since_block):
        trade_id = parse_step_id(state.name, record.intent.intent_id)
        if trade_id is None or trade_id in seen or not is_of_ledger(record.intent, state):
            continue
        seen.add(trade_id)
        change = _compare(state, journal, trader, *find_trade(state, record.intent, trade_id))
        if change is not None and (change.cash or change.collateral or change.debt):
            yield change


def correct_loan_settlements(
    state: State, journal: TransactionJournal, trader: TradingAccount, since_block: int, at: datetime
) -> list[LoanSettlementChange]:
    """Book the differences as corrections and return them; running it again books nothing. ``at`` is aware UTC.

    Raises UnexpectedAccountingCorrectionIssue when there is less cash in the ledger than a correction takes.
    """
    changes = list(find_loan_changes(state, journal, trader, since_block))
    for change in changes:
        reserve, loan = state.portfolio.reserve, change.position.loan
        if reserve.quantity + change.cash < 0:
            raise UnexpectedAccountingCorrectionIssue(
                f"{change}, but the ledger has only {reserve.quantity} in cash: compare balances and ledger by hand"
            )
        if change.cash:
            _record(state, change, reserve.asset, change.cash, reserve.quantity, at)
        if loan is not None and change.collateral:
            _record(state, change, loan.collateral.asset, change.collateral, loan.collateral.total, at)
        if loan is not None and loan.borrowed is not None and change.debt:
            _record(state, change, loan.borrowed.asset, change.debt, loan.borrowed.total, at)
    return changes


def _compare(
    state: State,
    journal: TransactionJournal,
    trader: TradingAccount,
    position: TradingPosition,
    trade: TradeExecution,
) -> LoanSettlementChange | None:
    name = trade_intent_id(state.name, trade.trade_id)
    records = list(list_steps(journal, name))
    if trade.get_status() in UNENDED or not all(isinstance(record, Finished) for record in records):
        return None
    try:
        tokens = loan_tokens(trade.pair, trade.reserve_currency)
    except InvalidTrade:
        return None
    base, decimals = tokens.base, tokens.reserve.decimals
    progress = fold_steps(
        records, LoanGoal(tokens.reserve.address, "" if base is None else base.address), trader.address
    )
    supplied = from_units(progress.supplied - progress.withdrawn, decimals)
    swapped = from_units(progress.proceeds - progress.cost, decimals)
    owed = ZERO if base is None else from_units(progress.borrowed - progress.repaid, base.decimals)
    booked = None if trade.fill is None else trade.fill.loan
    cash, collateral, debt = swapped - supplied, supplied, owed
    if booked is not None and trade.fill is not None:
        cash += booked.collateral_allocation
        collateral -= booked.collateral_change
        debt += trade.fill.quantity if base is not None else ZERO
    if position.is_closed() or position.loan is None:
        collateral = debt = ZERO
    for update in _corrections(state, position, name):
        loan = position.loan
        if update.asset == tokens.reserve:
            cash -= update.quantity
        elif loan is not None and update.asset == loan.collateral.asset:
            collateral -= update.quantity
        else:
            debt -= update.quantity
    return LoanSettlementChange(position, trade, name, cash, collateral, debt)


def _corrections(state: State, position: TradingPosition, name: str) -> Iterator[BalanceUpdate]:
    """Yield the corrections booked for a trade before."""
    for updates in (position.balance_updates, state.portfolio.reserve.balance_updates):
        for update in updates.values():
            if update.cause is BalanceUpdateCause.correction and (update.notes or "").startswith(f"{name} "):
                yield update


def _record(
    state: State,
    change: LoanSettlementChange,
    asset: AssetIdentifier,
    quantity: Decimal,
    old: Decimal,
    at: datetime,
) -> None:
    is_reserve = asset == state.portfolio.reserve.asset
    loan = change.position.loan
    is_debt = loan is not None and loan.borrowed is not None and asset == loan.borrowed.asset
    price = change.position.last_token_price if is_debt else state.portfolio.reserve.reserve_token_price
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
        notes=f"{change.name} was settled otherwise",
    )
    state.record(BalanceUpdated(at, update))
