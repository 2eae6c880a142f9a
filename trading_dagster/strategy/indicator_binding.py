"""How the engine supplies the arguments of an indicator function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from trading_dagster.domain.error import IndicatorFunctionSignatureMismatch

IndicatorFunction: TypeAlias = Callable[..., Any]

CANDLE_ARGUMENTS = ("open", "high", "low", "close", "volume")
CONTEXT_ARGUMENTS = ("strategy_universe", "dependency_resolver", "pair", "execution_context", "timestamp")
RESERVED_ARGUMENTS = frozenset((*CANDLE_ARGUMENTS, *CONTEXT_ARGUMENTS))
"""Argument names the engine supplies; every other argument is a parameter."""

_COLUMN_OF_ARGUMENT = {**{name: name for name in CANDLE_ARGUMENTS}, "open_": "open"}


class IndicatorSource(Enum):
    """What an indicator is calculated from, and whether once or for each pair."""

    close_price = "close_price"
    open_price = "open_price"
    ohlcv = "ohlcv"
    tvl = "tvl"
    external_per_pair = "external_per_pair"
    dependencies_only_per_pair = "dependencies_only_per_pair"
    strategy_universe = "strategy_universe"
    dependencies_only_universe = "dependencies_only_universe"

    def is_per_pair(self) -> bool:
        """Tell whether the indicator has one result for each pair."""
        return self not in (IndicatorSource.strategy_universe, IndicatorSource.dependencies_only_universe)

    def is_dependencies_only(self) -> bool:
        """Tell whether the function gets nothing but the results of other indicators."""
        return self in (IndicatorSource.dependencies_only_per_pair, IndicatorSource.dependencies_only_universe)


@dataclass(frozen=True, slots=True)
class InputBinding:
    """How the engine calls an indicator function.

    Attributes:
        positional: What the first positional argument is: a column name, "strategy_universe", or None for nothing.
        columns: Argument name to candle column, passed by name.
        context: Reserved non-candle arguments the function names, passed by name.
    """

    positional: str | None
    columns: Mapping[str, str]
    context: frozenset[str]


def function_arguments(func: IndicatorFunction) -> dict[str, inspect.Parameter] | None:
    """Return the named arguments of a function, or None when it does not tell."""
    try:
        arguments = inspect.signature(func).parameters
    except (ValueError, TypeError):
        return None
    return {name: a for name, a in arguments.items() if a.kind not in (a.VAR_KEYWORD, a.VAR_POSITIONAL)}


def _accepts_any_name(func: IndicatorFunction) -> bool:
    try:
        arguments = inspect.signature(func).parameters.values()
    except (ValueError, TypeError):
        return True
    return any(argument.kind is argument.VAR_KEYWORD for argument in arguments)


def bind_input(
    name: str, func: IndicatorFunction, parameters: Mapping[str, Any], source: IndicatorSource
) -> InputBinding:
    """Decide what a function gets besides its parameters.

    Raises:
        IndicatorFunctionSignatureMismatch: A parameter is not an argument, or an argument has nothing to fill it.
    """
    arguments = function_arguments(func)
    if arguments is None:
        return _bind_without_signature(name, source)
    unknown = [parameter for parameter in parameters if parameter not in arguments]
    if unknown and not _accepts_any_name(func):
        raise IndicatorFunctionSignatureMismatch(
            f"Indicator {name!r}: the function has no argument {', '.join(map(repr, unknown))}; "
            f"its arguments are {', '.join(arguments)}"
        )
    free = {argument: a for argument, a in arguments.items() if argument not in parameters}
    context = frozenset(argument for argument in free if argument in CONTEXT_ARGUMENTS)
    rest = [argument for argument in free if argument not in context]
    supplied = _supplied(source, rest, context)
    if not supplied and source in _NEEDS_INPUT:
        raise IndicatorFunctionSignatureMismatch(
            f"Indicator {name!r} of source {source.value}: no argument takes the data; name "
            f"{_NEEDS_INPUT[source]}; the arguments are {', '.join(arguments) or 'none'}"
        )
    lacking = [
        argument
        for argument, a in free.items()
        if a.default is a.empty and argument not in supplied and argument not in context
    ]
    if lacking:
        raise IndicatorFunctionSignatureMismatch(
            f"Indicator {name!r} of source {source.value}: nothing supplies the argument "
            f"{', '.join(map(repr, lacking))}; add it to the parameters, give it a default or choose another source"
        )
    if any(free[argument].kind is inspect.Parameter.POSITIONAL_ONLY for argument in supplied):
        return InputBinding(next(iter(supplied.values())), {}, context)
    if source is IndicatorSource.strategy_universe:
        return InputBinding("strategy_universe" if supplied else None, {}, context)
    return InputBinding(None, supplied, context)


_NEEDS_INPUT = {
    IndicatorSource.close_price: "it close, or give it one argument that is not a parameter",
    IndicatorSource.open_price: "it open, or give it one argument that is not a parameter",
    IndicatorSource.tvl: "it close, or give it one argument that is not a parameter",
    IndicatorSource.ohlcv: "at least one of open, high, low, close, volume",
}


def _supplied(source: IndicatorSource, rest: list[str], context: frozenset[str]) -> dict[str, str]:
    """Return argument name to what fills it."""
    if source is IndicatorSource.close_price:
        return dict.fromkeys(rest[:1], "close")
    if source is IndicatorSource.open_price:
        return dict.fromkeys(rest[:1], "open")
    columns = {name: _COLUMN_OF_ARGUMENT[name] for name in rest if name in _COLUMN_OF_ARGUMENT}
    if source is IndicatorSource.ohlcv:
        return columns
    if source is IndicatorSource.tvl:
        return columns or dict.fromkeys(rest[:1], "close")
    if source is IndicatorSource.strategy_universe and "strategy_universe" not in context:
        return dict.fromkeys(rest[:1], "strategy_universe")
    return {}


def _bind_without_signature(name: str, source: IndicatorSource) -> InputBinding:
    first = {
        IndicatorSource.close_price: "close",
        IndicatorSource.open_price: "open",
        IndicatorSource.tvl: "close",
        IndicatorSource.strategy_universe: "strategy_universe",
    }.get(source)
    if first is None:
        raise IndicatorFunctionSignatureMismatch(
            f"Indicator {name!r} of source {source.value}: the function does not tell its arguments, "
            "wrap it in a Python function that names them"
        )
    return InputBinding(first, {}, frozenset())
