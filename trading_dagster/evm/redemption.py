"""Redemptions of a hot wallet: each is sent once, and in the ledger when it is settled.

asked for, in the ledger ──► cash is there ──► intent in the journal ──► sent, settled ──► balance update, in the ledger

A redemption has its own intent, so one that was interrupted is looked up, never sent again. One that failed counts as
failed when no reorg can bring it back: only then may somebody ask for the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading_dagster.accounting.redemption import book_redemption, end_redemption, list_payable
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.money import from_units, to_units_down
from trading_dagster.domain.state import State
from trading_dagster.domain.transaction import Account, Finished, InFlight, Intent, Outcome, OutcomeStatus
from trading_dagster.domain.treasury import Redemption
from trading_dagster.evm.alarm import Alarm, AlarmKind, AlarmSink
from trading_dagster.evm.chain import require_checksum
from trading_dagster.evm.erc20 import transfer
from trading_dagster.evm.swap_intent import describe_outcome
from trading_dagster.evm.token_flow import TRANSFER_TOPIC, read_flows
from trading_dagster.evm.transaction import TransactionExecutor
from trading_dagster.evm.transaction_journal import TransactionJournal


def redemption_intent_id(state: State, number: int) -> str:
    """Return the id of the intent that pays a redemption of this very ledger."""
    return f"redemption/{state.name}/{state.created_at.isoformat()}/{number}"


@dataclass(frozen=True, slots=True)
class WalletRedemptions:
    """Pays redemptions from a wallet whose key we hold: a RedemptionPayer.

    Attributes:
        executor: What signs and sends.
        journal: Where payments are that began before.
        forbid_signing: Why nothing may be signed now, or nothing.
        before_flow: Takes the fund's fees that are due at a naive UTC time.
        alarm: Told of a payment whose end is not known, and of one that failed.
        now: The time of events, aware UTC.
        timeout_s: How long the end of a payment is waited for, seconds.
    """

    executor: TransactionExecutor
    journal: TransactionJournal
    forbid_signing: Callable[[Intent], str]
    before_flow: Callable[[datetime, State], None]
    alarm: AlarmSink
    now: Callable[[], datetime]
    timeout_s: float

    @property
    def account(self) -> Account:
        """Return the wallet."""
        return self.executor.account

    def check(self, state: State, amount: Decimal, recipient: str) -> str:
        """Return the recipient's address in lower case; raises BadInput, BadConfiguration for what cannot be sent."""
        address = require_checksum(recipient, "recipient")
        reserve = state.portfolio.reserve.asset
        if address in (self.account.address, reserve.address, "0x" + "0" * 40):
            raise BadInput(f"{recipient} is the wallet itself, its token or nobody: give the address of who redeems")
        if from_units(to_units_down(amount, reserve.decimals), reserve.decimals) != amount:
            raise BadInput(f"{amount} {reserve.token_symbol} has more than {reserve.decimals} decimals: round it")
        return address

    def resume(self, timestamp: datetime, state: State) -> Sequence[Redemption]:
        """Go on with payments that began; returns those whose end is still not known."""
        begun = [each for each in state.sync.treasury.redemptions.values() if self._find(state, each) is not None]
        return [each for each in begun if not self._carry_on(timestamp, state, each)]

    def pay(self, timestamp: datetime, state: State) -> Sequence[Redemption]:
        """Pay in the order they were asked for what cash covers; returns the one whose end is not known, if any."""
        for redemption in list_payable(state):
            if redemption.amount > state.portfolio.reserve.quantity or self._why_not(state, redemption):
                continue
            if not self._carry_on(timestamp, state, redemption):
                return [redemption]
        return []

    def _find(self, state: State, redemption: Redemption) -> Intent | None:
        record = self.journal.find(redemption_intent_id(state, redemption.number))
        return None if record is None else record.intent

    def _make(self, state: State, redemption: Redemption) -> Intent:
        reserve = state.portfolio.reserve.asset
        call = transfer(reserve.address, redemption.recipient, to_units_down(redemption.amount, reserve.decimals))
        return call.to_intent(redemption_intent_id(state, redemption.number), self.account)

    def _why_not(self, state: State, redemption: Redemption) -> str:
        """Return why nothing is sent now."""
        wallet = self.journal.find_wallet(self.account)
        if wallet is not None and wallet.halt_reason:
            return f"the wallet is halted: {wallet.halt_reason}"
        return self.forbid_signing(self._make(state, redemption))

    def _carry_on(self, timestamp: datetime, state: State, redemption: Redemption) -> bool:
        """Send a payment, or go on with it, and book its end; tell whether it ended."""
        intent = self._find(state, redemption) or self._make(state, redemption)
        is_sent = isinstance(self.journal.find(intent.intent_id), InFlight)
        may_end = is_sent or not self._why_not(state, redemption)
        (record,) = self.executor.execute([intent], self.timeout_s if may_end else 0)
        if isinstance(record, Finished) and record.outcome.status is OutcomeStatus.confirmed:
            self._book(timestamp, state, redemption, record.outcome)
            return True
        if isinstance(record, Finished) and self.executor.is_final(intent.intent_id):
            reason = describe_outcome(record.outcome)
            end_redemption(self.now(), state, redemption, reason)
            self._tell(f"{redemption} failed, and is not tried again: {reason}")
            return True
        self._tell(f"the end of {redemption} is not known yet")
        return False

    def _book(self, timestamp: datetime, state: State, redemption: Redemption, outcome: Outcome) -> None:
        """Record what left the wallet, which is not always what was sent for."""
        reserve = state.portfolio.reserve.asset
        flow = read_flows(outcome.logs, self.account.address).get(reserve.address)
        left = redemption.amount if flow is None else from_units(-flow.net, reserve.decimals)
        logs = (log for log in outcome.logs if log.address == reserve.address and log.topics[:1] == (TRANSFER_TOPIC,))
        index = next((log.log_index for log in logs), None)
        self.before_flow(timestamp, state)
        book_redemption(
            self.now(), timestamp, state, redemption, quantity=left, tx_hash=outcome.tx_hash, log_index=index
        )

    def _tell(self, text: str) -> None:
        self.alarm(Alarm(AlarmKind.trade_unfinished, self.account, text))
