"""Write numbers, money, times and durations the way a trader reads them."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, timedelta
from numbers import Integral, Real

import pandas as pd

from trading_dagster.statistics.measure import Measure, RelativeMeasure, Unit

ABSENT = "–"  # noqa: RUF001 - an en dash is what a table shows for "no value"
MINUS = "−"  # noqa: RUF001 - the sign that is as wide as a plus

UNITS = {measure.label.lower(): measure.unit for measure in (*Measure, *RelativeMeasure)}
"""Units of the known measures; the words below tell those of other rows."""

RATIO_WORDS = ("factor", "ratio", "sharpe", "sortino", "count", "bars")
FRACTION_WORDS = ("%", "percent", "return", "drawdown", "volatility", "rate", "risk", "pullback", "time in market")
MONEY_WORDS = ("cash", "equity", "usd", "value", "volume", "fees", "profit", "pnl", "interest", "tax")


def format_usd(value: float, *, signed: bool = False) -> str:
    """Return dollars: cents below 100,000, whole dollars from there, ``$1.23 M`` style from 100 million."""
    if not math.isfinite(value):
        return ABSENT
    size = abs(value)
    if size >= 1e11:
        text = f"${size / 1e9:,.1f} B"
    elif size >= 1e8:
        text = f"${size / 1e6:,.1f} M"
    else:
        text = f"${size:,.0f}" if size >= 99_999.995 else f"${size:,.2f}"
    return _with_sign(text, value, signed=signed)


def format_percent(fraction: float, *, signed: bool = False) -> str:
    """Return a fraction (0.0123) as a percentage (``1.23 %``); fewer digits where it is large."""
    if not math.isfinite(fraction):
        return ABSENT
    percent = abs(fraction) * 100
    text = f"{percent:,.2f} %" if percent < 99.995 else f"{percent:,.1f} %" if percent < 999.95 else f"{percent:,.0f} %"
    return _with_sign(text, fraction, signed=signed)


def format_ratio(value: float) -> str:
    """Return a ratio such as Sharpe with two digits."""
    return _with_sign(f"{abs(value):,.2f}", value, signed=False) if math.isfinite(value) else ABSENT


def format_price(value: float) -> str:
    """Return a price with the digits it needs: 42,150.50, 1.2345, 0.00001234."""
    if not math.isfinite(value):
        return ABSENT
    size = abs(value)
    if size >= 1000 or size == 0:
        text = f"{size:,.2f}"
    elif size >= 1:
        text = f"{size:,.4f}"
    else:
        digits = min(max(3 - math.floor(math.log10(size)), 4), 18)
        text = f"{size:.{digits}f}"
    return _with_sign(text, value, signed=False)


def format_duration(value: timedelta) -> str:
    """Return a duration in its two largest units: ``3 d 4 h``, ``45 min``; seconds below a minute."""
    if pd.isna(value):
        return ABSENT
    seconds = round(abs(value.total_seconds()))
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for position, (name, width) in enumerate(units):
        if seconds >= width:
            count, rest = divmod(seconds, width)
            text = f"{count:,} {name}"
            if position + 1 < len(units) - 1:
                finer, finer_width = units[position + 1]
                text += f" {rest // finer_width} {finer}" if rest >= finer_width else ""
            return _with_sign(text, value.total_seconds(), signed=False)
    return "0 s"


def format_time(value: datetime) -> str:
    """Return a naive UTC time to the minute, only the day at midnight, seconds where there are some."""
    if pd.isna(value):
        return ABSENT
    if value.second:
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:%Y-%m-%d %H:%M}" if value.hour or value.minute else f"{value:%Y-%m-%d}"


def format_value(name: str, value: object) -> str:
    """Return a cell of a statistics table.

    Text stays as it is. A float has the unit of the measure of that name; other names tell it by a word (return,
    drawdown: percent; cash, equity: dollars), else it is a ratio.
    """
    if value is None or value is pd.NaT or value is pd.NA:
        return ABSENT
    formats: tuple[tuple[type, Callable[..., str]], ...] = (
        (str, lambda text: ABSENT if text == "-" else text),
        (bool, lambda flag: "yes" if flag else "no"),
        (datetime, format_time),
        (date, str),
        (timedelta, format_duration),
        (Integral, lambda whole: _with_sign(f"{abs(whole):,}", whole, signed=False)),
        (Real, lambda number: _format_number(name.lower(), float(number))),
    )
    for kind, format_kind in formats:
        if isinstance(value, kind):
            return format_kind(value)
    return str(value)


def _format_number(name: str, value: float) -> str:
    unit = UNITS.get(name) or _guess_unit(name)
    if unit is Unit.fraction:
        return format_percent(value)
    if unit in (Unit.days, Unit.count):
        return _with_sign(f"{abs(value):,.0f}", value, signed=False) if math.isfinite(value) else ABSENT
    return format_usd(value) if unit is None else format_ratio(value)


def _guess_unit(name: str) -> Unit | None:
    """Return the unit that a name suggests, None for money."""
    if any(word in name for word in RATIO_WORDS):
        return Unit.number
    if any(word in name for word in FRACTION_WORDS):
        return Unit.fraction
    return None if any(word in name for word in MONEY_WORDS) else Unit.number


def _with_sign(text: str, value: float, *, signed: bool) -> str:
    if not any(digit in text for digit in "123456789"):
        return text
    return MINUS + text if value < 0 else "+" + text if signed else text
