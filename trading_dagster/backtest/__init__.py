"""Backtests: a loop over cycles, in one piece or cut into ranges that continue from a snapshot."""

from trading_dagster.backtest.inline import run_backtest, run_plan
from trading_dagster.backtest.plan import BacktestOptions, BacktestPlan, plan_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.backtest.run import BacktestRun

__all__ = [
    "BacktestOptions",
    "BacktestPlan",
    "BacktestResult",
    "BacktestRun",
    "plan_backtest",
    "run_backtest",
    "run_plan",
]
