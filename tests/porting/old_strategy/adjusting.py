"""Grow and shrink one position."""

import datetime

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
    id = "adjusting"
    cycle_duration = CycleDuration.cycle_1d
    candle_time_bucket = TimeBucket.d1
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
    )
    return TradingStrategyUniverse.create_from_dataset(dataset)


def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    return IndicatorSet()


def decide_trades(input: StrategyInput) -> list[TradeExecution]:
    position_manager = input.get_position_manager()
    pair = input.strategy_universe.get_pair_by_human_description(PAIRS[2])
    position = position_manager.get_current_position_for_pair(pair)
    count = input.other_data.load_latest("count") or 0
    input.other_data.save(input.cycle, "count", count + 1)
    if position is None or count % 2 == 0:
        trades = position_manager.adjust_position(pair, dollar_delta=50, quantity_delta=None, weight=0.1)
    else:
        quantity = position_manager.estimate_asset_quantity(pair, -20)
        trades = position_manager.adjust_position(pair, dollar_delta=-20, quantity_delta=quantity, weight=0.1)
    position_manager.check_enough_cash(trades)
    position_manager.log(f"Cycle {input.cycle}: {len(trades)} trades")
    return trades
