"""What a live cycle costs with a long history and with none: python -m benchmarks.live_cycle [--runs N] [--profile].

A cycle is what a fresh process does for a paper deployment with limits: put the deployment together, load the universe
of the embedded sample, calculate indicators, decide, execute, complete, and check triggers once; it closes a position
and opens one. The history is 10,000 cycles with 5,000 trades. Its processes take turns with those of the deployment
without a history; of each time the least is taken, because what else the machine does only adds, and of bytes the
median. CPU is what the process computed, which says more than the clock where others compute, too. Bytes are what it
asked the kernel to write (/proc/self/io) and by how much the database with its log grew.
Target: ratios of CPU time, of the ledger's steps and of the whole, and of bytes <= 1.2.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from benchmarks.live_history import DAY, FIRST_MEASURED, make_deployment, open_deployment
from trading_dagster.live.cycle import CycleStatus, complete_cycle, decide_cycle, execute_cycle
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.live.universe import calculate, load_universe

PAST_CYCLES, PAST_TRADES = 10_000, 5_000
TARGET = 1.2
LEDGER_STEPS = ("decide", "execute", "complete")
STEPS = ("open", "universe", "indicators", *LEDGER_STEPS, "triggers")
COSTS = (*STEPS, "ledger steps", "whole", "ledger CPU", "whole CPU", "bytes written", "database growth")
JUDGED = ("ledger CPU", "whole CPU", "bytes written")
Costs = Mapping[str, float]
T = TypeVar("T")


def run_live_cycle(folder: Path, at: datetime) -> Costs:
    """Run the cycle of a decision time, naive UTC; returns seconds and bytes by name."""
    spent: dict[str, float] = {}
    computed: dict[str, float] = {}
    written, size = bytes_written(), database_size(folder)

    def timed(name: str, work: Callable[[], T]) -> T:
        began, computed_before = time.perf_counter(), time.process_time()
        result = work()
        spent[name], computed[name] = time.perf_counter() - began, time.process_time() - computed_before
        return result

    live = timed("open", lambda: open_deployment(folder, at))
    universe = timed("universe", lambda: load_universe(live, at))
    indicators = timed("indicators", lambda: calculate(live, universe))
    decided = timed("decide", lambda: decide_cycle(live, universe, indicators, at))
    executed = timed("execute", lambda: execute_cycle(live, universe, at))
    completed = timed("complete", lambda: complete_cycle(live, universe, indicators, at))
    timed("triggers", lambda: check_triggers(live))
    live.store.close()
    assert decided.status is completed.status is CycleStatus.done
    assert len(executed.trades) == 2
    assert all(trade.is_success() for trade in executed.trades)
    spent["ledger steps"] = sum(spent[name] for name in LEDGER_STEPS)
    spent["whole"] = sum(spent[name] for name in STEPS)
    spent["ledger CPU"] = sum(computed[name] for name in LEDGER_STEPS)
    spent["whole CPU"] = sum(computed.values())
    spent["bytes written"] = bytes_written() - written
    spent["database growth"] = database_size(folder) - size
    return spent


def bytes_written() -> int:
    """Return how many bytes this process has asked the kernel to write."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def database_size(folder: Path) -> int:
    """Return the bytes of the ledger's file and its log."""
    return sum(path.stat().st_size for path in folder.glob("ledger.sqlite*"))


def compare(histories: Mapping[int, Sequence[Costs]]) -> tuple[list[str], bool]:
    """Return a table of times, bytes and ratios, and whether the target is met; keys are numbers of past cycles."""
    shortest, longest = min(histories), max(histories)
    lines = [f"| {'':>15} | {shortest:>6} cycles | {longest:>6} cycles | ratio |"]
    is_met = True
    for name in COSTS:
        unit, scale = ("B", 1.0) if name in ("bytes written", "database growth") else ("ms", 1e3)
        pick = min if unit == "ms" else statistics.median
        short, long = (pick([cost[name] for cost in histories[key]]) for key in (shortest, longest))
        ratio = long / short if short else 1.0
        is_met = is_met and not (name in JUDGED and ratio > TARGET)
        lines.append(
            f"| {name:>15} | {short * scale:10,.1f} {unit:>2} | {long * scale:10,.1f} {unit:>2} | {ratio:5.2f} |"
        )
    return lines, is_met


def measure(folder: Path, at: datetime) -> Costs:
    """Run a cycle in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.live_cycle", "--cycle", str(folder), "--at", at.isoformat()]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    costs: Costs = json.loads(said)
    return costs


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 when the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_cycle", description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="cycles measured with each history (15)")
    parser.add_argument("--cycles", type=int, default=PAST_CYCLES, help="past cycles of the long history (10,000)")
    parser.add_argument("--trades", type=int, default=PAST_TRADES, help="past trades of the long history (5,000)")
    parser.add_argument("--profile", action="store_true", help="print where one cycle after a long history goes")
    parser.add_argument("--cycle", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--at", type=datetime.fromisoformat, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.cycle is not None:
        print(json.dumps(run_live_cycle(options.cycle, options.at)))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="live-cycle-benchmark-"))
    try:
        deployments = {0: folder / "empty", options.cycles: folder / "long"}
        for cycles, home in deployments.items():
            make_deployment(home, cycles, options.trades if cycles else 0)
        if options.profile:
            profile = cProfile.Profile()
            profile.runcall(run_live_cycle, deployments[options.cycles], FIRST_MEASURED)
            profile.print_stats("cumulative")
            return 0
        results: dict[int, list[Costs]] = {cycles: [] for cycles in deployments}
        for run in range(options.runs):
            for cycles, home in deployments.items():
                results[cycles].append(measure(home, FIRST_MEASURED + run * DAY))
        lines, is_met = compare(results)
        sizes = ", ".join(f"{cycles} cycles {database_size(home) / 1e6:.2f} MB" for cycles, home in deployments.items())
        print(*lines, f"databases: {sizes}", f"target <= {TARGET}: {'met' if is_met else 'NOT MET'}", sep="\n")
        return int(not is_met)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
