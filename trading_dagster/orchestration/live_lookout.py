"""How one tick of a sensor looks for candles again and again, so that a cycle begins at once when they come.

The daemon looks at sensors every five seconds. A tick that finds nothing yet, but may within that time, goes on looking
until the next one is due.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from trading_dagster.orchestration.live_availability import Poll, PollCursor, PollOutcome, judge_poll

TICK_S = 4.5
"""How long a tick may look, seconds: a little less than the daemon's interval."""
LOOKS_PER_INTERVAL = 10
PATIENCE = timedelta(minutes=5)
"""How long candles are late, by the wall clock, before one look a tick is enough."""
_PLACES = threading.BoundedSemaphore(3)
"""How many ticks of a code server may look on at once: the others look once, so that runs can still be started."""


def look_out(
    look: Callable[[], Poll],
    cursor: PollCursor,
    *,
    poll_s: float,
    speed: float = 1.0,
    sleep: Callable[[float], object] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> PollOutcome:
    """Return what is to be done once there is something to do, or the tick is over.

    Args:
        look: Looks at clock, ledger and candles.
        cursor: What the sensor remembers.
        poll_s: Seconds between two ticks; within a tick it is looked so many times as often.
        speed: How many times as fast as the wall clock the deployment's clock runs.
        sleep: Waits some seconds.
        monotonic: The wall clock.
    """
    end = monotonic() + TICK_S
    poll = look()
    outcome = judge_poll(cursor, poll)
    if not _PLACES.acquire(blocking=False):
        return outcome
    try:
        while outcome.run_at is None and outcome.skip_at is None:
            pause = _pause(poll, poll_s / LOOKS_PER_INTERVAL, speed)
            if pause is None or monotonic() + pause > end:
                break
            sleep(pause)
            poll = look()
            outcome = judge_poll(cursor, poll)
    finally:
        _PLACES.release()
    return outcome


def _pause(poll: Poll, every_s: float, speed: float) -> float | None:
    """Return after how many seconds to look again, None when nothing is to be expected soon."""
    if not poll.progress.has_passed(poll.newest_at):
        return every_s if poll.now - poll.newest_at <= PATIENCE * speed else None
    until_next = (poll.newest_at + poll.cycle - poll.now).total_seconds() / speed
    return max(every_s, until_next)
