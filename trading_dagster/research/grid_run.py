"""Run combinations of a grid search, in this process or as a worker beside others.

A worker gets the strategy once, maps the universe into memory, and reads indicators that were calculated before it
began: what it is sent for a combination is a set of parameters.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trading_dagster.backtest.inline import run_plan
from trading_dagster.backtest.plan import BacktestOptions, plan_backtest
from trading_dagster.domain.error import BadInput, NotEnoughCashForBuys, NotEnoughMoney, OutOfSimulatedBalance
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.market.universe_store import read_universe
from trading_dagster.research.grid_outcome import DataRetention, GridOutcome, keep_outcome
from trading_dagster.research.indicator_folder import SharedIndicatorCache
from trading_dagster.research.time_limit import limit_time
from trading_dagster.strategy.module import StrategyModule, load_strategy_file
from trading_dagster.strategy.parameters import StrategyParameters

logger = logging.getLogger(__name__)

WALLET_ERRORS = (NotEnoughMoney, NotEnoughCashForBuys, OutOfSimulatedBalance)


@dataclass(frozen=True, slots=True)
class GridTask:
    """A combination to run; ``path``: where its outcome is kept, if anywhere."""

    index: int
    parameters: StrategyParameters
    path: Path | None


@dataclass(frozen=True)
class GridRunner:
    """Runs combinations of one strategy on one universe.

    Attributes:
        strategy: The strategy; its own parameters do not count.
        universe: What it trades on.
        indicators: Folder of calculated indicators.
        options: Fees and tolerances.
        retention: What to keep of each run.
        ignore_wallet_errors: Whether a combination that runs out of money fails without a warning.
        timeout_s: What a run may take; None is as long as it likes.
    """

    strategy: StrategyModule
    universe: TradingStrategyUniverse
    indicators: Path
    options: BacktestOptions
    retention: DataRetention
    ignore_wallet_errors: bool
    timeout_s: float | None = None

    def run(self, task: GridTask) -> GridOutcome:
        """Run one combination; whatever it raises is its outcome."""
        started_at = datetime.now(UTC)
        try:
            with limit_time(self.timeout_s):
                plan = plan_backtest(
                    replace(self.strategy, parameters=task.parameters),
                    universe=self.universe,
                    options=self.options,
                    indicator_store=SharedIndicatorCache(self.indicators),
                    is_grid_search=True,
                )
                outcome = GridOutcome.measure(run_plan(plan), started_at, self.retention)
        except Exception as error:  # noqa: BLE001 - a combination that fails must not stop the others
            cash = task.parameters.get("initial_cash")
            if not (self.ignore_wallet_errors and is_wallet_error(error)):
                logger.warning("Combination %d failed: %s: %s", task.index, type(error).__name__, error)
            return GridOutcome.fail(error, float(cash) if isinstance(cash, int | float) else 0.0, started_at)
        if task.path is not None:
            try:
                keep_outcome(task.path, outcome)
            except OSError as error:
                logger.warning("Result of combination %d cannot be kept in %s: %s", task.index, task.path.parent, error)
        return outcome


@dataclass(frozen=True, slots=True)
class RemoteRunner:
    """How a worker comes to its runner: the strategy by its file where it has one, the universe by its folder.

    Attributes:
        strategy: The strategy; None when it is read from its file.
        file: The strategy's file; None when the strategy itself is sent.
        source_hash: Of the strategy, to notice that the file changed.
        universe: Folder of the universe.
        others: The rest of what a `GridRunner` is made of, by name.
    """

    strategy: StrategyModule | None
    file: Path | None
    source_hash: str
    universe: Path
    others: dict[str, Any]

    @classmethod
    def of(cls, runner: GridRunner, universe: Path) -> RemoteRunner:
        """Describe a runner whose universe was written to a folder."""
        is_file = is_from_file(runner.strategy)
        sent_otherwise = ("strategy", "universe")
        return cls(
            strategy=None if is_file else runner.strategy,
            file=runner.strategy.path if is_file else None,
            source_hash=runner.strategy.source_hash(),
            universe=universe,
            others={
                each.name: getattr(runner, each.name) for each in fields(runner) if each.name not in sent_otherwise
            },
        )

    def open(self) -> GridRunner:
        """Return the runner; raises BadInput when the strategy file changed meanwhile."""
        strategy = self.strategy
        if strategy is None:
            assert self.file is not None
            strategy = load_strategy_file(self.file)
            if strategy.source_hash() != self.source_hash:
                raise BadInput(f"Strategy file {self.file} changed while the search began: start it again")
        return GridRunner(strategy, read_universe(self.universe), **self.others)


def is_from_file(strategy: StrategyModule) -> bool:
    """Tell whether a strategy can be loaded again from its file as it is."""
    module = getattr(strategy.decide_trades, "__module__", "")
    return strategy.path is not None and bool(strategy.source) and module.startswith("trading_strategy_")


def is_wallet_error(error: BaseException | None) -> bool:
    """Tell whether a backtest ended because money ran out, whatever the error says around it."""
    return error is not None and (isinstance(error, WALLET_ERRORS) or is_wallet_error(error.__cause__))


_worker: dict[str, Any] = {}
"""What this process, a worker, was started with."""


def start_worker(remote: RemoteRunner) -> None:
    """Remember what a worker runs; called once in each. The worker ends when the search is killed."""
    _worker["remote"], _worker["runner"] = remote, None
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run_in_worker(task: GridTask) -> GridOutcome:
    """Run one combination in a worker."""
    if _worker["runner"] is None:
        _worker["runner"] = _worker["remote"].open()
    runner: GridRunner = _worker["runner"]
    return runner.run(task)
