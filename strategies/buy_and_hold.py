"""Buy and hold: an equal share of the money for each pair, bought as soon as it trades and never sold.

What every other strategy has to beat. Sharpe, "The Arithmetic of Active Management", Financial Analysts Journal 47
(1991), gives the reason: before costs the average active trader earns the market's return, after costs less.
"""

from datetime import datetime

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    pairs = None  # all that the data has; or a tuple such as ((td.ChainId.centralised_exchange, None, "BTC", "USD"),)
    candle_time_bucket = td.TimeBucket.d1
    cycle_duration = td.CycleDuration.cycle_1d
    backtest_start = datetime(2018, 1, 1)
    backtest_end = datetime(2020, 1, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    trading_fee = 0.001  # a fraction, where the data does not say

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


indicators = td.IndicatorRegistry()  # none are needed


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:
    pm, universe = input.get_position_manager(), input.strategy_universe
    held = len(pm.get_current_portfolio().open_positions)
    if held == universe.get_pair_count():
        return []
    share = pm.get_current_cash() * input.parameters.allocation / (universe.get_pair_count() - held)
    trades = []
    for pair in universe.iterate_pairs():
        if pm.get_current_position_for_pair(pair) is None and universe.can_open_spot(input.timestamp, pair):
            trades += pm.open_spot(pair, value=share)
    return trades
