"""What a live cycle's ledger costs with a long history and with none: python -m benchmarks.ledger [--runs N].

A cycle is what a fresh process does: open the database, acquire the lease, load the state, record a rebalance (one
position closed, one opened), save it with an equity sample, release, close. History is 10,000 cycles with 5,000 trades
(2,500 positions opened and closed). Bytes are what the process asked the kernel to write (/proc/self/io), log and
checkpoint included; time is the median of runs that alternate between the two databases. Target: ratio <= 1.2.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from trading_dagster.domain.event import (
    BalanceUpdated,
    CycleCompleted,
    PairIntroduced,
    PositionOpened,
    StateCreated,
    TradeExecuted,
    TradePlanned,
    TradeStarted,
)
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradePlan, TradePricing, TradeType
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.storage.lease import Lease
from trading_dagster.storage.ledger_store import Sample
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.storage.strategy_ledger import StrategyLedger

NAME = "benchmark"
START = datetime(2024, 1, 1, tzinfo=UTC)
PAST_CYCLES, PAST_TRADES = 10_000, 5_000
TARGET = 1.2
USD = AssetIdentifier(1, "0x01", "USDC", 6)
PAIRS = [
    TradingPairIdentifier(AssetIdentifier(1, f"0x1{n}", f"T{n}", 18), USD, f"0x2{n}", "0x30", internal_id=n, fee=0.003)
    for n in range(10)
]


def begin(ledger: StrategyLedger) -> State:
    """Deposit and open one position on each of nine pairs."""
    state = ledger.create(StateCreated(START, NAME, USD))
    update = BalanceUpdate(
        1,
        BalanceUpdateCause.deposit,
        BalanceUpdatePositionType.reserve,
        USD,
        Decimal(100_000),
        Decimal(0),
        100_000.0,
        START.replace(tzinfo=None),
        START.replace(tzinfo=None),
    )
    state.record(BalanceUpdated(START, update))
    for pair in PAIRS:
        state.record(PairIntroduced(START, pair))
    for pair in PAIRS[:9]:
        buy(state, pair, START)
    ledger.save()
    return state


def trade(state: State, position_id: int, pair: TradingPairIdentifier, quantity: Decimal, at: datetime) -> None:
    number = state.portfolio.next_trade_id
    reserve = abs(quantity) * 100
    pricing = TradePricing(100.0, 100.0, 0.003, 0.3, quantity > 0, at.replace(tzinfo=None))
    plan = TradePlan(
        trade_id=number,
        position_id=position_id,
        pair=pair,
        trade_type=TradeType.rebalance,
        quantity=quantity,
        reserve=reserve,
        pricing=pricing,
        reserve_currency=USD,
    )
    state.record(TradePlanned(at, plan))
    state.record(TradeStarted(at, number, position_id))
    state.record(TradeExecuted(at, number, position_id, quantity, reserve, 100.0, 0.3))


def buy(state: State, pair: TradingPairIdentifier, at: datetime) -> None:
    position_id = state.portfolio.next_position_id
    state.record(PositionOpened(at, position_id, pair, 100_000.0))
    trade(state, position_id, pair, Decimal(10), at)


def rebalance(state: State, at: datetime) -> None:
    """Close the oldest position and open one on the pair without any."""
    oldest = state.portfolio.get_open_positions()[0]
    free = next(pair for pair in PAIRS if state.portfolio.get_open_position_for_pair(pair) is None)
    trade(state, oldest.position_id, oldest.pair, -oldest.quantity, at)
    buy(state, free, at)


def end_cycle(ledger: StrategyLedger, state: State, cycle: int, at: datetime) -> None:
    state.record(CycleCompleted(at, cycle))
    moment = round(at.timestamp() * 1_000_000)
    portfolio = state.portfolio
    ledger.save(
        [Sample(moment, portfolio.get_total_equity(), portfolio.get_cash(), 0.0, len(portfolio.open_positions))]
    )


def make(path: Path, cycles: int) -> None:
    with SqlLedgerStore(path) as store:
        lease = store.acquire("maker", [f"strategy:{NAME}"], 3_600)
        assert isinstance(lease, Lease)
        ledger = StrategyLedger(store, NAME, lease)
        state = begin(ledger)
        for cycle in range(1, cycles + 1):
            at = START + timedelta(hours=cycle)
            if cycle % (2 * PAST_CYCLES // PAST_TRADES) == 0:
                rebalance(state, at)
            end_cycle(ledger, state, cycle, at)
        store.release(lease)


def written() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def live_cycle(path: Path) -> None:
    """Run one cycle and print (load, whole) seconds and bytes."""
    before, began = written(), time.perf_counter()
    with SqlLedgerStore(path) as store:
        lease = store.acquire("cycle", [f"strategy:{NAME}"], 60)
        assert isinstance(lease, Lease)
        ledger = StrategyLedger(store, NAME, lease)
        loading = time.perf_counter()
        state = ledger.load(PAIRS)
        assert state is not None
        loaded = time.perf_counter()
        at = START + timedelta(hours=state.cycle)
        rebalance(state, at)
        state.portfolio.get_last_closed_position()
        end_cycle(ledger, state, state.cycle, at)
        store.release(lease)
    print(loaded - loading, time.perf_counter() - began, written() - before)


def measure(path: Path) -> tuple[float, float, int]:
    command = [sys.executable, "-m", "benchmarks.ledger", "--cycle", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(said[0]), float(said[1]), int(said[2])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--cycle", type=Path)
    options = parser.parse_args()
    if options.cycle is not None:
        live_cycle(options.cycle)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="ledger-benchmark-"))
    try:
        paths = {0: folder / "empty.db", PAST_CYCLES: folder / "long.db"}
        for cycles, path in paths.items():
            make(path, cycles)
        results: dict[int, list[tuple[float, float, int]]] = {cycles: [] for cycles in paths}
        for _ in range(options.runs):
            for cycles, path in paths.items():
                results[cycles].append(measure(path))
        print(f"| {'history':>13} | load ms | cycle ms | bytes written | file MB |")
        medians = {}
        for cycles, rows in results.items():
            load, whole, size = (statistics.median(column) for column in zip(*rows, strict=True))
            medians[cycles] = (load, whole, size)
            megabytes = paths[cycles].stat().st_size / 1e6
            print(f"| {cycles:6} cycles | {load * 1e3:7.2f} | {whole * 1e3:8.2f} | {size:13.0f} | {megabytes:7.2f} |")
        ratios = [long / empty for long, empty in zip(medians[PAST_CYCLES], medians[0], strict=True)]
        print("ratio: load {:.2f}, cycle {:.2f}, bytes {:.2f}".format(*ratios), f"(target <= {TARGET})")
        return int(max(ratios[1:]) > TARGET)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
