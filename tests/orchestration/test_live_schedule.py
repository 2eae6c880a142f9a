"""The schedules of a deployment: ticks at every decision time, and what a late, missed or doubled tick is good for."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._utils.schedules import cron_string_iterator
from orchestration.live_deployment import at, aware, write_deployment

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.time import CycleDuration
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.deployment_time import RealClock
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.progress import Progress
from trading_dagster.orchestration.live_definition import build_live_schedules, build_live_sensors, find_units
from trading_dagster.orchestration.live_run import find_unfinished
from trading_dagster.orchestration.live_schedule import build_check_schedule, build_cycle_schedule
from trading_dagster.orchestration.live_timing import (
    Due,
    NotDue,
    is_check_due,
    judge_tick,
    write_check_cron,
    write_cycle_cron,
)
from trading_dagster.orchestration.live_unit import LiveUnit

pytestmark = pytest.mark.dagster
MINUTE = timedelta(minutes=1)
TICKING = [length for length in CycleDuration if length.to_timedelta() >= MINUTE]


def ticks(cron: str, start: datetime, end: datetime) -> list[datetime]:
    found = []
    for moment in cron_string_iterator(start.replace(tzinfo=UTC).timestamp(), cron, "UTC"):
        if moment.replace(tzinfo=None) >= end:
            return found
        found.append(moment.replace(tzinfo=None))
    raise AssertionError


@pytest.mark.parametrize(
    ("duration", "offset"),
    [
        (duration, offset)
        for duration in TICKING
        for offset in (0, 8, 23, 90, 1500)
        if timedelta(minutes=offset) < duration.to_timedelta()
    ],
    ids=lambda value: value.value if isinstance(value, CycleDuration) else f"{value}min",
)
def test_every_decision_time_has_a_tick_and_no_other_tick_is_due(duration: CycleDuration, offset: int) -> None:
    length, shift = duration.to_timedelta(), timedelta(minutes=offset)
    start = datetime(2024, 2, 25)
    end = start + max(4 * length, timedelta(days=3))

    due = [
        judged.decision_at
        for tick in ticks(write_cycle_cron(duration, shift), start, end)
        if isinstance(judged := judge_tick(duration, shift, tick, tick, Progress()), Due)
    ]

    first = duration.round_up(start - shift)
    assert due == [
        first + number * length for number in range((end - shift - first - timedelta(microseconds=1)) // length + 1)
    ]


def test_seven_days_are_mondays_and_ten_hours_say_why_they_skip() -> None:
    assert write_cycle_cron(CycleDuration.cycle_7d, 8 * MINUTE) == "8 0 * * 1"
    tick = datetime(2024, 2, 26, 4)

    judged = judge_tick(CycleDuration.cycle_10h, timedelta(0), tick, tick, Progress())

    assert isinstance(judged, NotDue)
    assert "no decision time of 10h cycles; the next one is 2024-02-26 " in judged.reason


def test_cycles_below_a_minute_cannot_be_scheduled() -> None:
    with pytest.raises(BadConfiguration, match="at most once a minute: use trigger data_availability"):
        write_cycle_cron(CycleDuration.cycle_1s, timedelta(0))
    with pytest.raises(BadConfiguration, match="give whole minutes"):
        write_cycle_cron(CycleDuration.cycle_1h, timedelta(seconds=90))


def test_a_late_tick_is_traded_only_until_the_next_decision_time() -> None:
    hour, offset = CycleDuration.cycle_1h, 8 * MINUTE

    def judge(now: datetime, passed: datetime | None = None) -> Due | NotDue:
        return judge_tick(hour, offset, at(5, 8), now, Progress(passed))

    assert judge(at(5, 8)) == Due(at(5))
    assert judge(at(5, 59)) == Due(at(5))
    late = judge(at(6, 0))
    assert isinstance(late, NotDue)
    assert "was missed by 1:00:00" in late.reason
    assert isinstance(judge(at(5, 9), passed=at(5)), NotDue)


@pytest.mark.parametrize("minutes", [1, 3, 5, 7, 45, 60, 90, 240, 1440])
def test_checks_run_as_often_as_asked(minutes: int) -> None:
    start = datetime(1970, 1, 2)

    due = [
        tick
        for tick in ticks(write_check_cron(minutes), start, start + timedelta(days=1))
        if is_check_due(minutes, tick.replace(tzinfo=UTC))
    ]

    gaps = {after - before for before, after in zip(due, due[1:], strict=False)}
    assert gaps <= {minutes * MINUTE}
    assert len(due) in (1440 // minutes, 1440 // minutes + 1)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[LiveUnit, ManualClock]]:
    """Return a deployment that goes by the wall clock, which a test sets."""
    deployment = replace(read_deployment(write_deployment(tmp_path)), clock=RealClock())
    clock = ManualClock(aware(0, 30))
    unit = LiveUnit(deployment, LiveHome(tmp_path / "home"), clock)
    yield unit, clock
    unit.close()


def evaluate(schedule: dg.ScheduleDefinition | None, scheduled_at: datetime) -> Any:
    assert schedule is not None
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=scheduled_at)
        return schedule.evaluate_tick(context)


def test_the_cycle_schedule_asks_for_the_decision_time(live: tuple[LiveUnit, ManualClock]) -> None:
    unit, clock = live
    schedule = build_cycle_schedule(unit, unit.group)
    assert schedule is not None
    assert schedule.cron_schedule == "8 * * * *"
    clock.moment = aware(1, 8)

    (request,) = evaluate(schedule, aware(1, 8)).run_requests
    assert request.run_key == "flip:2018-03-01T01:00:00"
    run_cycle(unit.open(), at(1))
    again = evaluate(schedule, aware(1, 8))

    assert again.run_requests == []
    assert "decided or skipped already" in again.skip_message


def test_after_an_outage_an_old_tick_is_not_traded(live: tuple[LiveUnit, ManualClock]) -> None:
    unit, clock = live
    clock.moment = aware(4, 2)

    result = evaluate(build_cycle_schedule(unit, unit.group), aware(2, 8))

    assert result.run_requests == []
    assert "was missed by 2:02:00" in result.skip_message


def test_a_check_is_left_out_while_one_runs(live: tuple[LiveUnit, ManualClock], tmp_path: Path) -> None:
    unit, _ = live
    schedule = build_check_schedule(unit, unit.name("trigger_check"), 3)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    tick = now - timedelta(minutes=int(now.timestamp() // 60) % 3)
    folder = tmp_path / "dagster"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder), overrides={"telemetry": {"enabled": False}}) as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=tick)
        assert len(schedule.evaluate_tick(context).run_requests or []) == 1
        run = dg.DagsterRun(job_name=unit.name("trigger_check"), run_id="a" * 8, status=dg.DagsterRunStatus.STARTED)
        instance.add_run(run)

        assert find_unfinished(instance, unit.name("trigger_check")) == "a" * 8
        assert "is not finished" in str(schedule.evaluate_tick(context).skip_message)


def test_only_what_the_file_asks_for_is_turned_on(tmp_path: Path) -> None:
    off = find_units([write_deployment(tmp_path / "off")])
    on = find_units([write_deployment(tmp_path / "on", extra="autostart: true\n")])

    def running(units: list[LiveUnit]) -> set[str]:
        every = [*build_live_sensors(units), *build_live_schedules(units)]
        return {each.name for each in every if each.default_status.value == "RUNNING"}

    assert running(off) == {"live_watchdog", "live_failures"}
    assert running(on) == {
        "live_watchdog", "live_failures", "live_flip_timer",
        "live_flip_trigger_check_timer", "live_flip_revaluation_timer",
    }  # fmt: skip


def test_a_deployment_that_cannot_be_scheduled_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = write_deployment(tmp_path / "bad", extra="parameters: {cycle_duration: 5m}\n", name="bad")
    text = bad.read_text(encoding="utf-8")
    bad.write_text("\n".join(line for line in text.splitlines() if not line.startswith("clock")), encoding="utf-8")
    good = write_deployment(tmp_path / "good")

    units = find_units([bad, good])

    assert [unit.id for unit in units] == ["flip"]
    assert "trigger.offset_minutes is 8, but a cycle of bad lasts 5 minutes" in caplog.text


def test_without_deployments_there_is_nothing() -> None:
    assert build_live_sensors([]) == []
    assert build_live_schedules([]) == []
