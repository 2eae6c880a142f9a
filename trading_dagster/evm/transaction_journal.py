"""The journal of intents and signed transactions: a port, with an implementation in memory.

Whatever a method writes is durable when it returns, or nothing of it is. Writes carry the fencing token of the lease
they are made under; a token older than the newest seen raises LeaseLost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from trading_dagster.domain.error import IntentConflict
from trading_dagster.domain.transaction import (
    Account,
    Attempt,
    Finished,
    InFlight,
    Intent,
    IntentRecord,
    Outcome,
    Planned,
    WalletRecord,
    require_fence,
    require_free_nonce,
    require_same,
)


class TransactionJournal(Protocol):
    """What the exactly-once protocol needs to remember."""

    def open_wallet(self, account: Account, first_nonce: int, fence: int) -> WalletRecord:
        """Return what is known of an account; on its first use, begin at ``first_nonce``."""
        ...

    def find_wallet(self, account: Account) -> WalletRecord | None:
        """Return what is known of an account, None before its first use."""
        ...

    def add_intent(self, intent: Intent, fence: int) -> bool:
        """Plan an intent; False when it is planned already. Raises IntentConflict when its id means something else."""
        ...

    def add_attempt(self, account: Account, attempt: Attempt, fence: int) -> None:
        """Keep a signed transaction and raise the nonce floor above its nonce.

        Raises IntentConflict when the intent is finished, has attempts of another nonce, or when the nonce belongs to
        another unfinished intent.
        """
        ...

    def finish(self, account: Account, outcome: Outcome, fence: int) -> None:
        """Keep the end of an intent; raises IntentConflict when it is finished already."""
        ...

    def reopen(self, account: Account, intent_id: str, reason: str, fence: int) -> None:
        """Take an intent's end back because a reorg moved it; its attempts stay."""
        ...

    def mark_final(self, account: Account, intent_ids: Sequence[str], fence: int) -> None:
        """Keep that the ends of intents are in blocks that no reorg reaches."""
        ...

    def halt(self, account: Account, reason: str, fence: int) -> None:
        """Forbid an account to sign for new intents."""
        ...

    def resume(self, account: Account, nonce_floor: int, reason: str, fence: int) -> None:
        """Allow it again, from a nonce on that is not below the floor; an operator's decision."""
        ...

    def find(self, intent_id: str) -> IntentRecord | None:
        """Return an intent as it stands, None when it was never planned."""
        ...

    def find_owner(self, tx_hash: str) -> str | None:
        """Return the id of the intent a transaction was signed for, None when it is not ours."""
        ...

    def list_unfinished(self, account: Account) -> Sequence[Planned | InFlight]:
        """Return what has no end yet, in the order of planning."""
        ...

    def list_finished(self, account: Account, since_block: int) -> Sequence[Finished]:
        """Return what ended in a block of that number or later, in the order of planning."""
        ...

    def list_not_final(self, account: Account) -> Sequence[Finished]:
        """Return what ended in a block and is not marked final, in the order of planning."""
        ...

    def list_reopened(self, account: Account) -> Sequence[Finished]:
        """Return what ended again after its end had been taken back, in the order of planning."""
        ...


def list_to_compare(journal: TransactionJournal, account: Account, since_block: int) -> list[Finished]:
    """Return the ends that a ledger may not have yet: those since a block, and those that were once taken back."""
    recent = journal.list_finished(account, since_block)
    seen = {record.intent.intent_id for record in recent}
    return [*recent, *(r for r in journal.list_reopened(account) if r.intent.intent_id not in seen)]


class MemoryTransactionJournal:
    """A journal for tests and simulations: durable as long as the process."""

    def __init__(self) -> None:
        """Begin empty."""
        self._wallets: dict[Account, WalletRecord] = {}
        self._records: dict[str, IntentRecord] = {}
        self._final: set[str] = set()
        self._reopened: set[str] = set()

    def open_wallet(self, account: Account, first_nonce: int, fence: int) -> WalletRecord:
        """Return what is known of an account; on its first use, begin at ``first_nonce``."""
        if account not in self._wallets:
            self._wallets[account] = WalletRecord(account, first_nonce, fence)
        return self._fenced(account, fence)

    def find_wallet(self, account: Account) -> WalletRecord | None:
        """Return what is known of an account, None before its first use."""
        return self._wallets.get(account)

    def add_intent(self, intent: Intent, fence: int) -> bool:
        """Plan an intent; False when it is planned already."""
        self._fenced(intent.account, fence)
        known = self._records.get(intent.intent_id)
        if known is None:
            self._records[intent.intent_id] = Planned(intent)
            return True
        require_same(known.intent, intent)
        return False

    def add_attempt(self, account: Account, attempt: Attempt, fence: int) -> None:
        """Keep a signed transaction and raise the nonce floor above its nonce."""
        wallet = self._fenced(account, fence)
        record = self._records[attempt.intent_id]
        require_free_nonce(attempt, record, self._users(account, attempt.nonce))
        assert not isinstance(record, Finished), "require_free_nonce refuses finished intents"
        attempts = record.attempts if isinstance(record, InFlight) else ()
        self._records[attempt.intent_id] = InFlight(record.intent, (*attempts, attempt))
        self._wallets[account] = replace(wallet, nonce_floor=max(wallet.nonce_floor, attempt.nonce + 1))

    def finish(self, account: Account, outcome: Outcome, fence: int) -> None:
        """Keep the end of an intent."""
        self._fenced(account, fence)
        record = self._records[outcome.intent_id]
        if isinstance(record, Finished):
            raise IntentConflict(f"Intent {outcome.intent_id} is finished already, as {record.outcome.status.value}")
        attempts = record.attempts if isinstance(record, InFlight) else ()
        self._records[outcome.intent_id] = Finished(record.intent, attempts, outcome)

    def reopen(self, account: Account, intent_id: str, reason: str, fence: int) -> None:  # noqa: ARG002
        """Take an intent's end back because a reorg moved it; its attempts stay."""
        self._fenced(account, fence)
        record = self._records[intent_id]
        if isinstance(record, Finished) and record.attempts:
            self._records[intent_id] = InFlight(record.intent, record.attempts)
            self._final.discard(intent_id)
            self._reopened.add(intent_id)

    def mark_final(self, account: Account, intent_ids: Sequence[str], fence: int) -> None:
        """Keep that the ends of intents are in blocks that no reorg reaches."""
        self._fenced(account, fence)
        self._final |= {name for name in intent_ids if isinstance(self._records[name], Finished)}

    def halt(self, account: Account, reason: str, fence: int) -> None:
        """Forbid an account to sign for new intents."""
        self._wallets[account] = replace(self._fenced(account, fence), halt_reason=reason)

    def resume(self, account: Account, nonce_floor: int, reason: str, fence: int) -> None:  # noqa: ARG002
        """Allow it again, from a nonce on that is not below the floor."""
        wallet = self._fenced(account, fence)
        self._wallets[account] = replace(wallet, halt_reason="", nonce_floor=max(nonce_floor, wallet.nonce_floor))

    def find(self, intent_id: str) -> IntentRecord | None:
        """Return an intent as it stands."""
        return self._records.get(intent_id)

    def find_owner(self, tx_hash: str) -> str | None:
        """Return the id of the intent a transaction was signed for."""
        for record in self._records.values():
            if not isinstance(record, Planned) and any(a.tx_hash == tx_hash for a in record.attempts):
                return record.intent.intent_id
        return None

    def list_unfinished(self, account: Account) -> Sequence[Planned | InFlight]:
        """Return what has no end yet, in the order of planning."""
        records = (r for r in self._records.values() if r.intent.account == account)
        return [r for r in records if not isinstance(r, Finished)]

    def list_finished(self, account: Account, since_block: int) -> Sequence[Finished]:
        """Return what ended in a block of that number or later."""
        return [r for r in self._list_ended(account) if r.outcome.block_number >= since_block]

    def list_not_final(self, account: Account) -> Sequence[Finished]:
        """Return what ended in a block and is not marked final, in the order of planning."""
        ended = self._list_ended(account)
        return [r for r in ended if r.outcome.block_number > 0 and r.intent.intent_id not in self._final]

    def list_reopened(self, account: Account) -> Sequence[Finished]:
        """Return what ended again after its end had been taken back, in the order of planning."""
        return [r for r in self._list_ended(account) if r.intent.intent_id in self._reopened]

    def _list_ended(self, account: Account) -> list[Finished]:
        records = self._records.values()
        return [r for r in records if isinstance(r, Finished) and r.intent.account == account]

    def _users(self, account: Account, nonce: int) -> set[str]:
        unfinished = self.list_unfinished(account)
        return {r.intent.intent_id for r in unfinished if isinstance(r, InFlight) and r.nonce == nonce}

    def _fenced(self, account: Account, fence: int) -> WalletRecord:
        wallet = self._wallets.get(account)
        if wallet is None:
            raise IntentConflict(f"The journal does not know wallet {account}: open it first")
        require_fence(wallet, fence)
        self._wallets[account] = replace(wallet, fence=fence)
        return self._wallets[account]
