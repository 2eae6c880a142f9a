"""A strategy's measures beside those of holding well-known assets, and of cash."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import pandas as pd

from trading_dagster.charts.benchmark import ALL_CASH, create_benchmark_equity_curves, find_benchmark_pairs
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.state import State
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.statistics.equity_curve import calculate_daily_returns
from trading_dagster.statistics.metrics_table import STRATEGY_COLUMN, MetricsMode, calculate_advanced_metrics
from trading_dagster.statistics.returns import Returns, calculate_daily_returns_from_curve


def get_benchmark_data(
    strategy_universe: TradingStrategyUniverse,
    cumulative_with_initial_cash: float = 0.0,
    interesting_assets: Collection[str] | None = None,
    max_count: int = 2,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
) -> pd.DataFrame:
    """Return what to set a strategy beside: a column for each asset, by the time its candles closed, naive UTC.

    Args:
        strategy_universe: has the candles
        cumulative_with_initial_cash: USD that bought each asset at the start; 0 for the closes themselves
        interesting_assets: symbols of base tokens, wrapped or not; None for the best known of the universe
        max_count: how many assets at most
        start_at: naive UTC; None for the first candle
        end_at: naive UTC; None for the last
    """
    pairs = find_benchmark_pairs(strategy_universe, interesting_assets, max_count)
    if cumulative_with_initial_cash:
        table = create_benchmark_equity_curves(
            strategy_universe, pairs, cumulative_with_initial_cash, start_at=start_at, end_at=end_at
        )
        return table.drop(columns=ALL_CASH)
    width = strategy_universe.time_bucket.to_timedelta()
    closes = {}
    for name, pair in pairs.items():
        close = strategy_universe.candles.frame(pair.internal_id or 0)["close"]
        close.index = close.index + width
        closes[name] = close.loc[start_at:end_at]
    return pd.DataFrame(closes)


def compare_strategy_backtest_to_multiple_assets(
    state: State | None,
    strategy_universe: TradingStrategyUniverse,
    returns: Returns | None = None,
    interesting_assets: Collection[str] | None = None,
    asset_count: int = 3,
    mode: MetricsMode = "full",
) -> pd.DataFrame:
    """Return the measures of daily returns: a row a measure, columns for the strategy, each asset held, and cash.

    Args:
        state: of a backtest's result; None where returns are given
        strategy_universe: has the candles of the assets
        returns: the strategy's daily returns, instead of those of the state
        interesting_assets: symbols of base tokens, wrapped or not; None for the best known of the universe
        asset_count: how many assets at most
        mode: "basic" or "full", see `calculate_advanced_metrics`

    Returns:
        Numbers, 0.01 = 1 %; `format_metrics` makes text of them. Assets are held over the strategy's own time.

    Raises:
        BadInput: neither state nor returns, or a state without equity samples
    """
    if returns is None:
        if state is None:
            raise BadInput("Give the state of a backtest's result, or the strategy's daily returns")
        returns = calculate_daily_returns(state)
    end = None if state is None else state.get_strategy_time_range()[1]
    columns = {STRATEGY_COLUMN: calculate_advanced_metrics(returns, mode)[STRATEGY_COLUMN]}
    observed = returns.dropna()
    if len(observed):
        start = observed.index[0].to_pydatetime() - pd.Timedelta(days=1)
        pairs = find_benchmark_pairs(strategy_universe, interesting_assets, asset_count)
        curves = create_benchmark_equity_curves(
            strategy_universe, pairs, 1.0, start_at=start, end_at=end or observed.index[-1].to_pydatetime()
        )
        for name in curves.columns:
            held = calculate_daily_returns_from_curve(curves[name].dropna(), end)
            columns[str(name)] = calculate_advanced_metrics(held, mode)[STRATEGY_COLUMN]
    return pd.DataFrame(columns).reindex(columns[STRATEGY_COLUMN].index)
