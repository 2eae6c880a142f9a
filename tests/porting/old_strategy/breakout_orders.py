"""Enter a breakout by a market limit, take profit in parts, and leave after a while."""

import datetime

import pandas as pd
from tradeexecutor.state.trade import TradeExecution
from tradeexecutor.state.trigger import TriggerType
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
    id = "breakout_orders"
    cycle_duration = CycleDuration.cycle_1d
    candle_time_bucket = TimeBucket.d1
    stop_loss_time_bucket = TimeBucket.d1
    routing = TradeRouting.default
    chain_id = ChainId.centralised_exchange
    required_history_period = datetime.timedelta(days=20)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000
    allocation = 0.9
    pair = PAIRS[2]


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
        stop_loss_time_bucket=Parameters.stop_loss_time_bucket,
    )
    return TradingStrategyUniverse.create_from_dataset(dataset)


def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    return IndicatorSet()


def decide_trades(input: StrategyInput) -> list[TradeExecution]:
    position_manager = input.get_position_manager()
    pair = input.strategy_universe.get_pair_by_human_description(PAIRS[2])
    price = input.indicators.get_price(pair=pair)
    if price is None:
        return []
    if not position_manager.get_current_position_for_pair(pair, pending=True):
        position, pending_trades = position_manager.open_spot_with_market_limit(
            pair=pair,
            value=input.state.portfolio.get_cash() * 0.5,
            trigger_price=price * 1.01,
            expires_at=input.timestamp + pd.Timedelta(hours=48),
            notes="Breakout",
        )
        assert pending_trades[0].triggers[0].type == TriggerType.market_limit
        total_quantity = position.get_pending_quantity()
        position_manager.prepare_take_profit_trades(
            position,
            [
                (price * 1.03, -total_quantity / 2, False),
                (datetime.timedelta(hours=96), -total_quantity / 2, True),
            ],
        )
    return []  # nothing is to be executed on this decision cycle
