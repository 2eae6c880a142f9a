"""The crash test's two sides: a child that executes swaps and is killed, and a chain on which everything goes wrong."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evm.broken import EXECUTORS
from evm.deployment import FAST, GAS, KEY_VARIABLE, OpenLease
from evm.node import CHAIN_ID, Anvil

from trading_dagster.domain.error import CallReverted, NodeError
from trading_dagster.domain.transaction import Account, Finished, OutcomeStatus
from trading_dagster.evm.alarm import Step
from trading_dagster.evm.client import ClientSetting, EvmClient
from trading_dagster.evm.endpoint import HttpEndpoint
from trading_dagster.evm.gas import GWEI
from trading_dagster.evm.transaction import TransactionExecutor
from trading_dagster.evm.uniswap_v2 import SWAP
from trading_dagster.evm.wallet import HotWallet, UnsignedTransaction
from trading_dagster.storage.transaction_journal import SqliteTransactionJournal

MARK = 1_000_000
"""Swap number i sells MARK + i units: what identifies it on the chain."""

LIFE_S = 60.0


@dataclass(frozen=True)
class Life:
    """One life of the executor: what it must get done, and when it is killed."""

    number: int
    journal: Path
    urls: tuple[str, ...]
    key: str
    router: str
    path: tuple[str, str]
    swaps: int
    executor: str = "TransactionExecutor"
    kill_step: str = ""
    kill_at: int = 1
    kill_after_s: float = 0.0


def live(life: Life) -> None:
    """Execute all swaps; the target of a child process. Ends with status 0 only when every swap is confirmed."""
    os.environ[KEY_VARIABLE] = life.key
    seen = 0

    def observe(step: Step, intent_id: str) -> None:
        nonlocal seen
        if step.value == life.kill_step:
            seen += 1
            if seen == life.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    if life.kill_after_s:
        killer = threading.Timer(life.kill_after_s, os.kill, (os.getpid(), signal.SIGKILL))
        killer.daemon = True
        killer.start()
    setting = ClientSetting(retries=3, backoff_s=0.01, health_check_s=0.5)
    client = EvmClient([HttpEndpoint(url, timeout_s=5) for url in life.urls], CHAIN_ID, setting)
    journal = SqliteTransactionJournal(life.journal)
    wallet = HotWallet.from_environment(KEY_VARIABLE)
    executor = EXECUTORS[life.executor](
        client,
        wallet,
        journal,
        OpenLease(life.number),
        alarm=lambda alarm: None,
        gas=GAS,
        setting=FAST,
        observe=observe,
    )
    end = time.monotonic() + LIFE_S
    open_numbers = set(range(life.swaps))
    while time.monotonic() < end:
        if work(life, open_numbers, client, executor, journal):
            os._exit(0)
        time.sleep(0.01)
    os._exit(3)


def work(
    life: Life,
    open_numbers: set[int],
    client: EvmClient,
    executor: TransactionExecutor,
    journal: SqliteTransactionJournal,
) -> bool:
    """Take one turn as a trader would; tell whether every swap is confirmed."""
    try:
        for number in sorted(open_numbers):
            if is_done(life, number, client, executor, journal):
                open_numbers.discard(number)
        executor.advance()
        wallet = journal.find_wallet(executor.account)
        if wallet is not None and wallet.halt_reason:
            executor.resume("the test sent it")
        if open_numbers or journal.list_unfinished(executor.account):
            return False
        open_numbers |= {n for n in range(life.swaps) if not is_done(life, n, client, executor, journal)}  # reopened
    except (NodeError, CallReverted):
        return False
    return not open_numbers


def is_done(
    life: Life, number: int, client: EvmClient, executor: TransactionExecutor, journal: SqliteTransactionJournal
) -> bool:
    """Plan a swap, or plan it again when its last try is dead for good; tell whether it is confirmed."""
    tries = 0
    while True:
        intent_id = f"swap-{number}/{tries}"
        record = journal.find(intent_id)
        if record is None:
            deadline = client.read_head().timestamp + 80
            arguments = (MARK + number, 0, list(life.path), executor.account.address, deadline)
            call = SWAP.call(life.router, arguments, expires_at=deadline)
            executor.plan(call.to_intent(intent_id, executor.account))
            return False
        if not isinstance(record, Finished):
            return False
        if record.outcome.status is OutcomeStatus.confirmed:
            return True
        if journal.find(f"swap-{number}/{tries + 1}") is None and not executor.may_replan(intent_id):
            return False
        tries += 1


@dataclass
class Chaos:
    """Mines blocks, and every now and then does what happens on chains, all at once."""

    node: Anvil
    wallet: HotWallet
    seed: int
    deepest: int = 8
    done: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.stop = threading.Event()
        self.calm = threading.Event()
        self.failure: Exception | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Chaos:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _run(self) -> None:
        try:
            while not self.stop.wait(0.03):
                if not self.calm.is_set():
                    self._act()
                self.node.mine()
        except (RuntimeError, OSError) as error:
            self.failure = error

    def _act(self) -> None:
        acts = {
            self._reorganise: 0.08,
            self._drop: 0.3,
            self._use_key: 0.012,
            self._raise_fee: 0.02,
        }
        for act, share in acts.items():
            if self.random.random() < share:
                act()

    def _count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    def _reorganise(self) -> None:
        self.node.rpc("anvil_reorg", self.random.randint(1, self.deepest), [])
        self._count("reorgs")

    def _drop(self) -> None:
        pool = self.node.rpc("txpool_content")
        hashes = sorted(body["hash"] for kind in pool.values() for sent in kind.values() for body in sent.values())
        if hashes:
            self.node.rpc("anvil_dropTransaction", self.random.choice(hashes))
            self._count("dropped")

    def _use_key(self) -> None:
        nonce = int(self.node.rpc("eth_getTransactionCount", self.wallet.address, "latest"), 16)
        signed = self.wallet.sign(
            UnsignedTransaction(
                Account(CHAIN_ID, self.wallet.address),
                nonce=nonce,
                to=self.wallet.address,
                data="0x",
                value=0,
                gas_limit=21_000,
                max_fee=400 * GWEI,
                priority_fee=40 * GWEI,
            )
        )
        try:
            self.node.rpc("eth_sendRawTransaction", "0x" + signed.raw.hex())
        except RuntimeError:
            return  # ours pays as much
        self._count("foreign")

    def _raise_fee(self) -> None:
        self.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(self.random.choice([50, 150, 300]) * GWEI))
        self._count("fee spikes")


def count_swaps(node: Anvil, token: str, wallet: str, topic: str) -> dict[int, list[str]]:
    """Return the hashes of the canonical swaps by number, from the wallet's transfers of the token sold."""
    query: dict[str, Any] = {
        "fromBlock": "0x0",
        "toBlock": "latest",
        "address": token,
        "topics": [topic, "0x" + wallet[2:].rjust(64, "0")],
    }
    found: dict[int, list[str]] = {}
    for log in node.rpc("eth_getLogs", query):
        found.setdefault(int(log["data"], 16) - MARK, []).append(log["transactionHash"])
    return found
