"""Weekly, ranked weights, diagnostics."""

import datetime

from tradeexecutor.state.trade import TradeExecution
from tradeexecutor.strategy.alpha_model import AlphaModel
from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.default_routing_options import TradeRouting
from tradeexecutor.strategy.execution_context import ExecutionContext
from tradeexecutor.strategy.pandas_trader.indicator import IndicatorSet, IndicatorSource
from tradeexecutor.strategy.pandas_trader.strategy_input import StrategyInput
from tradeexecutor.strategy.parameters import StrategyParameters
from tradeexecutor.strategy.trading_strategy_universe import TradingStrategyUniverse, load_partial_data
from tradeexecutor.strategy.universe_model import UniverseOptions
from tradeexecutor.strategy.weighting import weight_by_1_slash_n
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
    id = "weekly_model"
    cycle_duration = CycleDuration.cycle_7d
    candle_time_bucket = TimeBucket.d1
    routing = TradeRouting.default
    chain_id = ChainId.centralised_exchange
    required_history_period = datetime.timedelta(days=20)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000
    allocation = 0.9
    momentum_bars = 7


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


def momentum(close, momentum_bars):
    return close / close.shift(momentum_bars) - 1


def create_indicators(
    timestamp: datetime.datetime,
    parameters: StrategyParameters,
    strategy_universe: TradingStrategyUniverse,
    execution_context: ExecutionContext,
):
    indicators = IndicatorSet()
    indicators.add("momentum", momentum, {"momentum_bars": parameters.momentum_bars}, IndicatorSource.close_price)
    return indicators


def decide_trades(input: StrategyInput) -> list[TradeExecution]:
    position_manager = input.get_position_manager()
    model = AlphaModel(input.timestamp)
    for pair in input.strategy_universe.iterate_pairs():
        model.set_signal(pair, (input.indicators.get_indicator_value("momentum", pair=pair) or 0) + 1)
    model.select_top_signals(2, threshold=0.5)
    model.assign_weights(weight_by_1_slash_n)
    equity = position_manager.get_current_portfolio().calculate_total_equity() * 0.9
    model.normalise_weights(investable_equity=equity)
    model.update_old_weights(position_manager.get_current_portfolio(), ignore_credit=False)
    model.calculate_target_positions(position_manager, investable_equity=equity)
    trades = model.generate_rebalance_trades_and_triggers(
        position_manager, min_trade_threshold=20, execution_context=input.execution_context
    )
    if input.is_visualisation_enabled():
        best = model.get_signals_sorted_by_weight()[0]
        message = f"{model.is_rebalance_triggered()} {best.pair.get_ticker()} {model.get_flag_diagnostics_data()}"
        input.state.visualisation.add_message(input.timestamp, message)
        input.state.visualisation.set_discardable_data("alpha_model", model.to_dict())
    return trades
