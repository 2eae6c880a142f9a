"""What an optimiser looks for: a search function makes one number of a backtest's result, the smaller the better."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from trading_dagster.domain.error import BadInput
from trading_dagster.research.grid_combination import GridCombination
from trading_dagster.research.grid_result import GridSearchResult
from trading_dagster.statistics.returns import calculate_rolling_sharpe

PENALTY = 1e9
"""The value of what must not be chosen, where values are minimised: above any that is valid."""


@dataclass(frozen=True, eq=False)
class OptimiserSearchResult:
    """The value of one point that an optimiser tried.

    Attributes:
        value: What the optimiser minimises.
        negative: Whether more is better, so that ``value`` is the negated measure.
        combination: The point.
        result: Its backtest.
        filtered: Whether it may not be chosen: it failed, has no value, or the filter of results refused it.
    """

    value: float
    negative: bool
    combination: GridCombination | None = None
    result: GridSearchResult | None = None
    filtered: bool = False

    def __repr__(self) -> str:
        """Return a line a person can read."""
        label = "" if self.combination is None else f" {self.combination.get_label()}"
        return f"<OptimiserSearchResult{label}: {'filtered' if self.filtered else f'{self.get_original_value():.4g}'}>"

    @classmethod
    def maximise(cls, measure: float) -> OptimiserSearchResult:
        """Return the result of a search function that wants as much of a measure as there is; NaN is no value."""
        return cls(-measure, True)

    @classmethod
    def minimise(cls, measure: float) -> OptimiserSearchResult:
        """Return the result of a search function that wants as little of a measure as there is; NaN is no value."""
        return cls(measure, False)

    def get_original_value(self) -> float:
        """Return the measure as people know it: a Sharpe ratio of 1.5 as 1.5."""
        return -self.value if self.negative else self.value

    def is_valid(self) -> bool:
        """Tell whether the point may be chosen."""
        return not self.filtered and math.isfinite(self.value)


SearchFunction: TypeAlias = Callable[[GridSearchResult], OptimiserSearchResult]
ResultFilter: TypeAlias = Callable[[GridSearchResult], bool]


@dataclass(frozen=True, slots=True)
class MinTradeCountFilter:
    """Lets results through that have more trades than this: a good value of a few trades is luck."""

    min_trade_count: int

    def __call__(self, result: GridSearchResult) -> bool:
        """Tell whether a result has enough trades."""
        return result.get_trade_count() > self.min_trade_count


def judge(result: GridSearchResult, search_func: SearchFunction, result_filter: ResultFilter) -> OptimiserSearchResult:
    """Return the value of a result; one that may not be chosen has 0 where more is better, else a penalty.

    Raises:
        BadInput: The search function returned something else than an OptimiserSearchResult.
    """
    if not result.has_result():
        return OptimiserSearchResult(PENALTY, False, result.combination, result, filtered=True)
    found: Any = search_func(result)
    if not isinstance(found, OptimiserSearchResult):
        name = getattr(search_func, "__name__", repr(search_func))
        raise BadInput(
            f"Search function {name} returned {found!r}: return OptimiserSearchResult.maximise(value), "
            "or .minimise(value)"
        )
    if not math.isfinite(found.value) or not result_filter(result):
        value = 0.0 if found.negative else PENALTY
        return OptimiserSearchResult(value, found.negative, result.combination, result, filtered=True)
    return OptimiserSearchResult(found.value, found.negative, result.combination, result, found.filtered)


def settle_failures(tried: Sequence[OptimiserSearchResult]) -> list[OptimiserSearchResult]:
    """Give points that failed the value 0 where more is better: a failed backtest alone does not tell."""
    is_maximised = any(each.negative for each in tried)
    return [
        replace(each, value=0.0, negative=True) if is_maximised and each.filtered and not each.negative else each
        for each in tried
    ]


def optimise_profit(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the highest compound annual growth rate."""
    return OptimiserSearchResult.maximise(result.get_cagr())


def optimise_sharpe(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the highest Sharpe ratio."""
    return OptimiserSearchResult.maximise(result.get_sharpe())


def optimise_sortino(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the highest Sortino ratio."""
    return OptimiserSearchResult.maximise(result.get_sortino())


def optimise_probabilistic_sharpe(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the highest probability that the true Sharpe ratio is above 0."""
    return OptimiserSearchResult.maximise(result.get_number("PSR"))


def optimise_win_rate(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the largest share of closed positions that won."""
    return OptimiserSearchResult.maximise(result.get_win_rate())


def optimise_max_drawdown(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the shallowest deepest drawdown."""
    return OptimiserSearchResult.minimise(abs(result.get_max_drawdown()))


def optimise_sharpe_and_max_drawdown_ratio(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the highest Sharpe ratio ÷ deepest drawdown."""
    return OptimiserSearchResult.maximise(_per_drawdown(result.get_sharpe(), result))


def optimise_calmar(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the highest compound annual growth rate ÷ deepest drawdown."""
    return OptimiserSearchResult.maximise(result.get_number("Calmar"))


def optimise_gain_to_pain(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the highest sum of daily returns ÷ sum of daily losses."""
    return OptimiserSearchResult.maximise(result.get_number("Gain/Pain Ratio"))


def optimise_ulcer_index(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the smallest Ulcer index: drawdowns that are neither deep nor long."""
    return OptimiserSearchResult.minimise(result.get_number("Ulcer Index"))


def optimise_ulcer_performance(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the highest compound annual growth rate ÷ Ulcer index."""
    return OptimiserSearchResult.maximise(result.get_number("Ulcer Performance Index"))


def optimise_cvar(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the smallest mean loss of the worst days, those beyond the value at risk; a loss of 2 % is 0.02."""
    return OptimiserSearchResult.minimise(-result.get_number("Expected Shortfall (cVaR)"))


def optimise_recovery_factor(result: GridSearchResult) -> OptimiserSearchResult:
    """Look for the highest cumulative return ÷ deepest drawdown; unlike the measure it is negative after a loss."""
    return OptimiserSearchResult.maximise(_per_drawdown(result.get_number("Cumulative Return"), result))


@dataclass(frozen=True, slots=True)
class BalancedSharpeAndMaxDrawdownOptimisationFunction:
    """Looks for a high Sharpe ratio and a shallow drawdown at once.

    drawdown weight x (1 + drawdown) + Sharpe weight x min(Sharpe, max_sharpe) ÷ max_sharpe; the drawdown is negative.
    """

    sharpe_weight: float = 0.5
    max_drawdown_weight: float = 0.5
    max_sharpe: float = 3.0

    def __call__(self, result: GridSearchResult) -> OptimiserSearchResult:
        """Return the value of a result."""
        sharpe = result.get_sharpe()
        shallow = self.max_drawdown_weight * (1 + result.get_max_drawdown())
        steady = self.sharpe_weight * (min(sharpe, self.max_sharpe) if math.isfinite(sharpe) else math.nan)
        return OptimiserSearchResult.maximise(shallow + steady / self.max_sharpe)


@dataclass(frozen=True, slots=True)
class BalancedCAGRAndSharpeOptimisationFunction:
    """Looks for high growth and a high Sharpe ratio at once: the weighted sum of both, each a fraction of its maximum.

    Values beyond the maxima, up or down, count as the maxima.
    """

    cagr_weight: float = 0.6
    sharpe_weight: float = 0.4
    max_cagr: float = 5.0
    max_sharpe: float = 3.0

    def __call__(self, result: GridSearchResult) -> OptimiserSearchResult:
        """Return the value of a result."""
        growth = self.cagr_weight * _clip(result.get_cagr(), self.max_cagr)
        steady = self.sharpe_weight * _clip(result.get_sharpe(), self.max_sharpe)
        return OptimiserSearchResult.maximise(growth + steady)


@dataclass(frozen=True, slots=True)
class RollingSharpeOptimisationFunction:
    """Looks for a Sharpe ratio that is high and stays so: mean ÷ standard deviation of the rolling one."""

    days: int = 180

    def __call__(self, result: GridSearchResult) -> OptimiserSearchResult:
        """Return the value of a result; none where its returns are shorter than the days."""
        if result.returns is None:
            return OptimiserSearchResult.maximise(math.nan)
        rolling = calculate_rolling_sharpe(result.returns.dropna(), "D", self.days).dropna()
        spread = float(rolling.std(ddof=1)) if len(rolling) > 1 else 0.0
        return OptimiserSearchResult.maximise(float(rolling.mean()) / spread if spread > 0 else math.nan)


OBJECTIVES: dict[str, SearchFunction] = {
    "profit": optimise_profit,
    "sharpe": optimise_sharpe,
    "sortino": optimise_sortino,
    "probabilistic-sharpe": optimise_probabilistic_sharpe,
    "win-rate": optimise_win_rate,
    "max-drawdown": optimise_max_drawdown,
    "sharpe-and-max-drawdown": optimise_sharpe_and_max_drawdown_ratio,
    "calmar": optimise_calmar,
    "gain-to-pain": optimise_gain_to_pain,
    "ulcer-index": optimise_ulcer_index,
    "ulcer-performance": optimise_ulcer_performance,
    "cvar": optimise_cvar,
    "recovery-factor": optimise_recovery_factor,
    "balanced-sharpe-and-max-drawdown": BalancedSharpeAndMaxDrawdownOptimisationFunction(),
    "balanced-cagr-and-sharpe": BalancedCAGRAndSharpeOptimisationFunction(),
    "rolling-sharpe": RollingSharpeOptimisationFunction(),
}
"""Search functions by the names that the command line has for them."""


def _per_drawdown(value: float, result: GridSearchResult) -> float:
    deepest = abs(result.get_max_drawdown())
    return value / deepest if deepest > 0 else math.nan


def _clip(value: float, most: float) -> float:
    return math.nan if math.isnan(value) else max(-most, min(value, most)) / most
