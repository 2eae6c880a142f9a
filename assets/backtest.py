"""Backtests, and searches for parameters, of all strategies in TRADING_DAGSTER_STRATEGIES or in strategies/."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import dagster as dg

from trading_dagster.domain.error import BadInput
from trading_dagster.market.feed import Feed
from trading_dagster.orchestration.backtest_asset import build_backtest_assets
from trading_dagster.orchestration.search_asset import build_search_assets
from trading_dagster.orchestration.strategy_file import find_strategy_files, load_strategies

logger = logging.getLogger(__name__)


def backtest_assets(files: Iterable[Path] | None = None, feeds: Sequence[Feed] = ()) -> list[dg.AssetsDefinition]:
    """Return the assets of every strategy that can be backtested; the others are logged as errors."""
    assets: list[dg.AssetsDefinition] = []
    for strategy in load_strategies(find_strategy_files() if files is None else files):
        try:
            assets += build_backtest_assets(strategy, feeds=feeds)
            assets += build_search_assets(strategy)
        except BadInput as error:
            logger.error("Strategy left out: %s: %s", strategy.path, error)  # noqa: TRY400 - the message says it all
    return assets
