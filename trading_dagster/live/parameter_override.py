"""Values of a deployment file as values of a strategy's Parameters, each of the type that the strategy gives it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from trading_dagster.domain.error import BadConfiguration, BadInput
from trading_dagster.domain.fund_fee import FundFees
from trading_dagster.domain.identifier import ChainId, HumanReadableTradingPairDescription

PERIOD = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
ENGINE_PARAMETERS = {
    "slippage_tolerance": 0.02,
    "max_price_impact": 0.1,
    "required_history_period": timedelta(days=90),
    "fund_fees": False,
}
"""What the engine reads though a strategy may not have it; fractions, a period and what a fund takes."""
PERIOD_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_overrides(given: Mapping[str, Any], parameters: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return parameters that a file changes; raises BadConfiguration for one that is unknown or of another type.

    Args:
        given: Names and values as the file has them.
        parameters: What the strategy has.
        where: File and field, for messages.
    """
    parameters = {**ENGINE_PARAMETERS, **parameters}
    changes = {}
    for name, value in given.items():
        place = f"{where}.{name}"
        if name not in parameters:
            close = difflib.get_close_matches(name, parameters, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise BadConfiguration(f"{place}: Parameters has no {name!r}; {hint}it has {', '.join(sorted(parameters))}")
        if name == "fund_fees":
            changes[name] = _read_fund_fees(place, value)
        else:
            changes[name] = _read(place, value, parameters[name])
    return changes


def parse_data_pair(text: str) -> HumanReadableTradingPairDescription:
    """Return BASE/QUOTE or BASE/QUOTE@venue as the description that strategies use."""
    ticker, _, venue = text.partition("@")
    base, _, quote = ticker.partition("/")
    return (ChainId.centralised_exchange, venue or None, base, quote)


def _read(place: str, value: Any, current: Any) -> Any:
    if isinstance(current, Enum):
        for member in type(current):
            if value in (member.name, str(member.value)):
                return member
        names = ", ".join(member.name for member in type(current))
        raise BadConfiguration(f"{place}: {value!r} is no {type(current).__name__}: use one of {names}")
    if isinstance(current, timedelta):
        return _read_period(place, value)
    if isinstance(current, datetime):
        return _read_time(place, value)
    if isinstance(current, tuple) and isinstance(value, list):
        return tuple(value)
    if not _fits(value, current):
        raise BadConfiguration(f"{place}: {value!r} is no {type(current).__name__} as {current!r}, the strategy's own")
    return value


def _read_fund_fees(place: str, value: Any) -> FundFees | bool:
    """Return fees of a fund, written as ``{management: 0.02, performance: 0.2, every: 30d}``, true or false."""
    if isinstance(value, bool):
        return value
    names = [field.name for field in fields(FundFees)]
    if not isinstance(value, Mapping) or not set(value) <= set(names):
        raise BadConfiguration(
            f"{place}: {value!r} are no fees of a fund: write {{{', '.join(names)}}}, true for those that the strategy "
            "names, or false for none"
        )
    given = dict(value)
    if "every" in given:
        given["every"] = _read_period(f"{place}.every", given["every"])
    try:
        return FundFees(**given)
    except BadInput as error:
        raise BadConfiguration(f"{place}: {error}") from None


def _read_period(place: str, value: Any) -> timedelta:
    found = PERIOD.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise BadConfiguration(f"{place}: {value!r} is no period: write one such as 30d, 12h or 90m")
    return timedelta(**{PERIOD_UNITS[found[2]]: float(found[1])})


def _read_time(place: str, value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise BadConfiguration(f"{place}: {value!r} is no time: write 2018-01-01 or 2018-01-01T12:00:00") from None
    if moment.tzinfo is not None:
        raise BadConfiguration(f"{place}: {value!r} has a time zone: strategies use naive UTC, leave the zone out")
    return moment


def _fits(value: Any, current: Any) -> bool:
    if current is None:
        return True
    if isinstance(current, bool) or isinstance(value, bool):
        return isinstance(current, bool) and isinstance(value, bool)
    if isinstance(current, int | float):
        return isinstance(value, int | float)
    return isinstance(value, type(current))
