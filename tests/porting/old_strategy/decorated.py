"""Decorated indicators that read one another."""

import datetime

import pandas as pd
from tradeexecutor.state.trade import TradeExecution
from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.default_routing_options import TradeRouting
from tradeexecutor.strategy.execution_context import ExecutionContext
from tradeexecutor.strategy.pandas_trader.indicator import IndicatorDependencyResolver, IndicatorSource
from tradeexecutor.strategy.pandas_trader.indicator_decorator import IndicatorRegistry
from tradeexecutor.strategy.pandas_trader.strategy_input import StrategyInput
from tradeexecutor.strategy.trading_strategy_universe import TradingStrategyUniverse, load_partial_data
from tradeexecutor.strategy.universe_model import UniverseOptions
from tradingstrategy.chain import ChainId
from tradingstrategy.client import Client
from tradingstrategy.timebucket import TimeBucket

trading_strategy_engine_version = "0.5"

PAIRS = [
    (ChainId.centralised_exchange, "binance", "BTC", "USDT"),
    (ChainId.centralised_exchange, "binance", "ETH", "USDT"),
    (ChainId.centralised_exchange, "binance", "LTC", "USDT"),
]


class Parameters:
    id = "decorated"
    cycle_duration = CycleDuration.cycle_1d
    candle_time_bucket = TimeBucket.d1
    routing = TradeRouting.default
    chain_id = ChainId.centralised_exchange
    required_history_period = datetime.timedelta(days=20)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000
    allocation = 0.9
    rsi_bars = 8


def create_trading_universe(
    timestamp: datetime.datetime,
    client: Client,
    execution_context: ExecutionContext,
    universe_options: UniverseOptions,
) -> TradingStrategyUniverse:
    dataset = load_partial_data(
        client,
        execution_context,
        Parameters.candle_time_bucket,
        PAIRS,  # the pairs we trade
        universe_options,
    )
    return TradingStrategyUniverse.create_from_dataset(dataset)


indicators = IndicatorRegistry()


@indicators.define()
def rsi(close: pd.Series, rsi_bars: int) -> pd.Series:
    from pandas_ta.momentum import rsi as calculate

    return calculate(close, length=rsi_bars)


@indicators.define(dependencies=(rsi,), source=IndicatorSource.dependencies_only_per_pair)
def rsi_change(dependency_resolver: IndicatorDependencyResolver) -> pd.Series:
    return dependency_resolver.get_indicator_data(rsi).diff()


@indicators.define(source=IndicatorSource.strategy_universe)
def pair_count(strategy_universe: TradingStrategyUniverse) -> pd.Series:
    index = strategy_universe.data_universe.candles.df["timestamp"].drop_duplicates().sort_values()
    return pd.Series(strategy_universe.get_pair_count(), index=pd.DatetimeIndex(index))


create_indicators = indicators.create_indicators


def decide_trades(input: StrategyInput) -> list[TradeExecution]:
    position_manager = input.get_position_manager()
    assert input.indicators.get_indicator_value("pair_count") == 3
    trades = []
    for pair in input.strategy_universe.iterate_pairs():
        value = input.indicators.get_indicator_value("rsi", pair=pair)
        change = input.indicators.get_indicator_value("rsi_change", pair=pair)
        position = position_manager.get_current_position_for_pair(pair)
        if value is None or change is None:
            continue
        if value < 45 and change > 0 and position is None:
            trades += position_manager.open_spot(pair, 500)
        elif value > 55 and position is not None:
            trades += position_manager.close_position(position)
    return trades
