"""Centralised candles by symbol."""

import datetime

from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.default_routing_options import TradeRouting
from tradeexecutor.strategy.pandas_trader.indicator import IndicatorSet
from tradeexecutor.strategy.pandas_trader.strategy_input import StrategyInput
from tradeexecutor.utils.binance import create_binance_universe
from tradingstrategy.chain import ChainId
from tradingstrategy.timebucket import TimeBucket

trading_strategy_engine_version = "0.5"


class Parameters:
    cycle_duration = CycleDuration.cycle_1d
    routing = TradeRouting.default
    required_history_period = datetime.timedelta(days=10)
    backtest_start = datetime.datetime(2022, 2, 1)
    backtest_end = datetime.datetime(2022, 4, 1)
    initial_cash = 50_000


def create_trading_universe(timestamp, client, execution_context, universe_options):
    return create_binance_universe(
        ["BTCUSDT", "ETHUSDT"],  # two of them
        candle_time_bucket=TimeBucket.d1,
        stop_loss_time_bucket=TimeBucket.h4,
        start_at=Parameters.backtest_start - datetime.timedelta(days=10),
        end_at=Parameters.backtest_end,
        trading_fee_override=0.0005,
        reserve_pair_ticker="BTCUSDT",
        forward_fill=True,
    )


def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    return IndicatorSet()


def decide_trades(input: StrategyInput):
    position_manager = input.get_position_manager()
    pair = input.strategy_universe.get_pair_by_human_description(
        (ChainId.centralised_exchange, "binance", "ETH", "USDT"),
    )
    assert position_manager.get_pair_fee(pair) == 0.0005
    if position_manager.is_any_open():
        return position_manager.close_all()
    return position_manager.open_spot(pair, 1_000, stop_loss_pct=0.9)
