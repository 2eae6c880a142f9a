"""Long-short momentum: each week own what rose and short what fell, the strongest moves first, never against the trend.

Time-series momentum: Moskowitz, Ooi and Pedersen, "Time Series Momentum", Journal of Financial Economics 104 (2012).
A short borrows the token from a lending protocol against collateral and sells it; it owes interest, and a stop loss
keeps it away from liquidation.

The lending rates are made up where ``lending_rates`` names no file: flat, 2 % a year for collateral, 5 % for debt.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    pairs = None  # all that the data has
    candle_time_bucket = td.TimeBucket.d1
    stop_loss_time_bucket = td.TimeBucket.d1
    cycle_duration = td.CycleDuration.cycle_7d
    required_history_period = timedelta(days=35)
    backtest_start = datetime(2018, 1, 1)
    backtest_end = datetime(2020, 1, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    trading_fee = 0.001  # a fraction, where the data does not say
    lending_rates = None  # a file of rates, see docs/loans.md

    momentum_bars = 28  # four weeks
    max_assets_in_portfolio = 2
    allocation = 0.9  # of the equity; the rest pays for changes of shorts
    leverage = 1.0  # of shorts
    stop_loss = 0.75  # of shorts: a rise of 25 %


def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
    parameters = input.parameters
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=parameters.candle_time_bucket,
        stop_loss_time_bucket=parameters.stop_loss_time_bucket,
        pairs=parameters.pairs,
        trading_fee=parameters.trading_fee,
        universe_options=input.universe_options,
        lending_rates=parameters.lending_rates,
    )
    universe = td.TradingStrategyUniverse.create_from_dataset(dataset)
    return universe if universe.has_lending_data() else replace(universe, lending=make_up_rates(universe))


def make_up_rates(universe: td.TradingStrategyUniverse) -> td.LendingUniverse:
    tokens = dict.fromkeys(token for pair in universe.pairs for token in (pair.quote, pair.base))
    reserves = [td.synthetic.generate_lending_reserve(token, number) for number, token in enumerate(tokens, 1)]
    start, end = universe.candles.start_at, universe.candles.end_at + timedelta(days=2)
    rates = {"supply": 2.0, "variable": 5.0}  # percent a year
    return td.synthetic.generate_lending_universe(td.TimeBucket.d1, start, end, reserves, rates)


indicators = td.IndicatorRegistry()


@indicators.define()
def momentum(close: pd.Series, momentum_bars: int) -> pd.Series:
    return close / close.shift(momentum_bars) - 1


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:
    parameters, pm, universe = input.parameters, input.get_position_manager(), input.strategy_universe
    model = td.AlphaModel(input.timestamp)
    moves = input.indicators.get_indicator_values("momentum")
    for pair, move in zip(universe.pairs, moves, strict=True):
        if np.isnan(move) or not universe.can_open_spot(input.timestamp, pair):
            continue  # candles are missing
        if move > 0:
            model.set_signal(pair, move)
        elif universe.can_open_short(input.timestamp, pair):
            model.set_signal(pair, move, leverage=parameters.leverage, stop_loss=parameters.stop_loss)
    equity = pm.get_current_portfolio().calculate_total_equity() * parameters.allocation
    for position in pm.get_current_portfolio().get_open_positions():
        if not universe.can_open_spot(input.timestamp, position.pair.get_pricing_pair()):
            equity -= model.carry_forward(position)  # it has no price to trade at
    model.select_top_signals(parameters.max_assets_in_portfolio)
    model.assign_weights(td.weight_equal)
    model.normalise_weights(max_weight=1 / parameters.max_assets_in_portfolio)
    model.update_old_weights(pm.get_current_portfolio())
    model.calculate_target_positions(pm, equity)
    return model.generate_rebalance_trades_and_triggers(
        pm, min_trade_threshold=50, individual_rebalance_min_threshold=50
    )
