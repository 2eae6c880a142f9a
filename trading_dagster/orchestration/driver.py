"""Materialize a whole backtest from the command line, recorded in a Dagster home as a backfill would be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.domain.error import BadInput, SnapshotOutdated, TradingDagsterError
from trading_dagster.orchestration.backtest_asset import PARTITIONED, asset_key, build_backtest_assets
from trading_dagster.orchestration.folder import BacktestFolder
from trading_dagster.orchestration.home import prepare_home
from trading_dagster.orchestration.partition import Grain, choose_grain, range_tags
from trading_dagster.orchestration.progress import Progress
from trading_dagster.orchestration.resource import BacktestStore, CandleData
from trading_dagster.orchestration.step import open_backtest
from trading_dagster.strategy.module import StrategyModule

BEFORE = ("universe", "indicators")
AFTER = ("statistics", "report")
PROCESS_TAG = "trading_dagster/process"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class BacktestDriver:
    """Runs the assets of one strategy in this process, one Dagster run a step.

    Args:
        strategy: The strategy.
        instance: The Dagster home.
        progress: Where long steps report to.
        data: File or folder of candles; empty is the embedded sample.
        grain: Length of the partitions.
    """

    def __init__(
        self,
        strategy: StrategyModule,
        instance: dg.DagsterInstance,
        progress: Progress,
        *,
        data: str = "",
        grain: Grain | str | None = None,
    ) -> None:
        self.strategy = strategy
        self.grain = choose_grain(strategy.parameters, grain)
        self._instance = instance
        self._data = CandleData(file=data)
        self._job = dg.Definitions(
            assets=build_backtest_assets(strategy, grain=self.grain),
            resources={"store": BacktestStore(), "data": self._data, "progress": progress},
            executor=dg.in_process_executor,
        ).resolve_implicit_global_asset_job_def()
        self._progress = progress

    @property
    def folder(self) -> BacktestFolder:
        """Return where the artefacts are."""
        return BacktestStore().folder(self.strategy)

    def run_all(self) -> BacktestResult:
        """Materialize everything and return the result; continues after partitions that an interrupted call left.

        Raises:
            TradingDagsterError: What the engine refused; partitions before it stay materialized.
        """
        close_dead_runs(self._instance)
        remaining = self._interrupted_keys()
        if not remaining:
            self._materialize_with_bar(BEFORE)
        partitions = self.open()
        self.materialize(PARTITIONED, remaining or [window.key for window in partitions.windows])
        self._materialize_with_bar(AFTER if self.strategy.create_charts is None else (*AFTER, "charts"))
        return partitions.load_result()

    def _interrupted_keys(self) -> list[str]:
        """Return the partitions that an interrupted call left to do; none when there is nothing to continue."""
        try:
            self.folder.require_origin("universe", {"data": self._data.describe()}, self.strategy)
            partitions = self.open()
        except (SnapshotOutdated, BadInput):
            return []
        keys = [window.key for window in partitions.windows]
        finished = {entry.key for entry in partitions.status() if entry.status == "current"}
        for name in PARTITIONED:
            finished &= set(self._instance.get_materialized_partitions(asset_key(self.strategy, name)))
        first = next((place for place, key in enumerate(keys) if key not in finished), 0)
        return keys[first:] if first else []

    def _materialize_with_bar(self, names: Sequence[str]) -> None:
        with self._progress.bar(", ".join(names), "asset") as advance:
            if advance is not None:
                advance(0, len(names))
            self.materialize(names)
            if advance is not None:
                advance(len(names), len(names))

    def open(self) -> PartitionedBacktest:
        """Return the partitions as they are on disk."""
        return open_backtest(self.strategy, self.folder, self.grain)

    def materialize(self, names: Sequence[str], keys: Sequence[str] = ()) -> None:
        """Materialize some assets in one run, over a range of partitions where they have them."""
        tags = {PROCESS_TAG: str(os.getpid()), **(range_tags(keys) if keys else {})}
        try:
            self._job.execute_in_process(
                instance=self._instance,
                asset_selection=[asset_key(self.strategy, name) for name in names],
                tags=tags,
                run_config=QUIET,
            )
        except dg.Failure as failure:
            if isinstance(failure.__cause__, TradingDagsterError):
                raise failure.__cause__ from None
            raise TradingDagsterError(failure.description or str(failure)) from None


def close_dead_runs(instance: dg.DagsterInstance) -> None:
    """Mark as failed the runs whose process was killed: nobody else would tell the UI."""
    running = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    for run in instance.get_runs(running):
        process = run.tags.get(PROCESS_TAG)
        if process is not None and _is_dead(int(process)):
            instance.report_run_failed(run, f"The process {process} that ran it is gone.")


def _is_dead(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def backtest_in_home(
    strategy: StrategyModule, home: Path, progress: Progress, *, data: str = ""
) -> tuple[BacktestResult, BacktestFolder]:
    """Materialize a whole backtest in a local Dagster home; returns its result and where its artefacts are."""
    prepare_home(home)
    with dg.DagsterInstance.get() as instance:
        driver = BacktestDriver(strategy, instance, progress, data=data)
        return driver.run_all(), driver.folder
