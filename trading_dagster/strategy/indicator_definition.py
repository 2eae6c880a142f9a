"""What an indicator is: its function, source, parameters and place in the order of calculation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from trading_dagster.domain.error import (
    IndicatorDefinedTwice,
    IndicatorDependencyResolutionError,
    IndicatorError,
    IndicatorNotFound,
)
from trading_dagster.strategy.indicator_binding import IndicatorFunction, IndicatorSource, InputBinding, bind_input


@dataclass(frozen=True, slots=True, eq=False)
class IndicatorDefinition:
    """One indicator, or one variation of it.

    Args:
        name: What strategies ask for.
        func: Called with its input and ``parameters`` by name; returns a Series or a DataFrame on a DatetimeIndex of
            bar open times, or None.
        parameters: Values of the function's own arguments.
        source: What it is calculated from.
        order: All indicators of an order are calculated before the next order begins; from 1.
        dependencies: Names of the indicators it reads, None when not declared.
        has_variations: True when made as one of several parameter combinations.
    """

    name: str
    func: IndicatorFunction
    parameters: Mapping[str, Any]
    source: IndicatorSource
    order: int = 1
    dependencies: tuple[str, ...] | None = None
    has_variations: bool = False
    label: str = field(init=False)
    binding: InputBinding = field(init=False)

    def __post_init__(self) -> None:
        """Check the function's signature; raises IndicatorFunctionSignatureMismatch."""
        if self.order < 1:
            raise IndicatorError(f"Indicator {self.name} has order {self.order}: orders count from 1")
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))
        shown = ", ".join(f"{name}={value!r}" for name, value in sorted(self.parameters.items()))
        object.__setattr__(self, "label", f"{self.name}({shown})" if self.has_variations else self.name)
        object.__setattr__(self, "binding", bind_input(self.name, self.func, self.parameters, self.source))

    def __str__(self) -> str:
        """Return name, source and order."""
        return f"{self.label} [{self.source.value}, order {self.order}]"

    def matches(self, parameters: Mapping[str, Any]) -> bool:
        """Tell whether every given parameter has the given value here."""
        missing = object()
        return all(self.parameters.get(name, missing) == value for name, value in parameters.items())


class IndicatorSet:
    """The indicators of a strategy, in the order of definition.

    Example::

        indicators = IndicatorSet()
        indicators.add("rsi", talib.RSI, {"timeperiod": 14})
    """

    def __init__(self, *, timestamp: datetime | None = None, execution_context: object = None) -> None:
        """Begin empty; ``timestamp`` and ``execution_context`` go to functions that name these arguments."""
        self.timestamp = timestamp
        self.execution_context = execution_context
        self._by_label: dict[str, IndicatorDefinition] = {}
        self._by_name: dict[str, list[IndicatorDefinition]] = {}

    def __iter__(self) -> Iterator[IndicatorDefinition]:
        """Iterate over all definitions, variations included."""
        return iter(self._by_label.values())

    def __len__(self) -> int:
        """Return the number of definitions, variations included."""
        return len(self._by_label)

    def __contains__(self, name: object) -> bool:
        """Tell whether an indicator of that name is defined."""
        return name in self._by_name

    def add(
        self,
        name: str,
        func: IndicatorFunction,
        parameters: Mapping[str, Any] | None = None,
        source: IndicatorSource = IndicatorSource.close_price,
        order: int = 1,
        variations: bool = False,
    ) -> None:
        """Define an indicator.

        Args:
            name: Unique name that strategies ask for.
            func: The input series is its first positional argument, parameters are passed by name.
            parameters: Values by argument name; with ``variations`` a list of values for each.
            source: What the function is calculated from.
            order: 1, or higher than the order of every indicator the function reads.
            variations: Make one indicator of each combination of the listed values.

        Raises:
            IndicatorFunctionSignatureMismatch: A parameter name is not an argument of the function.
            IndicatorDefinedTwice: The name is taken.
        """
        if name in self._by_name:
            raise IndicatorDefinedTwice(f"Indicator {name!r} is defined already: give the second one another name")
        parameters = dict(parameters or {})
        combinations = [parameters] if not variations else list(_combinations(name, parameters))
        for combination in combinations:
            self.add_definition(
                IndicatorDefinition(name, func, combination, source, order=order, has_variations=variations)
            )

    def add_definition(self, definition: IndicatorDefinition) -> None:
        """Add a ready definition; several may share a name only as variations of one indicator."""
        siblings = self._by_name.get(definition.name, [])
        if definition.label in self._by_label or any(not s.has_variations for s in siblings):
            raise IndicatorDefinedTwice(
                f"Indicator {definition.label!r} is defined already: give the second one another name"
            )
        self._by_label[definition.label] = definition
        self._by_name.setdefault(definition.name, []).append(definition)

    def in_order(self) -> list[IndicatorDefinition]:
        """Return all definitions sorted by order, those of one order as they were defined."""
        return sorted(self, key=lambda definition: definition.order)

    def get_variations(self, name: str) -> list[IndicatorDefinition]:
        """Return all definitions of a name (or of one label); raises IndicatorNotFound."""
        found = self._by_name.get(name)
        if found is None and name in self._by_label:
            found = [self._by_label[name]]
        if found is None:
            raise IndicatorNotFound(not_found_message(name, self._by_name))
        return found

    def resolve(
        self, name_or_func: str | IndicatorFunction, parameters: Mapping[str, Any] | None = None
    ) -> IndicatorDefinition:
        """Return the one definition of a name or function that has the given parameters.

        Raises:
            IndicatorNotFound: Nothing has that name.
            IndicatorDependencyResolutionError: No variation, or several, match.
        """
        name = name_or_func if isinstance(name_or_func, str) else self._name_of(name_or_func)
        variations = self.get_variations(name)
        if parameters is None:
            matching = variations
        else:
            matching = [d for d in variations if d.parameters == parameters] or [
                d for d in variations if d.matches(parameters)
            ]
        if len(matching) == 1:
            return matching[0]
        raise IndicatorDependencyResolutionError(
            f"{len(matching)} variations of indicator {name!r} match parameters {parameters}: "
            f"name the parameters of exactly one of {[dict(d.parameters) for d in variations]}"
        )

    def _name_of(self, func: IndicatorFunction) -> str:
        for definition in self:
            if definition.func is func:
                return definition.name
        return str(getattr(func, "__name__", func))


def not_found_message(name: object, known: Mapping[str, Any]) -> str:
    """Say that a name is unknown, and what it may have been."""
    import difflib  # only when something went wrong

    close = difflib.get_close_matches(str(name), list(known), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"defined are: {', '.join(known) or 'none'}"
    return f"No indicator is called {name!r}: {hint}"


def _combinations(name: str, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, values in parameters.items():
        if not isinstance(values, list | tuple | range) or not len(values):
            raise IndicatorError(
                f"Indicator {name!r} has variations, so parameter {key!r} must be a non-empty list of values, "
                f"but it is {values!r}"
            )
    for combination in itertools.product(*parameters.values()):
        yield dict(zip(parameters, combination, strict=True))
