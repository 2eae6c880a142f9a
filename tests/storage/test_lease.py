"""Leases: exactly one wins, tokens grow, and who was asleep when it was taken over finds out before it writes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import update
from storage.crash_writer import NAME, batch_of

from trading_dagster.domain.error import BadInput, LeaseLost
from trading_dagster.storage.lease import Lease, LeaseRefused, strategy_resource, unique_holder, wallet_resource
from trading_dagster.storage.ledger_schema import leases
from trading_dagster.storage.ledger_store import MemoryLedgerStore
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore

RESOURCES = [strategy_resource(NAME), wallet_resource("0xAbC")]


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_lease_lasts_until_it_expires_and_then_can_be_taken():
    clock = Clock()
    store = MemoryLedgerStore(clock)
    first = store.acquire("a", RESOURCES, 60)
    clock.now += 59.9
    refused = store.acquire("b", ["wallet:0xabc"], 60)
    assert refused == LeaseRefused("wallet:0xabc", "a", pytest.approx(0.1))
    assert "held by a for another 0.1 s" in str(refused)
    first = store.renew(first)
    clock.now += 59
    assert isinstance(store.acquire("b", RESOURCES, 60), LeaseRefused)
    clock.now += 1
    store.check(first)  # expired, but nobody took over: still the newest
    second = store.acquire("b", RESOURCES, 60)
    assert [f.token for f in second.fences] == [2, 2]
    for use in (store.check, store.renew):
        with pytest.raises(LeaseLost, match="b has token 2"):
            use(first)
    store.release(first)
    store.check(second)


def test_lease_of_a_clock_that_was_ahead_keeps_nobody_out_when_it_is_set_back():
    clock = Clock()
    store = MemoryLedgerStore(clock)
    clock.now += 86_400
    store.acquire("killed", RESOURCES, 60)
    clock.now -= 86_400
    assert store.find_holder(RESOURCES[0]) is None
    second = store.acquire("b", RESOURCES, 60)
    assert isinstance(second, Lease)
    assert isinstance(store.acquire("c", RESOURCES, 60), LeaseRefused)


def test_lease_of_a_database_whose_clock_was_ahead_keeps_nobody_out(ledger_url):
    with SqlLedgerStore(ledger_url) as store:
        first = store.acquire("killed", RESOURCES, 60)
        ahead = {"expires_ms": first.expires_ms + 86_400_000}
        with store.database.write() as connection:
            connection.execute(update(leases).values(ahead))
        assert store.find_holder(RESOURCES[0]) is None
        second = store.acquire("b", RESOURCES, 60)
        assert isinstance(second, Lease)
        with pytest.raises(LeaseLost):
            store.check(first)


def test_acquiring_is_all_or_nothing(ledger_url):
    with SqlLedgerStore(ledger_url) as store:
        store.acquire("a", ["wallet:2"], 600)
        assert isinstance(store.acquire("b", ["wallet:1", "wallet:2", "wallet:3"], 600), LeaseRefused)
        free = store.acquire("c", ["wallet:1", "wallet:3"], 600)
        assert isinstance(free, Lease)
        assert {f.token for f in free.fences} == {1}


def test_released_lease_is_free_at_once_and_writes_no_more(ledger_url):
    with SqlLedgerStore(ledger_url) as store:
        first = store.acquire("a", RESOURCES, 600)
        store.release(first)
        with pytest.raises(LeaseLost, match="it was released at token 1"):
            store.append(batch_of(0), first)
        second = store.acquire("b", RESOURCES, 600)
        store.release(first)
        assert store.append(batch_of(0), second) == 5
        assert store.renew(second).expires_ms >= second.expires_ms


def test_lease_expires_by_the_clock_of_the_database(ledger_url):
    with SqlLedgerStore(ledger_url) as store:
        lease = store.acquire("a", RESOURCES, 0.2)
        now = time.time() * 1000
        assert now - 2000 < lease.expires_ms < now + 2000
        refused = store.acquire("b", RESOURCES, 60)
        assert isinstance(refused, LeaseRefused)
        assert 0 < refused.remaining_s <= 0.2
        time.sleep(0.25)
        assert isinstance(store.acquire("b", RESOURCES, 60), Lease)


@pytest.mark.parametrize(("resources", "duration"), [([], 60), (["a", "a"], 60), (["a"], 0), (["a"], float("nan"))])
def test_senseless_leases_are_refused(resources, duration):
    with pytest.raises(BadInput):
        MemoryLedgerStore().acquire("a", resources, duration)


def test_holders_are_unique_and_wallets_ignore_case():
    assert unique_holder() != unique_holder()
    assert wallet_resource("0xAB") == wallet_resource("0xab") == "wallet:0xab"


PLAYER = """
import sys, time
from storage.crash_writer import NAME, batch_of
from trading_dagster.domain.error import LeaseLost
from trading_dagster.storage.lease import Lease
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
what, url, holder = sys.argv[1:]
with SqlLedgerStore(url) as store:
    if what == "fight":
        print("ready", flush=True)
        sys.stdin.readline()
        lease = store.acquire(holder, ["strategy:" + NAME], 600)
        print("won" if isinstance(lease, Lease) else "lost", flush=True)
    else:
        lease = store.acquire(holder, ["strategy:" + NAME], 0.1)
        store.append(batch_of(0), lease)
        print("wrote", flush=True)
        sys.stdin.readline()
        try:
            store.append(batch_of(1), lease)
            print("wrote again", flush=True)
        except LeaseLost as error:
            print("LeaseLost", error, flush=True)
"""


def start(what: str, url: str, holder: str) -> subprocess.Popen:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PLAYER, what, url, holder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"},
    )


def tell(player: subprocess.Popen, word: str = "go") -> None:
    player.stdin.write(word + "\n")
    player.stdin.flush()


def finish(player: subprocess.Popen) -> str:
    said, _ = player.communicate(timeout=60)
    assert player.returncode == 0
    return said.strip()


def test_of_processes_that_fight_exactly_one_wins(ledger_url):
    players = [start("fight", ledger_url, f"player {n}") for n in range(4)]
    for player in players:
        assert player.stdout.readline() == "ready\n"
    for player in players:
        tell(player)
    assert sorted(finish(player) for player in players) == ["lost", "lost", "lost", "won"]


def test_paused_process_that_wakes_after_a_takeover_cannot_write(ledger_url):
    sleeper = start("sleep", ledger_url, "sleeper")
    assert sleeper.stdout.readline() == "wrote\n"
    sleeper.send_signal(signal.SIGSTOP)
    with SqlLedgerStore(ledger_url) as store:
        time.sleep(0.15)
        lease = store.acquire("successor", [strategy_resource(NAME)], 600)
        assert isinstance(lease, Lease)
        sleeper.send_signal(signal.SIGCONT)
        tell(sleeper)
        assert "LeaseLost sleeper holds strategy:crash no longer (token 1): successor has token 2" in finish(sleeper)
        assert store.head(NAME) == 5
        assert store.append(batch_of(1), lease) == 10


def test_who_holds_a_resource_can_be_asked_without_taking_it(ledger_url):
    clock = Clock()
    memory = MemoryLedgerStore(clock)
    with SqlLedgerStore(ledger_url) as database:
        for store in (memory, database):
            assert store.find_holder(RESOURCES[0]) is None
            lease = store.acquire("a", RESOURCES, 60)
            holder = store.find_holder(RESOURCES[0])
            assert (holder.resource, holder.holder) == (RESOURCES[0], "a")
            assert 0 < holder.remaining_s <= 60
            store.check(lease)
            store.release(lease)
            assert store.find_holder(RESOURCES[0]) is None
    memory.acquire("a", RESOURCES, 60)
    clock.now += 61
    assert memory.find_holder(RESOURCES[0]) is None
