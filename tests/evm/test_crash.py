"""Kill the executor again and again while the chain misbehaves: every intended swap is there exactly once."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from evm.crash import MARK, Chaos, Life, count_swaps, live
from evm.deployment import KEY, Market, Rig, deploy_market
from evm.node import Faults, run_anvil, run_proxy

from trading_dagster.domain.transaction import Finished, OutcomeStatus
from trading_dagster.evm.alarm import Step
from trading_dagster.evm.erc20 import read_balance
from trading_dagster.evm.token_flow import TRANSFER_TOPIC, read_fill
from trading_dagster.storage.transaction_journal import SqliteTransactionJournal

KILLS = int(os.environ.get("TRADING_DAGSTER_EVM_KILLS", "300" if os.environ.get("CI") == "true" else "40"))
EXECUTOR = os.environ.get("TRADING_DAGSTER_EVM_EXECUTOR", "TransactionExecutor")  # or one of evm.broken, to see it fail
SWAPS_A_LIFE = 2
LAST_LIFE_S = 120


@pytest.fixture(scope="module")
def deployed(evm_packages: Path) -> Iterator[Market]:
    """Give a chain of its own: after the thousands of blocks of this test a node has no state of its first ones."""
    with run_anvil(evm_packages) as node:
        yield deploy_market(node, evm_packages)


@pytest.mark.slow
def test_every_swap_is_on_chain_exactly_once_whenever_it_is_killed(rig: Rig, tmp_path: Path):
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["trading_dagster.evm.transaction", "trading_dagster.storage.transaction_journal"])
    draw = random.Random(20)
    market, path = rig.market, tmp_path / "journal.sqlite"
    market.node.mine(30)  # what was deployed and funded is below every reorg
    before = read_balance(market.client(), market.usd, rig.wallet.address, market.client().connect())
    faults = Faults(share=0.10, seed=21)
    second = Faults(share=0.10, seed=22)
    kills, lives, killed_at = 0, 0, dict.fromkeys((*(step.value for step in Step), "random"), 0)

    def run(life: Life) -> int:
        child = processes.Process(target=live, args=(life,))
        child.start()
        child.join(LAST_LIFE_S)
        assert child.exitcode is not None, f"life {life} does not end"
        return child.exitcode

    with (
        run_proxy(market.node, faults) as url,
        run_proxy(market.node, second) as other,
        Chaos(market.node, rig.wallet, seed=23) as chaos,
    ):

        def life(**how: object) -> Life:
            parts = {
                "urls": (url, other),
                "key": KEY,
                "router": market.uniswap.router,
                "path": (market.usd, market.eth),
            }
            return Life(
                number=lives, journal=path, executor=EXECUTOR, **parts, **({"swaps": SWAPS_A_LIFE * lives} | how)
            )

        while kills < KILLS:
            lives += 1
            assert lives < 4 * KILLS + 20, f"{kills} kills in {lives} lives: {killed_at}"
            step = (*Step, None)[lives % (len(Step) + 1)]
            if step is None:
                status = run(life(kill_after_s=draw.uniform(0.05, 0.6)))
            else:
                status = run(life(kill_step=step.value, kill_at=draw.randint(1, 3)))
            assert status in (0, -signal.SIGKILL), f"life {lives} ended with {status}; {chaos.done}"
            if status:
                kills += 1
                killed_at[step.value if step else "random"] += 1
        chaos.calm.set()
        faults.share = second.share = 0.0
        intended = SWAPS_A_LIFE * lives
        for _ in range(2):  # once to finish, once to see that nothing moves any more
            lives += 1
            assert run(life(swaps=intended)) == 0
    assert chaos.failure is None

    print(f"{kills} kills {killed_at}, {lives} lives, {intended} swaps, {chaos.done}, {faults.told}")  # noqa: T201
    found = count_swaps(market.node, market.usd, rig.wallet.address, TRANSFER_TOPIC)
    assert {number: len(hashes) for number, hashes in found.items()} == dict.fromkeys(range(intended), 1)
    journal = SqliteTransactionJournal(path)
    confirmed = [
        record
        for record in journal.list_finished(rig.account, 0)
        if isinstance(record, Finished) and record.outcome.status is OutcomeStatus.confirmed
    ]
    journal.close()
    kept = b"".join(file.read_bytes() for file in sorted(tmp_path.iterdir()))
    assert KEY.removeprefix("0x").encode() not in kept
    assert bytes.fromhex(KEY.removeprefix("0x")) not in kept
    swaps = {r.intent.intent_id: r.outcome for r in confirmed if r.intent.intent_id.startswith("swap-")}
    assert sorted(o.tx_hash for o in swaps.values()) == sorted(h for hashes in found.values() for h in hashes)
    fills = [read_fill(o.logs, rig.wallet.address, market.usd, market.eth) for o in swaps.values()]
    head = market.client().connect()
    assert sum(fill.amount_in for fill in fills) == sum(MARK + number for number in range(intended))
    assert read_balance(market.client(), market.usd, rig.wallet.address, head) == before - sum(
        f.amount_in for f in fills
    )
    assert read_balance(market.client(), market.eth, rig.wallet.address, head) == sum(f.amount_out for f in fills)
