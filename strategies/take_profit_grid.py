"""Grid of take profits: buy a rising market, sell it in steps on the way up, and leave what does not rise in time.

Selling a part at each of several prices above the entry gives up the largest gains for many small ones, which is what a
grid trader lives on; the stop below and the time limit bound what a bad entry costs. The order book does the work: all
sells wait at their levels from the entry on, so decisions are only about when to enter. The trend filter is the rule of
Meb Faber, "A Quantitative Approach to Tactical Asset Allocation" (2007), on a shorter clock.
"""

from datetime import datetime, timedelta
from decimal import Decimal

import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    pairs = None  # all that the data has; or a tuple such as ((td.ChainId.centralised_exchange, None, "BTC", "USD"),)
    candle_time_bucket = td.TimeBucket.h4
    stop_loss_time_bucket = td.TimeBucket.h1
    cycle_duration = td.CycleDuration.cycle_4h
    required_history_period = timedelta(days=30)
    backtest_start = datetime(2018, 2, 1)
    backtest_end = datetime(2019, 10, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    trading_fee = 0.001  # a fraction, where the data does not say

    trend_bars = 120  # 20 days
    steps = (1.02, 1.04, 1.06, 1.08)  # of the price at entry; the same part is sold at each
    stop_loss = 0.96
    patience = timedelta(days=5)  # what was not sold by then is
    allocation = 0.98  # of the cash


def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=input.parameters.candle_time_bucket,
        stop_loss_time_bucket=input.parameters.stop_loss_time_bucket,
        pairs=input.parameters.pairs,
        trading_fee=input.parameters.trading_fee,
        universe_options=input.universe_options,
    )
    return td.TradingStrategyUniverse.create_from_dataset(dataset)


indicators = td.IndicatorRegistry()


@indicators.define()
def trend(close: pd.Series, trend_bars: int) -> pd.Series:
    """Return the close divided by its average: above 1 is a rising market."""
    return close / close.rolling(trend_bars).mean()


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:
    parameters, pm, universe = input.parameters, input.get_position_manager(), input.strategy_universe
    free_slots = universe.get_pair_count() - len(pm.get_current_portfolio().open_positions)
    before = input.indicators.get_indicator_values("trend", index=-2)
    now = input.indicators.get_indicator_values("trend")  # NaN where candles are missing
    trades = []
    for pair, was, is_now in zip(universe.pairs, before, now, strict=True):
        if was <= 1 < is_now and pm.get_current_position_for_pair(pair) is None:
            share = pm.get_current_cash() * parameters.allocation / free_slots
            trades += pm.open_spot(pair, value=share, stop_loss_pct=parameters.stop_loss)
            wait_for_profits(pm, pair, trades[-1], parameters)
    return trades


def wait_for_profits(
    pm: td.PositionManager,
    pair: td.TradingPairIdentifier,
    entry: td.TradeExecution,
    parameters: td.StrategyParameters,
) -> None:
    """Let a part of the position wait at each step, and all that is left for the end of our patience."""
    position = pm.get_current_position_for_pair(pair)
    assert position is not None
    part = -entry.planned_quantity / len(parameters.steps)
    levels = [(entry.planned_mid_price * step, part, step == parameters.steps[-1]) for step in parameters.steps]
    pm.prepare_take_profit_trades(position, [*levels, (parameters.patience, Decimal(part), True)])
