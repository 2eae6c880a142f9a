"""The summary of a strategy as a list of strategies shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from trading_dagster.domain.state import State
from trading_dagster.domain.time import YEAR, TimeBucket
from trading_dagster.statistics.equity_curve import calculate_performance_curve
from trading_dagster.statistics.key_metric import KEY_METRICS_BACKTEST_CUT_OFF, KeyMetric, calculate_key_metrics
from trading_dagster.statistics.position_return import calculate_compounding_realised_trading_profitability
from trading_dagster.statistics.returns import Returns
from trading_dagster.statistics.summary_table import ABSENT
from trading_dagster.statistics.trade_analysis import calculate_all_summary_stats_by_side

NINETY_DAYS = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class StrategySummary:
    """What a strategy is worth and gained. Returns are compounding realised profitability, fractions; naive UTC.

    ``return_annualised`` is linear: return x 365 days ÷ range. ``profitability_90_days`` is None unless
    there is ``enough_data``.
    """

    current_value: float
    profitability_90_days: float | None
    performance_chart_90_days: Returns
    return_all_time: float | None
    return_annualised: float | None
    enough_data: bool
    launched_at: datetime | None
    key_metrics: Mapping[str, KeyMetric]


def summarise_strategy(
    state: State,
    backtested_state: State | None = None,
    *,
    as_of: datetime | None = None,
    key_metrics_backtest_cut_off: timedelta = KEY_METRICS_BACKTEST_CUT_OFF,
) -> StrategySummary:
    """Return the summary of a strategy as of a time, naive UTC; None for the end of its range."""
    start, end = state.get_strategy_time_range()
    now = as_of or end
    gained = calculate_compounding_realised_trading_profitability(state)
    if now is not None:
        gained = gained[:now]
    total = float(gained.iloc[-1]) if len(gained) else None
    duration = None if start is None or now is None else now - start
    enough = duration is not None and duration >= NINETY_DAYS
    metrics = calculate_key_metrics(
        state if state.backtest_data is None else None,
        backtested_state if state.backtest_data is None else state,
        key_metrics_backtest_cut_off=key_metrics_backtest_cut_off,
        as_of=as_of,
    )
    recent = _since(gained, None if now is None else now - NINETY_DAYS)
    return StrategySummary(
        current_value=state.portfolio.calculate_total_equity(),
        profitability_90_days=float(recent.iloc[-1]) if enough and len(recent) else None,
        performance_chart_90_days=recent,
        return_all_time=total,
        return_annualised=total * (YEAR / duration) if total is not None and duration else None,
        enough_data=enough,
        launched_at=start,
        key_metrics={kind.value: metric for kind, metric in metrics.items()},
    )


def serialise_long_short_stats_as_json_table(
    live_state: State | None = None, backtested_state: State | None = None, time_bucket: TimeBucket | None = None
) -> dict[str, dict[str, Any]]:
    """Return the trade summary of all, long and short positions as plain data for a page.

    Returns:
        ``live_stats`` and ``backtested_stats``, empty where there is no state. Each has ``columns`` and ``rows``: by
        the metric's kind its name, its texts in order of the columns, and the texts' plain values (None for none).
    """
    return {
        "live_stats": _serialise_sides(live_state, time_bucket),
        "backtested_stats": _serialise_sides(backtested_state, time_bucket),
    }


def _serialise_sides(state: State | None, time_bucket: TimeBucket | None) -> dict[str, Any]:
    if state is None:
        return {}
    curve = calculate_performance_curve(state) if len(state.stats) else None
    table = calculate_all_summary_stats_by_side(state, time_bucket, curve)
    start, end = state.get_strategy_time_range()
    rows = {}
    for name in map(str, table.index):
        values = [table.loc[name, column] for column in table.columns]
        rows[_kind_of(name)] = {
            "name": name,
            "value": [_text(value) for value in values],
            "raw": [_plain(value) for value in values],
        }
    return {
        "columns": [str(column) for column in table.columns],
        "rows": rows,
        "calculated_from": None if start is None else start.isoformat(),
        "calculated_to": None if end is None else end.isoformat(),
    }


def _kind_of(name: str) -> str:
    """Return a heading as a key: "Return %" is return_percent."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower().replace("%", " percent ")).strip("_")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _plain(value: Any) -> float | int | str | None:
    if value == ABSENT:
        return None
    return value.total_seconds() if isinstance(value, timedelta) else value


def _since(gained: Returns, start: datetime | None) -> Returns:
    """Return cumulative returns as if they had begun at a time; the value before it holds until then."""
    if start is None or gained.empty:
        return gained
    before = gained[:start]
    base = 1.0 + (float(before.iloc[-1]) if len(before) else 0.0)
    later = gained[gained.index > start]
    first = pd.Series([0.0], index=pd.DatetimeIndex([max(start, gained.index[0])]))
    return pd.concat([first, (1.0 + later) / base - 1.0]) if base > 0 else later
