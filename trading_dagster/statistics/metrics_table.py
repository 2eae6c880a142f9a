"""Lay out the measures of a strategy, beside its benchmark's, as one table."""

from __future__ import annotations

import difflib
import math
from typing import Literal, TypeAlias

import pandas as pd

from trading_dagster.domain.error import BadInput
from trading_dagster.statistics.drawdown import find_deepest_episode
from trading_dagster.statistics.measure import Measure, RelativeMeasure, Unit
from trading_dagster.statistics.measure_sample import observe_series
from trading_dagster.statistics.returns import Returns, resample_returns

MetricsMode: TypeAlias = Literal["basic", "full"]

STRATEGY_COLUMN = "Strategy"
BENCHMARK_COLUMN = "Benchmark"
RISK_FREE_RATE = 0.0

_START, _END, _RISK_FREE = "Start Period", "End Period", "Risk-Free Rate"
_VALLEY, _PEAK, _RECOVERY = "Max Drawdown Date", "Max Drawdown Start", "Max Drawdown End"

_BASIC_UP_TO_DRAWDOWN = (
    Measure.time_in_market,
    Measure.cumulative,
    Measure.cagr,
    Measure.sharpe,
    Measure.probabilistic_sharpe,
    Measure.sortino,
    Measure.adjusted_sortino,
    Measure.omega,
    Measure.max_drawdown,
)
_BASIC_AFTER_DRAWDOWN = (
    Measure.longest_drawdown_days,
    Measure.gain_to_pain,
    Measure.monthly_gain_to_pain,
    Measure.payoff,
    Measure.profit_factor,
    Measure.common_sense,
    Measure.cpc,
    Measure.tail,
    Measure.outlier_win,
    Measure.outlier_loss,
    Measure.month_to_date,
    Measure.three_months,
    Measure.six_months,
    Measure.year_to_date,
    Measure.one_year,
    Measure.three_years,
    Measure.five_years,
    Measure.ten_years,
    Measure.all_time,
    Measure.average_drawdown,
    Measure.average_drawdown_days,
    Measure.recovery,
    Measure.ulcer,
    Measure.serenity,
)
_LAST = Measure.annualised_return_raw
_BASIC = (*_BASIC_UP_TO_DRAWDOWN, *_BASIC_AFTER_DRAWDOWN, _LAST)
_FULL_ONLY = tuple(measure for measure in Measure if measure not in _BASIC)

_ALIASES = {
    "Start": _START,
    "End": _END,
    "Cumulative Return": Measure.cumulative.label,
    "CAGR%": Measure.cagr.label,
    "CAGR﹪": Measure.cagr.label,
    "Prob. Sharpe Ratio": Measure.probabilistic_sharpe.label,
    "PSR": Measure.probabilistic_sharpe.label,
    "Max DD": Measure.max_drawdown.label,
    "Max DD Date": _VALLEY,
    "Max DD Period Start": _PEAK,
    "Max DD Period End": _RECOVERY,
    "Longest DD": Measure.longest_drawdown_days.label,
    "Longest DD Days": Measure.longest_drawdown_days.label,
    "Avg. Drawdown": Measure.average_drawdown.label,
    "Avg. Drawdown Days": Measure.average_drawdown_days.label,
    "Gain/Pain Ratio": Measure.gain_to_pain.label,
    "Payoff Ratio": Measure.payoff.label,
    "Common Sense Ratio": Measure.common_sense.label,
    "CPC Index": Measure.cpc.label,
    "Tail Ratio": Measure.tail.label,
    "Outlier Win Ratio": Measure.outlier_win.label,
    "Outlier Loss Ratio": Measure.outlier_loss.label,
    "Recovery Factor": Measure.recovery.label,
    "Ulcer Index": Measure.ulcer.label,
    "Serenity Index": Measure.serenity.label,
    "Ulcer Performance Index": Measure.ulcer_performance.label,
    "Kelly Criterion": Measure.kelly.label,
    "Daily Value-at-Risk": Measure.value_at_risk.label,
    "Expected Shortfall (cVaR)": Measure.conditional_value_at_risk.label,
    "Expected Daily": Measure.expected_day.label,
    "Expected Monthly": Measure.expected_month.label,
    "Expected Yearly": Measure.expected_year.label,
    "Win Month": Measure.win_months.label,
    "Win Quarter": Measure.win_quarters.label,
    "Win Year": Measure.win_years.label,
    "R^2": RelativeMeasure.r_squared.label,
    "Treynor Ratio": RelativeMeasure.treynor.label,
}


def calculate_advanced_metrics(
    returns: Returns,
    mode: MetricsMode = "basic",
    convert_to_daily: bool = False,
    benchmark: Returns | None = None,
) -> pd.DataFrame:
    """Compute the measures of returns as a table.

    Args:
        returns: fractions by time, ascending; NaN is left out
        mode: "basic" (about 40 rows) or "full" (about 75 rows, and with a benchmark Beta, Alpha and the like)
        convert_to_daily: compound the returns per day first
        benchmark: returns to set beside; only its samples within the time of `returns` count

    Returns:
        A row per measure and a column "Strategy", then "Benchmark" if there is one. Values are numbers (0.01 = 1 %),
        timestamps in the rows of dates; NaN or NaT where a measure has no value. `format_metrics` adds the percent
        signs.

    Raises:
        BadInput: unknown mode, samples without times or not in order of time
    """
    if mode not in ("basic", "full"):
        msg = f"mode must be 'basic' or 'full', got {mode!r}"
        raise BadInput(msg)
    own = _prepare(returns, convert_to_daily)
    other = None if benchmark is None else _prepare_benchmark(benchmark, own, convert_to_daily)
    table = {STRATEGY_COLUMN: _column(own, mode, other)}
    if other is not None:
        table[BENCHMARK_COLUMN] = _column(other, mode)
    return pd.DataFrame(table, dtype="object").reindex(list(table[STRATEGY_COLUMN]))


def calculate_metrics(returns: Returns, benchmark: Returns) -> dict[str, object]:
    """Return the column "Strategy" of the full table with a benchmark, without calculating the benchmark's own."""
    own = _prepare(returns, convert_to_daily=False)
    return _column(own, "full", _prepare_benchmark(benchmark, own, convert_to_daily=False))


def get_metric(table: pd.DataFrame, name: str, column: str = STRATEGY_COLUMN) -> float | pd.Timestamp:
    """Look up a value by its row's name, whatever its case, or by the name that quantstats has for it.

    Raises:
        BadInput: the table has no such row
    """
    rows = [str(row) for row in table.index]
    by_name = {alias.casefold(): row for alias, row in _ALIASES.items() if row in rows}
    by_name |= {row.casefold(): row for row in rows}
    row = by_name.get(name.casefold())
    if row is None:
        close = difflib.get_close_matches(name, rows, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "mode='full' has more rows"
        msg = f"no metric is named {name!r}; {hint}"
        raise BadInput(msg)
    values: dict[object, float | pd.Timestamp] = table[column].to_dict()
    return values[row]


def format_metrics(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text: fractions as percent, two decimals, dates as year-month-day, "-" for no value."""
    units = {measure.label: measure.unit for measure in (*Measure, *RelativeMeasure)} | {_RISK_FREE: Unit.fraction}
    return pd.DataFrame(
        {
            column: [_format(value, units.get(str(row))) for row, value in table[column].items()]
            for column in table.columns
        },
        index=table.index,
    )


def _prepare(returns: Returns, convert_to_daily: bool) -> Returns:
    observed = observe_series(returns)
    return resample_returns(observed, "D") if convert_to_daily else observed


def _prepare_benchmark(benchmark: Returns, own: Returns, convert_to_daily: bool) -> Returns:
    other = _prepare(benchmark, convert_to_daily)
    return other if own.empty or other.empty else _within(other, own)


def _within(benchmark: Returns, returns: Returns) -> Returns:
    if (benchmark.index[0].tzinfo is None) != (returns.index[0].tzinfo is None):
        msg = (
            f"returns ({returns.index[0]!r}) and benchmark ({benchmark.index[0]!r}): both naive UTC or both zone-aware"
        )
        raise BadInput(msg)
    return benchmark.loc[returns.index[0] : returns.index[-1]]


def _column(returns: Returns, mode: MetricsMode, benchmark: Returns | None = None) -> dict[str, object]:
    column: dict[str, object] = {
        _START: returns.index[0] if len(returns) else pd.NaT,
        _END: returns.index[-1] if len(returns) else pd.NaT,
        _RISK_FREE: RISK_FREE_RATE,
    }
    column |= {measure.label: measure.calculate(returns) for measure in _BASIC_UP_TO_DRAWDOWN}
    column |= _deepest_episode(returns)
    column |= {measure.label: measure.calculate(returns) for measure in _BASIC_AFTER_DRAWDOWN}
    if mode == "full":
        column |= {measure.label: measure.calculate(returns) for measure in _FULL_ONLY}
        if benchmark is not None:
            column |= {relative.label: relative.calculate(returns, benchmark) for relative in RelativeMeasure}
    column[_LAST.label] = _LAST.calculate(returns)
    return column


def _deepest_episode(returns: Returns) -> dict[str, object]:
    deepest = find_deepest_episode(returns)
    peak, valley, end = (pd.NaT, pd.NaT, pd.NaT) if deepest is None else deepest
    return {_VALLEY: valley, _PEAK: peak, _RECOVERY: end}


def _format(value: object, unit: Unit | None) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    if not isinstance(value, float) or math.isnan(value):
        return "-"
    if unit is Unit.fraction:
        return f"{value:z.2%}"
    return f"{value:z.0f}" if unit in (Unit.days, Unit.count) else f"{value:z.2f}"
