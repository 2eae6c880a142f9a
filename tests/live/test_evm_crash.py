"""Kill a live strategy at every save and at every step of its transactions: each trade is on the chain exactly once."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path

import pytest
from evm.conftest import (  # noqa: F401 - fixtures
    deployed,
    evm_packages,
    fund,
    market,
    rig,
    share_vault,
    share_vault_code,
    vault_code,
)
from evm.deployment import KEY, Rig
from evm.fund import USD, Fund
from evm.node import Anvil
from evm.share_trader import ShareVault
from live.evm_life import MARK, Life, buy_numbers, list_trades, live, make_universe, make_venue, open_desk

from trading_dagster.domain.money import from_units
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.domain.transaction import Finished, OutcomeStatus
from trading_dagster.evm.erc20 import approve, read_balance
from trading_dagster.evm.erc4626 import VaultDeployment
from trading_dagster.evm.token_flow import TRANSFER_TOPIC
from trading_dagster.evm.vault_dex import TradedVault
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.storage.transaction_journal import SqliteTransactionJournal

LIFE_S = 120
STEPS = ("planned", "signing_began", "signed", "persisted", "sent", "receipt_seen", "finish_decided", "finished")
POINTS = [
    *(f"{step} {kind}" for step in STEPS for kind in ("swap", "approve")),
    *(f"{when} save" for when in ("before", "after")),
]

OWN_POINTS = [point for point in POINTS if "approve" not in point]
"""Without those of approvals, which are the same whatever is bought."""


class Miner:
    """Mines blocks until told to stop."""

    def __init__(self, node: Anvil) -> None:
        self.node = node
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Miner:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.stop.wait(0.03):
            self.node.mine()


@pytest.mark.slow
def test_every_trade_is_on_chain_once_and_in_the_ledger_wherever_it_is_killed(rig: Rig, tmp_path: Path):  # noqa: F811
    market, wallet = rig.market, rig.wallet.address  # noqa: F811
    node = market.node
    node.rpc("anvil_impersonateAccount", wallet)
    node.do(wallet, market.usd, approve(market.usd, market.uniswap.router, 0).data)
    node.rpc("anvil_stopImpersonatingAccount", wallet)
    require_once_wherever_killed(rig, tmp_path, wallet, lives=5)


@pytest.mark.slow
def test_every_trade_of_a_vault_is_on_chain_once_and_in_the_ledger_wherever_it_is_killed(fund: Fund, tmp_path: Path):  # noqa: F811
    fund.deposit(fund.alice, 1_000_000 * USD)
    require_once_wherever_killed(fund.rig, tmp_path, fund.deployment.vault, lives=2, vault=fund.deployment)


@pytest.mark.slow
def test_every_trade_of_shares_is_on_chain_once_and_in_the_ledger_wherever_it_is_killed(
    rig: Rig,  # noqa: F811
    share_vault: ShareVault,  # noqa: F811
    tmp_path: Path,
):
    require_once_wherever_killed(
        rig, tmp_path, rig.wallet.address, lives=1, points=OWN_POINTS, shares=share_vault.address
    )


def require_once_wherever_killed(
    rig: Rig,  # noqa: F811
    folder: Path,
    holder: str,
    *,
    lives: int,
    vault: VaultDeployment | None = None,
    points: Sequence[str] = POINTS,
    shares: str = "",
) -> None:
    """Kill a life at the first times, at most ``lives``, that it passes each point; then look at what is there."""
    market = rig.market  # noqa: F811
    node = market.node
    node.mine(5)
    first_block = node.head()
    contracts = {name: getattr(market, name) for name in ("owner", "usd", "eth", "btc", "tax", "aggregator")}
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["trading_dagster.live.evm_venue", "trading_dagster.storage.sql_ledger_store"])
    kills: dict[str, int] = {}
    vaulted = "" if vault is None else vault.vault

    def run(trades: int, point: str = "", at: int = 1) -> int:
        told = {**contracts, "uniswap": asdict(market.uniswap)}
        child = processes.Process(
            target=live, args=(Life(folder, node.url, KEY, told, trades, point, at, vaulted, shares),)
        )
        child.start()
        child.join(LIFE_S)
        assert child.exitcode is not None, f"life to {point} does not end"
        return child.exitcode

    trades = 0
    with Miner(node):
        for point in points:
            for at in range(1, min(lives, 5 if "save" in point else 2 if "swap" in point else 1) + 1):
                trades += 4
                status = run(trades, point, at)
                assert status in (0, -signal.SIGKILL), f"the life to {point} {at} ended with {status}"
                kills[point] = kills.get(point, 0) + (status == -signal.SIGKILL)
        assert run(trades) == 0
        assert run(trades) == 0, "nothing is left to do"

    print(kills)  # noqa: T201
    assert all(kills.values()), kills
    journal = SqliteTransactionJournal(folder / "journal.sqlite")
    assert journal.list_unfinished(rig.account) == []
    confirmed = [r for r in journal.list_finished(rig.account, 0) if r.outcome.status is OutcomeStatus.confirmed]
    assert all(isinstance(r, Finished) for r in confirmed)
    swaps = {r.intent.intent_id: r.outcome.tx_hash for r in confirmed if r.intent.intent_id.count("/") == 3}
    journal.close()
    given = sent_amounts(node, market.usd, holder, first_block)
    assert sorted(given) == [MARK + number for number in buy_numbers(trades)], "each buy once"
    bought = shares or market.eth
    sold = sent_amounts(node, bought, holder, first_block)
    venue = make_venue(
        market, folder / "journal.sqlite", [], vault=vault, vaults=(TradedVault(shares),) if shares else ()
    )
    universe = make_universe(market, shares)
    with SqlLedgerStore(folder / "ledger.sqlite") as store, open_desk(venue, universe, store, wait_s=5) as (step, _):
        booked = list_trades(step.state)
        assert [t.get_status() for t in booked] == [TradeStatus.success] * trades
        assert sorted(t.fill.tx_hash for t in booked) == sorted(swaps.values())
        assert sorted(from_units(units, 18) for units in sold) == sorted(
            -t.executed_quantity for t in booked if t.is_sell()
        )
        head = market.client().connect()
        client, base = market.client(), universe.pairs[0].base
        cash = step.state.portfolio.reserve.quantity
        assert from_units(read_balance(client, market.usd, holder, head), 6) == cash
        dust = step.state.portfolio.dust.get(base, Decimal(0))
        assert from_units(read_balance(client, bought, holder, head), 18) == dust
        step.state.perform_integrity_check()
    venue.journal.close()
    kept = b"".join(file.read_bytes() for file in sorted(folder.iterdir()))
    assert KEY.removeprefix("0x").encode() not in kept


def sent_amounts(node: Anvil, token: str, wallet: str, first_block: int) -> list[int]:
    """Return what a wallet sent of a token since a block, one number a transfer."""
    topics = [TRANSFER_TOPIC, "0x" + wallet[2:].rjust(64, "0")]
    query = {"fromBlock": hex(first_block), "toBlock": "latest", "address": token, "topics": topics}
    return [int(log["data"], 16) for log in node.rpc("eth_getLogs", query)]
