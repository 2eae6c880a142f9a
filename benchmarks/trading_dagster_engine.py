"""Our engine: strategies written with the public vocabulary, run by `run_backtest`.

W1 and W2 decide every bar. W3 decides once a day on hourly candles, with the same candles as stop-loss feed, so that
stops are checked every hour. W4 has a cycle every day and trades on Mondays. The timed call is `run_backtest`:
indicators, cycles, events, equity curve and trades; the universe is made before it. Performance measures are calculated
when asked for: `prepare_measured` asks.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import trading_dagster as td
from benchmarks.rule import (
    ALLOCATION,
    CASH,
    FAST,
    FASTS,
    LOOKBACK,
    MAX_WEIGHT,
    MIN_TRADE,
    MOMENTUM,
    MONDAY,
    SLOW,
    SLOWS,
    TOP,
    Outcome,
)
from benchmarks.workload import Workload, cache_candles, load_candles
from trading_dagster.market.exchange import centralised_exchange, centralised_pair
from trading_dagster.market.file_source import FileSource

VENUE = "benchmark"
BUCKETS = {"1min": td.TimeBucket.m1, "1h": td.TimeBucket.h1, "1D": td.TimeBucket.d1}
CYCLES = {"1min": td.CycleDuration.cycle_1m, "1h": td.CycleDuration.cycle_1h, "1D": td.CycleDuration.cycle_1d}

ema_indicators = td.IndicatorRegistry()
momentum_indicators = td.IndicatorRegistry()
memory_indicators = td.IndicatorRegistry()


@ema_indicators.define()
@memory_indicators.define()
def ema_fast(close: pd.Series, fast: int) -> pd.Series:
    return close.ewm(span=fast, adjust=False).mean()


@ema_indicators.define()
@memory_indicators.define()
def ema_slow(close: pd.Series, slow: int) -> pd.Series:
    return close.ewm(span=slow, adjust=False).mean()


@momentum_indicators.define()
@memory_indicators.define()
def momentum(close: pd.Series, lookback: int) -> pd.Series:
    prices = close.to_numpy()
    change = np.full(len(prices), np.nan)
    change[lookback:] = prices[lookback:] / prices[:-lookback] - 1
    return pd.Series(change, index=close.index)


def decide_ema_cross(input: td.StrategyInput) -> list[td.TradeExecution]:  # noqa: A002
    """Hold 0.98 of the cash while the fast average is above the slow one."""
    position_manager = input.get_position_manager()
    fast = input.indicators.get_indicator_value("ema_fast")
    slow = input.indicators.get_indicator_value("ema_slow")
    if fast is None or slow is None:
        return []
    if fast > slow:
        if not position_manager.is_any_open():
            value = position_manager.get_current_cash() * input.parameters.allocation
            return position_manager.open_spot(input.get_default_pair(), value=value)
    elif position_manager.is_any_open():
        return position_manager.close_all()
    return []


def decide_momentum(input: td.StrategyInput) -> list[td.TradeExecution]:  # noqa: A002
    """Hold the pairs of the highest momentum in equal weights, at the times the rule trades."""
    parameters, timestamp = input.parameters, input.timestamp
    if timestamp.hour or (parameters.is_weekly and timestamp.weekday() != MONDAY):
        return []
    signals = input.indicators.get_indicator_values("momentum")
    if np.isnan(signals).any():
        return []
    position_manager = input.get_position_manager()
    portfolio = position_manager.get_current_portfolio()
    pairs = input.strategy_universe.pairs
    ranked = [pairs[i] for i in np.argsort(-signals, kind="stable")[: parameters.top].tolist()]
    weight = parameters.allocation / parameters.top
    target = weight * portfolio.calculate_total_equity()
    trades, chosen = [], set(ranked)
    for position in list(portfolio.open_positions.values()):
        if position.pair not in chosen:
            trades += position_manager.close_position(position)
    for pair in ranked:
        position = position_manager.get_current_position_for_pair(pair)
        if position is None:
            trades += position_manager.open_spot(pair, value=target, stop_loss_pct=parameters.stop)
        else:
            delta = target - position.get_value()
            quantity = position_manager.estimate_asset_quantity(pair, delta)
            trades += position_manager.adjust_position(pair, delta, quantity, weight)
    return trades


def decide_alpha(input: td.StrategyInput) -> list[td.TradeExecution]:  # noqa: A002
    """Weigh all pairs by the alpha model every hour, rebalance at midnight."""
    parameters, timestamp = input.parameters, input.timestamp
    momenta, pairs = input.indicators.get_indicator_values("momentum"), input.strategy_universe.pairs
    model = td.AlphaModel(timestamp)
    for pair, momentum_now in zip(pairs, momenta.tolist(), strict=True):
        if momentum_now > 0:
            model.set_signal(pair, momentum_now)
    model.select_top_signals(parameters.top)
    model.assign_weights(td.weight_by_1_slash_n)
    model.normalise_weights(max_weight=parameters.max_weight)
    if timestamp.hour or np.isnan(momenta).all():
        return []
    position_manager = input.get_position_manager()
    portfolio = position_manager.get_current_portfolio()
    model.update_old_weights(portfolio)
    model.calculate_target_positions(position_manager, portfolio.calculate_total_equity() * parameters.allocation)
    return model.generate_rebalance_trades_and_triggers(position_manager, min_trade_threshold=MIN_TRADE)


def prepare(
    workload: Workload,
    folder: Path,
    *,
    decide: Callable[[td.StrategyInput], list[td.TradeExecution]] = decide_momentum,
    hourly: bool = False,
    measured: bool = False,
) -> Callable[[], Outcome]:
    """Make the universe; return the call that is timed.

    Args:
        workload: What to run.
        folder: Where the candles are.
        decide: Which way of writing the momentum rule.
        hourly: Decide W3 every hour instead of every day; the rule trades at midnight all the same.
        measured: Calculate the performance measures, too.
    """
    parameters = {
        "initial_cash": CASH,
        "allocation": ALLOCATION,
        "cycle_duration": CYCLES[workload.frequency],
        "backtest_start": workload.timestamps[0].to_pydatetime(),
        "backtest_end": find_end(workload),
        "routing": td.TradeRouting.default,
    }
    if workload.name == "w5":
        return prepare_search(parameters, make_universe(workload, folder, has_stops=False), workload.fee)
    if workload.name == "memory":
        universe = load_universe(workload, folder)
        parameters |= {"fast": FAST, "slow": SLOW, "lookback": 168, "top": 20, "stop": None, "is_weekly": False}
        run = partial(td.run_backtest, decide_trades=decide, create_indicators=memory_indicators.create_indicators)
    elif workload.name == "alpha":
        universe = make_universe(workload, folder, has_stops=False)
        parameters |= {"lookback": LOOKBACK, "top": TOP, "max_weight": MAX_WEIGHT}
        run = partial(
            td.run_backtest, decide_trades=decide_alpha, create_indicators=momentum_indicators.create_indicators
        )
    elif workload.name in MOMENTUM:
        rule = MOMENTUM[workload.name]
        if not hourly:
            parameters["cycle_duration"] = td.CycleDuration.cycle_1d
        universe = make_universe(workload, folder, has_stops=rule.stop is not None)
        is_weekly = workload.frequency == "1D"
        parameters |= {"lookback": rule.lookback, "top": rule.top, "stop": rule.stop, "is_weekly": is_weekly}
        run = partial(td.run_backtest, decide_trades=decide, create_indicators=momentum_indicators.create_indicators)
    else:
        universe = make_universe(workload, folder, has_stops=False)
        parameters |= {"fast": FAST, "slow": SLOW}
        run = partial(
            td.run_backtest, decide_trades=decide_ema_cross, create_indicators=ema_indicators.create_indicators
        )

    def run_and_summarise() -> Outcome:
        result = run(universe=universe, parameters=parameters, progress=False)
        assert not measured or len(result.metrics) > 0
        return summarise(result)

    return run_and_summarise


def prepare_search(
    parameters: dict[str, Any], universe: td.TradingStrategyUniverse, fee: float
) -> Callable[[], Outcome]:
    """Return the grid search of W5."""
    grid = td.StrategyParameters({**parameters, "fast": list(FASTS), "slow": list(SLOWS)})
    opened, closed = (universe.candles.columns[name][0, -1] for name in ("open", "close"))

    def value(result: td.GridSearchResult) -> float:
        """Value what is held at the last close instead of at the bid of the last decision."""
        assert result.summary is not None
        cash, held = result.summary.uninvested_cash, result.summary.open_value
        assert cash is not None
        return cash + held / (1 - fee) * closed / opened

    def run() -> Outcome:
        combinations = td.prepare_grid_combinations(grid, create_indicators=ema_indicators)
        results = td.perform_grid_search(decide_ema_cross, universe, combinations, progress=False)
        return Outcome(float(sum(map(value, results))), max(results, key=value).get_trade_count())

    return run


def prepare_hourly(workload: Workload, folder: Path) -> Callable[[], Outcome]:
    """Do what `prepare` does, with a decision every hour in W3."""
    return prepare(workload, folder, hourly=True)


def prepare_measured(workload: Workload, folder: Path) -> Callable[[], Outcome]:
    """Do what `prepare` does, with the performance measures that other libraries calculate in every run."""
    return prepare(workload, folder, measured=True)


def find_end(workload: Workload) -> datetime:
    """Return the exclusive end of the candles, naive UTC."""
    return (workload.timestamps[-1] + pd.Timedelta(BUCKETS[workload.frequency].to_timedelta())).to_pydatetime()


def make_universe(workload: Workload, folder: Path, *, has_stops: bool) -> td.TradingStrategyUniverse:
    """Make the universe of a frame of candles; with stops, the same candles are the stop-loss feed."""
    candles, bucket = load_candles(workload, folder), BUCKETS[workload.frequency]
    dataset = td.Dataset(
        time_bucket=bucket,
        exchanges=(centralised_exchange(VENUE),),
        pairs=tuple(
            centralised_pair(VENUE, f"T{pair_id:04}", "USD", fee=workload.fee, internal_id=pair_id)
            for pair_id in range(1, workload.pairs + 1)
        ),
        candles=candles,
        backtest_stop_loss_candles=candles if has_stops else None,
        backtest_stop_loss_time_bucket=bucket if has_stops else None,
    )
    return td.TradingStrategyUniverse.create_from_dataset(dataset)


def load_universe(workload: Workload, folder: Path) -> td.TradingStrategyUniverse:
    """Load the universe from the Parquet file batch by batch, for candles that should not be a frame first."""
    bucket = BUCKETS[workload.frequency]
    source = FileSource(cache_candles(workload, folder), bucket=bucket, exchange=VENUE, fee=workload.fee)
    descriptions = [market.description for market in source.list_markets()]
    return td.TradingStrategyUniverse.create_from_dataset(
        td.load_partial_data(source, time_bucket=bucket, pairs=descriptions)
    )


def summarise(result: td.BacktestResult) -> Outcome:
    """Value what is held at the last close and count the fills; equity curve and trades are part of the timed call."""
    assert len(result.equity_curve) > 0
    candles = result.universe.candles
    portfolio = result.state.portfolio
    equity = portfolio.get_cash() + sum(
        float(position.get_quantity()) * candles.columns["close"][candles.row_of(position.pair.internal_id), -1]
        for position in portfolio.open_positions.values()
    )
    return Outcome(float(equity), len(result.trades))
