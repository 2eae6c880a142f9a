"""The watchdog and the failure sensor: what is late, stuck or dead is told, and ended."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from orchestration.live_deployment import at, aware, make_unit

from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import decide_cycle, run_cycle
from trading_dagster.live.progress import Progress
from trading_dagster.live.universe import calculate, load_universe
from trading_dagster.orchestration import live_watchdog
from trading_dagster.orchestration.live_asset import build_cycle_job, build_live_assets
from trading_dagster.orchestration.live_failure import build_failure_sensor, find_deployment
from trading_dagster.orchestration.live_process import PROCESS_TAG, ProcessMark
from trading_dagster.orchestration.live_unit import STRATEGY_TAG, LiveUnit
from trading_dagster.orchestration.live_watchdog import (
    PATIENCE,
    WatchCursor,
    build_watchdog,
    find_overdue,
    judge_overdue,
    watch,
)

pytestmark = pytest.mark.dagster
HOUR, MARGIN = timedelta(hours=1), timedelta(minutes=15)
PATIENT = 2 * HOUR + MARGIN


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LiveUnit, ManualClock]]:
    unit, clock = make_unit(tmp_path)
    monkeypatch.setattr(live_watchdog, "is_turned_on", lambda *_: True)
    yield unit, clock
    unit.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that does nothing, as a run worker that hangs."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def add_run(
    instance: dg.DagsterInstance, run_id: str, *, process: str = "", owner: str = "", job: str = "live_flip"
) -> dg.DagsterRun:
    tags = {STRATEGY_TAG: "flip", **({PROCESS_TAG: f"{owner or run_id} {process}"} if process else {})}
    run = dg.DagsterRun(job_name=job, run_id=run_id, tags=tags, status=dg.DagsterRunStatus.NOT_STARTED)
    instance.add_run(run)
    instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job, message="started"), run_id=run_id
    )
    found = instance.get_run_by_id(run_id)
    assert found is not None
    assert found.status is dg.DagsterRunStatus.STARTED
    return found


def mark_of(process: subprocess.Popen[bytes]) -> str:
    mark = ProcessMark.current()
    stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8")
    return str(ProcessMark(mark.host, process.pid, stat.rpartition(")")[2].split()[19]))


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize(
    ("progress", "now", "expected"),
    [
        (Progress(), at(23), None),
        (Progress(at(1)), at(3, 15), None),
        (Progress(at(1)), at(3, 16), "nothing was decided after 2018-03-01 01:00:00"),
        (Progress(at(1), at(1)), at(2, 15), None),
        (Progress(at(1), at(1)), at(2, 16), "the cycle of 2018-03-01 01:00:00 did not end"),
    ],
)
def test_a_cycle_is_overdue_after_two_cycles_and_a_quarter_of_an_hour(
    progress: Progress, now: datetime, expected: str | None
) -> None:
    found = judge_overdue(progress, now, HOUR, PATIENT)

    assert found is None if expected is None else found is not None and found.startswith(expected)


def test_an_overdue_cycle_is_told_once_and_again_after_it_recovered(
    live: tuple[LiveUnit, ManualClock], instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    unit, clock = live
    run_cycle(unit.open(), at(0))
    clock.moment = aware(2, 20)
    now = datetime.now(UTC)

    cursor, notes = watch(unit, instance, WatchCursor(), now)
    clock.moment = aware(2, 40)
    cursor, more = watch(unit, instance, cursor, now)

    assert "nothing was decided after 2018-03-01 00:00:00" in notes[0]
    assert len(more) == 1
    assert caplog.text.count("a cycle is overdue") == 1
    run_cycle(unit.open(), at(2))
    cursor, notes = watch(unit, instance, cursor, now)
    assert (cursor, notes) == (WatchCursor(), [])


def test_a_cycle_that_does_not_end_is_told(live: tuple[LiveUnit, ManualClock], instance: dg.DagsterInstance) -> None:
    unit, clock = live
    trader = unit.open()
    universe = load_universe(trader, at(0))
    decide_cycle(trader, universe, calculate(trader, universe), at(0))
    clock.moment = aware(1, 16)

    assert (find_overdue(unit, instance) or "").startswith("the cycle of 2018-03-01 00:00:00 did not end")


def test_a_deployment_that_is_turned_off_is_not_overdue(tmp_path: Path) -> None:
    unit, clock = make_unit(tmp_path)
    run_cycle(unit.open(), at(0))
    clock.moment = aware(20)

    folder = tmp_path / "dagster"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder), overrides={"telemetry": {"enabled": False}}) as instance:
        assert find_overdue(unit, instance) is None
    unit.close()


def test_a_run_in_time_is_left_alone(live: tuple[LiveUnit, ManualClock], instance: dg.DagsterInstance) -> None:
    unit, _ = live
    add_run(instance, "r1", process=str(ProcessMark.current()))

    assert watch(unit, instance, WatchCursor(), datetime.now(UTC) + timedelta(minutes=29)) == (WatchCursor(), [])


def test_a_run_that_waits_for_an_approval_until_the_next_decision_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    unit, _ = make_unit(tmp_path, extra="approval: {mode: manual}")
    monkeypatch.setattr(live_watchdog, "is_turned_on", lambda *_: True)
    add_run(instance, "r1", process=str(ProcessMark.current()))
    began, timeout = datetime.now(UTC), timedelta(minutes=30)

    assert watch(unit, instance, WatchCursor(), began + HOUR + timeout - timedelta(minutes=1)) == (WatchCursor(), [])
    assert "was told to end" in watch(unit, instance, WatchCursor(), began + HOUR + timeout + HOUR)[1][0]
    unit.close()


def test_a_run_whose_process_is_gone_is_closed(
    live: tuple[LiveUnit, ManualClock], instance: dg.DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    unit, _ = live
    mark = mark_of(sleeper)
    add_run(instance, "r1", process=mark)
    sleeper.kill()
    sleeper.wait()

    cursor, notes = watch(unit, instance, WatchCursor(), datetime.now(UTC) + timedelta(minutes=1))

    assert status_of(instance, "r1") is dg.DagsterRunStatus.FAILURE
    assert "its process" in notes[0]
    assert "is gone" in notes[0]
    assert cursor.ending == {}


def test_a_repeated_run_is_not_taken_for_the_dead_one_whose_tags_it_has(
    live: tuple[LiveUnit, ManualClock], instance: dg.DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    unit, _ = live
    add_run(instance, "r2", process=mark_of(sleeper), owner="r1")
    sleeper.kill()
    sleeper.wait()

    assert watch(unit, instance, WatchCursor(), datetime.now(UTC) + timedelta(minutes=1)) == (WatchCursor(), [])
    assert status_of(instance, "r2") is dg.DagsterRunStatus.STARTED


def test_a_stuck_run_is_told_to_end_and_then_its_process_is_killed(
    live: tuple[LiveUnit, ManualClock], instance: dg.DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    unit, _ = live
    add_run(instance, "r1", process=mark_of(sleeper))
    late = datetime.now(UTC) + timedelta(minutes=31)

    cursor, told = watch(unit, instance, WatchCursor(), late)
    assert "was told to end" in told[0]
    assert watch(unit, instance, cursor, late + PATIENCE / 2)[1] == []
    assert sleeper.poll() is None
    cursor, killed = watch(unit, instance, WatchCursor.parse(str(cursor)), late + PATIENCE)

    assert "killed" in killed[0]
    assert sleeper.wait() == -9
    assert status_of(instance, "r1") is dg.DagsterRunStatus.FAILURE
    assert cursor.ending == {}


def test_another_process_with_the_same_number_is_not_killed(sleeper: subprocess.Popen[bytes]) -> None:
    mark = ProcessMark.parse(mark_of(sleeper))
    assert mark is not None
    later = ProcessMark(mark.host, mark.number, "1")

    assert later.is_alive() is False
    assert later.kill() is False
    assert ProcessMark("elsewhere", mark.number, mark.began).is_alive() is None
    assert ProcessMark("elsewhere", mark.number, mark.began).kill() is False
    assert ProcessMark.current().kill() is False
    assert sleeper.poll() is None


def test_marks_survive_as_tags() -> None:
    mark = ProcessMark.current()

    assert mark.number == os.getpid()
    assert ProcessMark.parse(str(mark)) == mark
    assert ProcessMark.parse("") is None
    assert ProcessMark.parse("no mark") is None


def test_the_watchdog_looks_at_all_deployments_and_survives_one_that_cannot_be_read(
    live: tuple[LiveUnit, ManualClock], tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    broken, _ = make_unit(tmp_path / "broken")
    broken.deployment.strategy.unlink()
    watchdog = build_watchdog([broken, live[0]])

    result: Any = watchdog.evaluate_tick(dg.build_sensor_context(instance=instance))

    assert result.run_requests == []
    assert "it cannot be looked at: Strategy file" in result.skip_message


def fail_a_run(unit: LiveUnit, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Any:
    def die(*_: object) -> None:
        raise RuntimeError("the power went out")

    with monkeypatch.context() as patch:
        patch.setattr("trading_dagster.orchestration.live_asset.describe_decision", die)
        definitions = dg.Definitions(assets=build_live_assets(unit), jobs=[build_cycle_job(unit)])
        return definitions.resolve_job_def(unit.group).execute_in_process(instance=instance, raise_on_error=False)


def test_a_failed_run_is_told_with_step_and_reason(
    live: tuple[LiveUnit, ManualClock],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    unit, _ = live
    result = fail_a_run(unit, instance, monkeypatch)
    caplog.clear()
    context = dg.build_run_status_sensor_context(
        sensor_name="live_failures",
        dagster_instance=instance,
        dagster_run=instance.get_run_by_id(result.run_id),
        dagster_event=result.get_run_failure_event(),
    ).for_run_failure()

    build_failure_sensor([unit])(context)

    assert f"flip: run {result.run_id[:8]} of live_flip failed" in caplog.text
    assert "live_flip__decisions: " in caplog.text
    assert "the power went out" in caplog.text
    assert "decision time 2018-03-01T00:00:00" in caplog.text


def test_runs_are_told_apart_by_tag_or_by_their_assets() -> None:
    def run(**parts: Any) -> dg.DagsterRun:
        return dg.DagsterRun(job_name="__ASSET_JOB", run_id="r", **parts)

    assert find_deployment(run(tags={STRATEGY_TAG: "flip"})) == "flip"
    assert find_deployment(run(tags={STRATEGY_TAG: "flip/trigger_check"})) == "flip"
    assert find_deployment(run(asset_selection=frozenset({dg.AssetKey(["live", "flip", "trades"])}))) == "flip"
    assert find_deployment(run(asset_selection=frozenset({dg.AssetKey(["ema_cross", "portfolio"])}))) is None
    assert find_deployment(run()) is None


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"alarmed": {}}', '{"alarmed": {}, "ending": {}, "newer": 1}'])
def test_a_cursor_of_another_version_does_not_stop_the_watchdog(text: str) -> None:
    assert WatchCursor.parse(text) == WatchCursor()
