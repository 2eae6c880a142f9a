"""Momentum rotation: each week own the few pairs that rose most, as long as they rose at all.

Winners of the last months go on winning: Jegadeesh and Titman, "Returns to Buying Winners and Selling Losers", Journal
of Finance 48 (1993); for cryptocurrencies over weeks: Liu and Tsyvinski, "Risks and Returns of Cryptocurrency", Review
of Financial Studies 34 (2021). Holding cash when even the best have fallen is the absolute momentum of Gary Antonacci,
"Dual Momentum Investing" (2014). What stays among the best is left alone; what drops out makes room.
"""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    pairs = None  # all that the data has; or a tuple such as ((td.ChainId.centralised_exchange, None, "BTC", "USD"),)
    candle_time_bucket = td.TimeBucket.d1
    cycle_duration = td.CycleDuration.cycle_7d
    required_history_period = timedelta(days=35)
    backtest_start = datetime(2018, 1, 1)
    backtest_end = datetime(2020, 1, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    trading_fee = 0.001  # a fraction, where the data does not say

    momentum_bars = 28  # four weeks
    max_assets_in_portfolio = 2
    allocation = 0.98  # of the cash


def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=input.parameters.candle_time_bucket,
        pairs=input.parameters.pairs,
        trading_fee=input.parameters.trading_fee,
        universe_options=input.universe_options,
    )
    return td.TradingStrategyUniverse.create_from_dataset(dataset)


indicators = td.IndicatorRegistry()


@indicators.define()
def momentum(close: pd.Series, momentum_bars: int) -> pd.Series:
    return close / close.shift(momentum_bars) - 1


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:
    parameters, pm, universe = input.parameters, input.get_position_manager(), input.strategy_universe
    returns = input.indicators.get_indicator_values("momentum")
    ranking = np.argsort(-returns, kind="stable")  # NaN, where candles are missing, comes last
    best = [universe.pairs[i] for i in ranking[: parameters.max_assets_in_portfolio] if returns[i] > 0]

    trades = []
    cash, free_slots = pm.get_current_cash(), parameters.max_assets_in_portfolio
    for position in list(pm.get_current_portfolio().open_positions.values()):
        if position.pair in best or not universe.can_open_spot(input.timestamp, position.pair):
            free_slots -= 1  # stays: among the best, or without a price to sell at
        else:
            trades += pm.close_position(position)
            cash += float(trades[-1].planned_reserve)
    new = [pair for pair in best if pm.get_current_position_for_pair(pair) is None]
    for pair in new[:free_slots]:
        trades += pm.open_spot(pair, value=cash * parameters.allocation / free_slots)
    return trades
