"""A strategy for tests: shorts one pair, owns another, and lends out what waits."""

from dataclasses import replace
from datetime import datetime, timedelta

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    candle_time_bucket = td.TimeBucket.d1
    cycle_duration = td.CycleDuration.cycle_1d
    required_history_period = timedelta(days=10)
    backtest_start = datetime(2018, 4, 10)
    backtest_end = datetime(2018, 5, 10)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    leverage = 2.0


def create_trading_universe(input):
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=input.parameters.candle_time_bucket,
        trading_fee=0.001,
        universe_options=input.universe_options,
    )
    universe = td.TradingStrategyUniverse.create_from_dataset(dataset)
    tokens = dict.fromkeys(token for pair in universe.pairs for token in (pair.quote, pair.base))
    reserves = [td.synthetic.generate_lending_reserve(token, number) for number, token in enumerate(tokens, 1)]
    rates = td.synthetic.generate_lending_universe(
        td.TimeBucket.d1,
        universe.candles.start_at,
        universe.candles.end_at + timedelta(days=1),
        reserves,
        {"supply": 2.0, "variable": 8.0},
    )
    return replace(universe, lending=rates)


def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    return td.IndicatorSet()


def decide_trades(input):
    manager, day, universe = input.get_position_manager(), input.timestamp.day, input.strategy_universe
    first, second = universe.pairs[:2]
    trades = []
    short = manager.get_current_position_for_pair(universe.get_shorting_pair(first))
    if short is None and day % 5 in (0, 1):
        trades += manager.open_short(first, value=1_000, leverage=input.parameters.leverage)
    elif short is not None and day % 5 == 2:
        trades += manager.adjust_short(short, short.get_value() * 0.7)
    elif short is not None and day % 5 == 4:
        trades += manager.close_position(short)
    owned = manager.get_current_position_for_pair(second)
    if owned is None and day % 4 == 0:
        trades += manager.open_spot(second, value=1_500)
    elif owned is not None and day % 4 == 2:
        trades += manager.close_position(owned)
    spot = [trade for trade in trades if trade.is_spot()]
    flow = manager.calculate_credit_flow_needed(spot, allocation_pct=0.6)
    return trades + manager.manage_credit_flow(flow)
