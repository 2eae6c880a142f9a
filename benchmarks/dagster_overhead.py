"""What the Dagster backfill of the sample costs beyond Dagster itself, beside the plain backtest.

Usage: ``python -m benchmarks.dagster_overhead [rounds]``

The monthly partitions of the EMA cross run in one Dagster run on a persistent home, as the demo runs them. What our own
code takes in it (opening the plan, cycles, files, checks, metadata, picture) is added up with a stopwatch; divided by
the time of ``run_backtest``, it must be at most ``TARGET``. Medians of several rounds, in each of which everything
takes its turn.

The same assets with bodies that log the same materializations and checks, but compute nothing, are Dagster's own cost.
The difference of the two runs is shown, too; it is a small difference of long times and varies.

``run_backtest`` writes nothing. The last ratio compares like with like: one piece that leaves the same tables, ledger,
snapshot, checks and picture behind as the partitions do.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.backtest.partition import PartitionedBacktest, PartitionWindow
from trading_dagster.orchestration import backtest_asset
from trading_dagster.orchestration.backtest_asset import PARTITIONED
from trading_dagster.orchestration.driver import BacktestDriver
from trading_dagster.orchestration.home import prepare_home
from trading_dagster.orchestration.progress import SilentProgress
from trading_dagster.orchestration.step import open_backtest
from trading_dagster.strategy.module import load_strategy_file

STRATEGY = Path(__file__).parents[1] / "strategies" / "ema_cross.py"
TARGET = 1.5
ROUNDS = 9


class RecordedBacktest:
    """Yields what a backtest yielded before, without computing it."""

    def __init__(self, partitions: PartitionedBacktest, outcomes: list[Any]) -> None:
        self.folder = partitions.folder
        self._outcomes = outcomes

    def run(self, keys: Any, progress: Any = None) -> Iterator[Any]:
        yield from self._outcomes


class Stopwatch:
    """Adds up the time spent in some functions and generators."""

    def __init__(self) -> None:
        self.spent_s = 0.0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        def timed(*arguments: Any) -> Any:
            begin = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                self.spent_s += time.perf_counter() - begin

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
        partitions.run = self.around_steps(partitions.run)
        return partitions  # type: ignore[no-any-return]


TIMED = ("check_portfolio", "describe_partition", "picture_equity")


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main(rounds: int = ROUNDS) -> int:
    strategy = load_strategy_file(STRATEGY)
    with tempfile.TemporaryDirectory() as folder:
        prepare_home(Path(folder))
        os.environ["TRADING_DAGSTER_ARTEFACTS"] = str(Path(folder) / "artefacts")
        with dg.DagsterInstance.get() as instance:
            driver = BacktestDriver(strategy, instance, SilentProgress())
            driver.materialize(["universe", "indicators"])
            partitions = driver.open()
            keys = [window.key for window in partitions.windows]
            outcomes = list(partitions.run(keys))
            checks = backtest_asset.check_portfolio(partitions, backtest_asset.asset_key(strategy, "portfolio"))
            described = {o.window.key: backtest_asset.describe_partition(o, Path(folder)) for o in outcomes}
            picture = backtest_asset.picture_equity(partitions, keys[-1], "empty")

            def backfill() -> None:
                driver.materialize(PARTITIONED, keys)

            def backfill_empty() -> None:
                with mock.patch.multiple(
                    backtest_asset,
                    open_backtest=lambda *_: RecordedBacktest(partitions, outcomes),
                    check_portfolio=lambda *_: checks,
                    describe_partition=lambda outcome, _: deepcopy(described[outcome.window.key]),
                    picture_equity=lambda *_: picture,
                ):
                    backfill()

            own_seconds: list[float] = []

            def backfill_timed() -> None:
                watch = Stopwatch()
                timed = {name: watch.around(getattr(backtest_asset, name)) for name in TIMED}
                with mock.patch.multiple(backtest_asset, open_backtest=watch.open, **timed):
                    backfill()
                own_seconds.append(watch.spent_s)

            first, last = partitions.windows[0], partitions.windows[-1]
            whole = PartitionedBacktest(
                partitions.plan, Path(folder) / "whole", [PartitionWindow("0000", first.start, last.end)]
            )

            def one_piece_with_artefacts() -> None:
                list(whole.run(["0000"]))
                backtest_asset.check_portfolio(whole, backtest_asset.asset_key(strategy, "portfolio"))
                backtest_asset.picture_equity(whole, "0000", "x")

            calls = {
                "one piece, same artefacts": one_piece_with_artefacts,
                "run_backtest": lambda: run_backtest(strategy, progress=False),
                "partitions without Dagster": lambda: list(driver.open().run(keys)),
                "checks": lambda: backtest_asset.check_portfolio(
                    partitions, backtest_asset.asset_key(strategy, "portfolio")
                ),
                "metadata": lambda: [backtest_asset.describe_partition(o, Path(folder)) for o in outcomes],
                "picture": lambda: backtest_asset.picture_equity(partitions, keys[-1], "x"),
                "backfill": backfill_timed,
                "backfill, empty bodies": backfill_empty,
            }
            turns = [{name: seconds(call) for name, call in calls.items()} for _ in range(rounds)]
    took = {name: statistics.median(turn[name] for turn in turns) for name in calls}
    took["own code in the backfill"] = statistics.median(own_seconds)
    for name, value in took.items():
        print(f"{name:<28} {value:7.3f} s")
    own = statistics.median(spent / turn["run_backtest"] for spent, turn in zip(own_seconds, turns, strict=True))
    difference = statistics.median(
        (turn["backfill"] - turn["backfill, empty bodies"]) / turn["run_backtest"] for turn in turns
    )
    verdict = "met" if own <= TARGET else "missed"
    print(f"{len(keys)} partitions cost {own:.2f} x run_backtest beyond Dagster, target {TARGET}: {verdict}")
    print(f"{difference:.2f} x as the difference from a run with empty bodies")
    alike = took["own code in the backfill"] / took["one piece, same artefacts"]
    print(f"{alike:.2f} x one piece that leaves the same artefacts behind")
    return 0 if own <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
