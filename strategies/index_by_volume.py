"""Index by volume: each week hold what is traded most, old enough and liquid enough, no pair above its cap.

An index needs rules for what is in it and how much of it. Here a pair is in when it has been traded for two months, and
for so many dollars in the last four weeks; the most traded get the money, each up to a cap, until it is spent. Volume
stands in for capitalisation, which price data does not tell; capping the largest is what index providers do so that one
constituent does not become the index. Small differences are left alone, because every trade costs a fee.
"""

from datetime import datetime, timedelta

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    pairs = None  # all that the data has; or a tuple such as ((td.ChainId.centralised_exchange, None, "BTC", "USD"),)
    candle_time_bucket = td.TimeBucket.d1
    cycle_duration = td.CycleDuration.cycle_7d
    required_history_period = timedelta(days=60)  # no pair is older than what was loaded
    backtest_start = datetime(2018, 1, 1)
    backtest_end = datetime(2020, 1, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    trading_fee = 0.001  # a fraction, where the data does not say

    rolling_volume_bars = 28  # four weeks
    min_volume = 75_000_000  # USD in those weeks
    min_age = 0.16  # years, less than two months
    max_assets_in_portfolio = 10
    max_concentration = 0.4  # of the index
    allocation = 0.95  # of the equity
    individual_rebalance_min_threshold_usd = 50


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
td.inclusion.define_on(indicators, criteria=("volume", "age"))


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:
    parameters, pm, universe = input.parameters, input.get_position_manager(), input.strategy_universe
    model = td.AlphaModel(input.timestamp)
    pinned = sum(
        model.carry_forward(position)
        for position in pm.get_current_portfolio().open_positions.values()
        if not universe.can_open_spot(input.timestamp, position.pair)  # no price to sell at
    )
    for pair_id in input.indicators.get_indicator_value("inclusion_criteria") or []:
        pair = universe.get_pair_by_id(pair_id)
        model.set_signal(pair, input.indicators.get_indicator_value("rolling_cumulative_volume", pair=pair))

    equity = pm.get_current_portfolio().calculate_total_equity() * parameters.allocation - pinned
    model.select_top_signals(parameters.max_assets_in_portfolio)
    model.assign_weights(td.weight_passthrough)
    model.normalise_weights(max_weight=parameters.max_concentration, investable_equity=equity, waterfall=True)
    model.update_old_weights(pm.get_current_portfolio())
    model.calculate_target_positions(pm)
    return model.generate_rebalance_trades_and_triggers(
        pm, individual_rebalance_min_threshold=parameters.individual_rebalance_min_threshold_usd
    )
