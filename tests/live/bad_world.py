"""A live strategy on a chain where things go wrong: nodes, chain, contracts, disk, and others with its key."""

from __future__ import annotations

import re
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from evm.deployment import FAST, Rig
from evm.node import Faults
from evm.test_transaction import send_foreign
from live.world import Steps

import trading_dagster as td
from trading_dagster.domain.message import Message
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution, TradeStatus
from trading_dagster.evm.alarm import Alarm, Step
from trading_dagster.evm.erc20 import approve
from trading_dagster.evm.uniswap_v2 import GET_PAIR, SWAP
from trading_dagster.live.cycle import CycleReport, CycleStatus, run_cycle
from trading_dagster.live.evm_venue import EvmVenue
from trading_dagster.live.message import alarm_message
from trading_dagster.live.notification import LogReporter, RecordingReporter
from trading_dagster.live.revaluation import check_live_accounts
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.storage.strategy_ledger import StrategyLedger

SWAP_EVENT = "0xd78ad95fa46c994b6551d0da85fc275fe613ce37657fb8d5e3d130840159d822"
RESERVES_SLOT = hex(8)
"""Where a Uniswap v2 pool keeps its reserves."""
REVERTING = "0x60006000fd"
HOUR = timedelta(hours=1)


def buy_each_day(input: td.StrategyInput) -> list[td.TradeExecution]:
    """Buy for 1,000 in each cycle, with a stop loss."""
    manager, pair = input.get_position_manager(), input.get_default_pair()
    if manager.is_any_open():
        return manager.adjust_position(pair, 1_000.0, None, 1.0)
    return manager.open_spot(pair, value=1_000.0, stop_loss_pct=0.9)


@dataclass
class Outage(Faults):
    """Nodes that do not answer at all, answer some requests more, or know no receipts."""

    is_down: bool = False
    answers_left: int | None = None
    hides_receipts: bool = False

    def draw(self, method: str) -> str:
        if self.answers_left is not None:
            self.answers_left -= 1
        if self.is_down or (self.answers_left is not None and self.answers_left < 0):
            return "drop"
        return "null" if self.hides_receipts and method == "eth_getTransactionReceipt" else super().draw(method)


class BadWorld:
    """A strategy of one pair, its wallet and its node; each way of breaking them has a way of mending them."""

    def __init__(self, life: Any, rig: Rig, url: str, outage: Outage, folder: Path) -> None:
        self.rig, self.market, self.node, self.outage = rig, rig.market, rig.market.node, outage
        self.clock, self.database = life.clock, folder / "ledger.sqlite"
        self.reporter = RecordingReporter(LogReporter())
        self.is_standing = False
        self.candles_end: datetime | None = None
        self.venues: list[EvmVenue] = []
        self._actions: dict[Step, Callable[[], object]] = {}
        self._url = url
        module = life.live.strategy
        self._create_universe = module.create_trading_universe
        module = replace(module, decide_trades=buy_each_day, create_trading_universe=self._make_universe)
        self._base: LiveStrategy = replace(life.live, strategy=module, reporter=self.reporter, wait_s=10.0)
        self.live = self.open()

    def open(self, *, store: Any = None, lease_s: float = 2.0, **more: Any) -> LiveStrategy:
        """Return the strategy as a new process would open it; ``more`` is the venue's."""
        parts: dict[str, Any] = {
            "rpc_urls": (self._url,),
            "alarm": self._tell,
            "sleep": self._sleep,
            "observe": self._observe,
            "max_decision_age": 3 * HOUR,
        }
        assert isinstance(self._base.venue, EvmVenue)
        venue = replace(self._base.venue, **parts | more)
        self.venues.append(venue)
        return replace(self._base, venue=venue, store=store or self._base.store, lease_s=lease_s)

    def hurry(self) -> LiveStrategy:
        """Return the strategy with little patience for the end of a trade."""
        return self.open(swap_timeout_s=0.2)

    def close(self) -> None:
        for venue in self.venues:
            if hasattr(venue._local, "journal"):
                venue.journal.close()

    def at_step(self, step: Step, action: Callable[[], object]) -> None:
        """Do something once, right after a step of the next swap."""
        self._actions[step] = action

    # Time

    def next_day(self) -> None:
        self.clock.moment += timedelta(days=1)
        self.node.mine(FAST.confirmations)

    def pass_hour(self) -> None:
        """Let an hour pass for the strategy and for the chain."""
        self.clock.moment += HOUR
        self.node.rpc("evm_setNextBlockTimestamp", self.node.timestamp() + 3600)
        self.node.mine(20)

    # What breaks and mends

    def go_down(self) -> None:
        self.outage.is_down = True

    def come_back(self) -> None:
        self.outage.is_down = False

    @property
    def wallet(self) -> str:
        return self.rig.wallet.address

    def set_gas(self, wei: int) -> None:
        self.node.rpc("anvil_setBalance", self.wallet, hex(wei))

    def allow(self, units: int) -> None:
        self.node.rpc("anvil_impersonateAccount", self.wallet)
        data = approve(self.market.usd, self.market.uniswap.router, units).data
        self.node.do(self.wallet, self.market.usd, data)
        self.node.rpc("anvil_stopImpersonatingAccount", self.wallet)

    @contextmanager
    def code(self, address: str, code: str) -> Iterator[None]:
        """Give an address other code for a while."""
        kept = self.node.rpc("eth_getCode", address, "latest")
        for now in (code, kept):
            self.node.rpc("anvil_setCode", address, now)
            self.node.mine(FAST.confirmations)
            if now == code:
                yield

    @contextmanager
    def dry_pool(self) -> Iterator[None]:
        """Take all liquidity out of the pool for a while."""
        market = self.market
        (pool,) = self.node.call(market.uniswap.factory, GET_PAIR, market.usd, market.eth)
        kept = self.node.rpc("eth_getStorageAt", pool, RESERVES_SLOT, "latest")
        self.node.rpc("anvil_setStorageAt", pool, RESERVES_SLOT, "0x" + "0" * 64)
        self.node.mine()
        yield
        self.node.rpc("anvil_setStorageAt", pool, RESERVES_SLOT, kept)
        self.node.mine()

    def move_price(self, *, usd: int = 0, eth: int = 0) -> None:
        """Let somebody else buy ETH, or sell it."""
        market = self.market
        path = [market.usd, market.eth] if usd else [market.eth, market.usd]
        data = SWAP.encode(usd * 10**6 or eth * 10**18, 0, path, market.owner, self.node.timestamp() + 1_000)
        self.node.do(market.owner, market.uniswap.router, data)

    def sign_elsewhere(self) -> str:
        return send_foreign(self.rig)

    def pause_beyond_the_lease(self) -> None:
        """Let all leases run out, as if their holder had not run for a minute."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            connection.execute("UPDATE leases SET expires_ms = 1")

    # What was told, and what is true

    def require_alarm(self, kind: str, *patterns: str) -> None:
        """Fail unless an alarm of a kind says each of these."""
        self._require([message for message in self.reporter.alarms if message.kind == kind], kind, patterns)

    def require_message(self, kind: str, *patterns: str) -> None:
        self._require([message for message in self.reporter.messages if message.kind == kind], kind, patterns)

    def state(self) -> State:
        state = StrategyLedger(self.live.store, self.live.id).load()
        assert state is not None
        return state

    def trades(self, *statuses: TradeStatus) -> list[TradeExecution]:
        if StrategyLedger(self.live.store, self.live.id).load() is None:
            return []
        positions = self.state().portfolio.get_all_positions()
        trades = sorted((t for p in positions for t in p.trades.values()), key=lambda trade: trade.trade_id)
        return [trade for trade in trades if not statuses or trade.get_status() in statuses]

    def count_swaps(self) -> int:
        """Return how many swaps the chain has whose tokens went to the wallet."""
        asked = {"fromBlock": "0x0", "topics": [SWAP_EVENT, None, "0x" + self.wallet[2:].rjust(64, "0")]}
        return len(self.node.rpc("eth_getLogs", asked))

    def require_swaps(self, count: int) -> None:
        """Fail unless that many swaps are on the chain and in the ledger, nothing is under way, and both agree."""
        assert self.count_swaps() == count
        assert len(self.trades(TradeStatus.success)) == count
        assert self.trades(TradeStatus.planned, TradeStatus.started, TradeStatus.broadcasted) == []
        self.node.mine(FAST.confirmations)
        assert [row.difference for row in check_live_accounts(self.live).rows if row.difference] == []

    def require_trading_goes_on(self, swaps: int) -> None:
        """Fail unless the cycle of the next day trades, once; ``swaps`` are those before it."""
        self.next_day()
        report = self.run()
        assert [trade.get_status() for trade in report.trades] == [TradeStatus.success]
        self.require_swaps(swaps + 1)

    def run(self) -> CycleReport:
        """Run the cycle of now as a new process does; it must end."""
        report = run_cycle(self.open())
        assert report.status in (CycleStatus.done, CycleStatus.already_done)
        return report

    def decide_and_execute(self, live: LiveStrategy | None = None) -> Steps:
        steps = Steps(live or self.live)
        steps.decide()
        steps.execute()
        return steps

    # What the strategy and its venue call

    def _make_universe(self, input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
        return self._create_universe(replace(input, timestamp=self.candles_end or input.timestamp))

    def _tell(self, alarm: Alarm) -> None:
        self.reporter.report(alarm_message(self._base.id, alarm, self.clock.now()))

    def _sleep(self, seconds: float) -> None:
        if not (self.is_standing or self.outage.is_down):
            self.node.mine()

    def _observe(self, step: Step, intent_id: str) -> None:
        if not intent_id.endswith(("approve", "revoke")) and step in self._actions:
            self._actions.pop(step)()

    def _require(self, found: list[Message], kind: str, patterns: tuple[str, ...]) -> None:
        texts = [f"{message.subject}\n{message.text}" for message in found]
        told = "\n".join(f"{message.kind}: {message.subject}: {message.text}" for message in self.reporter.messages)
        assert texts, f"nothing of kind {kind} was told, but:\n{told}"
        for pattern in patterns:
            assert any(re.search(pattern, text) for text in texts), f"{pattern!r} is in no {kind}:\n{told}"


@contextmanager
def full_disk() -> Iterator[Callable[[], None]]:
    """Let no file of this process grow beyond 4 KiB, from the call of what this gives on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


class DatabaseHolder:
    """Another process that holds the write lock of a database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process: subprocess.Popen[str] | None = None

    def lock(self) -> None:
        command = [sys.executable, "-c", LOCK, str(self._path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "locked\n"

    def release(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None
