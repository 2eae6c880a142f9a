"""Curves of holding assets instead, and figures that set strategies beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from trading_dagster.charts.curve import CASH_COLOUR, draw_curves
from trading_dagster.charts.palette import GAIN, LOSS, STRATEGY
from trading_dagster.charts.plot import trace_plot
from trading_dagster.charts.sampling import Curve, clean_curve
from trading_dagster.domain.equity_statistics import PortfolioStatistics
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import HumanReadableTradingPairDescription, TradingPairIdentifier
from trading_dagster.domain.state import State
from trading_dagster.domain.visualisation import Plot
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.statistics.equity_curve import calculate_equity_curve
from trading_dagster.statistics.position_return import (
    calculate_compounding_realised_trading_profitability,
    calculate_long_compounding_realised_trading_profitability,
    calculate_short_compounding_realised_trading_profitability,
)
from trading_dagster.statistics.returns import calculate_benchmark_curve

DEFAULT_BENCHMARKS = ("BTC", "ETH", "SOL", "BNB", "MATIC", "AVAX", "ARB")
"""Assets that strategies are compared with, as far as the universe has them."""

ALL_CASH = "All cash"
BENCHMARK_COLOURS = {"BTC": "#d98324", "ETH": "#7c6cf0", ALL_CASH: CASH_COLOUR}

PairLike = TradingPairIdentifier | HumanReadableTradingPairDescription


def find_benchmark_pairs(
    universe: TradingStrategyUniverse, symbols: Collection[str] | None = None, max_count: int = 2
) -> dict[str, TradingPairIdentifier]:
    """Return the first pair of each token, wrapped or not, by the token's unwrapped symbol, at most so many."""
    found: dict[str, TradingPairIdentifier] = {}
    for symbol in DEFAULT_BENCHMARKS if symbols is None else symbols:
        plain = _unwrapped(symbol)
        pair = next((p for p in universe.pairs if not p.is_vault() and _unwrapped(p.base.token_symbol) == plain), None)
        if pair is not None and len(found) < max_count:
            found.setdefault(plain, pair)
    return found


def create_benchmark_equity_curves(
    strategy_universe: TradingStrategyUniverse,
    pairs: Mapping[str, PairLike],
    initial_cash: float,
    custom_colours: Mapping[str, str] | None = None,
    convert_to_daily: bool = False,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
) -> pd.DataFrame:
    """Return what the same cash had become in other assets, and as cash.

    Args:
        strategy_universe: Has the candles.
        pairs: Pair or description by the name of its curve.
        initial_cash: USD at the start.
        custom_colours: By name; put into ``attrs["colours"]``.
        convert_to_daily: Give the last value of each day.
        start_at: When it is bought, naive UTC; None takes each pair's first candle.
        end_at: Where the curves end.

    Returns:
        USD by candle close, naive UTC, a column per name and last "All cash"; NaN before a pair's first candle.
    """
    width = strategy_universe.time_bucket.to_timedelta()
    curves: dict[str, Curve] = {}
    for name, pair in pairs.items():
        known = strategy_universe.resolve_pair(pair)
        candles = strategy_universe.candles.frame(known.internal_id or 0)
        close = candles["close"].copy()
        close.index = close.index + width  # a close is known when its candle ends
        close = close.loc[start_at:end_at]
        if not close.empty:
            curves[name] = calculate_benchmark_curve(close, initial_cash)
    table = pd.DataFrame(curves)
    table[ALL_CASH] = initial_cash
    if convert_to_daily:
        table = table.resample("D").last()
    table.attrs["colours"] = {**BENCHMARK_COLOURS, **(custom_colours or {})}
    return table


def visualise_equity_curve_benchmark(
    name: str | None = None,
    title: str | None = None,
    portfolio_statistics: Sequence[PortfolioStatistics] | None = None,
    all_cash: float | None = None,
    buy_and_hold_asset_name: str | None = None,
    buy_and_hold_price_series: Curve | None = None,
    benchmark_indexes: pd.DataFrame | None = None,
    additional_indicators: Collection[Plot] = (),
    height: int = 500,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    log_y: bool = False,
    state: State | None = None,
) -> go.Figure:
    """Draw the equity of a strategy beside that of holding assets or cash.

    Args:
        name: What the legend calls the strategy; the state's name by default.
        title: Heading inside the figure.
        portfolio_statistics: Samples, such as ``state.stats.portfolio``; those of the state by default.
        all_cash: Draw this much cash as a line; what an asset's price series begins with.
        buy_and_hold_asset_name: Name of the asset that a price series is of.
        buy_and_hold_price_series: Its prices by time.
        benchmark_indexes: Curves in USD, a column each, as `create_benchmark_equity_curves` returns them.
        additional_indicators: Plots of a strategy that are in USD, too.
        height: Pixels.
        start_at: Leave out what is before.
        end_at: Leave out what is after.
        log_y: Draw the logarithm.
        state: The state with its samples.

    Raises:
        BadInput: There is neither a state nor samples.
    """
    if portfolio_statistics is not None:
        times = pd.DatetimeIndex([sample.calculated_at for sample in portfolio_statistics])
        equity: Curve = pd.Series(
            [sample.total_equity for sample in portfolio_statistics], index=times, dtype="float64"
        )
    elif state is not None:
        equity = calculate_equity_curve(state)
    else:
        raise BadInput("visualise_equity_curve_benchmark needs state= or portfolio_statistics=")
    own = name or (state.name if state is not None else "Strategy")
    curves = {own: clean_curve(equity)}
    if buy_and_hold_price_series is not None and len(buy_and_hold_price_series):
        cash = all_cash or float(curves[own].iloc[0])
        held = calculate_benchmark_curve(clean_curve(buy_and_hold_price_series), cash)
        curves[f"Buy and hold {buy_and_hold_asset_name or 'asset'}"] = held
    benchmarks = pd.DataFrame() if benchmark_indexes is None else benchmark_indexes
    for column in benchmarks.columns:
        curves[str(column)] = clean_curve(benchmarks[column])
    if all_cash and ALL_CASH not in curves and len(curves[own]):
        ends = curves[own].index[[0, -1]]
        curves[ALL_CASH] = pd.Series(float(all_cash), index=ends)
    shown = {key: curve.loc[start_at:end_at] for key, curve in curves.items()}
    colours = {**BENCHMARK_COLOURS, **benchmarks.attrs.get("colours", {})}
    figure = draw_curves(
        shown, title=title, y_title="Equity", tick_format="$,", hover="%{y:$,.2f}", height=height,
        nothing="No equity was recorded", colours=colours,
    )  # fmt: skip
    for number, plot in enumerate(additional_indicators):
        figure.add_trace(trace_plot(plot, colour=STRATEGY if number == 0 else CASH_COLOUR))
    if log_y:
        figure.update_yaxes(type="log")
    return figure


def visualise_benchmark(*arguments: Any, **options: Any) -> go.Figure:
    """Draw the same as `visualise_equity_curve_benchmark`, under its old name."""
    return visualise_equity_curve_benchmark(*arguments, **options)


def visualise_all_cash(start_at: datetime, end_at: datetime, all_cash: float, colour: str = CASH_COLOUR) -> go.Scatter:
    """Return the trace of cash that does nothing, to be added to a figure of equity."""
    return go.Scatter(
        x=[start_at, end_at], y=[all_cash, all_cash], mode="lines", name=ALL_CASH, line={"color": colour, "width": 1.2}
    )


def visualise_long_short_benchmark(state: State, name: str | None = None, height: int | None = None) -> go.Figure:
    """Draw the compounding realised profitability of all, long and short positions.

    It is that of positions one after the other; where several were open at a time it is not what the portfolio earned.

    Args:
        state: The state.
        name: Heading inside the figure.
        height: Pixels.
    """
    curves = {
        "Overall": calculate_compounding_realised_trading_profitability(state),
        "Long": calculate_long_compounding_realised_trading_profitability(state),
        "Short": calculate_short_compounding_realised_trading_profitability(state),
    }
    return draw_curves(
        curves, title=name, y_title="Realised profit", tick_format=".0%", hover="%{y:.2%}", height=height or 400,
        nothing="No position was closed", colours={"Long": GAIN, "Short": LOSS},
    )  # fmt: skip


def visualise_equity_curves(
    curves: Sequence[Curve], name: str = "Equity curve comparison", height: int = 500, log_y: bool = False
) -> go.Figure:
    """Draw equity curves of several strategies or runs, in USD, named by ``attrs["name"]`` or the series' name.

    Args:
        curves: USD by naive UTC time.
        name: Heading inside the figure.
        height: Pixels.
        log_y: Draw the logarithm.
    """
    named: dict[str, Curve] = {}
    for number, curve in enumerate(curves, start=1):
        own = str(curve.attrs.get("name") or curve.name or f"Curve {number}")
        named[own if own not in named else f"{own} ({number})"] = curve
    figure = draw_curves(
        named, title=name, y_title="Equity", tick_format="$,", hover="%{y:$,.2f}", height=height,
        nothing="No curves were given",
    )  # fmt: skip
    if log_y:
        figure.update_yaxes(type="log")
    return figure


def visualise_portfolio_interest_curve(name: str, state: State, colour: str = GAIN) -> go.Figure:
    """Draw the profit of closed credit positions, summed up over time.

    Args:
        name: What the legend calls it.
        state: The state.
        colour: A CSS colour.
    """
    closed = sorted(
        (p for p in state.portfolio.get_all_positions() if p.is_closed() and p.is_credit_supply()),
        key=lambda p: (p.closed_at, p.position_id),
    )
    times = pd.DatetimeIndex([p.closed_at for p in closed])
    sums = pd.Series([p.get_realised_profit_usd() or 0.0 for p in closed], index=times, dtype="float64").cumsum()
    return draw_curves(
        {name: sums}, y_title="Interest", tick_format="$,.2f", hover="%{y:$,.2f}",
        nothing="No credit position was closed", colours={name: colour},
    )  # fmt: skip


def _unwrapped(symbol: str) -> str:
    """Return a token's symbol without the W of wrapped ones."""
    upper = symbol.upper()
    return upper[1:] if upper in {f"W{name}" for name in DEFAULT_BENCHMARKS} else upper
