"""Read parameters, ranges and times as people write them: on the command line, and in the configuration of a run."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from trading_dagster.domain.error import BadInput, ParameterMissing, ParameterTypeInvalid
from trading_dagster.strategy.dimension import Categorical, Dimension, Integer, Real

PERIOD = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
PERIOD_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(option: str, text: str) -> datetime:
    """Return an ISO time as naive UTC; raises BadInput naming the option."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option} is {text!r}: give a date such as 2018-01-01 or a UTC time 2018-01-01T12:00") from None
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def parse_period(option: str, text: str) -> timedelta:
    """Return a length of time such as 30d, 12h or 90m; raises ParameterTypeInvalid naming the option."""
    found = PERIOD.fullmatch(text.strip())
    if found is None:
        raise ParameterTypeInvalid(f"{option}: give a period such as 30d, 12h or 90m")
    return timedelta(**{PERIOD_UNITS[found[2]]: float(found[1])})


def parse_settings(settings: Iterable[str], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that ``name=value`` texts change, each of the type that the strategy gives it.

    Raises:
        ParameterMissing: The strategy has no such parameter.
        ParameterTypeInvalid: The value cannot be read as one of its type.
    """
    changes = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise BadInput(f"--set is {setting!r}: write NAME=VALUE, such as --set fast_bars=12")
        if name not in parameters:
            close = difflib.get_close_matches(name, parameters, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            raise ParameterMissing(
                f"--set {setting}: Parameters has no {name!r}. {hint}It has: {', '.join(sorted(parameters))}"
            )
        changes[name] = _parse_value(setting, text, _sample_of(parameters[name]))
    return changes


def parse_choices(settings: Iterable[str], parameters: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the lists of values that ``name=[value, value]`` texts give, each value of the strategy's type.

    Values are parted by commas; a value that has a comma itself is put in brackets or quotes.

    Raises:
        ParameterMissing: The strategy has no such parameter.
        ParameterTypeInvalid: A value cannot be read as one of its type.
    """
    choices = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        sample = _sample_of(parameters.get(name))
        parts = [part.strip() for part in _COMMA.split(text.strip()[1:-1])]
        values = (parse_settings([f"{name}={part}"], {**parameters, name: sample}) for part in parts if part)
        if name not in parameters:
            parse_settings([setting], parameters)  # raises, and says what there is
        choices[name] = [value[name] for value in values]
    return choices


def is_choice(setting: str) -> bool:
    """Tell whether a setting gives a list of values."""
    text = setting.partition("=")[2].strip()
    return text.startswith("[") and text.endswith("]")


def parse_dimensions(settings: Iterable[str], parameters: Mapping[str, Any]) -> dict[str, Dimension]:
    """Return the dimensions that ``name=Integer(5,50)`` and the like give: Integer, Real, Categorical.

    Raises:
        ParameterMissing: The strategy has no such parameter.
        ParameterTypeInvalid: A range or choice is none, or the strategy has no number where a range is given.
    """
    dimensions: dict[str, Dimension] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        found = _DIMENSION.fullmatch(text.strip())
        assert found is not None, "is_dimension tells which settings are"
        if name not in parameters:
            parse_settings([setting], parameters)  # raises, and says what there is
        if found[1] == "Categorical":
            inside = found[2].strip().removeprefix("[").removesuffix("]")
            dimensions[name] = Categorical(parse_choices([f"{name}=[{inside}]"], parameters)[name])
        else:
            dimensions[name] = _parse_range(setting, found[1], found[2], _sample_of(parameters[name]))
    return dimensions


def is_dimension(setting: str) -> bool:
    """Tell whether a setting gives a range or choice to optimise over."""
    return _DIMENSION.fullmatch(setting.partition("=")[2].strip()) is not None


def _parse_range(setting: str, kind: str, text: str, sample: Any) -> Real | Integer:
    if sample is not None and (isinstance(sample, bool) or not isinstance(sample, int | float)):
        raise ParameterTypeInvalid(f"--set {setting}: a range is of numbers, the strategy has {sample!r}")
    parts = [part.strip().strip("'\"") for part in text.split(",")]
    try:
        low, high = (ast.literal_eval(part) for part in parts[:2])
    except (ValueError, SyntaxError):
        raise ParameterTypeInvalid(
            f"--set {setting}: write {kind}(LOW,HIGH) or {kind}(LOW,HIGH,log-uniform), such as Integer(5,50)"
        ) from None
    if len(parts) > 3:
        raise ParameterTypeInvalid(f"--set {setting}: {kind} takes LOW, HIGH and at most a prior")
    prior: Any = parts[2] if len(parts) > 2 else "uniform"
    return Integer(low, high, prior) if kind == "Integer" else Real(low, high, prior)


def _sample_of(current: Any) -> Any:
    """Return one value of a parameter, to tell the type from."""
    if isinstance(current, list):
        return current[0] if current else None
    if isinstance(current, Categorical):
        return current.categories[0]
    return current.low if isinstance(current, Real | Integer) else current


_DIMENSION = re.compile(r"(Integer|Real|Categorical)\s*\((.*)\)")
_COMMA = re.compile(r",(?![^()\[\]]*[)\]])")
"""A comma that is not inside brackets."""


def _parse_value(setting: str, text: str, current: Any) -> Any:
    if isinstance(current, Enum):
        return _parse_member(setting, text, type(current))
    if isinstance(current, datetime):
        return parse_time(f"--set {setting}", text)
    if isinstance(current, timedelta):
        return parse_period(f"--set {setting}", text)
    if isinstance(current, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise ParameterTypeInvalid(f"--set {setting}: {text!r} is no number, None, True or False, or tuple") from None
    is_number = isinstance(current, int | float) and not isinstance(current, bool)
    if is_number and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ParameterTypeInvalid(f"--set {setting}: {text!r} is no number, the strategy has {current!r}")
    if isinstance(current, bool) and not isinstance(value, bool):
        raise ParameterTypeInvalid(f"--set {setting}: {text!r} is not True or False")
    return value


def _parse_member(setting: str, text: str, kind: type[Enum]) -> Enum:
    for member in kind:
        if text in (member.name, str(member.value)):
            return member
    names = ", ".join(member.name for member in kind)
    raise ParameterTypeInvalid(f"--set {setting}: {text!r} is no {kind.__name__}: use one of {names}")
