"""The sensors that begin cycles: when candles are there, an offset after the decision time, or after the last cycle.

A sensor asks for a run by the decision time, so that two ticks at once give one run; what makes a cycle unique is the
ledger, which decides a decision time once whatever runs are asked for.
"""

from datetime import timedelta

import dagster as dg

from trading_dagster.domain.message import MessageKind
from trading_dagster.domain.time import to_naive
from trading_dagster.live.deployment_time import CycleOffset, DataAvailability, SinceLastCycleEnd
from trading_dagster.live.progress import find_cycle_end, read_progress
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import load_universe
from trading_dagster.market.availability import AvailabilitySource, CandleAvailability
from trading_dagster.orchestration.failure import explain_failures
from trading_dagster.orchestration.live_alarm import send_alarm
from trading_dagster.orchestration.live_availability import Poll, PollCursor, judge_poll
from trading_dagster.orchestration.live_lookout import look_out
from trading_dagster.orchestration.live_run import cycle_request, find_unfinished
from trading_dagster.orchestration.live_timing import Due, NotDue, judge_offset, judge_since_end
from trading_dagster.orchestration.live_unit import LiveUnit

SHORTEST_INTERVAL_S = 5
"""The daemon looks at sensors no more often."""


def initial_status(unit: LiveUnit) -> dg.DefaultSensorStatus:
    """Return whether sensors begin turned on: only when the deployment's file says so."""
    return dg.DefaultSensorStatus.RUNNING if unit.deployment.autostart else dg.DefaultSensorStatus.STOPPED


def build_cycle_sensor(unit: LiveUnit, job_name: str) -> dg.SensorDefinition | None:
    """Return the sensor that begins a deployment's cycles; None where a schedule does.

    Schedules go by the wall clock: in a replayed world a sensor takes the place of each.
    """
    trigger = unit.deployment.trigger
    if isinstance(trigger, DataAvailability):
        return build_availability_sensor(unit, job_name, trigger)
    if isinstance(trigger, SinceLastCycleEnd) or unit.deployment.is_replay:
        return _build_timer_sensor(unit, job_name)
    return None


def build_availability_sensor(unit: LiveUnit, job_name: str, trigger: DataAvailability) -> dg.SensorDefinition:
    """Return the sensor that begins a cycle as soon as all pairs have their candles, and alarms when they are late."""

    @dg.sensor(
        name=unit.name("data"),
        job_name=job_name,
        minimum_interval_seconds=round(trigger.poll_seconds) - 1,  # a tick due a moment later would be left out
        default_status=initial_status(unit),
        description=f"Begins a cycle of {unit.id} when all its pairs have their closed candles.",
        tags=unit.tags,
    )
    def availability(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        with explain_failures():
            cursor = PollCursor.parse(context.cursor)
            if unit.has_own_clock:
                outcome = look_out(lambda: look(unit), cursor, poll_s=trigger.poll_seconds, speed=unit.deployment.speed)
            else:
                outcome = judge_poll(cursor, look(unit))
        if outcome.alarm:
            send_alarm(unit, MessageKind.data_lag, f"candles for {outcome.skip_at} are late", outcome.reason)
        runs = []
        if outcome.run_at is not None:
            runs.append(cycle_request(unit, outcome.run_at))
        if outcome.skip_at is not None:
            runs.append(cycle_request(unit, outcome.skip_at, skip_reason=outcome.reason))
        if runs:
            context.log.info(outcome.reason)
        return dg.SensorResult(
            run_requests=runs, skip_reason=None if runs else dg.SkipReason(outcome.reason), cursor=str(outcome.cursor)
        )

    return availability


def look(unit: LiveUnit) -> Poll:
    """Return what there is of a deployment's candles now."""
    live, deployment = unit.observe(), unit.deployment
    cycle = live.cycle_duration.to_timedelta()
    progress, newest = read_progress(live), live.newest_decision_at()
    seen = [] if progress.has_passed(newest) else read_availability(unit, live)
    return Poll(live.now(), newest, cycle, deployment.max_data_delay(cycle), progress, seen)


def read_availability(unit: LiveUnit, live: LiveStrategy) -> list[CandleAvailability]:
    """Return what the source has of the pairs of the newest universe; of one built now, before an edition's first."""
    known = unit.home.read_pairs(unit.id, unit.edition)
    if known is None:
        at = live.newest_decision_at()
        known = unit.home.write_pairs(unit.id, load_universe(live, at), unit.edition)
    bucket, pairs = known
    assert isinstance(live.source, AvailabilitySource)
    return list(live.source.read_availability(pairs, bucket))


def _build_timer_sensor(unit: LiveUnit, job_name: str) -> dg.SensorDefinition:
    @dg.sensor(
        name=unit.name("timer"),
        job_name=job_name,
        minimum_interval_seconds=SHORTEST_INTERVAL_S,
        default_status=initial_status(unit),
        description=f"Begins a cycle of {unit.id} when it is due.",
        tags=unit.tags,
    )
    def timer(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:  # noqa: ARG001 - Dagster's form
        with explain_failures():
            due = judge_timer(unit)
        return cycle_request(unit, due.decision_at) if isinstance(due, Due) else dg.SkipReason(due.reason)

    return timer


def judge_timer(unit: LiveUnit) -> Due | NotDue:
    """Say whether a cycle is due by a trigger that goes by time alone."""
    live, trigger = unit.observe(), unit.deployment.trigger
    progress, duration, now = read_progress(live), live.cycle_duration, live.now()
    if isinstance(trigger, CycleOffset):
        return judge_offset(duration, unit.deployment.offset(duration.to_timedelta()), now, progress)
    return judge_since_end(duration, find_cycle_end(live.store, live.id), now, progress)


def build_check_sensor(unit: LiveUnit, job_name: str, minutes: int) -> dg.SensorDefinition:
    """Return the sensor that runs a check every so many minutes of a world that runs faster than the wall clock."""
    interval = round(timedelta(minutes=minutes).total_seconds() / unit.deployment.speed)

    @dg.sensor(
        name=f"{job_name}_timer",
        job_name=job_name,
        minimum_interval_seconds=max(SHORTEST_INTERVAL_S, interval),
        default_status=initial_status(unit),
        description=f"Runs {job_name} every {minutes} minutes of the replayed world.",
        tags=unit.tags,
    )
    def check(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        running = find_unfinished(context.instance, job_name)
        if running is not None:
            return dg.SkipReason(f"the run {running} of this job is not finished")
        at = to_naive(unit.observe().clock.now())
        return dg.RunRequest(run_key=f"{unit.id}:{at.isoformat()}")

    return check
