"""A paper deployment on a replay of the embedded sample, for tests of the Dagster side of live trading."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from trading_dagster.live.clock import ManualClock
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.live_home import LiveHome
from trading_dagster.orchestration.live_unit import LiveUnit

STRATEGY = '''"""Buys and sells in turn, so that every cycle trades."""
from datetime import datetime
import pandas as pd
import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    candle_time_bucket = td.TimeBucket.h1
    cycle_duration = td.CycleDuration.cycle_1h
    backtest_start = datetime(2018, 1, 10)
    backtest_end = datetime(2018, 5, 20)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    bars = 5
    stop_loss_pct = None


def create_trading_universe(input):
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=input.parameters.candle_time_bucket,
        stop_loss_time_bucket=td.TimeBucket.h1,
        pairs=((td.ChainId.centralised_exchange, "coinbase", "BTC", "USD"),),
        universe_options=input.universe_options,
        trading_fee=0.001,
    )
    return td.TradingStrategyUniverse.create_single_pair_universe(dataset)


indicators = td.IndicatorRegistry()


@indicators.define()
def mean(close: pd.Series, bars: int) -> pd.Series:
    return close.rolling(bars).mean()


def decide_trades(input):
    pm, pair = input.get_position_manager(), input.get_default_pair()
    position = pm.get_current_position_for_pair(pair)
    if position is None:
        return pm.open_spot(pair, value=pm.get_current_cash() * 0.5, stop_loss_pct=input.parameters.stop_loss_pct)
    return pm.close_position(position)
'''
START = datetime(2018, 3, 1, 0, 30, tzinfo=UTC)


def write_deployment(folder: Path, *, name: str = "flip", speed: float = 1.0, extra: str = "") -> Path:
    """Write strategy and YAML; the replay begins at half past midnight of 1 March 2018."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flip.py").write_text(STRATEGY, encoding="utf-8")
    file = folder / f"{name}.yaml"
    clock = f"clock: {{kind: replay, start: {START.isoformat()}, speed: {speed}}}"
    file.write_text(f"strategy: flip.py\nmode: paper\n{clock}\n{extra}", encoding="utf-8")
    return file


def make_unit(folder: Path, *, speed: float = 1.0, extra: str = "") -> tuple[LiveUnit, ManualClock]:
    """Return a deployment whose clock is set by hand; it stands at half past midnight of 1 March 2018."""
    clock = ManualClock(START)
    return LiveUnit(
        read_deployment(write_deployment(folder, speed=speed, extra=extra)), LiveHome(folder / "home"), clock
    ), clock


def at(hour: int, minute: int = 0) -> datetime:
    """Return a naive UTC time, counted from the midnight of 1 March 2018."""
    return datetime(2018, 3, 1) + timedelta(hours=hour, minutes=minute)


def aware(hour: int, minute: int = 0) -> datetime:
    """Return an aware UTC time, counted from the midnight of 1 March 2018."""
    return at(hour, minute).replace(tzinfo=UTC)
