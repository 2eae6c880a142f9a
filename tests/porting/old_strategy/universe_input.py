"""create_trading_universe with one argument, and a universe of several pairs."""

import datetime

import pandas as pd
from tradeexecutor.state.trade import TradeExecution
from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.default_routing_options import TradeRouting
from tradeexecutor.strategy.pandas_trader.indicator_decorator import IndicatorRegistry
from tradeexecutor.strategy.pandas_trader.strategy_input import StrategyInput
from tradeexecutor.strategy.pandas_trader.trading_universe_input import CreateTradingUniverseInput
from tradeexecutor.strategy.trading_strategy_universe import (
    TradingStrategyUniverse,  # what is returned
    load_all_data,
)
from tradingstrategy.timebucket import TimeBucket

trading_strategy_engine_version = "0.5"


class Parameters:
    cycle_duration = CycleDuration.cycle_1d
    routing = TradeRouting.default
    required_history_period = datetime.timedelta(days=10)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 4, 1)
    initial_cash = 50_000


def create_trading_universe(input: CreateTradingUniverseInput) -> TradingStrategyUniverse:
    dataset = load_all_data(
        input.client, TimeBucket.d1, input.execution_context, input.universe_options, with_liquidity=True
    )
    return TradingStrategyUniverse.create_from_dataset(dataset, forward_fill=True)


indicators = IndicatorRegistry()


@indicators.define()
def average(close: pd.Series) -> pd.Series:
    return close.rolling(5).mean()


def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    return indicators.create_indicators(timestamp, parameters, strategy_universe, execution_context)


def decide_trades(input: StrategyInput) -> list[TradeExecution]:
    position_manager = input.get_position_manager()
    trades = []
    combined = input.indicators.get_indicator_data_pairs_combined("average")
    assert set(combined.index.get_level_values("pair_id")) == {1, 2, 3}
    for pair in input.strategy_universe.iterate_pairs():
        above = input.indicators.get_price(pair=pair) > input.indicators.get_indicator_value("average", pair=pair)
        position = position_manager.get_current_position_for_pair(pair)
        if above and position is None:
            trades += position_manager.open_spot(pair, value=2_000)
        elif position is not None and not above:
            trades += position_manager.close_position(position)
    return trades
