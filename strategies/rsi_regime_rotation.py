"""RSI rotation: in a rising market hold Bitcoin and Ether by their strength, else hold cash.

The relative strength index (J. Welles Wilder, "New Concepts in Technical Trading Systems", 1978) is read here as Andrew
Cardwell taught it: not as a sign of too much, but of who leads. The stronger of the two gets the larger share, the more
so the higher the exponent. Neither is held while Bitcoin is below its average of the last weeks, which leaves bear
markets out: Meb Faber, "A Quantitative Approach to Tactical Asset Allocation", Journal of Wealth Management 9 (2007).
"""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    pairs = (  # the first one says what regime it is
        (td.ChainId.centralised_exchange, None, "BTC", "USD"),
        (td.ChainId.centralised_exchange, None, "ETH", "USD"),
    )
    candle_time_bucket = td.TimeBucket.d1
    cycle_duration = td.CycleDuration.cycle_1d
    required_history_period = timedelta(days=60)
    backtest_start = datetime(2018, 1, 1)
    backtest_end = datetime(2020, 1, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    trading_fee = 0.001  # a fraction, where the data does not say

    rsi_bars = 14
    rsi_min = 50  # weaker pairs are not held
    regime_bars = 50
    momentum_exponent = 3
    allocation = 0.98  # of the equity
    rebalance_threshold = 0.10  # of the equity: smaller differences are left alone


def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=input.parameters.candle_time_bucket,
        pairs=input.parameters.pairs,
        trading_fee=input.parameters.trading_fee,
        universe_options=input.universe_options,
    )
    return td.TradingStrategyUniverse.create_from_dataset(dataset)


indicators = td.IndicatorRegistry()


@indicators.define()
def rsi(close: pd.Series, rsi_bars: int) -> pd.Series:
    return td.technical.rsi(close, rsi_bars)


@indicators.define()
def regime(close: pd.Series, regime_bars: int) -> pd.Series:
    """Return the close divided by its average: above 1 the market rises."""
    return close / td.technical.sma(close, regime_bars)


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:
    parameters, pm, universe = input.parameters, input.get_position_manager(), input.strategy_universe
    strengths = input.indicators.get_indicator_values("rsi")
    regimes = input.indicators.get_indicator_values("regime")
    if np.isnan(strengths).any() or np.isnan(regimes).any():
        return []  # candles are missing
    market = universe.get_pair_by_human_description(parameters.pairs[0])
    is_rising = regimes[universe.pairs.index(market)] > 1

    if input.is_visualisation_enabled():
        for pair, strength in zip(universe.pairs, strengths.tolist(), strict=True):
            show(input, pair, strength, parameters.rsi_min)

    model = td.AlphaModel(input.timestamp)
    for pair, strength in zip(universe.pairs, strengths.tolist(), strict=True):
        if is_rising and strength >= parameters.rsi_min:
            model.set_signal(pair, strength**parameters.momentum_exponent)
    equity = pm.get_current_portfolio().calculate_total_equity()
    model.select_top_signals(count=len(universe.pairs))
    model.assign_weights(td.weight_passthrough)
    model.normalise_weights()
    model.update_old_weights(pm.get_current_portfolio())
    model.calculate_target_positions(pm, equity * parameters.allocation)
    threshold = equity * parameters.rebalance_threshold
    return model.generate_rebalance_trades_and_triggers(
        pm, min_trade_threshold=threshold, individual_rebalance_min_threshold=threshold
    )


def show(input: td.StrategyInput, pair: td.TradingPairIdentifier, strength: float, least: float) -> None:
    """Plot the strength of a pair below its price, and the least at which it is held."""
    name, plot = f"RSI {pair.base.token_symbol}", input.state.visualisation.plot_indicator
    plot(input.timestamp, name, td.PlotKind.technical_indicator_detached, strength, pair=pair)
    plot(
        input.timestamp, f"least {name}", td.PlotKind.technical_indicator_overlay_on_detached, least,
        colour="grey", detached_overlay_name=name, pair=pair,
    )  # fmt: skip
