"""A backtest that is open already is opened again without calculating anew, unless something changed."""

from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.domain.error import SnapshotOutdated
from trading_dagster.orchestration.driver import BacktestDriver
from trading_dagster.orchestration.progress import SilentProgress
from trading_dagster.strategy.module import StrategyModule, load_strategy_file

pytestmark = pytest.mark.dagster


@pytest.fixture
def opened(driver: BacktestDriver) -> PartitionedBacktest:
    driver.materialize(["universe", "indicators"])
    return driver.open()


def mean_of(partitions: PartitionedBacktest) -> np.ndarray:
    (result,) = (result for _, result in partitions.plan.indicators.items())
    return result.columns["value"]


def test_opening_again_takes_the_indicators_and_reads_the_universe(
    driver: BacktestDriver, opened: PartitionedBacktest
) -> None:
    driver.open()
    again = driver.open()

    assert again.plan.indicators is opened.plan.indicators
    assert again.plan.universe is not opened.plan.universe
    assert (again.plan_hash, again.windows) == (opened.plan_hash, opened.windows)


def test_candles_changed_in_place_are_refused(driver: BacktestDriver, opened: PartitionedBacktest) -> None:
    (column,) = driver.folder.universe.rglob("candles.column_close.npy")
    content = bytearray(column.read_bytes())
    content[-1] ^= 1
    column.write_bytes(content)

    with pytest.raises(SnapshotOutdated, match="universe changed since short/indicators was materialized"):
        driver.open()
    assert opened.plan.indicators is not None


def test_an_indicator_whose_code_changed_is_calculated_again(
    driver: BacktestDriver, opened: PartitionedBacktest, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mean,) = opened.plan.indicators.indicators
    monkeypatch.setattr(mean.func, "__code__", (lambda close, bars: close.rolling(bars).max()).__code__)

    again = driver.open()

    assert again.plan_hash != opened.plan_hash
    assert np.nanmin(mean_of(again) - mean_of(opened)) >= 0


def test_another_strategy_file_of_the_same_text_is_opened_anew(
    opened: PartitionedBacktest, short_file: Path, short_strategy: StrategyModule, instance: dg.DagsterInstance
) -> None:
    again = BacktestDriver(load_strategy_file(short_file), instance, SilentProgress()).open()

    assert again.plan.strategy is not short_strategy
    assert again.plan.indicators is not opened.plan.indicators
    assert again.plan_hash == opened.plan_hash
