"""Strategies on the alpha model, one with lists of pairs as indicators, give the same result in partitions."""

from pathlib import Path

import dagster as dg
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.orchestration.driver import BacktestDriver
from trading_dagster.orchestration.progress import SilentProgress
from trading_dagster.strategy.module import load_strategy_file

pytestmark = [pytest.mark.dagster, pytest.mark.slow]

STRATEGIES = Path(__file__).parents[2] / "strategies"


@pytest.mark.parametrize("name", ["index_by_volume", "momentum_alpha", "rsi_regime_rotation"])
def test_months_give_the_result_of_one_piece(name: str, instance: dg.DagsterInstance) -> None:
    strategy = load_strategy_file(STRATEGIES / f"{name}.py")
    driver = BacktestDriver(strategy, instance, SilentProgress())

    result = driver.run_all()

    whole = run_backtest(strategy, progress=False)
    assert len(driver.open().windows) > 20
    assert len(whole.trades) > 100
    assert_frame_equal(result.trades, whole.trades, check_exact=True)
    assert_series_equal(result.equity_curve, whole.equity_curve, check_exact=True)
