"""What the Dagster backfill of the sample costs beyond Dagster itself, beside the plain backtest.

Usage: ``python -m benchmarks.dagster_overhead [rounds]``

The monthly partitions of the EMA cross run in one Dagster run on a persistent home, as the demo runs them, into an
empty folder. What our own code takes in it is added up with a stopwatch: opening the plan (stored universe, indicators,
hashes), all cycles, gates, files, the checks that read everything back, metadata and the picture. Divided by the time
of ``run_backtest`` it must be at most ``TARGET``. ``run_backtest`` builds its universe and calculates its indicators,
which are other assets of the DAG, and writes, checks and paints nothing.

Not counted is what Dagster does with any asset of so many partitions: starting the run, building events and storing
them. To show that nothing of ours hides there, the same assets run with bodies that log the same materializations,
metadata and checks but compute nothing: the difference of the two runs is all that our code adds, however it is called.
It is a small difference of long times, so it varies more than the stopwatch, but its median must be near it.

The last ratio compares like with like: one piece that leaves the same tables, ledger, snapshot, checks and picture
behind as the partitions do.

Every round takes everything in turn; ratios are medians of the rounds' own ratios. Processor time (user and system, of
this thread) is shown beside the clock: on a machine that others use, only that says something.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import dagster as dg

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.backtest.segment_writer import PartitionWindow
from trading_dagster.orchestration import backtest_asset
from trading_dagster.orchestration.backtest_asset import PARTITIONED
from trading_dagster.orchestration.driver import BacktestDriver
from trading_dagster.orchestration.home import prepare_home
from trading_dagster.orchestration.progress import SilentProgress
from trading_dagster.orchestration.step import open_backtest
from trading_dagster.strategy.module import load_strategy_file

STRATEGY = Path(__file__).parents[1] / "strategies" / "ema_cross.py"
TARGET = 1.5
ROUNDS = 15
TIMED = ("check_portfolio", "describe_partition", "picture_equity")
WHOLE = "0000"


class Spent(NamedTuple):
    """Seconds by the clock and of the processor."""

    clock: float
    processor: float

    @classmethod
    def now(cls) -> Spent:
        """Return the present readings."""
        return cls(time.perf_counter(), time.thread_time())

    def until(self, end: Spent) -> Spent:
        """Return the difference."""
        return Spent(end.clock - self.clock, end.processor - self.processor)


class RecordedBacktest:
    """Yields what a backtest yielded before, without computing it."""

    def __init__(self, partitions: PartitionedBacktest, outcomes: list[Any]) -> None:
        self.folder = partitions.folder
        self._outcomes = outcomes

    def run_together(self, keys: Any, progress: Any = None) -> Iterator[Any]:
        yield self._outcomes


class Stopwatch:
    """Adds up the time spent in some functions and generators."""

    def __init__(self) -> None:
        self.spent = Spent(0.0, 0.0)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        def timed(*arguments: Any) -> Any:
            begin = Spent.now()
            try:
                return call(*arguments)
            finally:
                took = begin.until(Spent.now())
                self.spent = Spent(self.spent.clock + took.clock, self.spent.processor + took.processor)

        return timed

    def around_steps(self, run: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """Return the generator function, each of its steps timed."""

        def timed(*arguments: Any) -> Iterator[Any]:
            advance = self.around(partial(next, run(*arguments), None))
            while (outcome := advance()) is not None:
                yield outcome

        return timed

    def open(self, *arguments: Any) -> PartitionedBacktest:
        """Open the partitions, timed, with their run timed."""
        partitions: Any = self.around(open_backtest)(*arguments)
        partitions.run_together = self.around_steps(partitions.run_together)
        return partitions  # type: ignore[no-any-return]


class Contest:
    """The calls that are compared, on one Dagster home in a folder that is deleted afterwards."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.strategy = load_strategy_file(STRATEGY)
        self.driver = BacktestDriver(self.strategy, instance, SilentProgress())
        self.driver.materialize(["universe", "indicators"])
        self.partitions = self.driver.open()
        self.keys = [window.key for window in self.partitions.windows]
        self.outcomes = list(self.partitions.run(self.keys))
        self._folder = folder
        self._portfolio = backtest_asset.asset_key(self.strategy, "portfolio")
        self._checks = self.check()
        self._described = dict(zip(self.keys, self.describe(), strict=True))
        self._picture = self.paint()
        self._asides = 0
        self.own: list[Spent] = []
        first, last = self.partitions.windows[0], self.partitions.windows[-1]
        window = PartitionWindow(WHOLE, first.start, last.end)
        self._whole = PartitionedBacktest(self.partitions.plan, folder / "whole", [window])

    def check(self) -> Any:
        return backtest_asset.check_portfolio(self.partitions, self._portfolio)

    def describe(self) -> list[Any]:
        return [backtest_asset.describe_partition(outcome, self._folder) for outcome in self.outcomes]

    def paint(self) -> Any:
        return backtest_asset.picture_equity(self.partitions, self.keys[-1], "x")

    def plain(self) -> None:
        run_backtest(self.strategy, progress=False)

    def one_piece(self) -> None:
        list(self._whole.run([WHOLE]))
        backtest_asset.check_portfolio(self._whole, self._portfolio)
        backtest_asset.picture_equity(self._whole, WHOLE, "x")

    def without_dagster(self) -> None:
        list(self.driver.open().run(self.keys))

    def backfill(self) -> None:
        watch = Stopwatch()
        timed = {name: watch.around(getattr(backtest_asset, name)) for name in TIMED}
        with mock.patch.multiple(backtest_asset, open_backtest=watch.open, **timed):
            self.driver.materialize(PARTITIONED, self.keys)
        self.own.append(watch.spent)

    def backfill_empty(self) -> None:
        with mock.patch.multiple(
            backtest_asset,
            open_backtest=lambda *_: RecordedBacktest(self.partitions, self.outcomes),
            check_portfolio=lambda *_: self._checks,
            describe_partition=lambda outcome, _: deepcopy(self._described[outcome.window.key]),
            picture_equity=lambda *_: self._picture,
        ):
            self.driver.materialize(PARTITIONED, self.keys)

    def take(self, call: Callable[[], object]) -> Spent:
        """Time a call that finds no partitions on disk; older ones are moved aside, as deleting slows the disk down."""
        for folder in (self.partitions.folder, self._folder / "whole"):
            if call not in (self.check, self.describe, self.paint) and folder.exists():
                self._asides += 1
                folder.rename(folder.with_name(f"{folder.name}.{self._asides}"))
        gc.collect()
        begin = Spent.now()
        call()
        return begin.until(Spent.now())


def main(rounds: int = ROUNDS) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_home(folder)
        os.environ["TRADING_DAGSTER_ARTEFACTS"] = str(folder / "artefacts")
        with dg.DagsterInstance.get() as instance:
            contest = Contest(folder, instance)
            calls = {
                "run_backtest": contest.plain,
                "one piece, same artefacts": contest.one_piece,
                "partitions without Dagster": contest.without_dagster,
                "checks": contest.check,
                "metadata": contest.describe,
                "picture": contest.paint,
                "backfill, empty bodies": contest.backfill_empty,
                "backfill": contest.backfill,
            }
            turns = [{name: contest.take(call) for name, call in calls.items()} for _ in range(rounds)]
    for turn, own in zip(turns, contest.own, strict=True):
        turn["own code in the backfill"] = own
        turn["difference"] = turn["backfill, empty bodies"].until(turn["backfill"])
    print(f"{'median of ' + str(rounds) + ' rounds':<28}   clock processor")
    for name in turns[0]:
        clock, processor = (statistics.median(turn[name][kind] for turn in turns) for kind in (0, 1))
        print(f"{name:<28} {clock:7.3f} s {processor:7.3f} s")

    def ratio(what: str, base: str) -> str:
        clock, processor = (statistics.median(turn[what][kind] / turn[base][kind] for turn in turns) for kind in (0, 1))
        return f"{clock:.2f} x by the clock, {processor:.2f} x of the processor"

    own_ratio = statistics.median(turn["own code in the backfill"].clock / turn["run_backtest"].clock for turn in turns)
    verdict = "met" if own_ratio <= TARGET else "missed"
    print(
        f"{len(contest.keys)} partitions, own code / run_backtest: {ratio('own code in the backfill', 'run_backtest')}"
    )
    print(f"target {TARGET} x by the clock: {verdict}")
    print(f"as the difference from a run with empty bodies: {ratio('difference', 'run_backtest')}")
    print(f"own code / one piece, same artefacts: {ratio('own code in the backfill', 'one piece, same artefacts')}")
    return 0 if own_ratio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
