"""Live strategies on the days of three real pairs, with a wallet whose tokens are there or not, as a test wants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trading_dagster.domain.purse import PAPER, Purse
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.execution.simulated import SimulatedExecution
from trading_dagster.execution.wallet import SimulatedWallet
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import CycleReport, complete_cycle, decide_cycle, execute_cycle, run_cycle
from trading_dagster.live.desk import Desk, DeskRequest
from trading_dagster.live.paper import PaperBalances, PaperExecution, PaperTreasury, PaperVenue
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import calculate, load_universe
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.replay_source import ReplaySource
from trading_dagster.storage.ledger_store import LedgerStore, MemoryLedgerStore
from trading_dagster.storage.strategy_ledger import StrategyLedger
from trading_dagster.strategy.module import load_strategy_file

STRATEGY = Path(__file__).parent / "three_pairs.py"
START = datetime(2018, 4, 10)
DAY = timedelta(days=1)
NAME = "three_pairs"
SAMPLE = EmbeddedSample()


@dataclass
class WalletVenue:
    """Paper trading from a wallet of its own: what is put into it or taken out is not in the ledger."""

    wallet: SimulatedWallet = field(default_factory=SimulatedWallet)
    initial_cash: float = 10_000
    why_not_retry: str = ""
    lease_resources: tuple[str, ...] = ()
    purse: Purse = PAPER

    def open_desk(self, request: DeskRequest) -> Desk:
        desk = PaperVenue(self.initial_cash).open_desk(request)
        simulated = SimulatedExecution(self.wallet, desk.execution.execution._has_trigger_feed)
        return replace(
            desk,
            execution=GuardedExecution(simulated, self.why_not_retry),
            treasury=PaperTreasury(self.wallet, self.initial_cash),
            balances=PaperBalances(self.wallet),
        )

    def take(self, state: State, ticker: str, part: float = 1.0):
        """Take tokens of a pair's base out of the wallet; returns the asset and how many."""
        asset = next(p.pair.base for p in state.portfolio.open_positions.values() if p.pair.get_ticker() == ticker)
        taken = self.wallet.get_balance(asset) * type(self.wallet.get_balance(asset))(part)
        self.wallet.add(asset, -taken)
        return asset, taken


@dataclass(frozen=True)
class GuardedExecution(PaperExecution):
    """Paper execution that may say that a failed trade could still take effect."""

    why_not_retry: str = ""

    def may_retry(self, state: State, trade: TradeExecution) -> str:
        return self.why_not_retry


class Crash(Exception):
    """The process that a test ends."""


class CrashingStore(MemoryLedgerStore):
    """Ends the process before or after the n-th batch from now is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.crash_at: int | None = None
        self.after = False
        self.count = 0

    def append(self, batch, lease):
        self.count += 1
        is_due = self.count == self.crash_at
        if is_due and not self.after:
            raise Crash
        head = super().append(batch, lease)
        if is_due:
            raise Crash
        return head


def make_live(
    decide: Callable[[Any], Any] | None = None,
    *,
    store: LedgerStore | None = None,
    at: datetime = START,
    venue: Any = None,
    parameters: dict[str, Any] | None = None,
    **fields: Any,
) -> LiveStrategy:
    """A strategy at midnight of 10 April 2018 that flips three pairs, or does what ``decide`` does."""
    module = load_strategy_file(STRATEGY).with_parameters(parameters or {})
    if decide is not None:
        module = replace(module, decide_trades=decide)
    clock = ManualClock(at.replace(tzinfo=UTC))
    return LiveStrategy(
        id=NAME,
        strategy=module,
        source=ReplaySource(SAMPLE, clock.now),
        venue=venue or PaperVenue(10_000),
        store=store or MemoryLedgerStore(),
        clock=clock,
        **{"wait_s": 0.0, **fields},
    )


def set_time(live: LiveStrategy, at: datetime) -> None:
    live.clock.moment = at.replace(tzinfo=UTC)


def run_days(live: LiveStrategy, days: int, start: datetime = START) -> list[CycleReport]:
    reports = []
    for number in range(days):
        set_time(live, start + number * DAY)
        reports.append(run_cycle(live))
    return reports


class Steps:
    """The steps of one cycle, to be run in any order."""

    def __init__(self, live: LiveStrategy, at: datetime | None = None) -> None:
        self.live, self.at = live, at or live.newest_decision_at()
        self.universe = load_universe(live, self.at)
        self.indicators = calculate(live, self.universe)

    def decide(self) -> CycleReport:
        return decide_cycle(self.live, self.universe, self.indicators, self.at)

    def execute(self) -> CycleReport:
        return execute_cycle(self.live, self.universe, self.at)

    def complete(self) -> CycleReport:
        return complete_cycle(self.live, self.universe, self.indicators, self.at)


def load(live: LiveStrategy) -> State:
    state = StrategyLedger(live.store, live.id).load()
    assert state is not None
    return state


def events(live: LiveStrategy, *types: str) -> list[str]:
    """The kinds of the ledger's events, only some if asked."""
    return [row.type for row in live.store.read(live.id) if not types or row.type in types]


def fills(live: LiveStrategy) -> list[tuple[Any, ...]]:
    """What was traded, in the order of trade ids."""
    return [
        (t.trade_id, t.pair.get_ticker(), t.executed_quantity, t.executed_reserve, t.executed_price, t.executed_at)
        for t in load(live).portfolio.get_all_trades()
        if t.is_success()
    ]


def equities(live: LiveStrategy) -> list[tuple[int, float]]:
    return [(sample.at_us, sample.equity) for sample in live.store.read_samples(live.id)]


def hold(pairs: tuple[str, ...] = ("BTC-USD", "ETH-USD", "LTC-USD"), value: float = 1000, **options: Any):
    """A decision that buys pairs once and keeps them."""

    def decide(input):
        manager = input.get_position_manager()
        return [
            trade
            for pair in input.strategy_universe.pairs
            if pair.get_ticker() in pairs and manager.get_current_position_for_pair(pair) is None
            for trade in manager.open_spot(pair, value=value, **options)
        ]

    return decide


def never(input):
    return []
