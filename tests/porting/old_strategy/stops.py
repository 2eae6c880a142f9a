"""Every kind of stop."""

import datetime

from tradeexecutor.state.position import TradingPosition
from tradeexecutor.state.trade import TradeExecution
from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.default_routing_options import TradeRouting
from tradeexecutor.strategy.execution_context import ExecutionContext
from tradeexecutor.strategy.pandas_trader.indicator import IndicatorSet
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
    id = "stops"
    cycle_duration = CycleDuration.cycle_1d
    candle_time_bucket = TimeBucket.d1
    routing = TradeRouting.default
    chain_id = ChainId.centralised_exchange
    required_history_period = datetime.timedelta(days=20)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000
    allocation = 0.9
    stop_loss = 0.97
    trailing_stop_loss = 0.96
    take_profit = 1.05


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
        stop_loss_time_bucket=TimeBucket.h4,
    )
    return TradingStrategyUniverse.create_single_pair_universe(dataset)


def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    return IndicatorSet()


def decide_trades(input: StrategyInput) -> list[TradeExecution]:
    position_manager = input.get_position_manager()
    parameters = input.parameters
    if position_manager.is_any_open():
        position: TradingPosition = position_manager.get_current_position()
        assert position.get_price_at_open() > 0
        if position.stop_loss is not None and position.get_orignal_stop_loss() is not None:
            position_manager.update_stop_loss(position, position.stop_loss)
        return []
    value = position_manager.get_current_cash() * parameters.allocation
    if input.cycle % 2:
        return position_manager.open_spot(
            input.strategy_universe.get_single_pair(),
            value,
            stop_loss_pct=parameters.stop_loss,
            take_profit_pct=parameters.take_profit,
        )
    return position_manager.open_spot(
        input.get_default_pair(), value, trailing_stop_loss_pct=parameters.trailing_stop_loss
    )
