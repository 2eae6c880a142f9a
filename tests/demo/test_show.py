"""The demo runs for as many cycles as asked, and tells trades with transactions, the accounts and the backtest."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest
from evm.node import PACKAGES_V3, install_packages

from trading_dagster.demo.show import run_live_demo
from trading_dagster.demo.stage import DATA_PAIR, DemoSetting, Stage
from trading_dagster.domain.error import NoNewDataReceived
from trading_dagster.domain.time import TimeBucket
from trading_dagster.evm.demo_market import PoolKind
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.opening import open_live

STRATEGY = '''"""Buys and sells in turn, so that every cycle trades."""
from datetime import datetime, timedelta
import trading_dagster as td

trading_strategy_engine_version = "0.5"


class Parameters:
    candle_time_bucket = td.TimeBucket.h1
    cycle_duration = td.CycleDuration.cycle_1h
    backtest_start = datetime(2018, 4, 1)
    backtest_end = datetime(2018, 5, 1)
    initial_cash = 10_000
    routing = td.TradeRouting.default
    required_history_period = timedelta(days=2)


def create_trading_universe(input):
    dataset = td.load_partial_data(
        client=input.client,
        time_bucket=input.parameters.candle_time_bucket,
        stop_loss_time_bucket=td.TimeBucket.h1,
        pairs=((td.ChainId.centralised_exchange, "coinbase", "BTC", "USD"),),
        universe_options=input.universe_options,
    )
    return td.TradingStrategyUniverse.create_single_pair_universe(dataset)


def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    return td.IndicatorSet()


def decide_trades(input):
    pm, pair = input.get_position_manager(), input.get_default_pair()
    position = pm.get_current_position_for_pair(pair)
    if position is None:
        return pm.open_spot(pair, value=pm.get_current_cash() * 0.5)
    return pm.close_position(position)
'''


@contextmanager
def drive_here(stage: Stage) -> Iterator[Callable[[], None]]:
    """Run the cycles in a thread of this process."""
    is_over, errors = threading.Event(), []

    def work() -> None:
        live = open_live(stage.deployment, stage.home)
        last = None
        try:
            while not is_over.wait(0.02):
                at = live.newest_decision_at()
                if at != last and live.source.read_availability([DATA_PAIR], TimeBucket.h1)[0].is_ready(at):
                    run_cycle(live, at)
                    last = at
        except Exception as error:  # noqa: BLE001 - it is raised again by the check
            errors.append(error)

    def check() -> None:
        if errors:
            raise errors[0]

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield check
    finally:
        is_over.set()
        thread.join()


@pytest.fixture
def strategy(tmp_path: Path) -> Path:
    path = tmp_path / "flip.py"
    path.write_text(STRATEGY)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(PoolKind), ids=lambda kind: kind.name)
def test_demo_trades_for_some_cycles_and_tells_all(tmp_path: Path, strategy: Path, kind: PoolKind):
    packages = install_packages()
    packages_v3 = install_packages(PACKAGES_V3, "evm-test-v3-1") if kind is PoolKind.v3 else None
    lines: list[str] = []
    setting = DemoSetting(tmp_path / "demo", strategy, hour_s=5.0, margin_s=1.0, kind=kind, fee=Fraction(3, 1000))
    state = run_live_demo(setting, drive_here, lines.append, cycles=4, packages=packages, packages_v3=packages_v3)
    trades = list(state.portfolio.get_all_trades())
    report = "\n".join(lines)
    assert len(trades) >= 3
    for trade in trades:
        assert trade.fill is not None
        assert trade.fill.tx_hash in report
        assert trade.fill.price == pytest.approx(trade.planned_price, rel=0.02)  # a candle may begin in between
    assert "equal to the unit" in report
    assert "MISMATCH" not in report
    assert "Trades that both executed: " in report
    assert sum(" cycle " in line for line in lines) >= 1
    port = int(lines[0].split("127.0.0.1:")[1].split(",")[0])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the node lives on"


def test_demo_in_which_nothing_trades_ends_with_where_to_look(
    tmp_path: Path, strategy: Path, monkeypatch: pytest.MonkeyPatch
):
    @contextmanager
    def idle(stage: Stage) -> Iterator[Callable[[], None]]:
        yield lambda: None

    monkeypatch.setattr("trading_dagster.demo.show.START_S", 0.0)
    setting = DemoSetting(tmp_path / "demo", strategy, hour_s=0.4, margin_s=0.1)
    began = time.monotonic()
    with pytest.raises(NoNewDataReceived, match=r"No cycle was completed .* see .*demo/log"):
        run_live_demo(setting, idle, lambda line: None, packages=install_packages())
    assert time.monotonic() - began >= 2.0
