"""Executes intents exactly once, in steps that may be interrupted anywhere: starting is recovering.

1 plan          an intent with a unique id; planning twice does nothing
2 sign, persist nonce, signature and raw bytes are durable before anything is sent
3 broadcast     again with each block until mined; no answer is trusted
4 settle        a receipt of any attempt, deep enough, in the canonical block; a fee bump keeps the nonce
5 lost nonce    used but no receipt: find who used it; only a transaction that is not ours releases the intent
6 audit         what settled is checked until no reorg reaches it, and reopened when one moved it
7 one executor  a lease, whose token the journal checks in each write
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trading_dagster.domain.error import BadConfiguration, BlockUnavailable, CallReverted, NodeError
from trading_dagster.domain.transaction import (
    Account,
    Attempt,
    AttemptPurpose,
    Finished,
    InFlight,
    Intent,
    IntentRecord,
    Outcome,
    OutcomeStatus,
    Planned,
    WalletRecord,
)
from trading_dagster.evm.alarm import Alarm, AlarmKind, AlarmSink, Observer, Step, ignore_step
from trading_dagster.evm.audit import audit_ends, read_canonical_hash
from trading_dagster.evm.block import BlockHeader, Receipt
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.gas import DEFAULT_POLICY, Fee, FeeAboveCap, GasPolicy
from trading_dagster.evm.nonce_search import find_nonce_user
from trading_dagster.evm.signing import WalletLease, allow_signing, refuse_nothing
from trading_dagster.evm.transaction_journal import TransactionJournal
from trading_dagster.evm.wallet import HotWallet, UnsignedTransaction

FILL_FUNCTION = "fill nonce"
EXPIRED_UNSIGNED = "it expired before it was signed"
"""Why an intent was refused that only waited: for gas, for a lower fee, for leave to sign, for a node."""


@dataclass(frozen=True, slots=True)
class ExecutionSetting:
    """Depths in blocks.

    ``confirmations`` settle a transaction; ``replan_depth`` is the deepest reorg to be expected, waited for before the
    same thing may be planned again and before what settled counts as final; ``audit_blocks`` is how far back what is
    final is checked all the same.
    """

    confirmations: int = 3
    replan_depth: int = 12
    audit_blocks: int = 64
    max_in_flight: int = 8
    poll_s: float = 1.0

    def __post_init__(self) -> None:
        """Check."""
        if not 1 <= self.confirmations <= self.replan_depth < self.audit_blocks:
            raise BadConfiguration(
                "The execution setting needs 1 <= confirmations <= replan_depth < audit_blocks, they are "
                f"{self.confirmations}, {self.replan_depth}, {self.audit_blocks}"
            )


class TransactionExecutor:
    """The only one that signs for a wallet."""

    def __init__(
        self,
        client: EvmClient,
        wallet: HotWallet,
        journal: TransactionJournal,
        lease: WalletLease,
        *,
        alarm: AlarmSink,
        gas: GasPolicy = DEFAULT_POLICY,
        setting: ExecutionSetting = ExecutionSetting(),
        forbid_signing: Callable[[Intent], str] = allow_signing,
        refuse_signing: Callable[[Intent, BlockHeader], str] = refuse_nothing,
        observe: Observer = ignore_step,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the parts; both are asked before each signature but cancellations: why not, or nothing.

        What ``forbid_signing`` forbids waits. What ``refuse_signing`` refuses is over: it is never signed, and when it
        was signed before and waits too long, an empty transaction takes its place.
        """
        self.account = Account(client.chain_id, wallet.address)
        self._client = client
        self._wallet = wallet
        self._journal = journal
        self._lease = lease
        self._raise_alarm = alarm
        self._gas = gas
        self._setting = setting
        self._forbid_signing = forbid_signing
        self._refuse_signing = refuse_signing
        self._observe = observe
        self._sleep = sleep
        self._clock = clock
        self._sent_at: dict[str, int] = {}
        self._gap_since: dict[int, int] = {}
        self._told: set[tuple[AlarmKind, str]] = set()

    # What callers use

    def plan(self, intent: Intent) -> IntentRecord:
        """Keep an intent (step 1) and return it as it stands; planning it again does nothing.

        Raises IntentConflict when the id means something else, NodeError on a wallet's first use without a node.
        """
        if self._journal.find_wallet(self.account) is None:
            self._open_wallet(self._client.read_head())
        self._journal.add_intent(intent, self._lease.token)
        self._observe(Step.planned, intent.intent_id)
        record = self._journal.find(intent.intent_id)
        assert record is not None, "an intent just added is there"
        return record

    def execute(self, intents: Sequence[Intent], timeout_s: float) -> list[IntentRecord]:
        """Plan intents, and advance until all are finished, or none can be, or time is up; return how they stand.

        What is not Finished then is in the journal: it is neither lost nor failed, and goes on with the next call.
        """
        ids = [self.plan(intent).intent.intent_id for intent in intents]
        end = self._clock() + timeout_s
        while True:
            try:
                self.advance()
            except (NodeError, CallReverted) as error:
                self._tell(AlarmKind.node_unavailable, "", str(error))
            else:
                self._told.discard((AlarmKind.node_unavailable, ""))
            records = [record for record in map(self._journal.find, ids) if record is not None]
            if all(isinstance(record, Finished) for record in records) or self._clock() >= end:
                return records
            self._sleep(self._setting.poll_s)

    def advance(self) -> None:
        """Do what can be done now for every unfinished intent; raises NodeError when no node answers, LeaseLost."""
        self._lease.check()
        head = self._client.read_head()
        self._open_wallet(head)
        self.audit(head)
        count = self._client.read_transaction_count(self.account.address, head)
        failures: list[NodeError | CallReverted] = []
        for record in self._journal.list_unfinished(self.account):
            if isinstance(record, InFlight):
                try:
                    self._track(record, count, head)
                except (NodeError, CallReverted) as error:  # one that cannot be looked up must not stop the others
                    failures.append(error)
        self._watch_for_foreign_use(count, head)
        self._find_gaps(count, head)
        self._sign_planned(count, head)
        if failures:
            raise failures[0]

    def audit(self, head: BlockHeader) -> None:
        """Check again what ended and is not final (step 6); reopen what a reorg moved, however long nobody looked."""
        depth, blocks = self._setting.replan_depth, self._setting.audit_blocks
        found = audit_ends(self._client, self._journal, self.account, head, final_depth=depth, audit_blocks=blocks)
        for record in found.moved:
            name, number = record.intent.intent_id, record.outcome.block_number
            self._observe(Step.reopen_decided, name)
            reason = f"block {number} {record.outcome.block_hash} is not canonical any more"
            self._journal.reopen(self.account, name, reason, self._lease.token)
            self._observe(Step.reopened, name)
            self._tell(AlarmKind.reorganised, f"{name} {number}", f"{name} is watched again: {reason}")
        if found.final:
            self._journal.mark_final(self.account, found.final, self._lease.token)

    def may_replan(self, intent_id: str) -> bool:
        """Tell whether the same thing may be planned under a new id: this one ended without effect, for good.

        A reorg could revive it until a block that no reorg reaches is later than its deadline. A signed intent that
        never expires can be revived at any time: only what is harmless twice (an approval) may follow it.
        """
        record = self._journal.find(intent_id)
        if not isinstance(record, Finished) or record.outcome.status is OutcomeStatus.confirmed:
            return False
        if not record.attempts:
            return True
        head = self._client.read_head()
        final = self._client.read_block(max(0, head.number - self._setting.replan_depth))
        return record.intent.has_expired(final.timestamp)

    def is_final(self, intent_id: str) -> bool:
        """Tell whether an intent ended in a block that no reorg reaches, or without ever being signed."""
        record = self._journal.find(intent_id)
        if not isinstance(record, Finished):
            return False
        head = self._client.read_head()
        return not record.attempts or head.number - record.outcome.block_number >= self._setting.replan_depth

    def resume(self, reason: str) -> None:
        """Let a halted wallet sign again, above every nonce used by now: an operator's decision, with its reason."""
        head = self._client.read_head()
        count = self._client.read_transaction_count(self.account.address, head)
        self._journal.resume(self.account, count, reason, self._lease.token)
        self._told.clear()

    # Steps 3 to 5: what was signed

    def _track(self, record: InFlight, count: int, head: BlockHeader) -> None:
        for attempt in reversed(record.attempts):
            receipt = self._client.read_receipt(attempt.tx_hash)
            if receipt is not None:
                self._observe(Step.receipt_seen, record.intent.intent_id)
                self._settle(record, attempt, receipt, head)
                return
        if count > record.nonce:
            self._settle_lost_nonce(record, head)
        else:
            self._keep_alive(record, head, is_next=count == record.nonce)

    def _settle(self, record: InFlight, attempt: Attempt, receipt: Receipt, head: BlockHeader) -> None:
        if head.number - receipt.block_number + 1 < self._setting.confirmations:
            return
        if read_canonical_hash(self._client, receipt.block_number) != receipt.block_hash:
            return
        if attempt.purpose is AttemptPurpose.cancel:
            why = "expired" if record.intent.expires_at else "became too old, or would have brought too little,"
            status, reason = OutcomeStatus.cancelled, f"it {why} before it was mined"
        elif receipt.is_success:
            status, reason = OutcomeStatus.confirmed, ""
        else:
            status, reason = OutcomeStatus.reverted, self._replay_reason(record.intent, receipt)
        self._finish(
            Outcome(
                intent_id=record.intent.intent_id,
                status=status,
                reason=reason,
                tx_hash=receipt.tx_hash,
                block_number=receipt.block_number,
                block_hash=receipt.block_hash,
                gas_used=receipt.gas_used,
                effective_gas_price=receipt.effective_gas_price,
                logs=receipt.logs,
            )
        )

    def _settle_lost_nonce(self, record: InFlight, head: BlockHeader) -> None:
        """Release an intent only when another transaction is found in its place (step 5)."""
        user = find_nonce_user(self._client, self.account.address, record.nonce, head)
        if user is None:
            return
        owner = self._journal.find_owner(user.tx_hash)
        if owner == record.intent.intent_id:
            return  # ours: its receipt will be there
        self._observe(Step.nonce_lost, record.intent.intent_id)
        if owner is None:
            self._halt(f"{user.tx_hash} in block {user.block.number}", record.nonce)
        if head.number - user.block.number + 1 < self._setting.confirmations:
            return
        whose = f"intent {owner}" if owner else "somebody else"
        self._finish(
            Outcome(
                intent_id=record.intent.intent_id,
                status=OutcomeStatus.released,
                reason=f"nonce {record.nonce} was used by {whose}: {user.tx_hash}",
                tx_hash=user.tx_hash,
                block_number=user.block.number,
                block_hash=user.block.hash,
            )
        )

    def _keep_alive(self, record: InFlight, head: BlockHeader, *, is_next: bool) -> None:
        """Send the newest attempt again; replace it when it expired, or waits too long though it is next."""
        newest = record.newest
        is_late = is_next and head.number - newest.signed_block >= self._gas.bump_after_blocks
        is_dead = record.intent.has_expired(head.timestamp) and newest.purpose is AttemptPurpose.execute
        if is_late and not is_dead and newest.purpose is AttemptPurpose.execute:
            is_dead = bool(self._refuse_signing(record.intent, head))
        if is_late or is_dead:
            purpose = AttemptPurpose.cancel if is_dead else newest.purpose
            old = Fee(newest.max_fee, newest.priority_fee)
            fee = self._gas.replace(old, head.base_fee, self._client.read_priority_fee())
            if purpose is AttemptPurpose.execute and self._is_forbidden(record.intent):
                pass  # what was signed may still be mined, but is not pushed; a cancellation is signed all the same
            elif isinstance(fee, Fee):
                self._observe(Step.replacement_decided, record.intent.intent_id)
                limit = self._cancel_limit() if is_dead else newest.gas_limit
                newest = self._sign(record.intent, purpose, newest.nonce, limit, fee, head)
            else:
                self._tell(AlarmKind.fee_above_cap, record.intent.intent_id, f"{record.intent.intent_id} waits: {fee}")
        self._send(newest, head)

    def _cancel_limit(self) -> int:
        address = self.account.address
        return self._gas.pad(self._client.estimate_gas(address, address, "0x", 0, "latest"))

    # Steps 1 and 2: what is to be signed

    def _sign_planned(self, count: int, head: BlockHeader) -> None:
        for record in self._journal.list_unfinished(self.account):
            if isinstance(record, Planned) and (reason := self._why_never(record.intent, head)):
                self._refuse(record.intent, reason)
                continue
            wallet = self._open_wallet(head)
            if wallet.halt_reason or count > wallet.nonce_floor:
                continue
            if isinstance(record, Planned):
                in_flight = self._list_in_flight()
                if len(in_flight) >= self._setting.max_in_flight:
                    return
                self._sign_new(record.intent, wallet.nonce_floor, in_flight, count, head)

    def _sign_new(
        self, intent: Intent, nonce: int, in_flight: Sequence[InFlight], count: int, head: BlockHeader
    ) -> None:
        """Sign and send one intent, or refuse it, or let it wait."""
        if intent.function == FILL_FUNCTION:
            nonce = int(str(intent.arguments["nonce"]))
            if nonce < count or any(record.nonce == nonce for record in in_flight):
                return self._refuse(intent, "the gap is closed")
        try:
            estimate = self._client.estimate_gas(self.account.address, intent.to, intent.data, intent.value, "pending")
        except CallReverted as error:
            return self._refuse(intent, f"the simulation reverted: {error}")
        if estimate > self._gas.limit_cap:
            return self._refuse(intent, f"it needs {estimate} gas, the cap is {self._gas.limit_cap}")
        gas_limit = intent.gas_limit or self._gas.pad(estimate)
        fee = self._gas.offer(head.base_fee, self._client.read_priority_fee())
        if isinstance(fee, FeeAboveCap):
            self._tell(AlarmKind.fee_above_cap, intent.intent_id, f"{intent.intent_id} waits: {fee}")
            return None
        reserved = sum(record.newest.gas_limit * record.newest.max_fee + record.intent.value for record in in_flight)
        needed = reserved + gas_limit * fee.max_fee + intent.value
        balance = self._client.read_balance(self.account.address, head)
        if balance < needed:
            text = f"{intent.intent_id} waits: with those in flight up to {needed} wei are needed, there are {balance}"
            self._tell(AlarmKind.gas_missing, intent.intent_id, text)
            return None
        if self._is_forbidden(intent):
            return None
        return self._send(self._sign(intent, AttemptPurpose.execute, nonce, gas_limit, fee, head), head)

    def _why_never(self, intent: Intent, head: BlockHeader) -> str:
        """Return why an intent must not be signed any more, however long one waits."""
        if intent.has_expired(head.timestamp):
            return EXPIRED_UNSIGNED
        return self._refuse_signing(intent, head)

    def _is_forbidden(self, intent: Intent) -> bool:
        """Ask the kill switch, and tell when it is on."""
        reason = self._forbid_signing(intent)
        if reason:
            self._tell(AlarmKind.signing_forbidden, intent.intent_id, f"{intent.intent_id} waits: {reason}")
        return bool(reason)

    def _sign(
        self, intent: Intent, purpose: AttemptPurpose, nonce: int, gas_limit: int, fee: Fee, head: BlockHeader
    ) -> Attempt:
        """Sign and make it durable (step 2); only what this returns may be sent."""
        self._lease.check()
        self._observe(Step.signing_began, intent.intent_id)
        is_cancel = purpose is AttemptPurpose.cancel
        signed = self._wallet.sign(
            UnsignedTransaction(
                account=self.account,
                nonce=nonce,
                to=self.account.address if is_cancel else intent.to,
                data="0x" if is_cancel else intent.data,
                value=0 if is_cancel else intent.value,
                gas_limit=gas_limit,
                max_fee=fee.max_fee,
                priority_fee=fee.priority_fee,
            )
        )
        attempt = Attempt(
            intent_id=intent.intent_id,
            purpose=purpose,
            nonce=nonce,
            tx_hash=signed.tx_hash,
            raw=signed.raw,
            gas_limit=gas_limit,
            max_fee=fee.max_fee,
            priority_fee=fee.priority_fee,
            signed_block=head.number,
        )
        self._observe(Step.signed, intent.intent_id)
        self._persist(attempt)
        self._observe(Step.persisted, intent.intent_id)
        return attempt

    def _persist(self, attempt: Attempt) -> None:
        self._journal.add_attempt(self.account, attempt, self._lease.token)

    def _send(self, attempt: Attempt, head: BlockHeader) -> None:
        """Send once a block; the answers are not looked at, for none can be trusted (step 3)."""
        if self._sent_at.get(attempt.tx_hash) != head.number:
            self._client.broadcast(attempt.raw)
            self._sent_at[attempt.tx_hash] = head.number
            self._observe(Step.sent, attempt.intent_id)

    # Foreign use and gaps

    def _watch_for_foreign_use(self, count: int, head: BlockHeader) -> None:
        wallet = self._open_wallet(head)
        if count > wallet.nonce_floor and not wallet.halt_reason:
            try:
                user = find_nonce_user(self._client, self.account.address, wallet.nonce_floor, head)
            except BlockUnavailable as error:  # long ago: whoever it was, it was not us, as we would know of it
                self._halt(f"a transaction that cannot be seen any more ({error})", wallet.nonce_floor)
                return
            if user is not None and self._journal.find_owner(user.tx_hash) is None:
                self._halt(f"{user.tx_hash} in block {user.block.number}", wallet.nonce_floor)

    def _find_gaps(self, count: int, head: BlockHeader) -> None:
        """Plan an empty transaction for a nonce that nobody of ours uses and that stays unused.

        It is left when a foreign transaction was reorganised away; what has higher nonces could never be mined.
        """
        wallet = self._open_wallet(head)
        taken = {record.nonce for record in self._list_in_flight()}
        gaps = set(range(count, wallet.nonce_floor)) - taken
        self._gap_since = {nonce: self._gap_since.get(nonce, head.number) for nonce in sorted(gaps)}
        for nonce, since in self._gap_since.items():
            if head.number - since >= self._setting.confirmations and not wallet.halt_reason:
                self._fill(nonce)

    def _fill(self, nonce: int) -> None:
        arguments = {"nonce": nonce}
        tries = 0
        while isinstance(self._journal.find(f"fill/{self.account}/{nonce}/{tries}"), Finished):
            tries += 1
        intent_id = f"fill/{self.account}/{nonce}/{tries}"
        if self._journal.find(intent_id) is None:
            self._observe(Step.gap_found, intent_id)
            self._tell(
                AlarmKind.nonce_gap, intent_id, f"nonce {nonce} is unused below others: an empty transaction fills it"
            )
            self._journal.add_intent(
                Intent(
                    intent_id, self.account, self.account.address, "0x", function=FILL_FUNCTION, arguments=arguments
                ),
                self._lease.token,
            )

    def _halt(self, user: str, nonce: int) -> None:
        wallet = self._journal.find_wallet(self.account)
        if wallet is not None and not wallet.halt_reason:
            reason = (
                f"nonce {nonce} of {self.account} was used by {user}, not by us: move the funds if the key is known to "
                "others, else find the second signer; then resume"
            )
            self._journal.halt(self.account, reason, self._lease.token)
            self._tell(AlarmKind.foreign_use, user, reason)
            self._observe(Step.halted, "")

    # Small parts

    def _open_wallet(self, head: BlockHeader) -> WalletRecord:
        known = self._journal.find_wallet(self.account)
        if known is not None and known.fence == self._lease.token:
            return known
        first = known.nonce_floor if known else self._client.read_transaction_count(self.account.address, head)
        return self._journal.open_wallet(self.account, first, self._lease.token)

    def _list_in_flight(self) -> list[InFlight]:
        unfinished = self._journal.list_unfinished(self.account)
        return [record for record in unfinished if isinstance(record, InFlight)]

    def _refuse(self, intent: Intent, reason: str) -> None:
        self._finish(Outcome(intent.intent_id, OutcomeStatus.refused, reason))

    def _finish(self, outcome: Outcome) -> None:
        self._observe(Step.finish_decided, outcome.intent_id)
        self._journal.finish(self.account, outcome, self._lease.token)
        self._observe(Step.finished, outcome.intent_id)

    def _replay_reason(self, intent: Intent, receipt: Receipt) -> str:
        """Ask why by calling again on the state before; the answer is for people, nothing depends on it."""
        try:
            self._client.call_raw(intent.to, intent.data, receipt.block_number - 1, self.account.address)
        except CallReverted as error:
            return f"reverted: {error}"
        except NodeError:
            pass
        return "reverted, and a call on the state before it does not say why"

    def _tell(self, kind: AlarmKind, subject: str, text: str) -> None:
        """Raise an alarm once for what it is about."""
        if (kind, subject) not in self._told:
            self._told.add((kind, subject))
            self._raise_alarm(Alarm(kind, self.account, text))
