"""Live trading on paper, fed candle by candle through the sensor, does exactly what the backtest does."""

import os
import runpy
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

import trading_dagster as td
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.orchestration.live_sensor import build_cycle_sensor
from trading_dagster.orchestration.live_step import (
    calculate_step,
    complete_step,
    decide_step,
    execute_step,
    start_cycle,
)
from trading_dagster.orchestration.live_unit import DECISION_TAG, LiveUnit
from trading_dagster.storage.ledger_store import Sample
from trading_dagster.storage.strategy_ledger import StrategyLedger

pytestmark = [pytest.mark.dagster, pytest.mark.slow]

STRATEGIES = Path(__file__).parents[2] / "strategies"
HOURLY, DAILY, VAULTS = datetime(2018, 4, 10), datetime(2017, 9, 25), datetime(2022, 2, 7)
TWO_PAIRS = "pairs: [[-1, null, BTC, USD], [-1, null, LTC, USD]]"
"""Those of the sample that have 500 days without a hole in which data is missing for longer than live trading bears."""

RUNS = {
    "ema_cross": (HOURLY, ""),
    "breakout_atr": (HOURLY, ""),
    "rsi_mean_reversion": (DAILY, TWO_PAIRS),
    "momentum_rotation": (DAILY, f"{TWO_PAIRS}, max_assets_in_portfolio: 1, cycle_duration: 1d"),
    "buy_and_hold": (DAILY, TWO_PAIRS),
    "index_by_volume": (DAILY, f"{TWO_PAIRS}, cycle_duration: 1d"),
    "momentum_alpha": (DAILY, TWO_PAIRS),
    "credit_parking": (DAILY, ""),
    "long_short_momentum": (DAILY, f"{TWO_PAIRS}, cycle_duration: 1d"),
    "take_profit_grid": (HOURLY, ""),
    "dip_limit_entry": (HOURLY, "cycle_duration: 4h"),
    "yield_rotation": (VAULTS, "required_history_period: 30d"),
    "rsi_regime_rotation": (DAILY, f"{TWO_PAIRS}, required_history_period: 1000d"),
}
"""Where each example begins, and its parameters beside 90 days of history.

The weights of rsi_regime_rotation are functions of Wilder's averages, which never forget: what lies 1,000 days back
weighs (13/14)^1000, less than a float64 can add."""

CYCLES = 500
FUND_FEES = "{management: 0.02, performance: 0.2, every: 7d}"
"""What every run takes: fees are shares, so they change nothing else."""


def trades_of(state):
    return [
        (t.trade_id, t.pair, t.executed_quantity, t.executed_reserve, t.executed_price, t.trade_type, t.executed_at)
        for t in state.portfolio.get_all_trades()
    ]


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory where there is one: thousands of small writes wait for a disk otherwise."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def deploy(quick_path):
    """Return a function that deploys an example on a replay of the sample whose clock stands at a time."""

    def make(name: str, start: datetime, parameters: str) -> tuple[LiveUnit, ManualClock]:
        data = ""
        if start == VAULTS:
            namespace = runpy.run_path(str(STRATEGIES / f"{name}.py"))
            source = namespace["make_up_vaults"]()
            markets = source.list_markets()
            frame = pd.concat(source.load_candles(markets, markets[0].first_at, markets[0].end_at))
            frame.assign(exchange=markets[0].exchange_slug).to_parquet(quick_path / "shares.parquet")
            data = "data: {source: file, path: shares.parquet}\n"
        file = quick_path / f"{name}.yaml"
        history = "" if "required_history_period" in parameters else "required_history_period: 90d, "
        file.write_text(
            f"strategy: {STRATEGIES / f'{name}.py'}\nmode: paper\n"
            f"clock: {{kind: replay, start: {start.isoformat()}Z}}\n"
            f"{data}trigger: {{kind: data_availability, poll_seconds: 5}}\n"
            f"parameters: {{{history}fund_fees: {FUND_FEES}, {parameters}}}\n",
            encoding="utf-8",
        )
        clock = ManualClock(start.replace(tzinfo=UTC))
        return LiveUnit(read_deployment(file), LiveHome(quick_path / "home"), clock), clock

    return make


def run_requested(unit: LiveUnit, request: dg.RunRequest) -> Sample:
    """Do what the assets of a cycle do, one step after the other; returns the equity sample of its end."""
    at = datetime.fromisoformat(request.tags[DECISION_TAG])
    start_cycle(unit, at)
    calculate_step(unit, at)
    decide_step(unit, at)
    execute_step(unit, at)
    sample = complete_step(unit, at).sample
    assert sample is not None
    return sample


@pytest.mark.parametrize("name", RUNS)
def test_what_the_sensor_begins_trades_exactly_as_the_backtest(name, deploy):
    start, parameters = RUNS[name]
    unit, clock = deploy(name, start, parameters)
    sensor = build_cycle_sensor(unit, "job")
    width = unit.open().cycle_duration.to_timedelta()
    feed = unit.module.parameters.get("stop_loss_time_bucket")
    step = width if feed is None else feed.to_timedelta()
    cursor, samples = None, []
    with dg.DagsterInstance.ephemeral() as instance:
        for number in range(CYCLES * (width // step) + 1):
            now = start + number * step
            clock.moment = now.replace(tzinfo=UTC)
            check_triggers(unit.open())
            if now == start + CYCLES * width:
                break
            for _ in range(2):  # a second tick at the same time asks for nothing
                ticked = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
                cursor = ticked.cursor
                for request in ticked.run_requests or ():
                    samples.append(run_requested(unit, request))
                    check_triggers(unit.open())
    state = StrategyLedger(unit.open().store, unit.id).load()
    unit.close()

    end = start + CYCLES * width
    sampled = td.TriggerModel.sampled  # as live trading looks: at the prices of the moment
    backtest = td.run_backtest(unit.module, start=start, end=end, trigger_model=sampled, progress=False)

    assert trades_of(state) == trades_of(backtest.state)
    expected = backtest.samples[(backtest.samples["timestamp"] - start) % width == timedelta(0)]
    assert [sample.equity for sample in samples] == [*expected.groupby("timestamp")["equity"].last()]
    assert len(samples) == CYCLES
    fees, charged = state.sync.treasury.fund_fees, backtest.state.sync.treasury.fund_fees
    assert charged[-1].at == end - width, "a backtest takes what is left at its end, and live trading has none"
    assert fees == charged[: len(fees)]
    assert len(charged) - len(fees) in (0, 1)
    assert len(fees) > CYCLES * width / timedelta(days=7) - 1
    shares = expected.groupby("timestamp")["share_price"].last()
    assert [sample.share_price for sample in samples][:-1] == [*shares][:-1]
