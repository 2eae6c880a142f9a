"""The combinations of a grid search: the Cartesian product of the parameters that are lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

from trading_dagster.domain.error import BadInput
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.indicator_registry import IndicatorRegistry
from trading_dagster.strategy.parameters import StrategyParameters

CreateIndicators: TypeAlias = "Callable[..., Any] | IndicatorRegistry"
RESULT_SUFFIX = ".grid"
"""Ending of the files in which results are kept."""


@dataclass(frozen=True, slots=True)
class GridCombination:
    """One point of a grid.

    Attributes:
        index: Its number, from 1.
        parameters: A single value for every parameter.
        searched: Names of the parameters that differ between combinations, in their order.
        result_path: Folder of kept results; None keeps none.
        create_indicators: What makes the indicators, where the search is not told otherwise.
        universe: What to calculate them from, where the search is not told otherwise.
    """

    index: int
    parameters: StrategyParameters
    searched: tuple[str, ...] = ()
    result_path: Path | None = None
    create_indicators: CreateIndicators | None = field(default=None, repr=False, compare=False)
    universe: TradingStrategyUniverse | None = field(default=None, repr=False, compare=False)

    @property
    def label(self) -> str:
        """Return "#1, fast=10, slow=40": number and searched values."""
        return self.get_label()

    def get_label(self) -> str:
        """Return "#1, fast=10, slow=40": number and searched values."""
        return ", ".join([f"#{self.index}", *(f"{name}={value}" for name, value in self.get_searched().items())])

    def get_searched(self) -> dict[str, Any]:
        """Return the searched parameters by name."""
        return {name: self.parameters[name] for name in self.searched}

    def get_parameter(self, name: str) -> Any:
        """Return a parameter; raises ParameterMissing with the names there are."""
        return self.parameters[name]


def prepare_grid_combinations(
    parameters: type | StrategyParameters,
    result_path: Path | str | None = None,
    clear_cached_results: bool = False,
    create_indicators: CreateIndicators | None = None,
    strategy_universe: TradingStrategyUniverse | None = None,
    execution_context: object = None,  # noqa: ARG001 - part of the vocabulary
) -> list[GridCombination]:
    """Return every combination of the parameters that are lists, the last one varying fastest.

    A list of one value is that value. Give a tuple where the value itself is a sequence.

    Args:
        parameters: A class or parameters; lists are searched.
        result_path: Folder in which the search keeps results, so that an interrupted one goes on.
        clear_cached_results: Forget the results in the folder first.
        create_indicators: Makes the indicators of a combination from its parameters.
        strategy_universe: The universe to search on.
        execution_context: Has no effect; a search makes its own.

    Raises:
        BadInput: A list is empty.
        ParameterTypeInvalid: A value is of a type that the engine cannot use.

    >>> class Parameters:
    ...     fast, slow = [5, 10], [20, 40, 80]
    >>> [combination.label for combination in prepare_grid_combinations(Parameters)][:2]
    ['#1, fast=5, slow=20', '#2, fast=5, slow=40']
    """
    values = parameters if isinstance(parameters, StrategyParameters) else StrategyParameters.from_class(parameters)
    choices: dict[str, list[Any]] = {name: value for name, value in values.items() if isinstance(value, list)}
    empty = [name for name, choice in choices.items() if not choice]
    if empty:
        raise BadInput(f"Parameters.{empty[0]} is an empty list: give the values to search, or a single one")
    searched = tuple(name for name, choice in choices.items() if len(choice) > 1)
    folder = None if result_path is None else Path(result_path)
    if folder is not None and clear_cached_results:
        for file in folder.glob(f"*{RESULT_SUFFIX}"):
            file.unlink()
    return [
        GridCombination(
            index,
            values.replace(**dict(zip(choices, chosen, strict=True))),
            searched,
            folder,
            create_indicators,
            strategy_universe,
        )
        for index, chosen in enumerate(product(*choices.values()), start=1)
    ]
