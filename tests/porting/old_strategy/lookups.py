"""Pairs by description, id and object."""

import datetime

from tradeexecutor.state.identifier import TradingPairIdentifier
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
from tradingstrategy.pair import HumanReadableTradingPairDescription, PandasPairUniverse
from tradingstrategy.timebucket import TimeBucket

trading_strategy_engine_version = "0.5"

PAIRS = [
    (ChainId.centralised_exchange, "binance", "BTC", "USDT"),
    (ChainId.centralised_exchange, "binance", "ETH", "USDT"),
    (ChainId.centralised_exchange, "binance", "LTC", "USDT"),
]


class Parameters:
    id = "lookups"
    cycle_duration = CycleDuration.cycle_1d
    candle_time_bucket = TimeBucket.d1
    routing = TradeRouting.default
    chain_id = ChainId.centralised_exchange
    required_history_period = datetime.timedelta(days=20)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000
    allocation = 0.9
    pair: HumanReadableTradingPairDescription = PAIRS[1]


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
    universe = input.strategy_universe
    pairs: PandasPairUniverse = universe.data_universe.pairs
    pair: TradingPairIdentifier = universe.get_pair_by_human_description(PAIRS[1])
    assert universe.get_pair_by_id(pair.internal_id) == pair
    assert position_manager.get_trading_pair(PAIRS[1]) == pair
    assert pairs.get_pair_by_human_description(PAIRS[1]) == pair
    assert universe.get_pair_count() == 3
    assert universe.get_reserve_asset().token_symbol == "USDT"
    if not universe.can_open_spot(input.timestamp, pair):
        return []
    position = position_manager.get_current_position_for_pair(pair)
    if position is None:
        return position_manager.open_spot(pair, 1_000)
    return position_manager.close_position(position, notes="Every other day")
