"""Run batches of points of a search: what is kept is taken, the rest runs on processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from trading_dagster.domain.error import SearchPointTimedOut
from trading_dagster.research.grid_combination import RESULT_SUFFIX, GridCombination
from trading_dagster.research.grid_outcome import GridOutcome, recall_outcome
from trading_dagster.research.grid_pool import RunTasks, open_pool
from trading_dagster.research.grid_result import GridSearchResult
from trading_dagster.research.grid_run import GridRunner, GridTask
from trading_dagster.research.grid_search import ResultKeys, calculate_shared_indicators
from trading_dagster.research.indicator_folder import prune_indicators
from trading_dagster.research.time_limit import note_timeout, recall_timeout


class SearchBench:
    """Takes results that are kept, and runs the rest on processes that stay for all batches.

    Args:
        runner: What runs points.
        workers: Processes; 1 runs everything in this one.
        folder: Where the universe is put for other processes.
    """

    def __init__(self, runner: GridRunner, workers: int, folder: Path) -> None:
        self._runner, self._timeout_s = runner, runner.timeout_s
        self._workers, self._folder = workers, folder
        self._key_of = ResultKeys(runner.strategy, runner.universe, runner.options, runner.retention)
        self._processes = ExitStack()
        self._run: RunTasks | None = None

    def __enter__(self) -> SearchBench:
        """Start nothing yet: where all is kept no process is needed."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes."""
        self._processes.close()

    def run(self, batch: Sequence[GridCombination], advance: Callable[[int], object]) -> list[GridSearchResult]:
        """Return the results of points, in their order."""
        paths = {each.index: self._path_of(each) for each in batch}
        outcomes = {index: found for index, path in paths.items() if (found := self._recall(path)) is not None}
        cached = {index for index, outcome in outcomes.items() if outcome.exception is None}
        advance(len(outcomes))
        tasks = [
            GridTask(each.index, each.parameters, paths[each.index]) for each in batch if each.index not in outcomes
        ]
        if tasks:
            for index, outcome in self._start(tasks)(tasks):
                outcomes[index] = outcome
                path = paths[index]
                if path is not None and self._timeout_s and isinstance(outcome.exception, SearchPointTimedOut):
                    note_timeout(path, self._timeout_s)
                advance(1)
            prune_indicators(self._runner.indicators)
        return [GridSearchResult(each, outcomes[each.index], each.index in cached) for each in batch]

    def _start(self, tasks: Sequence[GridTask]) -> RunTasks:
        if self._run is None:
            if self._workers > 1:
                calculate_shared_indicators(self._runner, tasks[:1])  # what all points share, once
            pool = open_pool(self._runner, tasks, self._workers, self._folder)
            self._run = self._processes.enter_context(pool)
        return self._run

    def _path_of(self, point: GridCombination) -> Path | None:
        if point.result_path is None:
            return None
        return point.result_path / f"{self._key_of(point.parameters)}{RESULT_SUFFIX}"

    def _recall(self, path: Path | None) -> GridOutcome | None:
        if path is None:
            return None
        kept = recall_outcome(path)
        if kept is None and self._timeout_s is not None:
            error = recall_timeout(path, self._timeout_s)
            return None if error is None else GridOutcome.fail(error, 0.0, datetime.now(UTC))
        return kept
