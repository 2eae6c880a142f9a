"""RSI mean reversion: buy what has fallen too fast, sell it when it is back at its middle.

The relative strength index compares the gains of the last days with the losses; under 30 it is called oversold
(J. Welles Wilder, "New Concepts in Technical Trading Systems", 1978). Buy when it rises out of there, sell above 50,
and take the loss when the fall goes on. Every pair has an equal share of the money.
"""

from datetime import datetime, timedelta

import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    pairs = None  # all that the data has; or a tuple such as ((td.ChainId.centralised_exchange, None, "BTC", "USD"),)
    candle_time_bucket = td.TimeBucket.d1
    stop_loss_time_bucket = td.TimeBucket.d1
    cycle_duration = td.CycleDuration.cycle_1d
    required_history_period = timedelta(days=30)
    backtest_start = datetime(2018, 1, 1)
    backtest_end = datetime(2020, 1, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    trading_fee = 0.001  # a fraction, where the data does not say

    rsi_bars = 14
    oversold = 30
    recovered = 50
    allocation = 0.98  # of the cash
    stop_loss = 0.85  # of the price at entry


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
def rsi(close: pd.Series, rsi_bars: int) -> pd.Series:
    return td.technical.rsi(close, rsi_bars)


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:
    parameters, pm, universe = input.parameters, input.get_position_manager(), input.strategy_universe
    free_slots = universe.get_pair_count() - len(pm.get_current_portfolio().open_positions)
    rsi_before = input.indicators.get_indicator_values("rsi", index=-2)
    rsi_now = input.indicators.get_indicator_values("rsi")  # NaN, which no comparison passes, where candles are missing
    trades = []
    for pair, before, now in zip(universe.pairs, rsi_before, rsi_now, strict=True):
        position = pm.get_current_position_for_pair(pair)
        if position is not None and now > parameters.recovered:
            trades += pm.close_position(position)
        elif position is None and before < parameters.oversold <= now:
            share = pm.get_current_cash() * parameters.allocation / free_slots
            trades += pm.open_spot(pair, value=share, stop_loss_pct=parameters.stop_loss)
    return trades
