"""Momentum alpha: every day the pairs that rose most, the best with the largest share, each with a stop underneath.

Winners of the last weeks go on winning (Liu and Tsyvinski, "Risks and Returns of Cryptocurrency", Review of Financial
Studies 34, 2021). The alpha model ranks all pairs by their rise, gives the first one part, the second half a part, the
third a third of it and so on, and trades towards these weights; a cap keeps the first from being most of the portfolio.
What has fallen is not held at all, and a position that loses too much between two decisions is sold by its stop.
"""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.6"


class Parameters:
    pairs = None  # all that the data has; or a tuple such as ((td.ChainId.centralised_exchange, None, "BTC", "USD"),)
    candle_time_bucket = td.TimeBucket.d1
    stop_loss_time_bucket = td.TimeBucket.d1
    cycle_duration = td.CycleDuration.cycle_1d
    required_history_period = timedelta(days=30)
    backtest_start = datetime(2018, 1, 1)
    backtest_end = datetime(2020, 1, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    trading_fee = 0.001  # a fraction, where the data does not say

    momentum_bars = 21  # three weeks
    max_assets_in_portfolio = 10
    max_concentration = 0.5  # of the portfolio
    allocation = 0.95  # of the equity
    stop_loss = 0.85  # of the price at entry
    individual_rebalance_min_threshold_usd = 100


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
def momentum(close: pd.Series, momentum_bars: int) -> pd.Series:
    return close / close.shift(momentum_bars) - 1


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:
    parameters, pm, universe = input.parameters, input.get_position_manager(), input.strategy_universe
    portfolio = pm.get_current_portfolio()
    model = td.AlphaModel(input.timestamp)
    pinned = sum(
        model.carry_forward(position)
        for position in portfolio.open_positions.values()
        if not universe.can_open_spot(input.timestamp, position.pair)  # no price to sell at
    )
    rises = input.indicators.get_indicator_values("momentum")  # NaN where candles are missing
    for i in np.flatnonzero(rises > 0).tolist():
        model.set_signal(universe.pairs[i], rises[i], stop_loss=parameters.stop_loss)

    model.select_top_signals(parameters.max_assets_in_portfolio)
    model.assign_weights(td.weight_by_1_slash_n)
    model.normalise_weights(max_weight=parameters.max_concentration)
    model.update_old_weights(portfolio)
    model.calculate_target_positions(pm, portfolio.calculate_total_equity() * parameters.allocation - pinned)
    trades = model.generate_rebalance_trades_and_triggers(
        pm, individual_rebalance_min_threshold=parameters.individual_rebalance_min_threshold_usd
    )
    if input.is_visualisation_enabled():
        show(input, model, trades)
    return trades


def show(input: td.StrategyInput, model: td.AlphaModel, trades: list[td.TradeExecution]) -> None:
    """Keep for the charts how many pairs rise, and on days with trades what the model made of each."""
    visualisation = input.state.visualisation
    visualisation.plot_indicator(
        input.timestamp, "Rising pairs", td.PlotKind.technical_indicator_detached, model.get_signal_count(),
        plot_shape=td.PlotShape.horizontal_vertical,
    )  # fmt: skip
    if trades:
        visualisation.add_calculations(input.timestamp, {"alpha_model": model.to_dict()})
        visualisation.add_message(input.timestamp, f"{len(trades)} trades for {model.get_allocated_value():,.0f} USD")


def create_charts(
    timestamp: datetime | None,
    parameters: td.StrategyParameters,
    strategy_universe: td.TradingStrategyUniverse,
    execution_context: td.ExecutionContext,
) -> td.ChartRegistry:
    charts, standard, kind = td.ChartRegistry(), td.standard_chart, td.ChartKind
    charts.register(standard.equity_curve, kind.state_all_pairs)
    charts.register(standard.equity_curve_by_asset_with_legend, kind.state_all_pairs, name="What it held")
    charts.register(standard.volatile_weights_by_percent, kind.state_all_pairs)
    charts.register(standard.weight_allocation_statistics, kind.state_all_pairs)
    charts.register(standard.performance_metrics, kind.state_all_pairs)
    charts.register(standard.trading_pair_breakdown, kind.state_all_pairs)
    charts.register(standard.positions_at_end, kind.state_all_pairs)
    charts.register(standard.alpha_model_diagnostics, kind.state_all_pairs)
    charts.register(standard.last_messages, kind.state_all_pairs)

    @charts.define(kind.indicator_multi_pair)
    def momentum_of_pairs(input: td.ChartInput) -> object:
        """The rise of each pair over three weeks, by which the model ranks them."""
        return standard.signal_comparison(input, indicator_name="momentum")

    return charts
