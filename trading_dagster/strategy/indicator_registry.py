"""Decorated functions as indicators, their arguments bound by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import pandas as pd

from trading_dagster.domain.error import (
    IndicatorDefinedTwice,
    IndicatorError,
    IndicatorFunctionSignatureMismatch,
    IndicatorOrderError,
    NotYetDefined,
    ParameterMissing,
    ParameterTypeInvalid,
)
from trading_dagster.strategy.indicator_binding import (
    CANDLE_ARGUMENTS,
    RESERVED_ARGUMENTS,
    IndicatorFunction,
    IndicatorSource,
    function_arguments,
)
from trading_dagster.strategy.indicator_definition import IndicatorDefinition, IndicatorSet

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_MISSING = object()


@dataclass(frozen=True, slots=True)
class RegisteredIndicator:
    """A decorated function before its parameters are known."""

    name: str
    func: IndicatorFunction
    source: IndicatorSource
    order: int
    dependencies: tuple[str, ...]
    arguments: Mapping[str, inspect.Parameter]

    def bind(self, parameters: object) -> IndicatorDefinition:
        """Read the function's arguments from the strategy parameters.

        Raises:
            ParameterMissing: An argument without default is not a parameter.
            ParameterTypeInvalid: A parameter is a list, which only a grid search can take apart.
        """
        bound: dict[str, Any] = {}
        for name, argument in self.arguments.items():
            if name in RESERVED_ARGUMENTS:
                continue
            value = read_parameter(parameters, name)
            if value is _MISSING:
                if argument.default is not argument.empty:
                    continue
                raise ParameterMissing(
                    f"Indicator {self.name!r} needs the parameter {name!r}: define {name} in Parameters, "
                    "or give the argument a default"
                )
            if isinstance(value, list):
                raise ParameterTypeInvalid(
                    f"Parameter {name!r} of indicator {self.name!r} is the list {value!r}: a list is a dimension of a "
                    "grid search; outside one give a single value (a tuple, if the value itself is a sequence)"
                )
            bound[name] = value
        return IndicatorDefinition(self.name, self.func, bound, self.source, self.order, self.dependencies)


class IndicatorRegistry:
    """Collects indicator functions by decorator.

    Example::

        indicators = IndicatorRegistry()

        @indicators.define()
        def ema_fast(close: pd.Series, fast: int) -> pd.Series:
            return close.ewm(span=fast, adjust=False).mean()

    The indicator's name is the function's name. Arguments named close, open, high, low, volume, strategy_universe,
    dependency_resolver, pair, execution_context and timestamp are supplied by the engine; every other argument is read
    from Parameters under its own name.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._registered: dict[str, RegisteredIndicator] = {}

    def define(
        self,
        source: IndicatorSource | None = None,
        order: int | None = None,
        dependencies: Sequence[IndicatorFunction | str] = (),
    ) -> Callable[[Decorated], Decorated]:
        """Return a decorator that registers a function as an indicator and returns it unchanged.

        Args:
            source: What it is calculated from; detected from the argument names when not given: strategy_universe →
                strategy_universe; open, high, low or volume → ohlcv; close alone → close_price.
            order: 1 without dependencies, else one more than the highest order among them, when not given.
            dependencies: Indicators, or their names, that the function reads; defined before.

        Raises:
            IndicatorDefinedTwice: The name is taken.
            NotYetDefined: A dependency is not defined before.
            IndicatorOrderError: The given order is not higher than that of a dependency.
            IndicatorFunctionSignatureMismatch: The source cannot be detected.
        """
        if source is not None and not isinstance(source, IndicatorSource):
            raise IndicatorError(f"define() got {source!r} as source: write @indicators.define() with parentheses")

        def register(func: Decorated) -> Decorated:
            self._register(func, source, order, tuple(dependencies))
            return func

        return register

    def _register(
        self,
        func: IndicatorFunction,
        source: IndicatorSource | None,
        order: int | None,
        dependencies: tuple[IndicatorFunction | str, ...],
    ) -> None:
        name = str(getattr(func, "__name__", ""))
        if not name.isidentifier():
            raise IndicatorError(f"{func!r} has no name to be an indicator under: decorate a function made with def")
        if name in self._registered:
            raise IndicatorDefinedTwice(f"Indicator {name!r} is defined already: rename the second function")
        needed = [self._find(name, dependency) for dependency in dependencies]
        lowest_order = max((indicator.order for indicator in needed), default=0) + 1
        if order is not None and order < lowest_order:
            raise IndicatorOrderError(
                f"Indicator {name!r} has order {order} but reads indicators of order {lowest_order - 1}: "
                f"use order={lowest_order} or leave it out"
            )
        arguments = function_arguments(func) or {}
        self._registered[name] = RegisteredIndicator(
            name=name,
            func=func,
            source=source or detect_source(name, arguments),
            order=order if order is not None else lowest_order,
            dependencies=tuple(indicator.name for indicator in needed),
            arguments=arguments,
        )

    def _find(self, name: str, dependency: IndicatorFunction | str) -> RegisteredIndicator:
        wanted = dependency if isinstance(dependency, str) else getattr(dependency, "__name__", repr(dependency))
        found = self._registered.get(wanted)
        if found is None or (not isinstance(dependency, str) and found.func is not dependency):
            raise NotYetDefined(
                f"Indicator {name!r} depends on {wanted!r}, which is not defined before it; "
                f"defined so far: {', '.join(self._registered) or 'none'}"
            )
        return found

    def __contains__(self, name: object) -> bool:
        """Tell whether an indicator of that name is registered."""
        return name in self._registered

    def __len__(self) -> int:
        """Return the number of registered indicators."""
        return len(self._registered)

    @property
    def functions(self) -> list[IndicatorFunction]:
        """Return the indicator functions in the order of their definition."""
        return [registered.func for registered in self._registered.values()]

    def create_indicators(
        self,
        timestamp: datetime | None,
        parameters: object,
        strategy_universe: object,  # noqa: ARG002 - part of the strategy module's protocol
        execution_context: object,
    ) -> IndicatorSet:
        """Bind all registered functions to the parameters.

        Args:
            timestamp: Decision time in live trading, None in a backtest.
            parameters: A mapping, or any object or class with the parameters as attributes.
            strategy_universe: Not read here; functions get it when they are calculated.
            execution_context: Handed to functions that name it.

        Raises:
            ParameterMissing: A function needs a parameter that is not there.
            ParameterTypeInvalid: A parameter is a list.
        """
        indicators = IndicatorSet(timestamp=timestamp, execution_context=execution_context)
        for registered in self._registered.values():
            indicators.add_definition(registered.bind(parameters))
        return indicators

    def get_diagnostics(self) -> pd.DataFrame:
        """Return one row for each indicator: source, order, what it depends on, which parameters it reads."""
        rows = [
            {
                "name": r.name,
                "source": r.source.value,
                "order": r.order,
                "dependencies": ", ".join(r.dependencies),
                "parameters": ", ".join(name for name in r.arguments if name not in RESERVED_ARGUMENTS),
                "function": f"{r.func.__module__}.{getattr(r.func, '__qualname__', r.name)}",
            }
            for r in self._registered.values()
        ]
        columns = ["name", "source", "order", "dependencies", "parameters", "function"]
        return pd.DataFrame(rows, columns=columns).set_index("name")


def detect_source(name: str, arguments: Mapping[str, object]) -> IndicatorSource:
    """Return the source that a function's argument names imply; raises IndicatorFunctionSignatureMismatch."""
    if "strategy_universe" in arguments:
        return IndicatorSource.strategy_universe
    if any(column in arguments for column in CANDLE_ARGUMENTS if column != "close"):
        return IndicatorSource.ohlcv
    if "close" in arguments:
        return IndicatorSource.close_price
    raise IndicatorFunctionSignatureMismatch(
        f"Cannot tell what indicator {name!r} is calculated from: its arguments are "
        f"{', '.join(arguments) or 'none'}. Name close, open, high, low, volume or strategy_universe, or say "
        "@indicators.define(source=IndicatorSource...), for example dependencies_only_per_pair"
    )


def read_parameter(parameters: object, name: str) -> Any:
    """Return a parameter of a mapping or of an object with attributes, or a private marker when it is not there."""
    if isinstance(parameters, Mapping):
        return parameters.get(name, _MISSING)
    try:
        return getattr(parameters, name)
    except AttributeError:
        return _MISSING
