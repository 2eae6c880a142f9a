"""Standard charts that are tables of measures."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import pandas as pd

from trading_dagster.charts.standard_chart.equity import hold_instead
from trading_dagster.statistics.asset_weight import calculate_asset_weights, calculate_weights_statistics
from trading_dagster.statistics.equity_curve import calculate_daily_returns, calculate_performance_curve
from trading_dagster.statistics.metrics_table import STRATEGY_COLUMN, calculate_advanced_metrics, format_metrics
from trading_dagster.statistics.pair_table import analyse_multipair, format_multipair_summary
from trading_dagster.statistics.returns import calculate_daily_returns_from_curve
from trading_dagster.statistics.trade_analysis import calculate_all_summary_stats_by_side
from trading_dagster.strategy.chart import ChartInput


def performance_metrics(
    input: ChartInput,
    benchmark_token_symbols: Collection[str] | None = None,
    max_benchmark_count: int = 2,
) -> pd.DataFrame:
    """The measures of daily returns that are looked at first, beside holding well-known assets."""
    return format_metrics(calculate_metrics_of(input, "basic", benchmark_token_symbols, max_benchmark_count))


def extended_performance_metrics(
    input: ChartInput,
    benchmark_token_symbols: Collection[str] | None = None,
    max_benchmark_count: int = 2,
) -> pd.DataFrame:
    """All measures of daily returns, beside holding well-known assets."""
    return format_metrics(calculate_metrics_of(input, "full", benchmark_token_symbols, max_benchmark_count))


def calculate_metrics_of(
    input: ChartInput,
    mode: Literal["basic", "full"],
    symbols: Collection[str] | None = None,
    max_count: int = 2,
) -> pd.DataFrame:
    """Return measures as numbers: a row per measure, a column for the strategy and one per asset."""
    state = input.require_state()
    end_at = state.get_strategy_time_range()[1]
    columns = {STRATEGY_COLUMN: calculate_advanced_metrics(calculate_daily_returns(state), mode)[STRATEGY_COLUMN]}
    for name, curve in hold_instead(input, symbols, max_count).items():
        returns = calculate_daily_returns_from_curve(curve, end_at)
        columns[name] = calculate_advanced_metrics(returns, mode)[STRATEGY_COLUMN]
    return pd.DataFrame(columns).reindex(columns[STRATEGY_COLUMN].index)


def trading_metrics(input: ChartInput) -> pd.DataFrame:
    """The trade summary of all, long and short positions."""
    state = input.require_state()
    bucket = None if input.strategy_input_indicators is None else input.strategy_universe.time_bucket
    return calculate_all_summary_stats_by_side(state, bucket, calculate_performance_curve(state))


def weight_allocation_statistics(input: ChartInput) -> pd.DataFrame:
    """The largest, smallest and average positions over time, with and without the reserve."""
    return calculate_weights_statistics(calculate_asset_weights(input.require_state()))


def trading_pair_breakdown(
    input: ChartInput,
    limit: int | None = None,
    show_chain: bool = False,
    show_address: bool = False,
) -> pd.DataFrame:
    """What each traded pair contributed, the most profitable first.

    Args:
        input: The state.
        limit: At most so many rows.
        show_chain: Accepted for ported strategies; the table has no column for it.
        show_address: Accepted for ported strategies; the table has no column for it.
    """
    del show_chain, show_address
    table = format_multipair_summary(analyse_multipair(input.require_state()), sort_column="Total PnL USD")
    return table if limit is None else table.head(limit)
