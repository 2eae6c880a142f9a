"""Dip buyer: each day a limit order waits below the market for one day, while the trend is up.

Short-term losers bounce: prices that fell sharply within hours tend to come back (Bruce Lehmann, "Fads, Martingales,
and Market Efficiency", Quarterly Journal of Economics 105, 1990), and who waits with a limit order is paid for it. The
order expires in the evening; once filled, half is sold at a small gain, the rest at a larger one or after two days.
Candles are looked into (TriggerModel.intrabar): a limit order is filled at its price, not at the next open.
"""

from datetime import datetime, timedelta

import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    pairs = None  # all that the data has; or a tuple such as ((td.ChainId.centralised_exchange, None, "BTC", "USD"),)
    candle_time_bucket = td.TimeBucket.h1
    stop_loss_time_bucket = td.TimeBucket.h1
    trigger_model = td.TriggerModel.intrabar
    cycle_duration = td.CycleDuration.cycle_1d
    required_history_period = timedelta(days=30)
    backtest_start = datetime(2018, 2, 1)
    backtest_end = datetime(2019, 10, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    trading_fee = 0.001  # a fraction, where the data does not say

    trend_bars = 720  # 30 days
    dip = 0.93  # of the price at the decision
    good_for = timedelta(hours=23)
    first_profit, second_profit = 1.02, 1.04  # of the order's price
    stop_loss = 0.93  # of the order's price
    patience = timedelta(days=2)
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
    free = [pair for pair in universe.pairs if pm.get_current_position_for_pair(pair, pending=True) is None]
    strengths = dict(zip(universe.pairs, input.indicators.get_indicator_values("trend"), strict=True))
    for pair in free:
        if strengths[pair] > 1:  # NaN where candles are missing
            share = pm.get_current_cash() * parameters.allocation / len(free)
            price = input.pricing_model.get_mid_price(input.timestamp, pair) * parameters.dip
            wait_for_dip(pm, pair, share, price, parameters)
    return []  # nothing is bought now: all trades wait


def wait_for_dip(
    pm: td.PositionManager,
    pair: td.TradingPairIdentifier,
    value: float,
    price: float,
    parameters: td.StrategyParameters,
) -> None:
    """Let an entry wait below the market, and its exits for the entry."""
    position, _ = pm.open_spot_with_market_limit(
        pair,
        value,
        trigger_price=price,
        expires_at=pm.timestamp + parameters.good_for,
        condition=td.TriggerCondition.cross_below,
        stop_loss_pct=parameters.stop_loss,
    )
    half = -position.get_pending_quantity() / 2
    pm.prepare_take_profit_trades(
        position,
        [
            (price * parameters.first_profit, half, False),
            (price * parameters.second_profit, half, True),
            (parameters.patience, half, True),
        ],
    )
