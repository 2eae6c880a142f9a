"""Where to put the ticks of an axis, and what to write at them."""

from __future__ import annotations

import math

import pandas as pd

MAX_TICKS = 9
TIME_STEPS = (
    "1min", "5min", "15min", "1h", "3h", "6h", "12h", "1D", "2D", "7D", "14D", "MS", "2MS", "QS", "6MS", "YS", "2YS",
    "5YS", "10YS",
)  # fmt: skip
"""Distances of time ticks as pandas writes frequencies, ascending."""

_DAYS = {"min": 1 / 1440, "h": 1 / 24, "D": 1.0, "MS": 30.4, "QS": 91.3, "YS": 365.2}


def money_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers in [low, high], about so many: multiples of 1, 2, 2.5 or 5 times a power of ten.

    A range too narrow to have any has its lower end.
    """
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-6):
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def time_ticks(first: pd.Timestamp, last: pd.Timestamp) -> list[tuple[pd.Timestamp, str]]:
    """Return round times in [first, last] with labels: years and months, days, or hours, at most nine or so."""
    days = (last - first) / pd.Timedelta(days=1)
    if days <= 0:
        return [(first, f"{first:%Y-%m-%d %H:%M}")]
    step = next((step for step in TIME_STEPS if days / _length_of(step) <= MAX_TICKS), TIME_STEPS[-1])
    is_calendar = step.endswith("S")
    begin = first.ceil("D") if is_calendar else first.ceil(step)
    return [(tick, _label(tick, step)) for tick in pd.date_range(begin, last, freq=step)]


def _length_of(step: str) -> float:
    unit = step.lstrip("0123456789")
    return int(step[: -len(unit)] or 1) * _DAYS[unit]


def _label(tick: pd.Timestamp, step: str) -> str:
    """Write the coarser unit where it begins, the finer one elsewhere."""
    if step.endswith("S"):
        return f"{tick:%Y}" if tick.month == 1 else f"{tick:%b}"
    if tick.hour or tick.minute:
        return f"{tick:%H:%M}"
    return f"{tick.day} {tick:%b}"
