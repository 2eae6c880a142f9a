"""Version 0.6 with standard charts and one of its own."""

import datetime

from tradeexecutor.state.trade import TradeExecution
from tradeexecutor.state.types import Percent, USDollarAmount
from tradeexecutor.strategy.chart.definition import ChartInput, ChartKind, ChartRegistry
from tradeexecutor.strategy.chart.standard.equity_curve import equity_curve, equity_curve_with_drawdown
from tradeexecutor.strategy.chart.standard.performance_metrics import performance_metrics
from tradeexecutor.strategy.chart.standard.single_pair import trading_pair_price_and_trades
from tradeexecutor.strategy.chart.standard.thinking import last_messages
from tradeexecutor.strategy.chart.standard.trading_metrics import trading_metrics
from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.default_routing_options import TradeRouting
from tradeexecutor.strategy.execution_context import ExecutionContext
from tradeexecutor.strategy.pandas_trader.indicator import IndicatorSet
from tradeexecutor.strategy.pandas_trader.strategy_input import StrategyInput
from tradeexecutor.strategy.tag import StrategyTag
from tradeexecutor.strategy.trading_strategy_universe import TradingStrategyUniverse, load_partial_data
from tradeexecutor.strategy.universe_model import UniverseOptions
from tradingstrategy.chain import ChainId
from tradingstrategy.client import Client
from tradingstrategy.timebucket import TimeBucket

trading_strategy_engine_version = "0.6"

name = "Half Bitcoin"
short_description = "Buys once"
long_description = """Buys half of it **once**."""
icon = ""
tags = {StrategyTag.beta, StrategyTag.unit_testing}

PAIRS = [
    (ChainId.centralised_exchange, "binance", "BTC", "USDT"),
    (ChainId.centralised_exchange, "binance", "ETH", "USDT"),
    (ChainId.centralised_exchange, "binance", "LTC", "USDT"),
]


class Parameters:
    id = "charts_version"
    cycle_duration = CycleDuration.cycle_1d
    candle_time_bucket = TimeBucket.d1
    routing = TradeRouting.default
    chain_id = ChainId.centralised_exchange
    required_history_period = datetime.timedelta(days=20)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000
    allocation = 0.9
    share: Percent = 0.5


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
    return IndicatorSet()


def create_charts(timestamp, parameters, strategy_universe, execution_context):
    charts = ChartRegistry(default_benchmark_pairs=PAIRS[:1])
    charts.register(equity_curve_with_benchmark, ChartKind.state_all_pairs)
    charts.register(equity_curve_with_drawdown, ChartKind.state_all_pairs)
    charts.register(performance_metrics, ChartKind.state_all_pairs)
    charts.register(trading_metrics, ChartKind.state_all_pairs)
    charts.register(trading_pair_price_and_trades, ChartKind.state_single_pair)
    charts.register(last_messages, ChartKind.state_all_pairs)  # what it thinks
    return charts


def equity_curve_with_benchmark(input: ChartInput):
    """Equity beside Bitcoin."""
    return equity_curve(input, benchmark_token_symbols=["BTC"])


def decide_trades(input: StrategyInput) -> list[TradeExecution]:
    position_manager = input.get_position_manager()
    if position_manager.is_any_open():
        return []
    value: USDollarAmount = position_manager.get_current_cash() * input.parameters.share
    return position_manager.open_spot(input.get_default_pair(), value)
