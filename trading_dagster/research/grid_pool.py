"""Spread the combinations of a grid search over processes.

Processes come from a fork server where that is possible: it is safe beside threads. A strategy that lives in a notebook
or a script cannot be imported by other processes; for it they are forked from this one.
"""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from trading_dagster.domain.error import BadInput, WorkerDied
from trading_dagster.market.side_by_side import count_cores
from trading_dagster.market.universe_store import write_universe
from trading_dagster.research.grid_outcome import GridOutcome
from trading_dagster.research.grid_run import GridRunner, GridTask, RemoteRunner, run_in_worker, start_worker

MAIN = "__main__"
PRELOADED = ["trading_dagster.research.grid_run"]


def count_workers(wanted: int | None, tasks: int) -> int:
    """Return how many processes to use: as wanted or as many as there are cores, but not more than tasks."""
    if wanted is not None and wanted < 1:
        raise BadInput(f"max_workers is {wanted}: give 1 or more, or None for one a processor core")
    return max(1, min(wanted or count_cores(), tasks))


RunTasks: TypeAlias = "Callable[[Sequence[GridTask]], Iterator[tuple[int, GridOutcome]]]"
"""Runs tasks; yields index and outcome of every one as they are done."""


def run_tasks(
    runner: GridRunner, tasks: Sequence[GridTask], workers: int, folder: Path
) -> Iterator[tuple[int, GridOutcome]]:
    """Yield index and outcome of every task as they are done; arguments and errors as `open_pool`."""
    with open_pool(runner, tasks, workers, folder) as run:
        yield from run(tasks)


@contextmanager
def open_pool(runner: GridRunner, sample: Sequence[GridTask], workers: int, folder: Path) -> Iterator[RunTasks]:
    """Start processes that run tasks, and yield what to give tasks to; may be given some several times.

    Args:
        runner: What runs them.
        sample: Some of the tasks; whether parameters can be sent to other processes is told from these.
        workers: Processes; 1 runs everything in this one.
        folder: Where the universe is put for other processes.

    Raises:
        BadInput: This system cannot run the strategy, or send its parameters, in other processes.
        WorkerDied: A process ended without an answer.
    """
    if workers == 1:
        yield lambda tasks: ((task.index, runner.run(task)) for task in tasks)
        return
    write_universe(runner.universe, folder)
    remote = RemoteRunner.of(runner, folder)
    context = multiprocessing.get_context(choose_method(remote, sample))
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(PRELOADED)
    pool = ProcessPoolExecutor(workers, context, start_worker, (remote,))

    def run(tasks: Sequence[GridTask]) -> Iterator[tuple[int, GridOutcome]]:
        refuse_unsendable(tasks)
        try:
            futures = {pool.submit(run_in_worker, task): task.index for task in tasks}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise WorkerDied(
                "A process of the search ended without an answer. If memory ran out, use fewer max_workers; if this "
                'is a script, put what starts the search below `if __name__ == "__main__":`; or use a single process. '
                "With a result_path, what was done is kept"
            ) from error

    try:
        yield run
    finally:
        pool.shutdown(cancel_futures=True)


def choose_method(remote: RemoteRunner, tasks: Sequence[GridTask]) -> str:
    """Return how processes are started: "forkserver", "fork", or "spawn" where there is nothing else."""
    methods = multiprocessing.get_all_start_methods()
    if not can_be_sent(remote, tasks):
        if "fork" not in methods:
            raise BadInput(
                "The strategy's functions are local to a notebook, script or function, and this system cannot fork: "
                "put them into a file, or use multiprocess=False"
            )
        return "fork"
    if "forkserver" not in methods:
        return "spawn"
    return "fork" if is_plain_script() and not has_threads() else "forkserver"


def can_be_sent(remote: RemoteRunner, tasks: Sequence[GridTask]) -> bool:
    """Tell whether another process can read the strategy and the parameters."""
    try:
        content = pickle.dumps((remote, tasks))
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return MAIN.encode() not in content


def refuse_unsendable(tasks: Sequence[GridTask]) -> None:
    """Refuse parameters that no process can be sent, however it was started; raises BadInput with their name."""
    for task in tasks:
        for name, value in task.parameters.items():
            try:
                pickle.dumps(value)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise BadInput(
                    f"Parameters.{name} is {value!r}, which cannot be sent to another process ({error}): use a plain "
                    "value, such as a name that the strategy looks up, or a single process"
                ) from error


def is_plain_script() -> bool:
    """Tell whether the program is a script, which a new process would run again to find its functions."""
    main = sys.modules[MAIN]
    return getattr(main, "__spec__", None) is None and getattr(main, "__file__", None) is not None


def has_threads() -> bool:
    """Tell whether there are threads whose locks a forked process would hold for ever; tqdm's do no harm."""
    return any(not type(thread).__module__.startswith("tqdm") for thread in threading.enumerate()[1:])
