"""Credit parking: hold bitcoin while its trend is up, and lend out the cash that waits.

The trend is a cross of exponential averages of daily closes. What the position does not need is supplied to a lending
market, where it earns interest every cycle; it is taken back, in the same cycle, when a purchase needs it.

The lending rates are made up where ``lending_rates`` names no file: flat, 4 % a year for what is lent out.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    pair = (td.ChainId.centralised_exchange, None, "BTC", "USD")
    candle_time_bucket = td.TimeBucket.d1
    cycle_duration = td.CycleDuration.cycle_1d
    required_history_period = timedelta(days=60)
    backtest_start = datetime(2018, 1, 1)
    backtest_end = datetime(2020, 1, 17)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    trading_fee = 0.001  # a fraction, where the data does not say
    lending_rates = None  # a file of rates, see docs/loans.md

    fast_span, slow_span = 10, 40
    position_share = 0.5  # of the equity
    allocation = 0.98  # of the equity: the rest stays cash
    cash_change_tolerance_usd = 50.0


def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
    parameters = input.parameters
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=parameters.candle_time_bucket,
        pairs=[parameters.pair],
        trading_fee=parameters.trading_fee,
        universe_options=input.universe_options,
        lending_rates=parameters.lending_rates,
    )
    universe = td.TradingStrategyUniverse.create_from_dataset(dataset)
    return universe if universe.has_lending_data() else replace(universe, lending=make_up_rates(universe))


def make_up_rates(universe: td.TradingStrategyUniverse) -> td.LendingUniverse:
    reserve = td.synthetic.generate_lending_reserve(universe.get_reserve_asset())
    start, end = universe.candles.start_at, universe.candles.end_at + timedelta(days=2)
    rates = {"supply": 4.0, "variable": 6.0}  # percent a year
    return td.synthetic.generate_lending_universe(td.TimeBucket.d1, start, end, [reserve], rates)


indicators = td.IndicatorRegistry()


@indicators.define()
def trend(close: pd.Series, fast_span: int, slow_span: int) -> pd.Series:
    return close.ewm(span=fast_span, adjust=False).mean() / close.ewm(span=slow_span, adjust=False).mean() - 1


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:
    parameters, pm, pair = input.parameters, input.get_position_manager(), input.get_default_pair()
    (slope,) = input.indicators.get_indicator_values("trend")  # NaN where candles are missing: nothing is done then
    position = pm.get_current_position_for_pair(pair)
    trades = []
    if slope > 0 and position is None:
        trades += pm.open_spot(
            pair, value=pm.get_current_portfolio().calculate_total_equity() * parameters.position_share
        )
    elif slope <= 0 and position is not None:
        trades += pm.close_position(position)
    flow = pm.calculate_credit_flow_needed(trades, allocation_pct=parameters.allocation)
    return trades + pm.manage_credit_flow(flow, cash_change_tolerance_usd=parameters.cash_change_tolerance_usd)
