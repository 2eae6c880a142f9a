"""What a strategy asks of its portfolio, under its old names."""

import datetime

from tradeexecutor.state.portfolio import Portfolio
from tradeexecutor.state.state import State
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
    id = "portfolio_reads"
    cycle_duration = CycleDuration.cycle_1d
    candle_time_bucket = TimeBucket.d1
    routing = TradeRouting.default
    chain_id = ChainId.centralised_exchange
    required_history_period = datetime.timedelta(days=20)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 5, 1)
    initial_cash = 10_000
    allocation = 0.9
    pair = PAIRS[0]


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
    portfolio: Portfolio = position_manager.get_current_portfolio()
    state: State = input.state
    pair = input.strategy_universe.get_pair_by_human_description(PAIRS[0])
    assert portfolio.get_initial_deposit() == 10_000
    assert abs(portfolio.get_total_equity() - portfolio.calculate_total_equity()) < 1e-9
    assert portfolio.get_cash() == position_manager.get_current_cash()
    assert position_manager.get_pending_redemptions() == 0
    assert state.is_good_pair(pair)
    positions = list(portfolio.get_all_positions())
    trades = list(portfolio.get_all_trades())
    assert len(trades) >= len(positions)
    for position in positions:
        assert position.get_opening_price() > 0
        assert position.is_open() or position.get_realised_profit_usd() is not None
    if position_manager.is_any_open():
        return position_manager.close_all()
    return position_manager.open_spot(pair, portfolio.get_cash() * 0.5)
