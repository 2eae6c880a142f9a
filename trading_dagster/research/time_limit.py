"""A limit of time for one backtest of a search, and a note on disk of what was too slow for it."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trading_dagster.domain.error import SearchPointTimedOut
from trading_dagster.market.atomic_file import write_json_atomically

TIMEOUT_SUFFIX = ".timeout"
REPEAT_S = 1.0
"""The alarm is repeated: one that rings while garbage is collected is not heard."""


class _TimeIsUp(BaseException):
    """Passes through a strategy's own ``except Exception``."""


def can_limit_time() -> bool:
    """Tell whether a limit works here: on a system with alarms, in the main thread of the process."""
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()


@contextmanager
def limit_time(seconds: float | None) -> Iterator[None]:
    """Stop what is done inside after a time; without effect where `can_limit_time` is False.

    Python code is stopped anywhere; a call into compiled code is stopped when it returns.

    Raises:
        SearchPointTimedOut: The time is up.
    """
    if seconds is None or not can_limit_time():
        yield
        return

    def stop(_signum: int, _frame: object) -> None:
        raise _TimeIsUp

    earlier_handler = signal.signal(signal.SIGALRM, stop)
    try:
        earlier_timer = signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, *earlier_timer)
    except _TimeIsUp:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise SearchPointTimedOut(
            f"It took longer than {seconds:g} s: make the strategy faster, or give a longer timeout"
        ) from None
    finally:
        signal.signal(signal.SIGALRM, earlier_handler)


def note_timeout(path: Path, seconds: float) -> None:
    """Remember that a backtest, named by the path of its result, was too slow for a limit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomically(path.with_suffix(TIMEOUT_SUFFIX), {"seconds": seconds})


def recall_timeout(path: Path, seconds: float) -> SearchPointTimedOut | None:
    """Return the error of a backtest that was too slow for this limit, or for a longer one."""
    try:
        noted = float(json.loads(path.with_suffix(TIMEOUT_SUFFIX).read_text(encoding="utf8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if noted < seconds:
        return None
    return SearchPointTimedOut(f"It took longer than {noted:g} s when it was tried: give a longer timeout")
