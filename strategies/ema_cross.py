"""EMA cross: own the asset while its short average price runs above its long one, with a stop loss underneath.

A trend that has started tends to last longer than chance. Enter when the fast exponential average crosses above the
slow one, leave when it is below, or earlier when the price falls too far from the entry; after a stop the next cross
is awaited. Moving-average rules were first tested on a century of prices by Brock, Lakonishok and LeBaron, "Simple
Technical Trading Rules and the Stochastic Properties of Stock Returns", Journal of Finance 47 (1992).
"""

from datetime import datetime, timedelta

import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    pairs = None  # the only pair of the data; name one, such as (td.ChainId.centralised_exchange, None, "BTC", "USD")
    candle_time_bucket = td.TimeBucket.h1
    stop_loss_time_bucket = td.TimeBucket.h1
    cycle_duration = td.CycleDuration.cycle_1h
    backtest_start = datetime(2018, 1, 1)
    backtest_end = datetime(2019, 10, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    trading_fee = 0.001  # a fraction, where the data does not say

    fast_bars = 24  # a day
    slow_bars = 168  # a week
    allocation = 0.98  # of the cash
    stop_loss = 0.95  # of the price at entry
    max_gap = timedelta(days=2)  # longest hole in the data to trade over


def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=input.parameters.candle_time_bucket,
        stop_loss_time_bucket=input.parameters.stop_loss_time_bucket,
        pairs=input.parameters.pairs,
        trading_fee=input.parameters.trading_fee,
        universe_options=input.universe_options,
    )
    return td.TradingStrategyUniverse.create_single_pair_universe(dataset)


indicators = td.IndicatorRegistry()


@indicators.define()
def ema_fast(close: pd.Series, fast_bars: int) -> pd.Series | None:
    return td.technical.ema(close, fast_bars)


@indicators.define()
def ema_slow(close: pd.Series, slow_bars: int) -> pd.Series | None:
    return td.technical.ema(close, slow_bars)


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:
    parameters, pm, pair = input.parameters, input.get_position_manager(), input.get_default_pair()

    def trend(bar: int) -> float | None:
        """Return how far the fast average is above the slow one, None before the first week."""
        fast = input.indicators.get_indicator_value("ema_fast", index=bar, data_delay_tolerance=parameters.max_gap)
        slow = input.indicators.get_indicator_value("ema_slow", index=bar, data_delay_tolerance=parameters.max_gap)
        return None if fast is None or slow is None else fast - slow

    before, now = trend(-2), trend(-1)
    if before is None or now is None:
        return []
    position = pm.get_current_position_for_pair(pair)
    if position is None and before <= 0 < now:
        return pm.open_spot(
            pair, value=pm.get_current_cash() * parameters.allocation, stop_loss_pct=parameters.stop_loss
        )
    if position is not None and now < 0:
        return pm.close_position(position)
    return []
