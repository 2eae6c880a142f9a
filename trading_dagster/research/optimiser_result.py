"""What an optimisation found, as users read it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from trading_dagster.research.grid_result import GridSearchResult
from trading_dagster.research.grid_table import analyse_grid_search_result
from trading_dagster.research.objective import OptimiserSearchResult
from trading_dagster.statistics.measure_ratio import deflated_sharpe_ratio, sharpe_ratio_per_period
from trading_dagster.strategy.parameters import StrategyParameters


@dataclass(frozen=True, eq=False)
class OptimiserResult:
    """What an optimisation found.

    Attributes:
        parameters: With the dimensions that were searched.
        tried: Every point, in the order in which they were tried.
        importances: How much each dimension tells good points from the rest, in shares of 1; empty with too few points.
    """

    parameters: StrategyParameters
    tried: Sequence[OptimiserSearchResult]
    importances: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return a line a person can read."""
        return f"<OptimiserResult {len(self.tried)} points, best {self.best}>"

    @cached_property
    def results(self) -> list[OptimiserSearchResult]:
        """Return every point, best first; those that may not be chosen come last, in the order they were tried."""
        return sorted(self.tried, key=lambda each: (not each.is_valid(), each.value if each.is_valid() else 0.0))

    @property
    def best(self) -> OptimiserSearchResult | None:
        """Return the best point; None when none may be chosen."""
        return self.results[0] if self.results and self.results[0].is_valid() else None

    @cached_property
    def history(self) -> pd.DataFrame:
        """Return a row for each point, by its number: its value, and the best value up to then; NaN where none is."""
        values = [each.value if each.is_valid() else math.nan for each in self.tried]
        best = pd.Series(values, dtype="float64").cummin().ffill()
        sign = -1.0 if self.is_maximised else 1.0
        return pd.DataFrame(
            {"value": [sign * value for value in values], "best": (sign * best).to_numpy()},
            index=pd.RangeIndex(1, len(values) + 1, name="point"),
        )

    @property
    def is_maximised(self) -> bool:
        """Tell whether more of what was looked for is better."""
        return any(each.negative for each in self.tried)

    def get_results_as_grid_search_results(self) -> list[GridSearchResult]:
        """Return the backtests, best first, as those of a grid search."""
        return [
            replace(each.result, optimiser_search_value=each.get_original_value() if each.is_valid() else None)
            for each in self.results
            if each.result is not None
        ]

    def explain_no_best(self) -> str:
        """Return why no point can be chosen, and what to do."""
        errors = [each.result.exception for each in self.tried if each.result is not None and each.result.exception]
        first = f", the first with {type(errors[0]).__name__}: {str(errors[0]).splitlines()[0]}" if errors else ""
        return (
            f"None of {self.get_combination_count()} points can be chosen: {len(errors)} failed{first}; "
            f"{self.get_filtered_count()} have no value or did not pass the filter of results: search on a longer "
            "range, or lower the number of trades that the filter wants"
        )

    def get_deflated_sharpe(self) -> float:
        """Return the probability that the best point's Sharpe ratio is more than the luck of so many tries.

        It counts every point as a try of its own, although proposed points resemble each other: it is on the safe side.
        """
        best = None if self.best is None else self.best.result
        if best is None or best.returns is None:
            return math.nan
        returns = [each.result.returns for each in self.tried if each.result is not None]
        sharpes = [sharpe_ratio_per_period(each.dropna()) for each in returns if each is not None]
        return deflated_sharpe_ratio(best.returns.dropna(), sharpes)

    def get_combination_count(self) -> int:
        """Return how many points were tried."""
        return len(self.tried)

    def get_cached_count(self) -> int:
        """Return how many were known from an earlier search."""
        return sum(each.result is not None and each.result.cached for each in self.tried)

    def get_failed_count(self) -> int:
        """Return how many ended with an error."""
        return sum(each.result is not None and not each.result.has_result() for each in self.tried)

    def get_filtered_count(self) -> int:
        """Return how many ran, but may not be chosen: the filter refused them, or they have no value."""
        return sum(not each.is_valid() for each in self.tried) - self.get_failed_count()


def analyse_optimiser_result(
    result: OptimiserResult, max_search_results: int = 100, exclude_filtered: bool = True
) -> pd.DataFrame:
    """Return a row for each point, best first, as `analyse_grid_search_result` does; "Optim" is what was looked for.

    Args:
        result: From `perform_optimisation`.
        max_search_results: So many rows at most.
        exclude_filtered: Leave out the points that may not be chosen.
    """
    chosen = [each for each in result.results if each.is_valid() or not exclude_filtered][:max_search_results]
    backtests = [
        replace(each.result, optimiser_search_value=each.get_original_value() if each.is_valid() else None)
        for each in chosen
        if each.result is not None
    ]
    return analyse_grid_search_result(backtests, min_positions_threshold=0)
