"""The Dagster code location: everything in assets/ and sensors/ as one Definitions."""

import dagster as dg

from assets.backtest import backtest_assets
from trading_dagster.orchestration.progress import SilentProgress
from trading_dagster.orchestration.resource import BacktestStore, CandleData

defs = dg.Definitions(
    assets=backtest_assets(),
    resources={"store": BacktestStore(), "data": CandleData(), "progress": SilentProgress()},
    executor=dg.in_process_executor,
)
