"""A tick looks on while candles may come, ends before the next one is due, and leaves room for others."""

from dataclasses import dataclass, field
from datetime import timedelta

from orchestration.live_deployment import at
from orchestration.test_live_sensor import pair

from trading_dagster.live.progress import Progress
from trading_dagster.orchestration import live_lookout
from trading_dagster.orchestration.live_availability import Poll, PollCursor
from trading_dagster.orchestration.live_lookout import TICK_S, look_out

HOUR = timedelta(hours=1)


@dataclass
class World:
    """A clock that goes on by waiting, and candles that come some seconds after the hour."""

    now_s: float
    candles_after_s: float
    decided: int
    speed: float = 1.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def look(self) -> Poll:
        now = at(0) + timedelta(seconds=self.now_s * self.speed)
        newest = now.replace(minute=0, second=0, microsecond=0)
        is_there = now - newest >= timedelta(seconds=self.candles_after_s * self.speed)
        seen = [pair("BTC", newest - (HOUR if is_there else 2 * HOUR))]
        return Poll(now, newest, HOUR, HOUR, Progress(at(self.decided)), seen)

    def look_out(self):
        monotonic = lambda: self.now_s  # noqa: E731
        return look_out(self.look, PollCursor(), poll_s=5.0, speed=self.speed, sleep=self.sleep, monotonic=monotonic)


def test_candles_that_come_within_the_tick_begin_the_cycle_at_once():
    world = World(3600.2, candles_after_s=2.0, decided=0)
    outcome = world.look_out()
    assert outcome.run_at == at(1)
    assert 3602.0 <= world.now_s <= 3602.6


def test_candles_that_do_not_come_end_the_tick_before_the_next():
    world = World(3600.2, candles_after_s=60.0, decided=0)
    outcome = world.look_out()
    assert outcome.run_at is None
    assert "lack candles" in outcome.reason
    assert 3 < sum(world.slept) <= TICK_S


def test_next_decision_time_within_the_tick_is_waited_for():
    world = World(3597.0, candles_after_s=0.5, decided=0)
    assert world.look_out().run_at == at(1)
    assert world.now_s <= 3601.0
    assert len(world.slept) <= 3


def test_next_decision_time_of_a_faster_world_is_waited_for():
    world = World(17.0, candles_after_s=1.0, decided=0, speed=180.0)
    assert world.look_out().run_at == at(1)
    assert 21.0 <= world.now_s <= 21.5


def test_nothing_is_waited_for_that_comes_later():
    world = World(1800.0, candles_after_s=0.5, decided=0)
    assert world.look_out().run_at is None
    assert world.slept == []


def test_candles_that_are_very_late_are_looked_for_once_a_tick():
    world = World(3600.0 + 600, candles_after_s=1e6, decided=0)
    world.look_out()
    assert world.slept == []


def test_only_some_ticks_look_on_at_once():
    held = [live_lookout._PLACES.acquire(blocking=False) for _ in range(3)]
    try:
        assert all(held)
        world = World(3600.2, candles_after_s=2.0, decided=0)
        assert world.look_out().run_at is None
        assert world.slept == []
    finally:
        for _ in held:
            live_lookout._PLACES.release()
