"""Parameters come as an argument."""

import datetime
import logging

import pandas as pd
from pandas_ta.overlap import ema
from tradeexecutor.state.state import State
from tradeexecutor.state.trade import TradeExecution
from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.execution_context import ExecutionContext
from tradeexecutor.strategy.pandas_trader.position_manager import PositionManager
from tradeexecutor.strategy.pricing_model import PricingModel
from tradeexecutor.strategy.strategy_module import ReserveCurrency, StrategyType, TradeRouting
from tradeexecutor.strategy.trading_strategy_universe import TradingStrategyUniverse, load_pair_data_for_single_exchange
from tradeexecutor.strategy.universe_model import UniverseOptions
from tradingstrategy.chain import ChainId
from tradingstrategy.client import Client
from tradingstrategy.timebucket import TimeBucket

trading_strategy_engine_version = "0.4"
CANDLE_TIME_BUCKET = TimeBucket.d1
CHAIN_ID = ChainId.centralised_exchange
BATCH_SIZE = 15


class Parameters:
    cycle_duration = CycleDuration.cycle_1d
    routing = TradeRouting.default
    reserve = ReserveCurrency.usdt
    kind = StrategyType.managed_positions
    required_history_period = datetime.timedelta(days=30)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000


def decide_trades(
    timestamp: datetime.datetime,
    parameters: dict,
    strategy_universe: TradingStrategyUniverse,
    state: State,
    pricing_model: PricingModel,
) -> list[TradeExecution]:
    position_manager = PositionManager(timestamp, strategy_universe, state, pricing_model)
    candles: pd.DataFrame = strategy_universe.universe.candles.get_single_pair_data(timestamp, sample_count=BATCH_SIZE)
    assert candles.index[-1] < timestamp
    average = ema(candles["close"], length=5)
    trades = []
    if average is None:
        return trades
    price = candles["close"].iloc[-1]
    pair = strategy_universe.universe.pairs.get_single()
    if not position_manager.is_any_open():
        if price > average.iloc[-1]:
            cash = state.portfolio.get_current_cash()
            trades += position_manager.open_1x_long(pair, cash * 0.8)
    elif price < average.iloc[-1]:
        trades += position_manager.close_all()
    logging.info("Cycle %s", parameters["cycle"])
    return trades


def create_trading_universe(
    ts: datetime.datetime,
    client: Client,
    execution_context: ExecutionContext,
    universe_options: UniverseOptions,
) -> TradingStrategyUniverse:
    dataset = load_pair_data_for_single_exchange(
        client,
        execution_context,
        CANDLE_TIME_BUCKET,
        CHAIN_ID,
        "binance",
        [("ETH", "USDT")],
        universe_options,
    )
    return TradingStrategyUniverse.create_single_pair_universe(
        dataset,
        CHAIN_ID,
        "binance",
        "ETH",
        "USDT",
    )
