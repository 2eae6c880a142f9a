"""Kill a strategy with loans at every save and every step of every transaction: each is on the chain exactly once."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path

import pytest
from evm.conftest import deployed, deployed_aave, evm_packages, market, rig  # noqa: F401 - fixtures
from evm.deployment import KEY, Rig
from evm.deployment_aave import Aave
from live.evm_life import list_trades, open_desk
from live.evm_loan_life import LoanLife, live, make_life_universe, make_loan_venue
from live.test_evm_crash import LIFE_S, STEPS, Miner

from trading_dagster.domain.money import from_units
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.domain.transaction import OutcomeStatus
from trading_dagster.evm.abi import event_topic
from trading_dagster.evm.erc20 import read_balance
from trading_dagster.evm.loan_progress import ACTION, parse_step_id
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.storage.transaction_journal import SqliteTransactionJournal

POINTS = [
    *(f"{step} step-{number}" for number in range(1, 5) for step in STEPS),
    *(f"{step} approve" for step in STEPS),
    *(f"{when} save" for when in ("before", "after")),
]
EVENTS = {
    "supply": event_topic("Supply(address,address,address,uint256,uint16)"),
    "borrow": event_topic("Borrow(address,address,address,uint256,uint8,uint256,uint16)"),
    "repay": event_topic("Repay(address,address,address,uint256,bool)"),
    "withdraw": event_topic("Withdraw(address,address,address,uint256)"),
}
ROWS = {
    1: ["supply", "borrow", "sell", "supply"],
    2: ["supply"],
    3: ["withdraw", "buy", "repay", "withdraw"],
    0: ["withdraw"],
}


@pytest.mark.slow
def test_every_step_of_a_loan_is_on_chain_once_and_in_the_ledger_wherever_it_is_killed(
    deployed_aave: Aave,  # noqa: F811
    rig: Rig,  # noqa: F811
    tmp_path: Path,
):
    market, wallet, pool = rig.market, rig.wallet.address, deployed_aave.deployment.pool  # noqa: F811
    node = market.node
    node.mine(5)
    first_block = node.head()
    names = ("owner", "usd", "eth", "btc", "tax", "aggregator")
    contracts = {name: getattr(market, name) for name in names} | {"uniswap": asdict(market.uniswap)}
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["live.evm_loan_life"])
    kills: Counter[str] = Counter()

    def run(at_least: int, point: str = "", at: int = 1) -> int:
        life = LoanLife(tmp_path, node.url, KEY, dict(contracts), pool, at_least, point, at)
        child = processes.Process(target=live, args=(life,))
        child.start()
        child.join(LIFE_S)
        assert child.exitcode is not None, f"life to {point} does not end"
        return child.exitcode

    with Miner(node):
        for number, point in enumerate(POINTS):
            at = 1 + number % 2 if "step" in point else 2 if "save" in point else 1
            status = run(4, point, at)
            assert status in (0, -signal.SIGKILL), f"the life to {point} {at} ended with {status}"
            kills[point] += status == -signal.SIGKILL
        assert run(1) == 0
        assert run(0) == 0, "nothing is left to do"

    print(kills)  # noqa: T201
    missed = [point for point in POINTS if not kills[point] and "approve" not in point]
    assert missed == []
    journal = SqliteTransactionJournal(tmp_path / "journal.sqlite")
    assert journal.list_unfinished(rig.account) == []
    confirmed = [r for r in journal.list_finished(rig.account, 0) if r.outcome.status is OutcomeStatus.confirmed]
    steps: dict[int, list[str]] = {}
    for record in confirmed:
        trade_id = parse_step_id("alpha", record.intent.intent_id)
        if trade_id is not None:
            steps.setdefault(trade_id, []).append(str(record.intent.arguments[ACTION]))
    journal.close()
    trades = max(steps)
    assert steps == {number: ROWS[number % 4] for number in range(1, trades + 1)}, "each step once, in its order"
    for action, topic in EVENTS.items():
        query = {"fromBlock": hex(first_block), "toBlock": "latest", "address": pool, "topics": [topic]}
        found = len(node.rpc("eth_getLogs", query))
        assert found == sum(row.count(action) for row in steps.values()), f"each {action} is on the chain once"
    require_books_equal_chain(rig, wallet, pool, tmp_path, trades)


def require_books_equal_chain(rig: Rig, wallet: str, pool: str, folder: Path, trades: int) -> None:  # noqa: F811
    venue = make_loan_venue(rig.market, folder, pool, [])
    universe = make_life_universe(venue, rig.market, pool)
    client = rig.market.client()
    head = client.connect()
    with SqlLedgerStore(folder / "ledger.sqlite") as store, open_desk(venue, universe, store, wait_s=5) as (step, _):
        state = step.state
        assert [t.get_status() for t in list_trades(state)] == [TradeStatus.success] * trades
        assert state.portfolio.open_positions == {}
        cash = from_units(read_balance(client, rig.market.usd, wallet, head), 6)
        assert state.portfolio.reserve.quantity == cash
        eth = universe.pairs[0].base
        left = from_units(read_balance(client, rig.market.eth, wallet, head), 18)
        assert state.portfolio.dust.get(eth, Decimal(0)) == left
        for reserve in universe.lending.reserves:
            for token in (reserve.atoken, reserve.vtoken):
                assert read_balance(client, token.address, wallet, head) == 0
        state.perform_integrity_check()
    venue.journal.close()
