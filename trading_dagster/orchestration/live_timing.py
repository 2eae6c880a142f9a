"""When cycles and checks are due: cron expressions of the decision grid, and what a tick is good for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import gcd

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.time import CycleDuration
from trading_dagster.live.progress import Progress

HOUR, DAY, WEEK = 60, 24 * 60, 7 * 24 * 60
"""In minutes, as cron counts."""


@dataclass(frozen=True, slots=True)
class Due:
    """A decision time to run a cycle for."""

    decision_at: datetime


@dataclass(frozen=True, slots=True)
class NotDue:
    """Why nothing is to be run, in words."""

    reason: str


def write_cycle_cron(duration: CycleDuration, offset: timedelta) -> str:
    """Return a cron expression (UTC) that ticks at every decision time plus an offset.

    Durations that cron cannot express tick more often; ``judge_tick`` tells the ticks apart.

    Raises:
        BadConfiguration: Cycles are shorter than a minute, which is cron's finest step, or the offset has seconds.
    """
    length, shift = duration.to_timedelta(), offset
    if length < timedelta(minutes=1):
        raise BadConfiguration(
            f"cycle_duration is {duration.value}, schedules tick at most once a minute: use trigger data_availability"
        )
    if shift % timedelta(minutes=1):
        raise BadConfiguration(f"trigger.offset_minutes is {shift.total_seconds() / 60:g}: give whole minutes")
    every, start = round(length / timedelta(minutes=1)), round(shift / timedelta(minutes=1))
    minute = start % HOUR
    if HOUR % every == 0:
        return f"{_list(start % every, every, HOUR)} * * * *"
    if every % WEEK == 0:
        weekday = (1 + start // DAY) % 7
        return f"{minute} {start // HOUR % 24} * * {weekday}"
    step = gcd(every, DAY) // HOUR
    return f"{minute} {_list(start // HOUR % step, step, 24)} * * *"


def judge_tick(
    duration: CycleDuration, offset: timedelta, scheduled_at: datetime, now: datetime, progress: Progress
) -> Due | NotDue:
    """Say what a tick of the cycle schedule is good for; times are naive UTC.

    After an outage the newest missed tick comes late: it is traded only until the next decision time. The cycle that
    runs next records the decision times that were missed.
    """
    decision_at = scheduled_at - offset
    length = duration.to_timedelta()
    grid = duration.round_down(decision_at)
    if grid != decision_at:
        return NotDue(f"{decision_at} is no decision time of {duration.value} cycles; the next one is {grid + length}")
    if progress.has_passed(decision_at):
        return NotDue(f"{decision_at} was decided or skipped already")
    if now - decision_at >= length:
        return NotDue(f"{decision_at} was missed by {now - decision_at}, longer than a cycle: the next one is traded")
    return Due(decision_at)


def judge_offset(duration: CycleDuration, offset: timedelta, now: datetime, progress: Progress) -> Due | NotDue:
    """Say whether a cycle is due by now, an offset after its decision time; times are naive UTC."""
    decision_at = duration.round_down(now - offset)
    if progress.has_passed(decision_at):
        due_at = decision_at + duration.to_timedelta() + offset
        return NotDue(f"{decision_at} is decided or skipped; the next cycle is due at {due_at}")
    return Due(decision_at)


def judge_since_end(
    duration: CycleDuration, ended_at: datetime | None, now: datetime, progress: Progress
) -> Due | NotDue:
    """Say whether a cycle is due one duration after the end of the last one; at once when there was none."""
    due_at = now if ended_at is None else ended_at + duration.to_timedelta()
    if now < due_at:
        return NotDue(f"the last cycle ended at {ended_at}; the next one is due at {due_at}")
    decision_at = duration.round_down(now)
    if progress.has_passed(decision_at):
        return NotDue(
            f"{decision_at} is decided or skipped; the next decision time is {decision_at + duration.to_timedelta()}"
        )
    return Due(decision_at)


def write_check_cron(minutes: int) -> str:
    """Return a cron expression that ticks every so many minutes, or every minute where cron cannot say it."""
    if HOUR % minutes == 0:
        return f"{_list(0, minutes, HOUR)} * * * *"
    if minutes % HOUR == 0 and 24 % (minutes // HOUR) == 0:
        return f"0 {_list(0, minutes // HOUR, 24)} * * *"
    return "* * * * *"


def is_check_due(minutes: int, scheduled_at: datetime) -> bool:
    """Tell whether a check that runs every so many minutes runs at a tick, aware UTC."""
    return int(scheduled_at.timestamp() // 60) % minutes == 0


def _list(first: int, step: int, end: int) -> str:
    if step >= end:
        return str(first)
    return "*" if step == 1 else ",".join(str(value) for value in range(first, end, step))
