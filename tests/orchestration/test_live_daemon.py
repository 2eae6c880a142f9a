"""A paper deployment through the real daemon, queue and run launcher: cycles by themselves, kills survived."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from orchestration.live_deployment import at, write_deployment

from trading_dagster.domain.event import CycleCompleted, CycleDecided, TradeExecuted
from trading_dagster.live.deployment_file import FOLDERS_VARIABLE, read_deployment
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.progress import read_progress
from trading_dagster.orchestration.home import prepare_home
from trading_dagster.orchestration.live_process import find_process
from trading_dagster.orchestration.live_unit import DECISION_TAG, LiveUnit
from trading_dagster.storage.event_codec import EventDecoder

pytestmark = [pytest.mark.dagster, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
CYCLE_S = 30.0
PAUSE = """

_decide = decide_trades


def decide_trades(input):
    import pathlib, time

    trades = _decide(input)
    mark = pathlib.Path(__file__).with_name("hang")
    if mark.exists():
        mark.unlink()
        time.sleep(600)
    return trades
"""
EXTRA = """
trigger: {kind: data_availability, poll_seconds: 5}
trigger_check_minutes: 0
revaluation_minutes: 0
retries: 0
autostart: true
"""


class Daemon:
    """The Dagster daemon on a home, with the project's own code location."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._log = (home / "daemon.log").open("ab")
        arguments = [
            "-m",
            "dagster._daemon",
            "run",
            "-f",
            str(ROOT / "trading_dagster" / "definitions.py"),
            "-d",
            str(ROOT),
        ]
        self.process = subprocess.Popen(
            [sys.executable, *arguments], cwd=home, stdout=self._log, stderr=self._log, start_new_session=True
        )

    def stop(self) -> None:
        """End the daemon, its code servers and its runs."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                continue
        self._log.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prepare a Dagster home with one deployment that decides every half minute."""
    folder = tmp_path / "deploy"
    write_deployment(folder, speed=3600 / CYCLE_S, extra=EXTRA)
    strategy = folder / "flip.py"
    strategy.write_text(strategy.read_text(encoding="utf-8") + PAUSE, encoding="utf-8")
    empty = tmp_path / "strategies"
    empty.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv(FOLDERS_VARIABLE, str(folder))
    monkeypatch.setenv("TRADING_DAGSTER_STRATEGIES", str(empty))
    return prepare_home(tmp_path / "home")


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as made:
        yield made


@pytest.fixture
def start(home: Path) -> Iterator[Callable[[], Daemon]]:
    started: list[Daemon] = []

    def begin() -> Daemon:
        started.append(Daemon(home))
        return started[-1]

    yield begin
    for daemon in started:
        daemon.stop()


@pytest.fixture
def unit(home: Path, tmp_path: Path) -> Iterator[LiveUnit]:
    made = LiveUnit(read_deployment(tmp_path / "deploy" / "flip.yaml"), LiveHome(home / "live"))
    yield made
    made.close()


def events(unit: LiveUnit, kind: type) -> list[Any]:
    rows = unit.observe().store.read(unit.id)
    return [event for event in EventDecoder(()).decode_all(row.body for row in rows) if isinstance(event, kind)]


def wait_for(what: str, found: Callable[[], Any], home: Path) -> Any:
    for _ in range(600):
        result = found()
        if result:
            return result
        time.sleep(0.5)
    pytest.fail(f"{what} did not happen:\n{(home / 'daemon.log').read_text(encoding='utf-8')[-4000:]}")


def require_once(unit: LiveUnit) -> None:
    """Check that every decision time was decided once and every trade executed once."""
    decided = [event.decision_at for event in events(unit, CycleDecided)]
    traded = [event.trade_id for event in events(unit, TradeExecuted)]
    assert decided == sorted(set(decided))
    assert traded == sorted(set(traded))
    planned = [trade_id for event in events(unit, CycleDecided) for trade_id in event.trade_ids]
    assert set(traded) <= set(planned)


def test_cycles_run_by_themselves_and_survive_kills_and_deleted_runs(
    home: Path, tmp_path: Path, instance: dg.DagsterInstance, unit: LiveUnit, start: Callable[[], Daemon]
) -> None:
    daemon = start()

    # two cycles by themselves
    wait_for("two cycles", lambda: len(events(unit, CycleCompleted)) >= 2, home)
    first = events(unit, CycleDecided)[0]
    runs = instance.get_runs(dg.RunsFilter(job_name="live_flip"))
    assert len({run.tags[DECISION_TAG] for run in runs}) == len(runs)
    keys = {run.tags["dagster/run_key"] for run in runs}
    assert f"flip:{first.decision_at.replace(tzinfo=None).isoformat()}" in keys

    # a run killed in the middle is finished by the next one
    (tmp_path / "deploy" / "hang").touch()
    hanging = wait_for("a run that hangs", lambda: find_hanging(instance, tmp_path), home)
    mark = find_process(hanging)
    assert mark is not None
    before = len(events(unit, CycleCompleted))
    os.kill(mark.number, signal.SIGKILL)
    wait_for("the next cycle", lambda: len(events(unit, CycleCompleted)) > before, home)
    killed = instance.get_run_by_id(hanging.run_id)
    assert killed is not None
    assert killed.status is dg.DagsterRunStatus.FAILURE

    # the daemon killed, the runs deleted so that their keys are armed again: nothing is traded twice
    daemon.stop()
    for run in instance.get_runs(dg.RunsFilter(job_name="live_flip")):
        instance.delete_run(run.run_id)
    count = len(events(unit, CycleCompleted))
    start()
    wait_for("a cycle after the restart", lambda: len(events(unit, CycleCompleted)) > count, home)

    require_once(unit)
    progress = read_progress(unit.observe())
    assert progress.last_decision_at is not None
    assert progress.last_decision_at > at(0)


def find_hanging(instance: dg.DagsterInstance, tmp_path: Path) -> dg.DagsterRun | None:
    """Return the run whose strategy has begun to sleep."""
    if (tmp_path / "deploy" / "hang").exists():
        return None
    wanted = dg.RunsFilter(job_name="live_flip", statuses=[dg.DagsterRunStatus.STARTED])
    return next((run for run in instance.get_runs(wanted) if find_process(run) is not None), None)
