"""Cross of two averages, with the indicators of pandas_ta."""

import datetime

import pandas_ta
from tradeexecutor.state.trade import TradeExecution
from tradeexecutor.state.visualisation import PlotKind, PlotLabel, PlotShape
from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.default_routing_options import TradeRouting
from tradeexecutor.strategy.execution_context import ExecutionContext
from tradeexecutor.strategy.pandas_trader.indicator import IndicatorSet
from tradeexecutor.strategy.pandas_trader.strategy_input import StrategyInput
from tradeexecutor.strategy.parameters import StrategyParameters
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
    id = "ema_cross"
    cycle_duration = CycleDuration.cycle_1d
    candle_time_bucket = TimeBucket.d1
    routing = TradeRouting.default
    chain_id = ChainId.centralised_exchange
    required_history_period = datetime.timedelta(days=20)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000
    allocation = 0.9
    fast = 5
    slow = 15


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


def create_indicators(parameters: StrategyParameters, indicators: IndicatorSet, strategy_universe, execution_context):
    indicators.add("fast", pandas_ta.ema, {"length": parameters.fast})
    indicators.add("slow", pandas_ta.ema, {"length": parameters.slow})


def decide_trades(input: StrategyInput) -> list[TradeExecution]:
    position_manager = input.get_position_manager()
    pair = input.get_default_pair()
    fast = input.indicators.get_indicator_value("fast")
    slow = input.indicators.get_indicator_value("slow")
    trades = []
    if fast is None or slow is None:
        return trades
    if fast > slow and not position_manager.is_any_open():
        cash = position_manager.get_current_cash()
        trades += position_manager.open_1x_long(pair, cash * input.parameters.allocation)  # alias
    elif fast < slow and position_manager.is_any_open():
        trades += position_manager.close_all()
    if input.is_visualisation_enabled():
        visualisation = input.state.visualisation
        visualisation.plot_indicator(
            input.timestamp,
            "Fast",
            PlotKind.technical_indicator_on_price,
            fast,
            colour="red",
            label=PlotLabel.hidden,
            plot_shape=PlotShape.linear,
        )
    return trades
