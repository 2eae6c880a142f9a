"""Breakout: buy a new high, then let a trailing stop as wide as the market's usual swings decide when to leave.

Buying the highest close of the last weeks is Richard Donchian's channel rule, known from the Turtle traders (Curtis
Faith, "Way of the Turtle", 2007). The stop follows the price at a distance measured in average true ranges, as in
Charles Le Beau's chandelier exit: quiet markets get a close stop, wild ones room. Every pair has an equal share of the
money. Triggers are checked on finer candles than those that decisions see.
"""

from datetime import datetime, timedelta

import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    pairs = None  # all that the data has; or a tuple such as ((td.ChainId.centralised_exchange, None, "BTC", "USD"),)
    candle_time_bucket = td.TimeBucket.h4
    stop_loss_time_bucket = td.TimeBucket.h1
    cycle_duration = td.CycleDuration.cycle_4h
    required_history_period = timedelta(days=30)
    backtest_start = datetime(2018, 2, 1)
    backtest_end = datetime(2019, 10, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    trading_fee = 0.001  # a fraction, where the data does not say

    channel_bars = 120  # 20 days
    atr_bars = 14
    atr_multiple = 4  # distance of the stop, in average true ranges
    allocation = 0.98  # of the cash


def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=input.parameters.candle_time_bucket,
        stop_loss_time_bucket=input.parameters.stop_loss_time_bucket,
        pairs=input.parameters.pairs,
        trading_fee=input.parameters.trading_fee,
        universe_options=input.universe_options,
    )
    return td.TradingStrategyUniverse.create_from_dataset(dataset)


indicators = td.IndicatorRegistry()


@indicators.define()
def breakout(close: pd.Series, channel_bars: int) -> pd.Series:
    """Return the close divided by the highest close of the bars before it: above 1 is a new high."""
    return close / close.rolling(channel_bars).max().shift(1)


@indicators.define()
def relative_atr(high: pd.Series, low: pd.Series, close: pd.Series, atr_bars: int) -> pd.Series:
    """Return the average true range as a fraction of the price."""
    return td.technical.atr(high, low, close, atr_bars) / close


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:
    parameters, pm, universe = input.parameters, input.get_position_manager(), input.strategy_universe
    free_slots = universe.get_pair_count() - len(pm.get_current_portfolio().open_positions)
    breakouts = input.indicators.get_indicator_values("breakout")  # NaN where candles are missing
    ranges = input.indicators.get_indicator_values("relative_atr")
    trades = []
    for pair, strength, swing in zip(universe.pairs, breakouts, ranges, strict=True):
        distance = parameters.atr_multiple * swing
        if strength > 1 and 0 < distance < 1 and pm.get_current_position_for_pair(pair) is None:
            share = pm.get_current_cash() * parameters.allocation / free_slots
            trades += pm.open_spot(pair, value=share, trailing_stop_loss_pct=1 - distance)
    return trades
