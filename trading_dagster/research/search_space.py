"""The space that an optimiser searches: the dimensions in Parameters, and the points that can be told apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from itertools import product
from typing import Any, TypeAlias

from trading_dagster.domain.error import BadInput
from trading_dagster.strategy.dimension import Categorical, Dimension, Integer, Real
from trading_dagster.strategy.parameters import StrategyParameters

Place: TypeAlias = tuple[int, ...]
"""A point: along each dimension a whole number, the number of a choice or of roundings."""


def prepare_optimiser_parameters(parameters: type | StrategyParameters) -> StrategyParameters:
    """Return parameters whose dimensions know their names.

    A list of several values is a `Categorical`, a list of one is that value.

    Raises:
        BadInput: There is no dimension.
        ParameterTypeInvalid: A value is of a type that the engine cannot use.

    >>> class Parameters:
    ...     fast, slow = Integer(5, 20), 50
    >>> prepare_optimiser_parameters(Parameters).fast.name
    'fast'
    """
    values = parameters if isinstance(parameters, StrategyParameters) else StrategyParameters.from_class(parameters)
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, list):
            if not value:
                raise BadInput(f"Parameters.{name} is an empty list: give the values to search, or a single one")
            changes[name] = value[0] if len(value) == 1 else Categorical(value, name=name)
        elif isinstance(value, Real | Integer | Categorical):
            changes[name] = replace(value, name=name)
    if not any(isinstance(value, Real | Integer | Categorical) for value in changes.values()):
        raise BadInput(
            "There is nothing to optimise: write a range or choice into Parameters, such as fast = Integer(5, 50), "
            "allocation = Real(0.5, 1.0) or rule = Categorical(['a', 'b']); where settings are text, as with --set, "
            'write "fast=Integer(5,50)"'
        )
    return values.replace(**changes)


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension, as whole numbers from ``low`` to ``high``.

    Attributes:
        dimension: What it is the axis of.
        low: Its smallest number.
        high: Its largest number.
        step: What a real number is a multiple of.
    """

    dimension: Dimension
    low: int
    high: int
    step: Decimal = Decimal(1)

    @classmethod
    def of(cls, dimension: Dimension, rounding: Decimal) -> Axis:
        """Return the axis of a dimension; raises BadInput when rounding leaves a range of reals no two values."""
        if isinstance(dimension, Integer):
            return cls(dimension, dimension.low, dimension.high)
        if isinstance(dimension, Categorical):
            return cls(dimension, 0, len(dimension.categories) - 1)
        low = int((Decimal(str(dimension.low)) / rounding).to_integral_value(ROUND_CEILING))
        high = int((Decimal(str(dimension.high)) / rounding).to_integral_value(ROUND_FLOOR))
        if low >= high:
            raise BadInput(
                f"Parameters.{dimension.name} is {dimension!r}, but numbers are rounded to {rounding}, which leaves "
                "no two values: give a smaller real_space_rounding"
            )
        return cls(dimension, low, high, rounding)

    def locate(self, value: float) -> int:
        """Return the number on the axis that is nearest to a value along the dimension."""
        number = (Decimal(str(value)) / self.step).to_integral_value(ROUND_HALF_EVEN)
        return max(self.low, min(int(number), self.high))

    def value_at(self, number: int) -> Any:
        """Return the parameter's value at a number on the axis."""
        if isinstance(self.dimension, Categorical):
            return self.dimension.categories[number]
        return number if isinstance(self.dimension, Integer) else float(number * self.step)

    @property
    def telling(self) -> Sequence[int]:
        """Return the numbers that tell whether all values are of use: each choice, or the ends of a range."""
        return range(self.size) if isinstance(self.dimension, Categorical) else (self.low, self.high)

    @property
    def size(self) -> int:
        """Return how many values there are."""
        return self.high - self.low + 1


class SearchSpace:
    """The dimensions of prepared parameters.

    Args:
        parameters: From `prepare_optimiser_parameters`.
        rounding: What real numbers are multiples of.

    Raises:
        BadInput: The rounding is none, or leaves no two values of a range.
        ParameterTypeInvalid: The engine refuses a choice or an end of a range.
    """

    def __init__(self, parameters: StrategyParameters, rounding: Decimal | float | str = Decimal("0.01")) -> None:
        step = Decimal(str(rounding))
        if not (step.is_finite() and step > 0):
            raise BadInput(f"real_space_rounding is {rounding!r}: give a number above 0 such as Decimal('0.01')")
        self.parameters = parameters
        self.axes = {
            name: Axis.of(value, step)
            for name, value in parameters.items()
            if isinstance(value, Real | Integer | Categorical)
        }
        for name, axis in self.axes.items():
            for number in axis.telling:
                parameters.replace(**{name: axis.value_at(number)})  # what the engine refuses, it refuses now

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the dimensions, in their order."""
        return tuple(self.axes)

    @property
    def size(self) -> int:
        """Return how many points can be told apart."""
        return math.prod(axis.size for axis in self.axes.values())

    def locate(self, proposed: Mapping[str, float]) -> Place:
        """Return the point nearest to a proposal; of a choice the proposal is its number."""
        return tuple(axis.locate(proposed[name]) for name, axis in self.axes.items())

    def parameters_at(self, place: Place) -> StrategyParameters:
        """Return the strategy's parameters at a point; raises ParameterTypeInvalid when the engine refuses a value."""
        values = {name: axis.value_at(number) for (name, axis), number in zip(self.axes.items(), place, strict=True)}
        return self.parameters.replace(**values)

    def iterate(self) -> Iterator[Place]:
        """Yield every point, the last dimension varying fastest."""
        return product(*(range(axis.low, axis.high + 1) for axis in self.axes.values()))
