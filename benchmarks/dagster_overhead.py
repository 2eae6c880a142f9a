"""What the Dagster backfill of the sample costs beyond Dagster itself, beside the plain backtest.

Usage: ``python -m benchmarks.dagster_overhead [rounds]``

The monthly partitions of the EMA cross run in one Dagster run on a persistent home, as the demo runs them. The same
assets with bodies that log the same materializations and checks, but compute nothing, are Dagster's own cost. The
difference, divided by the time of ``run_backtest``, must be at most ``TARGET``. Minimum of several rounds in turn.

``run_backtest`` writes nothing. The second ratio compares like with like: one piece that leaves the same tables,
ledger, snapshot, checks and picture behind as the partitions do.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
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
from trading_dagster.strategy.module import load_strategy_file

STRATEGY = Path(__file__).parents[1] / "strategies" / "ema_cross.py"
TARGET = 1.5
ROUNDS = 5


class RecordedBacktest:
    """Yields what a backtest yielded before, without computing it."""

    def __init__(self, partitions: PartitionedBacktest, outcomes: list[Any]) -> None:
        self.folder = partitions.folder
        self._outcomes = outcomes

    def run(self, keys: Any, progress: Any = None) -> Iterator[Any]:
        yield from self._outcomes


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
                "backfill": backfill,
                "backfill, empty bodies": backfill_empty,
            }
            turns = [{name: seconds(call) for name, call in calls.items()} for _ in range(rounds)]
    best = {name: min(turn[name] for turn in turns) for name in calls}
    for name, value in best.items():
        print(f"{name:<28} {value:7.3f} s")
    ratio = (best["backfill"] - best["backfill, empty bodies"]) / best["run_backtest"]
    alike = (best["backfill"] - best["backfill, empty bodies"]) / best["one piece, same artefacts"]
    verdict = "met" if ratio <= TARGET else "missed"
    print(f"{len(keys)} partitions cost {ratio:.2f} x run_backtest beyond Dagster, target {TARGET}: {verdict}")
    print(f"and {alike:.2f} x one piece that leaves the same artefacts behind")
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
