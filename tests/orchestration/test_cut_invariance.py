"""The same answer however a backtest is cut: in one piece, by months, by weeks, in several processes, after a kill."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from trading_dagster.backtest.inline import run_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.market.file_source import FileSource
from trading_dagster.orchestration.backtest_asset import PARTITIONED
from trading_dagster.orchestration.driver import BacktestDriver
from trading_dagster.orchestration.progress import SilentProgress
from trading_dagster.strategy.module import StrategyModule, load_strategy_file

pytestmark = [pytest.mark.dagster, pytest.mark.slow]
STRATEGIES = Path(__file__).parents[2] / "strategies"
RUN_PART = """
import sys
import dagster as dg
from trading_dagster.orchestration.driver import BacktestDriver
from trading_dagster.orchestration.progress import SilentProgress
from trading_dagster.strategy.module import load_strategy_file

file, *keys = sys.argv[1:]
with dg.DagsterInstance.ephemeral() as instance:
    driver = BacktestDriver(load_strategy_file(file), instance, SilentProgress())
    driver.materialize(["decisions", "trades", "portfolio"], keys)
"""


def exact_bytes(result: BacktestResult) -> tuple[bytes, bytes, bytes]:
    trades = io.BytesIO()
    result.trades.to_parquet(trades, index=False)
    samples = result.samples
    return trades.getvalue(), samples["equity"].to_numpy().tobytes(), samples["timestamp"].to_numpy().tobytes()


def run_in_process(file: Path, keys: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-c", RUN_PART, str(file), *keys], check=True, env=os.environ)


@pytest.fixture(scope="module")
def whole(ema_cross: StrategyModule) -> BacktestResult:
    return run_backtest(ema_cross, progress=False)


def test_the_sample_has_triggers(whole: BacktestResult) -> None:
    assert (whole.trades["trade_type"] == "stop_loss").sum() >= 5
    assert len(whole.trades) > 100


@pytest.mark.parametrize("grain", ["month", "week"])
def test_partitions_of_the_sample_give_the_result_of_one_piece(
    grain: str, ema_cross: StrategyModule, whole: BacktestResult, instance: dg.DagsterInstance
) -> None:
    driver = BacktestDriver(ema_cross, instance, SilentProgress(), grain=grain)

    result = driver.run_all()

    assert len(driver.open().windows) == {"month": 22, "week": 94}[grain]
    assert exact_bytes(result) == exact_bytes(whole)


def test_fresh_processes_between_partitions_give_the_result_of_one_piece(
    ema_cross: StrategyModule, whole: BacktestResult, instance: dg.DagsterInstance
) -> None:
    assert ema_cross.path is not None
    driver = BacktestDriver(ema_cross, instance, SilentProgress())
    driver.materialize(["universe", "indicators"])
    keys = [window.key for window in driver.open().windows]

    for first, end in ((0, 1), (1, 2), (2, 10), (10, 22)):
        run_in_process(ema_cross.path, keys[first:end])

    assert exact_bytes(driver.open().load_result()) == exact_bytes(whole)


def test_days_give_the_result_of_one_piece(short_strategy: StrategyModule, instance: dg.DagsterInstance) -> None:
    strategy = short_strategy.with_parameters({"backtest_partition": "day"})
    driver = BacktestDriver(strategy, instance, SilentProgress())

    result = driver.run_all()

    assert len(driver.open().windows) == 130
    assert exact_bytes(result) == exact_bytes(run_backtest(strategy, progress=False))


def test_rotation_among_pairs_of_a_real_exchange_is_cut_the_same(
    shared_data: Path, instance: dg.DagsterInstance
) -> None:
    file = shared_data / "binance_12pairs_1h.parquet"
    span = FileSource(file).list_markets()
    first, last = max(market.first_at for market in span), min(market.last_at for market in span)
    strategy = load_strategy_file(STRATEGIES / "momentum_rotation.py")
    month = first.replace(day=1, hour=0)
    start = month.replace(year=month.year + (month.month + 2) // 12, month=(month.month + 2) % 12 + 1)
    strategy = strategy.with_parameters({"backtest_start": start, "backtest_end": last.replace(hour=0, minute=0)})
    whole = run_backtest(strategy, client=FileSource(file), progress=False)
    driver = BacktestDriver(strategy, instance, SilentProgress(), data=str(file))

    result = driver.run_all()

    assert len(set(whole.trades["pair"])) > 3
    assert len(driver.open().windows) > 5
    assert exact_bytes(result) == exact_bytes(whole)


DEMO = """
import sys
from trading_dagster.backtest import segment_writer
from trading_dagster.cli.main import app

segment_writer.LONGEST_UNWRITTEN_S = -1.0  # each partition is written and recorded before the next is computed
app(["demo", "--home", sys.argv[1], "--no-progress"])
"""


def test_a_killed_run_is_continued_with_the_same_result(
    ema_cross: StrategyModule, whole: BacktestResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.delenv("TRADING_DAGSTER_ARTEFACTS")
    command = [sys.executable, "-c", DEMO, str(home)]
    folder = home / "artefacts" / "ema_cross" / "partitions" / "month"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=STRATEGIES.parent)
    deadline = time.monotonic() + 120
    while not (folder / "2018-04").is_dir():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name[0] != "."}
    assert len(done) < 22

    finished = subprocess.run(command, check=True, capture_output=True, text=True, cwd=STRATEGIES.parent)

    assert "14,922.59" in finished.stdout
    assert (folder / "2018-01").stat().st_mtime_ns == done["2018-01"]  # continued, not begun again
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        statuses = [run.status for run in instance.get_runs()]
        assert statuses.count(dg.DagsterRunStatus.FAILURE) == 1
        assert set(statuses) == {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS}
        driver = BacktestDriver(ema_cross, instance, SilentProgress())
        assert exact_bytes(driver.open().load_result()) == exact_bytes(whole)
        for name in PARTITIONED:
            assert len(instance.get_materialized_partitions(dg.AssetKey(["ema_cross", name]))) == 22
