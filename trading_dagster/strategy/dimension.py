"""Dimensions of a parameter search: ranges and choices that stand in Parameters in the place of a value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from trading_dagster.domain.error import ParameterTypeInvalid

Prior: TypeAlias = Literal["uniform", "log-uniform"]


@dataclass(frozen=True, slots=True)
class Real:
    """Any number from ``low`` to ``high``, both included; an optimiser rounds it before it is used.

    Args:
        low: Smallest value.
        high: Largest value.
        prior: "log-uniform" tries as many values between 0.01 and 0.1 as between 0.1 and 1.
        name: The parameter's; prepare_optimiser_parameters() gives it.
    """

    low: float
    high: float
    prior: Prior = "uniform"
    name: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the range."""
        _check_range(self, (int, float))


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number from ``low`` to ``high``, both included.

    Args:
        low: Smallest value.
        high: Largest value.
        prior: "log-uniform" tries as many values between 1 and 10 as between 10 and 100.
        name: The parameter's; prepare_optimiser_parameters() gives it.
    """

    low: int
    high: int
    prior: Prior = "uniform"
    name: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the range."""
        _check_range(self, int)


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of several values that have no order.

    Args:
        categories: The values; of any type.
        name: The parameter's; prepare_optimiser_parameters() gives it.
    """

    categories: Sequence[Any]
    name: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check that there are values and that none is there twice."""
        values = self.categories
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ParameterTypeInvalid(f"Categorical({values!r}): give a list of values such as Categorical([5, 10])")
        object.__setattr__(self, "categories", tuple(values))
        twice = [value for place, value in enumerate(values) if value in values[:place]]
        if twice:
            raise ParameterTypeInvalid(f"{self!r}: {twice[0]!r} is there twice")


Dimension: TypeAlias = Real | Integer | Categorical


def _check_range(dimension: Real | Integer, expected: type | tuple[type, ...]) -> None:
    low, high = dimension.low, dimension.high
    for value in (low, high):
        if isinstance(value, bool) or not isinstance(value, expected) or not math.isfinite(value):
            what = "whole numbers" if isinstance(dimension, Integer) else "numbers"
            raise ParameterTypeInvalid(f"{dimension!r}: the range is from {low!r} to {high!r}, give {what}")
    if low >= high:
        raise ParameterTypeInvalid(f"{dimension!r}: {low} is not below {high}; for one value write the value itself")
    if dimension.prior not in ("uniform", "log-uniform"):
        raise ParameterTypeInvalid(f"{dimension!r}: prior is {dimension.prior!r}, use 'uniform' or 'log-uniform'")
    if dimension.prior == "log-uniform" and low <= 0:
        raise ParameterTypeInvalid(f"{dimension!r}: a log-uniform range begins above 0")
