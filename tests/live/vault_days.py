"""A strategy for tests: moves money between three vaults, two of which take their time."""

from datetime import datetime, time, timedelta

import trading_dagster as td

trading_strategy_engine_version = "0.5"

VENUE = (td.ChainId.centralised_exchange, "bitstamp")


class Parameters:
    candle_time_bucket = td.TimeBucket.d1
    cycle_duration = td.CycleDuration.cycle_1d
    required_history_period = timedelta(days=10)
    backtest_start = datetime(2018, 4, 10)
    backtest_end = datetime(2018, 5, 10)
    initial_cash = 10_000
    routing = td.TradeRouting.default


def create_trading_universe(input):
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=input.parameters.candle_time_bucket,
        pairs=[],
        vaults=[
            td.Vault((*VENUE, "BTC", "USD"), td.VaultTerms("Slow", settlement_delay=timedelta(days=2))),
            td.Vault((*VENUE, "ETH", "USD"), td.VaultTerms("Next day", settlement_time=time(18))),
            td.Vault((*VENUE, "LTC", "USD")),
        ],
        universe_options=input.universe_options,
    )
    return td.TradingStrategyUniverse.create_from_dataset(dataset)


def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    return td.IndicatorSet()


def decide_trades(input):
    manager, day = input.get_position_manager(), input.timestamp.day
    trades = []
    for number, pair in enumerate(input.strategy_universe.pairs):
        position = manager.get_current_position_for_pair(pair)
        if position is None and day % 5 == number:
            trades += manager.open_spot(pair, value=manager.get_current_cash() / 4)
        elif position is not None and day % 5 == number + 2:
            trades += manager.close_position(position)
    return trades
