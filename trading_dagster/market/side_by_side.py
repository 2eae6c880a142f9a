"""Do pieces of work side by side in threads, such as numpy, Arrow and DuckDB do without holding the interpreter."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from trading_dagster.domain.error import BadInput

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 2
"""How many pieces a worker has begun or waiting: one it works on, one that is ready when it is done."""


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_workers(wanted: int | None, most: int | None = None) -> int:
    """Return how many workers to use: as wanted, or as many as there are cores; not above ``most``.

    Raises:
        BadInput: Fewer than one is wanted.
    """
    if wanted is not None and wanted < 1:
        raise BadInput(f"workers is {wanted}: give 1 or more, or leave it out for one a core")
    workers = wanted or count_cores()
    return workers if most is None else max(1, min(workers, most))


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int, *, ahead: int = AHEAD
) -> Iterator[Result]:
    """Yield the results of items in their order; items are taken by the caller's thread, few ahead.

    The error of the first item in order that fails is raised. What was begun by then is finished before, what was not
    is never begun; so it is when the caller stops asking. One worker works in the caller's thread.
    """
    if workers <= 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="market")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= ahead * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Turns:
    """Lets pieces that are worked on side by side take effect one after the other, in their order.

    Pieces are numbered from 0 on and begun in that order. After one that failed none takes effect any more.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = 0
        self._has_failed = False

    @contextmanager
    def hold(self, place: int) -> Iterator[Callable[[], None]]:
        """Give the piece a function that waits for its turn; the next one's comes when the block is left.

        The function raises CancelledError when a piece before failed.
        """
        is_done = False
        try:
            yield lambda: self._wait(place)
            is_done = True
        finally:
            with self._changed:
                self._changed.wait_for(lambda: self._next == place)
                self._has_failed |= not is_done
                self._next += 1
                self._changed.notify_all()

    def _wait(self, place: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._next == place)
            if self._has_failed:
                raise CancelledError
