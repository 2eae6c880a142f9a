"""Reads prices and series instead of single values."""

import datetime

import talib
from tradeexecutor.state.trade import TradeExecution
from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.default_routing_options import TradeRouting
from tradeexecutor.strategy.execution_context import ExecutionContext
from tradeexecutor.strategy.pandas_trader.indicator import IndicatorSet, IndicatorSource
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
    id = "price_history"
    cycle_duration = CycleDuration.cycle_4h
    candle_time_bucket = TimeBucket.h4
    routing = TradeRouting.default
    chain_id = ChainId.centralised_exchange
    required_history_period = datetime.timedelta(days=20)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000
    allocation = 0.9
    window = 10


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
        PAIRS[:1],  # the pairs we trade
        universe_options,
    )
    return TradingStrategyUniverse.create_single_pair_universe(dataset)


def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    indicators = IndicatorSet()
    indicators.add("highest", talib.MAX, {"timeperiod": parameters.window})
    indicators.add("atr", atr, {"length": 5}, IndicatorSource.ohlcv)
    return indicators


def atr(open, high, low, close, length):
    return talib.ATR(high, low, close, length)


def decide_trades(input: StrategyInput) -> list[TradeExecution]:
    position_manager = input.get_position_manager()
    price = input.indicators.get_price()
    highest = input.indicators.get_indicator_series("highest")
    closes = input.indicators.get_price_series()
    assert closes.iloc[-1] == price
    assert input.indicators.get_ohlcv()["close"].iloc[-1] == price
    assert input.indicators.get_indicator_value("atr") > 0
    input.state.visualisation.add_calculations(input.timestamp, {"price": price, "highest": highest.iloc[-2]})
    if price >= highest.iloc[-2] and not position_manager.is_any_open():
        return position_manager.open_spot(input.get_default_pair(), position_manager.get_current_cash() * 0.5)
    if price < closes.iloc[-4:].mean() and position_manager.is_any_open():
        return position_manager.close_all()
    return []
