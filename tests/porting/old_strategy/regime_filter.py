"""A market filter, an error that is caught, a quiet log."""

import datetime

import pandas as pd
from tradeexecutor.state.trade import TradeExecution
from tradeexecutor.state.visualisation import PlotKind
from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.default_routing_options import TradeRouting
from tradeexecutor.strategy.execution_context import ExecutionContext
from tradeexecutor.strategy.pandas_trader.indicator import IndicatorSet
from tradeexecutor.strategy.pandas_trader.position_manager import PositionManager
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
    id = "regime_filter"
    cycle_duration = CycleDuration.cycle_1d
    candle_time_bucket = TimeBucket.d1
    routing = TradeRouting.default
    chain_id = ChainId.centralised_exchange
    required_history_period = datetime.timedelta(days=20)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000
    allocation = 0.9
    regime_bars = 20


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


def regime(close: pd.Series, regime_bars: int) -> pd.DataFrame:
    average = close.rolling(regime_bars).mean()
    return pd.DataFrame({"bull": (close > average).astype(float), "average": average})


def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    indicators = IndicatorSet()
    indicators.add("regime", regime, {"regime_bars": parameters.regime_bars})
    return indicators


def decide_trades(input: StrategyInput) -> list[TradeExecution]:
    position_manager: PositionManager = input.get_position_manager()
    btc = input.strategy_universe.get_pair_by_human_description(PAIRS[0])
    bull = input.indicators.get_indicator_value("regime", "bull", pair=btc)
    if not bull:
        return position_manager.close_all() if position_manager.is_any_open() else []
    input.state.visualisation.plot_indicator(
        input.timestamp, "Bull", PlotKind.technical_indicator_detached, bull, pair=btc
    )
    if position_manager.get_current_position_for_pair(btc) is None:
        closed = position_manager.get_closed_positions_for_pair(btc)
        return position_manager.open_spot(btc, 1_000 + len(closed), notes="bull", slippage_tolerance=0.02)
    return []
