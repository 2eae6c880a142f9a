"""Version 0.2, in lower case."""

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
from tradingstrategy.universe import Universe

TRADING_STRATEGY_ENGINE_VERSION = "0.2"
TRADING_STRATEGY_TYPE = StrategyType.managed_positions
TRADE_ROUTING = TradeRouting.ignore
TRADING_STRATEGY_CYCLE = CycleDuration.cycle_1d
RESERVE_CURRENCY = ReserveCurrency.usdt
CHAIN_ID = ChainId.centralised_exchange
BACKTEST_START = datetime.datetime(2022, 2, 1)
BACKTEST_END = datetime.datetime(2022, 5, 1)
INITIAL_CASH = 10_000
CANDLE_TIME_BUCKET = TimeBucket.d1
BATCH_SIZE = 15


def decide_trades(
    timestamp: pd.Timestamp,
    universe: Universe,
    state: State,
    pricing_model: PricingModel,
    cycle_debug_data: dict,
) -> list[TradeExecution]:
    position_manager = PositionManager(timestamp, universe, state, pricing_model)
    candles: pd.DataFrame = universe.candles.get_single_pair_data(timestamp, sample_count=15)
    assert candles.index[-1] < timestamp
    average = ema(candles["close"], length=5)
    trades = []
    if average is None:
        return trades
    price = candles["close"].iloc[-1]
    pair = universe.pairs.get_single()
    if not position_manager.is_any_open():
        if price > average.iloc[-1]:
            cash = state.portfolio.get_current_cash()
            trades += position_manager.open_1x_long(pair, cash * 0.8)
    elif price < average.iloc[-1]:
        trades += position_manager.close_all()
    logging.info("Cycle %s", cycle_debug_data["cycle"])
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
        required_history_period=datetime.timedelta(days=30),
    )
    return TradingStrategyUniverse.create_single_pair_universe(
        dataset,
        CHAIN_ID,
        "binance",
        "ETH",
        "USDT",
    )
