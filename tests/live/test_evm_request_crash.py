"""Kill a strategy whose vault settles later at saves and steps: each request and claim is on the chain exactly once."""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import asdict
from pathlib import Path

import pytest
from evm.conftest import (  # noqa: F401 - fixtures
    deployed,
    evm_packages,
    market,
    request_vault,
    request_vault_code,
    rig,
)
from evm.deployment import KEY, Rig
from evm.node import Anvil
from evm.request_trader import SET_DELAY, RequestVault
from live.evm_life import MARK, Life, buy_numbers, list_trades, live, make_universe, make_venue, open_desk
from live.test_evm_crash import LIFE_S, Miner, sent_amounts

from trading_dagster.accounting.account_check import check_accounts, expected_balances
from trading_dagster.domain.money import from_units
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.domain.transaction import OutcomeStatus
from trading_dagster.evm.erc7540 import DEPOSIT_REQUEST_TOPIC, REDEEM_REQUEST_TOPIC
from trading_dagster.evm.vault_dex import TradedVault
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore

BLOCKS = 6
"""After how many blocks the vault settles a request."""
POINTS = [
    *(("persisted swap", 1), ("finished swap", 1)),
    *((f"{step} claim-1", 1) for step in ("planned", "persisted", "sent", "finished")),
    *((f"{when} save", at) for when in ("before", "after") for at in (5, 7)),
]


@pytest.mark.slow
def test_every_request_and_claim_is_on_chain_once_wherever_it_is_killed(
    rig: Rig,  # noqa: F811
    request_vault: RequestVault,  # noqa: F811
    tmp_path: Path,
):
    market, node, wallet = rig.market, rig.market.node, rig.wallet.address  # noqa: F811
    request_vault.do(SET_DELAY, BLOCKS)
    node.mine(5)
    first_block = node.head()
    contracts = {name: getattr(market, name) for name in ("owner", "usd", "eth", "btc", "tax", "aggregator")}
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["trading_dagster.live.evm_venue", "trading_dagster.storage.sql_ledger_store"])

    def run(trades: int, point: str = "", at: int = 1) -> int:
        told = {**contracts, "uniswap": asdict(market.uniswap)}
        life = Life(tmp_path, node.url, KEY, told, trades, point, at, shares=request_vault.address, later=True)
        child = processes.Process(target=live, args=(life,))
        child.start()
        child.join(LIFE_S)
        assert child.exitcode is not None, f"life to {point} does not end"
        return child.exitcode

    with Miner(node):
        for number, (point, at) in enumerate(POINTS, 1):
            assert run(number, point, at) == -signal.SIGKILL, f"the life to {point} {at} was not killed"
        trades = len(POINTS)
        assert run(trades) == 0
        assert run(trades) == 0, "nothing is left to do"

    buys = buy_numbers(trades)
    given = sent_amounts(node, market.usd, wallet, first_block)
    assert sorted(given) == [MARK + number for number in buys], "each deposit once"
    assert count_events(node, request_vault.address, DEPOSIT_REQUEST_TOPIC, first_block) == len(buys)
    assert count_events(node, request_vault.address, REDEEM_REQUEST_TOPIC, first_block) == trades - len(buys)
    venue = make_venue(market, tmp_path / "journal.sqlite", [], vaults=(TradedVault(request_vault.address),))
    universe = make_universe(market, request_vault.address, later=True)
    assert venue.journal.list_unfinished(rig.account) == []
    with (
        SqlLedgerStore(tmp_path / "ledger.sqlite") as store,
        open_desk(venue, universe, store, wait_s=5) as (step, desk),
    ):
        booked = list_trades(step.state)
        assert [trade.get_status() for trade in booked] == [TradeStatus.success] * trades
        paid = sorted(trade.executed_reserve for trade in booked if trade.is_buy())
        assert paid == [from_units(MARK + number, 6) for number in buys]
        ends = venue.journal.list_finished(rig.account, 0)
        claims = [r for r in ends if "claim" in r.intent.intent_id and r.outcome.status is OutcomeStatus.confirmed]
        assert sorted(trade.fill.tx_hash for trade in booked) == sorted(r.outcome.tx_hash for r in claims)
        table = check_accounts(step.state, desk.balances.read_balances(list(expected_balances(step.state))))
        assert [row.difference for row in table.rows] == [0] * len(table.rows)
        step.state.perform_integrity_check()
    venue.journal.close()


def count_events(node: Anvil, vault: str, topic: str, first_block: int) -> int:
    query = {"fromBlock": hex(first_block), "toBlock": "latest", "address": vault, "topics": [topic]}
    return len(node.rpc("eth_getLogs", query))
