"""The Dagster code location: everything in assets/ and sensors/ as one Definitions."""

from trading_dagster.orchestration.quick_import import quick_import

with quick_import():  # every run's process waits for these
    import dagster as dg

    from assets.backtest import backtest_assets
    from assets.live import live_assets, live_jobs
    from assets.market import market_assets, market_jobs
    from assets.pair_table import pair_table_assets
    from sensors.live import live_schedules, live_sensors
    from sensors.market import market_schedules
    from trading_dagster.orchestration.live_definition import find_units
    from trading_dagster.orchestration.market_asset import usable_feeds
    from trading_dagster.orchestration.pair_asset import PairTables
    from trading_dagster.orchestration.progress import SilentProgress
    from trading_dagster.orchestration.resource import BacktestStore, CandleData

_units = find_units()
_feeds = usable_feeds()

defs = dg.Definitions(
    assets=[
        *market_assets(_feeds),
        *pair_table_assets(),
        *backtest_assets(feeds=_feeds),
        *live_assets(_units),
    ],
    jobs=[*live_jobs(_units), *market_jobs(_feeds)],
    schedules=[*live_schedules(_units), *market_schedules(_feeds)],
    sensors=live_sensors(_units),
    resources={
        "store": BacktestStore(),
        "data": CandleData(),
        "tables": PairTables(),
        "progress": SilentProgress(),
    },
    executor=dg.in_process_executor,
)
