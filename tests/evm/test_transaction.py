"""The exactly-once protocol, scenario by scenario, on a real node; and what happens when a step of it is missing."""

from __future__ import annotations

import pytest
from eth_utils.address import to_checksum_address as checksum
from evm.broken import NoAudit, NoReceiptMeansFailed, SendThenSave
from evm.crash import MARK, count_swaps
from evm.deployment import FAST, GAS, PATIENT, OpenLease, Rig
from evm.node import CHAIN_ID, Faults, run_proxy

from trading_dagster.domain.error import BadConfiguration, BlockUnavailable, IntentConflict, LeaseLost
from trading_dagster.domain.transaction import (
    AttemptPurpose,
    Finished,
    InFlight,
    Intent,
    Outcome,
    OutcomeStatus,
    Planned,
)
from trading_dagster.evm.alarm import AlarmKind, Step
from trading_dagster.evm.block import BlockReference, Receipt
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.endpoint import HttpEndpoint
from trading_dagster.evm.gas import GWEI, GasPolicy
from trading_dagster.evm.nonce_search import find_nonce_user
from trading_dagster.evm.token_flow import TRANSFER_TOPIC
from trading_dagster.evm.transaction import ExecutionSetting, TransactionExecutor
from trading_dagster.evm.uniswap_v2 import SWAP
from trading_dagster.evm.wallet import UnsignedTransaction


class Killed(BaseException):
    """The process ends here."""


def swap_intent(rig: Rig, number: int = 0, *, lives_s: int = 10_000, name: str = "") -> Intent:
    market = rig.market
    deadline = market.node.timestamp() + lives_s
    arguments = (MARK + number, 0, [market.usd, market.eth], rig.wallet.address, deadline)
    call = SWAP.call(market.uniswap.router, arguments, expires_at=deadline)
    return call.to_intent(name or f"swap-{number}", rig.account)


def turn(rig: Rig, executor: TransactionExecutor, times: int = 1) -> None:
    for _ in range(times):
        executor.advance()
        rig.market.node.mine()


def swaps_on_chain(rig: Rig) -> dict[int, int]:
    found = count_swaps(rig.market.node, rig.market.usd, rig.wallet.address, TRANSFER_TOPIC)
    return {number: len(hashes) for number, hashes in found.items() if number >= 0}


def outcome(rig: Rig, intent_id: str) -> Outcome:
    record = rig.journal.find(intent_id)
    assert isinstance(record, Finished), (record, rig.alarms)
    return record.outcome


def send_foreign(rig: Rig, nonce: int | None = None) -> str:
    """Send something with the same key from elsewhere."""
    node = rig.market.node
    count = int(node.rpc("eth_getTransactionCount", rig.wallet.address, "latest"), 16)
    signed = rig.wallet.sign(
        UnsignedTransaction(
            rig.account,
            nonce=count if nonce is None else nonce,
            to=rig.market.owner,
            data="0x",
            value=1,
            gas_limit=21_000,
            max_fee=400 * GWEI,
            priority_fee=100 * GWEI,
        )
    )
    return str(node.rpc("eth_sendRawTransaction", "0x" + signed.raw.hex()))


def kinds(rig: Rig) -> list[AlarmKind]:
    return [alarm.kind for alarm in rig.alarms]


def test_several_swaps_settle_in_order(rig: Rig):
    executor = rig.executor()
    intents = [swap_intent(rig, number) for number in range(6)]
    for intent in intents:
        executor.plan(intent)

    turn(rig, executor, 8)

    assert [outcome(rig, intent.intent_id).status for intent in intents] == [OutcomeStatus.confirmed] * 6
    nonces = [rig.journal.find(intent.intent_id).attempts[0].nonce for intent in intents]
    assert nonces == sorted(nonces)
    assert swaps_on_chain(rig) == dict.fromkeys(range(6), 1)


def test_planning_twice_does_nothing_and_other_contents_are_refused(rig: Rig):
    executor = rig.executor()
    intent = swap_intent(rig)
    executor.plan(intent)
    executor.plan(intent)
    turn(rig, executor, 5)
    assert isinstance(executor.plan(intent), Finished)
    with pytest.raises(IntentConflict, match="other contents"):
        executor.plan(swap_intent(rig, 1, name="swap-0"))
    assert swaps_on_chain(rig) == {0: 1}


@pytest.mark.parametrize("step", [Step.signing_began, Step.signed, Step.persisted, Step.sent, Step.finish_decided])
def test_killed_at_a_step_and_started_again(rig: Rig, step: Step):
    def kill(at: Step, intent_id: str) -> None:
        if at is step:
            raise Killed

    executor = rig.executor(observe=kill)
    executor.plan(swap_intent(rig))
    with pytest.raises(Killed):
        turn(rig, executor, 6)
    turn(rig, rig.executor(), 6)

    assert swaps_on_chain(rig) == {0: 1}
    assert outcome(rig, "swap-0").status is OutcomeStatus.confirmed


def test_without_step_2_a_crash_doubles_a_swap(rig: Rig):
    assert crash_after_sending(rig, TransactionExecutor, "right") == 1
    assert crash_after_sending(rig, SendThenSave, "wrong") == 2


def crash_after_sending(rig: Rig, cls: type[TransactionExecutor], name: str) -> int:
    """Return how often a swap is on the chain when the process ends right after sending."""

    def kill(at: Step, intent_id: str) -> None:
        if at is Step.sent:
            raise Killed

    number = len(swaps_on_chain(rig))
    executor = rig.executor(cls, observe=kill)
    executor.plan(swap_intent(rig, number, name=name))
    with pytest.raises(Killed):
        executor.advance()
    rig.market.node.mine()
    again = rig.executor(cls)
    again.advance()
    if rig.journal.find_wallet(rig.account).halt_reason:
        again.resume("the operator sees nothing foreign")
    turn(rig, again, 6)
    return swaps_on_chain(rig)[number]


class BlindClient(EvmClient):
    """Knows no receipts while blind."""

    is_blind = True

    def read_receipt(self, tx_hash: str) -> Receipt | None:
        return None if self.is_blind else super().read_receipt(tx_hash)


def test_without_step_5_missing_receipts_double_a_swap(rig: Rig):
    assert lose_receipts(rig, TransactionExecutor, 0) == 1
    assert lose_receipts(rig, NoReceiptMeansFailed, 1) == 2


def lose_receipts(rig: Rig, cls: type[TransactionExecutor], number: int) -> int:
    """Return how often a swap is on the chain when its receipt is not to be had and failed swaps are planned again."""
    base = rig.market.client()
    client = BlindClient(base._endpoints, base.chain_id, base._setting)
    executor = rig.executor(cls, client=client)
    executor.plan(swap_intent(rig, number, lives_s=5))
    turn(rig, executor, 20)
    if executor.may_replan(f"swap-{number}"):
        executor.plan(swap_intent(rig, number, name=f"swap-{number}/1"))
    client.is_blind = False
    turn(rig, executor, 6)
    return swaps_on_chain(rig)[number]


def test_without_step_6_a_reorg_loses_a_swap(rig: Rig):
    assert reorganise_settled(rig, TransactionExecutor, 0) == 1
    assert AlarmKind.reorganised in kinds(rig)
    assert reorganise_settled(rig, NoAudit, 1) == 0


def reorganise_settled(rig: Rig, cls: type[TransactionExecutor], number: int) -> int:
    """Return how often a swap is on the chain after a reorg deeper than its confirmations."""
    rig.market.node.mine(10)
    executor = rig.executor(cls)
    executor.plan(swap_intent(rig, number))
    turn(rig, executor, 5)
    assert outcome(rig, f"swap-{number}").status is OutcomeStatus.confirmed
    rig.market.node.rpc("anvil_reorg", 8, [])
    assert swaps_on_chain(rig).get(number, 0) == 0
    turn(rig, executor, 8)
    return swaps_on_chain(rig).get(number, 0)


@pytest.mark.parametrize("blocks_unseen", [1, FAST.audit_blocks + 20])
def test_reorg_that_comes_while_nobody_looks_is_found_however_late(rig: Rig, blocks_unseen: int):
    node = rig.market.node
    node.mine(10)
    executor = rig.executor()
    executor.plan(swap_intent(rig))
    turn(rig, executor, 5)
    assert outcome(rig, "swap-0").status is OutcomeStatus.confirmed
    node.rpc("anvil_reorg", 8, [])
    for tx_hash in node.rpc("txpool_content")["pending"].get(checksum(rig.wallet.address), {}).values():
        node.rpc("anvil_dropTransaction", tx_hash["hash"])
    node.mine(blocks_unseen)
    assert swaps_on_chain(rig).get(0, 0) == 0

    turn(rig, rig.executor(), 6)

    assert AlarmKind.reorganised in kinds(rig)
    assert swaps_on_chain(rig) == {0: 1}
    assert outcome(rig, "swap-0").status is OutcomeStatus.confirmed
    assert [record.intent.intent_id for record in rig.journal.list_reopened(rig.account)] == ["swap-0"]


def test_end_is_final_once_no_reorg_reaches_it(rig: Rig):
    executor = rig.executor()
    executor.plan(swap_intent(rig))
    turn(rig, executor, 5)
    assert [record.intent.intent_id for record in rig.journal.list_not_final(rig.account)] == ["swap-0"]
    rig.market.node.mine(FAST.replan_depth)
    executor.advance()
    assert rig.journal.list_not_final(rig.account) == []


def test_foreign_use_of_the_key_halts_and_releases(rig: Rig):
    executor = rig.executor()
    executor.plan(swap_intent(rig, lives_s=8))
    foreign: list[str] = []

    def race(step: Step, intent_id: str) -> None:
        if step is Step.persisted and not foreign:
            foreign.append(send_foreign(rig))

    rig.executor(observe=race).advance()
    turn(rig, executor, 5)
    executor.plan(swap_intent(rig, 1))
    turn(rig, executor, 3)

    assert outcome(rig, "swap-0").status is OutcomeStatus.released
    assert outcome(rig, "swap-0").tx_hash == foreign[0]
    assert AlarmKind.foreign_use in kinds(rig)
    assert isinstance(rig.journal.find("swap-1"), Planned), "a halted wallet signs nothing new"
    assert not executor.may_replan("swap-0"), "its deadline may still be reached after a reorg"
    rig.market.node.mine(30)
    assert executor.may_replan("swap-0")
    executor.resume("the second signer was found")
    turn(rig, executor, 5)
    assert swaps_on_chain(rig) == {1: 1}


def test_foreign_transaction_while_idle_halts(rig: Rig):
    executor = rig.executor()
    turn(rig, executor)
    send_foreign(rig)
    rig.market.node.mine()
    executor.plan(swap_intent(rig))
    turn(rig, executor, 3)
    assert isinstance(rig.journal.find("swap-0"), Planned)
    assert kinds(rig) == [AlarmKind.foreign_use]
    assert rig.journal.find_wallet(rig.account).halt_reason


class PruningClient(EvmClient):
    """Asks a node that keeps the state of the newest blocks only, as most do."""

    kept = 16

    def read_transaction_count(self, address: str, block: BlockReference) -> int:
        if isinstance(block, int) and block < self.read_head().number - self.kept:
            raise BlockUnavailable("missing trie node")
        return super().read_transaction_count(address, block)


def test_foreign_transaction_of_long_ago_halts_though_the_node_forgot_it(rig: Rig):
    turn(rig, rig.executor())
    send_foreign(rig)
    rig.market.node.mine(100)
    client = PruningClient([HttpEndpoint(rig.market.node.url)], CHAIN_ID, PATIENT)

    executor = rig.executor(client=client)
    executor.plan(swap_intent(rig))
    turn(rig, executor, 3)

    assert isinstance(rig.journal.find("swap-0"), Planned)
    assert kinds(rig) == [AlarmKind.foreign_use]
    assert "name an archive node, or look the wallet up" in rig.journal.find_wallet(rig.account).halt_reason
    executor.resume("it was me")
    turn(rig, executor, 5)
    assert swaps_on_chain(rig) == {0: 1}


def test_gap_left_by_a_foreign_transaction_is_filled(rig: Rig):
    rig.market.node.mine(10)
    executor = rig.executor()
    turn(rig, executor)
    send_foreign(rig)
    rig.market.node.mine()
    turn(rig, executor)
    executor.resume("known")
    executor.plan(swap_intent(rig))
    rig.market.node.rpc("anvil_reorg", 4, [])

    turn(rig, executor, 14)

    assert AlarmKind.nonce_gap in kinds(rig)
    assert swaps_on_chain(rig) == {0: 1}


def test_dropped_transaction_is_sent_again(rig: Rig):
    executor = rig.executor()
    executor.plan(swap_intent(rig))
    executor.advance()
    rig.market.node.rpc("anvil_dropTransaction", rig.journal.find("swap-0").newest.tx_hash)
    rig.market.node.mine()
    assert swaps_on_chain(rig) == {}
    turn(rig, executor, 5)
    assert swaps_on_chain(rig) == {0: 1}


def test_fee_spike_is_met_by_a_replacement_of_the_same_nonce(rig: Rig):
    executor = rig.executor()
    executor.plan(swap_intent(rig))
    executor.advance()
    for _ in range(6):
        rig.market.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(60 * GWEI))
        turn(rig, executor)
    turn(rig, executor, 5)

    record = rig.journal.find("swap-0")
    assert outcome(rig, "swap-0").status is OutcomeStatus.confirmed
    assert len(record.attempts) > 1
    assert len({attempt.nonce for attempt in record.attempts}) == 1
    assert swaps_on_chain(rig) == {0: 1}


def test_fee_above_the_cap_waits_and_alarms(rig: Rig):
    rig.market.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(300 * GWEI))
    rig.market.node.mine()
    executor = rig.executor()
    executor.plan(swap_intent(rig))
    executor.advance()
    assert kinds(rig) == [AlarmKind.fee_above_cap]
    assert isinstance(rig.journal.find("swap-0"), Planned)
    rig.market.node.mine(10)
    turn(rig, executor, 5)
    assert swaps_on_chain(rig) == {0: 1}


def test_expired_transaction_is_cancelled_on_its_own_nonce(rig: Rig):
    executor = rig.executor()
    executor.plan(swap_intent(rig, lives_s=5))
    executor.advance()
    for _ in range(8):
        record = rig.journal.find("swap-0")
        rig.market.node.rpc("anvil_dropTransaction", record.attempts[0].tx_hash)
        rig.market.node.mine()
    turn(rig, executor, 6)

    record = rig.journal.find("swap-0")
    assert outcome(rig, "swap-0").status is OutcomeStatus.cancelled
    assert [attempt.purpose for attempt in record.attempts] == [AttemptPurpose.execute, AttemptPurpose.cancel]
    assert swaps_on_chain(rig) == {}


def test_expired_before_signing_is_refused_at_once(rig: Rig):
    executor = rig.executor()
    executor.plan(swap_intent(rig, lives_s=2))
    rig.market.node.mine(5)
    turn(rig, executor)
    assert outcome(rig, "swap-0").status is OutcomeStatus.refused
    assert executor.may_replan("swap-0")


def test_swap_that_reverts_on_chain_is_reverted_with_its_reason(rig: Rig):
    executor = rig.executor()
    intents = [swap_intent(rig, number) for number in range(2)]
    for intent in intents:
        executor.plan(intent)
    executor.advance()
    rig.market.node.rpc("anvil_setCode", rig.market.eth, "0xfd")  # the token breaks between signing and mining
    turn(rig, executor, 6)
    assert outcome(rig, "swap-0").status is OutcomeStatus.reverted
    assert outcome(rig, "swap-0").reason.startswith("reverted")
    assert outcome(rig, "swap-0").gas_cost > 0
    assert swaps_on_chain(rig) == {}


def test_no_gas_waits_and_alarms(rig: Rig):
    rig.market.node.rpc("anvil_setBalance", rig.wallet.address, hex(10**12))
    executor = rig.executor()
    executor.plan(swap_intent(rig))
    turn(rig, executor)
    assert kinds(rig) == [AlarmKind.gas_missing]
    rig.market.node.rpc("anvil_setBalance", rig.wallet.address, hex(10**19))
    turn(rig, executor, 5)
    assert swaps_on_chain(rig) == {0: 1}


def test_kill_switch_is_asked_right_before_signing(rig: Rig):
    reasons = ["drawdown limit"]
    executor = rig.executor(forbid_signing=lambda intent: reasons[0])
    executor.plan(swap_intent(rig))
    turn(rig, executor, 2)
    assert kinds(rig) == [AlarmKind.signing_forbidden]
    assert isinstance(rig.journal.find("swap-0"), Planned)
    reasons[0] = ""
    turn(rig, executor, 5)
    assert swaps_on_chain(rig) == {0: 1}


def test_kill_switch_stops_replacements_but_no_cancellation(rig: Rig):
    reasons = [""]
    executor = rig.executor(forbid_signing=lambda intent: reasons[0])
    executor.plan(swap_intent(rig, lives_s=20))
    executor.advance()
    reasons[0] = "drawdown limit"
    for _ in range(GAS.bump_after_blocks + 3):
        record = rig.journal.find("swap-0")
        rig.market.node.rpc("anvil_dropTransaction", record.newest.tx_hash)
        rig.market.node.mine()
        executor.advance()
    assert [attempt.purpose for attempt in record.attempts] == [AttemptPurpose.execute]
    assert kinds(rig) == [AlarmKind.signing_forbidden]
    rig.market.node.rpc("anvil_dropTransaction", record.newest.tx_hash)
    rig.market.node.mine(25)
    turn(rig, executor, 6)
    assert outcome(rig, "swap-0").status is OutcomeStatus.cancelled
    assert swaps_on_chain(rig) == {}


def test_executor_with_an_old_lease_cannot_write(rig: Rig):
    old, new = rig.executor(lease=OpenLease(1)), rig.executor(lease=OpenLease(2))
    old.plan(swap_intent(rig))
    turn(rig, new, 5)
    with pytest.raises(LeaseLost, match="took over"):
        old.plan(swap_intent(rig, 1))
    assert swaps_on_chain(rig) == {0: 1}


def test_execute_waits_for_all_and_returns_how_they_stand(rig: Rig):
    def mine(seconds: float) -> None:
        rig.market.node.mine()

    executor = rig.executor(sleep=mine)
    records = executor.execute([swap_intent(rig, 0), swap_intent(rig, 1)], timeout_s=30)
    assert all(isinstance(record, Finished) for record in records)
    (record,) = executor.execute([swap_intent(rig, 2)], timeout_s=0)
    assert isinstance(record, InFlight)


def test_dead_node_alarms_and_keeps_the_intent(rig: Rig):
    faults = Faults()
    with run_proxy(rig.market.node, faults) as url:
        executor = rig.executor(client=rig.market.client(url), sleep=lambda seconds: None)
        executor.plan(swap_intent(rig))
        faults.share = 1.0
        (record,) = executor.execute([swap_intent(rig)], timeout_s=0.2)
        assert isinstance(record, Planned)
        assert kinds(rig) == [AlarmKind.node_unavailable]
        faults.share = 0.0
        turn(rig, executor, 5)
    assert swaps_on_chain(rig) == {0: 1}


@pytest.mark.parametrize("kind", ["forward_then_close", "drop", "error", "http"])
def test_answer_to_sending_is_never_trusted(rig: Rig, kind: str):
    faults = Faults(next_send=[kind])
    with run_proxy(rig.market.node, faults) as url:
        executor = rig.executor(client=rig.market.client(url))
        executor.plan(swap_intent(rig))
        turn(rig, executor, 6)
    assert faults.told == {kind: 1}
    assert swaps_on_chain(rig) == {0: 1}


def test_user_of_a_nonce_is_found_in_its_block(rig: Rig):
    node, client = rig.market.node, rig.market.client()
    sent = []
    first = int(node.rpc("eth_getTransactionCount", rig.wallet.address, "latest"), 16)
    for gap in (1, 3, 20, 1):
        sent.append(send_foreign(rig))
        node.mine(gap)
    head = client.connect()
    found = [find_nonce_user(client, rig.wallet.address, first + i, head) for i in range(4)]
    assert [user.tx_hash for user in found if user] == sent
    assert find_nonce_user(client, rig.wallet.address, first + 4, head) is None


def test_settings_are_checked():
    with pytest.raises(BadConfiguration, match="confirmations"):
        ExecutionSetting(confirmations=20, replan_depth=10)
    with pytest.raises(BadConfiguration, match="bump"):
        GasPolicy(bump=GasPolicy().bump / 10)
    assert FAST.confirmations < FAST.audit_blocks
    assert GAS.max_fee_cap > 0
