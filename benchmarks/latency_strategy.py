"""The strategy of the latency benchmark: every hour it buys bitcoin or sells it again, so that every cycle trades."""

import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    cycle_duration = td.CycleDuration.cycle_1h
    initial_cash = 10_000
    routing = td.TradeRouting.default


def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:  # noqa: A002 - vocabulary
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=td.TimeBucket.h1,
        stop_loss_time_bucket=td.TimeBucket.h1,
        pairs=((td.ChainId.centralised_exchange, "coinbase", "BTC", "USD"),),
        universe_options=input.universe_options,
    )
    return td.TradingStrategyUniverse.create_single_pair_universe(dataset)


indicators = td.IndicatorRegistry()


@indicators.define()
def average(close: pd.Series) -> pd.Series:
    return close.rolling(28).mean()


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:  # noqa: A002 - vocabulary
    manager, pair = input.get_position_manager(), input.get_default_pair()
    position = manager.get_current_position_for_pair(pair)
    if position is None:
        return manager.open_spot(pair, value=manager.get_current_cash() * 0.5)
    return manager.close_position(position)
