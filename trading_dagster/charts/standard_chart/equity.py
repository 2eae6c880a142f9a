"""Standard charts of equity: alone, with drawdown, and by what it is made of."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.benchmark import (
    ALL_CASH,
    create_benchmark_equity_curves,
    find_benchmark_pairs,
    visualise_equity_curve_benchmark,
)
from trading_dagster.charts.curve import draw_areas
from trading_dagster.charts.equity import draw_equity_with_drawdown
from trading_dagster.charts.sampling import Curve
from trading_dagster.statistics.asset_weight import RESERVE_SYMBOL, calculate_asset_weights, calculate_chain_weights
from trading_dagster.statistics.equity_curve import calculate_equity_curve, calculate_performance_curve
from trading_dagster.strategy.chart import ChartInput


def equity_curve(
    input: ChartInput,
    benchmark_token_symbols: Collection[str] | None = None,
    max_benchmark_count: int = 2,
    log_y: bool = False,
) -> go.Figure:
    """Equity in USD, beside what the same cash had become in well-known assets of the universe.

    Args:
        input: The state and the universe.
        benchmark_token_symbols: Tokens to compare with, such as ("BTC", "ETH"); () compares with none.
        max_benchmark_count: At most so many.
        log_y: Draw the logarithm.
    """
    state = input.require_state()
    benchmarks = pd.DataFrame(hold_instead(input, benchmark_token_symbols, max_benchmark_count))
    return visualise_equity_curve_benchmark(name="Strategy", state=state, benchmark_indexes=benchmarks, log_y=log_y)


def equity_curve_with_drawdown(
    input: ChartInput,
    benchmark_token_symbols: Collection[str] | None = (),
    max_benchmark_count: int = 2,
) -> go.Figure:
    """Equity in USD above its drawdown, on one time axis."""
    curves = hold_instead(input, benchmark_token_symbols, max_benchmark_count)
    state = input.require_state()
    return draw_equity_with_drawdown(
        calculate_equity_curve(state), curves, performance=calculate_performance_curve(state)
    )


def equity_curve_by_asset(input: ChartInput) -> go.Figure:
    """What the portfolio is made of over time: cash and each token at what its sale would bring, USD."""
    weights = calculate_asset_weights(input.require_state())
    return draw_areas(
        weights, y_title="Value", tick_format="$,", cash=weights.attrs[RESERVE_SYMBOL], nothing="No equity was recorded"
    )


def equity_curve_by_asset_with_legend(
    input: ChartInput,
) -> tuple[go.Figure, pd.DataFrame]:
    """What the portfolio is made of over time, with a table of the assets."""
    weights = calculate_asset_weights(input.require_state())
    shares = weights.div(weights.sum(axis=1), axis=0)
    table = pd.DataFrame(
        {
            "Asset": [str(name) for name in weights.columns],
            "Value at end USD": weights.iloc[-1].to_numpy(),
            "Share at end": shares.iloc[-1].to_numpy(),
            "Average share": shares.mean().to_numpy(),
            "Largest share": shares.max().to_numpy(),
            "Time held": (weights > 0).mean().to_numpy(),
        }
    )
    return equity_curve_by_asset(input), table.sort_values("Average share", ascending=False, ignore_index=True)


def equity_curve_by_chain(input: ChartInput) -> go.Figure:
    """What the portfolio is worth on each chain over time; cash is on the chain of the reserve."""
    return draw_areas(
        calculate_chain_weights(input.require_state()), y_title="Value", tick_format="$,",
        nothing="No equity was recorded",
    )  # fmt: skip


def hold_instead(
    input: ChartInput,
    symbols: Collection[str] | None,
    max_count: int,
) -> dict[str, Curve]:
    """Return curves of holding assets of the universe from the strategy's start on, by token; none without a universe.

    They begin with the strategy's first equity.
    """
    if input.strategy_input_indicators is None or (symbols is not None and not len(symbols)):
        return {}
    universe, equity = input.strategy_universe, calculate_equity_curve(input.require_state())
    pairs = find_benchmark_pairs(universe, symbols, max_count)
    start_at = input.start_at or equity.index[0].to_pydatetime()
    table = create_benchmark_equity_curves(
        universe, pairs, float(equity.iloc[0]), start_at=start_at, end_at=equity.index[-1].to_pydatetime()
    )
    return {str(name): table[name].dropna() for name in table.columns if name != ALL_CASH}
