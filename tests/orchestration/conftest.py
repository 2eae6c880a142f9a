"""A backtest's assets in a home of their own, recorded in memory."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from trading_dagster.orchestration.driver import BacktestDriver
from trading_dagster.orchestration.progress import SilentProgress
from trading_dagster.orchestration.resource import ARTEFACTS_VARIABLE
from trading_dagster.strategy.module import StrategyModule, load_strategy_file

STRATEGIES = Path(__file__).parents[2] / "strategies"


@pytest.fixture(autouse=True)
def artefacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "artefacts"
    monkeypatch.setenv(ARTEFACTS_VARIABLE, str(folder))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return folder


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture(scope="session")
def ema_cross() -> StrategyModule:
    return load_strategy_file(STRATEGIES / "ema_cross.py")


@pytest.fixture
def driver(instance: dg.DagsterInstance, short_strategy: StrategyModule) -> BacktestDriver:
    return BacktestDriver(short_strategy, instance, SilentProgress())


SHORT = '''"""A strategy of five months that trades often and has triggers."""
from datetime import datetime
import pandas as pd
import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    candle_time_bucket = td.TimeBucket.h1
    cycle_duration = td.CycleDuration.cycle_4h
    backtest_start = datetime(2018, 1, 10)
    backtest_end = datetime(2018, 5, 20)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    bars = 30
    fail_at = None


def create_trading_universe(input):
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=input.parameters.candle_time_bucket,
        stop_loss_time_bucket=td.TimeBucket.h1,
        universe_options=input.universe_options,
        trading_fee=0.001,
    )
    return td.TradingStrategyUniverse.create_single_pair_universe(dataset)


indicators = td.IndicatorRegistry()


@indicators.define()
def mean(close: pd.Series, bars: int) -> pd.Series:
    return close.rolling(bars).mean()


def decide_trades(input):
    if input.parameters.fail_at is not None and input.timestamp >= input.parameters.fail_at:
        raise ValueError("the exchange rate of wishful thinking")
    pm, pair = input.get_position_manager(), input.get_default_pair()
    mean, close = input.indicators.get_indicator_value("mean"), input.indicators.get_price()
    if mean is None:
        return []
    position = pm.get_current_position_for_pair(pair)
    if position is None and close > mean:
        return pm.open_spot(pair, value=pm.get_current_cash() * 0.9, trailing_stop_loss_pct=0.97)
    if position is not None and close < mean * 0.99:
        return pm.close_position(position)
    return []
'''


@pytest.fixture
def short_file(tmp_path: Path) -> Path:
    file = tmp_path / "short.py"
    file.write_text(SHORT, encoding="utf-8")
    return file


@pytest.fixture
def short_strategy(short_file: Path) -> StrategyModule:
    return load_strategy_file(short_file)
