"""An index whose positions are capped by the pools."""

import datetime

import pandas as pd
from tradeexecutor.state.trade import TradeExecution
from tradeexecutor.strategy.alpha_model import AlphaModel
from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.default_routing_options import TradeRouting
from tradeexecutor.strategy.execution_context import ExecutionContext
from tradeexecutor.strategy.pandas_trader.indicator import IndicatorSource
from tradeexecutor.strategy.pandas_trader.indicator_decorator import IndicatorRegistry
from tradeexecutor.strategy.pandas_trader.strategy_input import StrategyInput
from tradeexecutor.strategy.trading_strategy_universe import TradingStrategyUniverse, load_partial_data
from tradeexecutor.strategy.tvl_size_risk import USDTVLSizeRiskModel
from tradeexecutor.strategy.universe_model import UniverseOptions
from tradeexecutor.strategy.weighting import weight_equal
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
    id = "tvl_capped_index"
    cycle_duration = CycleDuration.cycle_1d
    candle_time_bucket = TimeBucket.d1
    routing = TradeRouting.default
    chain_id = ChainId.centralised_exchange
    required_history_period = datetime.timedelta(days=20)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000
    allocation = 0.9
    min_tvl = 1_000
    per_position_cap_of_pool = 0.01
    assummed_liquidity_when_data_missings = 10_000


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
        liquidity=True,
    )
    return TradingStrategyUniverse.create_from_dataset(dataset)


indicators = IndicatorRegistry()


@indicators.define(source=IndicatorSource.tvl)
def tvl(close: pd.Series) -> pd.Series:
    return close


@indicators.define(dependencies=(tvl,), source=IndicatorSource.dependencies_only_universe)
def tvl_inclusion_criteria(min_tvl, dependency_resolver) -> pd.Series:
    mask = dependency_resolver.get_indicator_data_pairs_combined(tvl) >= min_tvl
    kept = mask[mask]
    return kept.reset_index().groupby("timestamp")["pair_id"].apply(list)


def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    return indicators.create_indicators(timestamp, parameters, strategy_universe, execution_context)


def decide_trades(input: StrategyInput) -> list[TradeExecution]:
    position_manager = input.get_position_manager()
    model = AlphaModel(input.timestamp)
    included = input.indicators.get_indicator_value("tvl_inclusion_criteria") or []
    for pair_id in included:
        model.set_signal(input.strategy_universe.get_pair_by_id(pair_id), 1.0)
    model.select_top_signals(count=10)
    model.assign_weights(method=weight_equal)
    equity = position_manager.get_current_portfolio().get_total_equity() * input.parameters.allocation
    risk = USDTVLSizeRiskModel(
        pricing_model=input.pricing_model,
        per_position_cap=input.parameters.per_position_cap_of_pool,
        missing_tvl_placeholder_usd=input.parameters.assummed_liquidity_when_data_missings,
    )
    model.normalise_weights(investable_equity=equity, size_risk_model=risk, max_weight=0.5, waterfall=True)
    model.update_old_weights(position_manager.get_current_portfolio())
    model.calculate_target_positions(position_manager)
    return model.generate_rebalance_trades_and_triggers(position_manager, min_trade_threshold=1)
