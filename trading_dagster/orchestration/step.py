"""What the assets of a backtest do, as plain functions over a strategy and its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.backtest.plan import BacktestPlan, check_range, plan_backtest, universe_input
from trading_dagster.backtest.plan_hash import hash_plan
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.market.universe_store import read_universe, write_universe
from trading_dagster.orchestration.folder import BacktestFolder
from trading_dagster.orchestration.partition import Grain, cut_windows
from trading_dagster.orchestration.resource import CandleData
from trading_dagster.strategy.execution_context import ExecutionContext, ExecutionMode
from trading_dagster.strategy.indicator_bias import LookaheadFinding, find_lookahead, spread_times
from trading_dagster.strategy.indicator_cache import DiskIndicatorCache
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameters import require_for_backtest

_opened: WeakValueDictionary[Path, PartitionedBacktest] = WeakValueDictionary()
"""Backtests that this process has open, by their folder: the first of those that share a plan."""


def build_universe(strategy: StrategyModule, folder: BacktestFolder, data: CandleData) -> TradingStrategyUniverse:
    """Build the universe of a strategy, check that candles cover its range, and store it."""
    parameters = strategy.parameters
    require_for_backtest(parameters)
    universe = strategy.build_universe(universe_input(parameters, _context(strategy), data.client()))
    check_range(universe, parameters.backtest_start, parameters.backtest_end, parameters.get("required_history_period"))
    write_universe(universe, folder.universe)
    folder.record_origin("universe", {**_universe_origin(strategy), "data": data.describe()})
    return universe


def plan_stored(strategy: StrategyModule, folder: BacktestFolder) -> BacktestPlan:
    """Plan a backtest on the stored universe; raises SnapshotOutdated when it is of another strategy file."""
    universe = read_stored_universe(strategy, folder)
    return plan_backtest(strategy, universe=universe, indicator_store=DiskIndicatorCache(folder.indicators))


def find_lookahead_in(plan: BacktestPlan) -> list[LookaheadFinding]:
    """Return the indicators that know the future."""
    return find_lookahead(
        plan.indicators.indicators, plan.universe, plan.parameters, spread_times(plan.universe), plan.context
    )


def accept_indicators(plan: BacktestPlan, folder: BacktestFolder) -> None:
    """Record that the indicators of a plan may be traded on."""
    folder.record_origin("indicators", _indicator_origin(plan))


def open_backtest(strategy: StrategyModule, folder: BacktestFolder, grain: Grain) -> PartitionedBacktest:
    """Return the partitions of a strategy's backtest; raises SnapshotOutdated when an earlier step is not current."""
    again = _plan_again(strategy, folder)
    plan, plan_hash = again or _plan_anew(strategy, folder)
    folder.require_origin("indicators", _indicator_origin(plan), strategy)
    windows = cut_windows(strategy.parameters, grain)
    opened = PartitionedBacktest(plan, folder.partitions(grain), windows, plan_hash)
    if again is None:
        _opened[folder.root] = opened
    return opened


def _plan_anew(strategy: StrategyModule, folder: BacktestFolder) -> tuple[BacktestPlan, str]:
    plan = plan_stored(strategy, folder)
    return plan, hash_plan(plan)


def _plan_again(strategy: StrategyModule, folder: BacktestFolder) -> tuple[BacktestPlan, str] | None:
    """Return the plan of a backtest that is open already, on the universe as it is on disk now.

    It has the same indicators if its hash, made of the code as it is now, the parameters and all candles, is the same.
    """
    opened = _opened.get(folder.root)
    if opened is None or opened.plan.strategy is not strategy:
        return None
    plan = replace(opened.plan, universe=read_stored_universe(strategy, folder))
    return (plan, opened.plan_hash) if hash_plan(plan) == opened.plan_hash else None


def read_stored_universe(strategy: StrategyModule, folder: BacktestFolder) -> TradingStrategyUniverse:
    """Return the stored universe; raises SnapshotOutdated when it is of another strategy file."""
    folder.require_origin("universe", _universe_origin(strategy), strategy)
    return read_universe(folder.universe)


def _context(strategy: StrategyModule) -> ExecutionContext:
    return ExecutionContext(
        mode=ExecutionMode.backtesting, engine_version=strategy.engine_version, parameters=strategy.parameters
    )


def _universe_origin(strategy: StrategyModule) -> dict[str, Any]:
    return {"strategy": strategy.source_hash(), "parameters": _text(strategy)}


def _indicator_origin(plan: BacktestPlan) -> dict[str, Any]:
    return {**_universe_origin(plan.strategy), "universe": plan.universe.get_cache_key()}


def _text(strategy: StrategyModule) -> dict[str, str]:
    return strategy.parameters.describe()
