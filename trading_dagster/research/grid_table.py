"""Read the results of a grid search: as a table, the best ones, one of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.research.grid_result import GridSearchResult

FRACTIONS = (
    "CAGR", "Max DD", "Win rate", "Avg pos", "Med pos", "Time in market", "Avg capital util", "Max cash %", "PSR",
    "cVaR",
)  # fmt: skip
"""Columns whose 0.01 is 1 %."""

COUNTS = ("Positions", "Trades", "Longest DD")
MEASURES = {
    "CAGR": "CAGR%",
    "Max DD": "Max DD",
    "Sharpe": "Sharpe",
    "Sortino": "Sortino",
    "Calmar": "Calmar",
    "PSR": "PSR",
    "Ulcer Index": "Ulcer Index",
    "UPI": "Ulcer Performance Index",
    "cVaR": "Expected Shortfall (cVaR)",
    "Recovery": "Recovery Factor",
    "Longest DD": "Longest DD",
}
COLUMNS = (
    "Positions", "Trades", "Optim", "CAGR", "Max DD", "Sharpe", "Sortino", "Calmar", "Win rate", "Avg pos", "Med pos",
    "Time in market", "Avg capital util", "Max cash %", "PSR", "Ulcer Index", "UPI", "cVaR", "Recovery", "Longest DD",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GridSearchBest:
    """The best results by several measures; None where no combination has a value."""

    cagr: GridSearchResult | None
    max_drawdown: GridSearchResult | None
    sharpe: GridSearchResult | None
    sortino: GridSearchResult | None


def analyse_grid_search_result(results: Sequence[GridSearchResult], min_positions_threshold: int = 5) -> pd.DataFrame:
    """Return a row for each result, indexed by the searched parameters.

    Args:
        results: From `perform_grid_search`.
        min_positions_threshold: With fewer positions than this the measures are chance: they are NaN.

    Returns:
        Fractions (0.01 = 1 %), ratios, counts and days; NaN where there is no value, and for failed combinations.
        Positions are closed and open ones; ``Avg capital util`` is 1 - mean cash ÷ equity, ``Max cash %`` the largest
        cash ÷ equity from the first position on.
    """
    searched = list(dict.fromkeys(name for each in results for name in each.combination.searched))
    rows = [_measure(each, each.get_position_count() >= min_positions_threshold) for each in results]
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype="float64").astype({"Positions": "int64", "Trades": "int64"})
    if not searched:
        table.index = pd.Index([each.combination.index for each in results], name="combination")
    elif len(searched) == 1:
        table.index = pd.Index([each.get_parameter(searched[0]) for each in results], name=searched[0])
    else:
        values = [tuple(each.get_parameter(name) for name in searched) for each in results]
        table.index = pd.MultiIndex.from_tuples(values, names=searched)
    return table


def analyse_combination_grid_search(result: GridSearchResult, min_positions_threshold: int = 5) -> dict[str, Any]:
    """Return the searched parameters and measures of one result by name: its row of `analyse_grid_search_result`.

    Args:
        result: Of `perform_grid_search`.
        min_positions_threshold: With fewer positions than this the measures are chance: they are left out.
    """
    return {
        **result.combination.get_searched(),
        **_measure(result, result.get_position_count() >= min_positions_threshold),
    }


def _measure(result: GridSearchResult, is_enough: bool) -> dict[str, Any]:
    counts: dict[str, Any] = {"Positions": result.get_position_count(), "Trades": result.get_trade_count()}
    summary, cash_use = result.summary, result.cash_use
    if summary is None or cash_use is None or not is_enough:
        return counts
    return {
        **counts,
        **{column: result.get_number(measure) for column, measure in MEASURES.items()},
        "Optim": result.optimiser_search_value,
        "Win rate": result.get_win_rate(),
        "Avg pos": summary.average_trade,
        "Med pos": summary.median_trade,
        "Time in market": summary.time_in_market,
        "Avg capital util": cash_use.utilisation,
        "Max cash %": cash_use.max_cash,
    }


def render_grid_search_result_table(results: pd.DataFrame | Sequence[GridSearchResult]) -> pd.DataFrame:
    """Return the table as text for people: percent signs, two decimals, "-" where there is no value.

    Args:
        results: The table of `analyse_grid_search_result`, or results.
    """
    table = results if isinstance(results, pd.DataFrame) else analyse_grid_search_result(results)
    return pd.DataFrame(
        {name: [_cell(str(name), value) for value in column] for name, column in table.items()}, index=table.index
    )


def _cell(column: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    if column in COUNTS:
        return f"{value:,.0f}"
    return f"{value:z.2%}" if column in FRACTIONS else f"{value:z.2f}"


def order_grid_search_results_by_metric(
    results: Sequence[GridSearchResult], metric: str = "Sharpe"
) -> list[GridSearchResult]:
    """Return results with the highest value of a measure first; those without a value last, in their order."""
    return sorted(results, key=lambda each: _rank(each.get_number(metric)))


def _rank(value: float) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(value) else (False, -value)


def find_best_grid_search_results(results: Sequence[GridSearchResult]) -> GridSearchBest:
    """Return the results of highest CAGR, Sharpe and Sortino, and of the shallowest drawdown; of equals the first."""
    return GridSearchBest(
        cagr=pick_best_grid_search_result(results, GridSearchResult.get_cagr),
        max_drawdown=pick_best_grid_search_result(results, GridSearchResult.get_max_drawdown),
        sharpe=pick_best_grid_search_result(results, GridSearchResult.get_sharpe),
        sortino=pick_best_grid_search_result(results, GridSearchResult.get_sortino),
    )


def pick_best_grid_search_result(
    results: Sequence[GridSearchResult], key: Callable[[GridSearchResult], float] = GridSearchResult.get_cagr
) -> GridSearchResult | None:
    """Return the result with the highest value, of equals the first; None when none has a value."""
    valued = [each for each in results if each.has_result() and not math.isnan(key(each))]
    return max(valued, key=key, default=None)


def pick_grid_search_result(results: Sequence[GridSearchResult], **parameters: Any) -> GridSearchResult:
    """Return the result with these parameters.

    Raises:
        BadInput: No result has them, or several have.
        ParameterMissing: There is no parameter of a name.
    """
    found = [each for each in results if all(each.get_parameter(n) == value for n, value in parameters.items())]
    if len(found) == 1:
        return found[0]
    asked = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
    if not found:
        known = "; ".join(each.get_label() for each in results[:5])
        raise BadInput(f"No combination has {asked}: there are {len(results)}, such as {known}")
    raise BadInput(f"{len(found)} combinations have {asked or 'any parameters'}: name more of what was searched")
