"""Signals under a fixed cap, positions limited in number."""

import datetime

from tradeexecutor.state.trade import TradeExecution
from tradeexecutor.strategy.alpha_model import AlphaModel
from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.default_routing_options import TradeRouting
from tradeexecutor.strategy.execution_context import ExecutionContext
from tradeexecutor.strategy.fixed_size_risk import FixedSizeRiskModel
from tradeexecutor.strategy.pandas_trader.indicator import IndicatorSet, IndicatorSource
from tradeexecutor.strategy.pandas_trader.strategy_input import StrategyInput
from tradeexecutor.strategy.parameters import StrategyParameters
from tradeexecutor.strategy.trading_strategy_universe import TradingStrategyUniverse, load_partial_data
from tradeexecutor.strategy.universe_model import UniverseOptions
from tradeexecutor.strategy.weighting import weight_passthrouh
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
    id = "fixed_cap"
    cycle_duration = CycleDuration.cycle_1d
    candle_time_bucket = TimeBucket.d1
    routing = TradeRouting.default
    chain_id = ChainId.centralised_exchange
    required_history_period = datetime.timedelta(days=20)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000
    allocation = 0.9
    momentum_bars = 5


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
        stop_loss_time_bucket=TimeBucket.h4,
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
    portfolio = position_manager.get_current_portfolio()
    model = AlphaModel(input.timestamp, close_position_weight_epsilon=0.01)
    for pair in input.strategy_universe.iterate_pairs():
        if position_manager.is_problematic_pair(pair):
            continue
        alpha = input.indicators.get_indicator_value("momentum", pair=pair)
        model.set_signal(pair, max(alpha or 0, 0), trailing_stop_loss=0.9)
    model.select_top_signals(3)
    if not model.has_any_signal() and not position_manager.is_any_open():
        return []
    model.assign_weights(weight_passthrouh)
    model.normalise_weights(
        investable_equity=portfolio.get_net_asset_value() * 0.9,
        size_risk_model=FixedSizeRiskModel(input.pricing_model, per_trade_cap=2_000, per_position_cap=2_000),
        max_positions=2,
    )
    model.update_old_weights(portfolio)
    model.calculate_target_positions(position_manager)
    assert model.get_signal_count() == len(list(model.iterate_signals()))
    return model.generate_rebalance_trades_and_triggers(position_manager, min_trade_threshold=10)
