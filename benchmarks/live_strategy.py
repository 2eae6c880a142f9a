"""The strategy of the live benchmark: every day it closes one position and opens another, whatever prices do."""

from datetime import timedelta

import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    cycle_duration = td.CycleDuration.cycle_1d
    required_history_period = timedelta(days=90)
    initial_cash = 1_000_000
    routing = td.TradeRouting.default


def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:  # noqa: A002 - vocabulary
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=td.TimeBucket.d1,
        stop_loss_time_bucket=td.TimeBucket.d1,
        universe_options=input.universe_options,
        trading_fee=0.001,
    )
    return td.TradingStrategyUniverse.create_from_dataset(dataset)


indicators = td.IndicatorRegistry()


@indicators.define()
def average(close: pd.Series) -> pd.Series:
    return close.rolling(28).mean()


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:  # noqa: A002 - vocabulary
    manager, known = input.get_position_manager(), input.indicators.get_indicator_values("average")
    held = input.state.portfolio.get_open_positions()
    free = next(pair for pair in input.strategy_universe.pairs if pair not in {position.pair for position in held})
    assert (known > 0).all()
    return manager.close_position(held[0]) + manager.open_spot(free, value=100.0, stop_loss_pct=0.01)
