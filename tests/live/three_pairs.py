"""A strategy for tests: buys what it does not have on even days, sells everything on odd ones."""

from datetime import datetime, timedelta

import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    candle_time_bucket = td.TimeBucket.d1
    stop_loss_time_bucket = td.TimeBucket.d1
    cycle_duration = td.CycleDuration.cycle_1d
    required_history_period = timedelta(days=10)
    backtest_start = datetime(2018, 4, 10)
    backtest_end = datetime(2018, 5, 10)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    pairs = tuple((td.ChainId.centralised_exchange, "bitstamp", base, "USD") for base in ("BTC", "ETH", "LTC"))


def create_trading_universe(input):
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=input.parameters.candle_time_bucket,
        stop_loss_time_bucket=input.parameters.stop_loss_time_bucket,
        pairs=input.parameters.pairs,
        trading_fee=0.001,
        universe_options=input.universe_options,
    )
    return td.TradingStrategyUniverse.create_from_dataset(dataset)


indicators = td.IndicatorRegistry()


@indicators.define()
def mean(close: pd.Series) -> pd.Series:
    return close.rolling(3).mean()


def decide_trades(input):
    manager = input.get_position_manager()
    if input.timestamp.day % 2 == 0:
        pairs = [pair for pair in input.strategy_universe.pairs if not manager.get_current_position_for_pair(pair)]
        return [trade for pair in pairs for trade in manager.open_spot(pair, value=1000)]
    return manager.close_all() if manager.is_any_open() else []
