"""The sensors that begin cycles: what they ask for, what they say when they do not, and that two ticks give one run."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from orchestration.live_deployment import at, aware, make_unit

from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import run_cycle, skip_cycle
from trading_dagster.live.progress import Progress, read_progress
from trading_dagster.live.universe import load_universe
from trading_dagster.market.availability import CandleAvailability
from trading_dagster.orchestration.live_availability import Poll, PollCursor, judge_poll
from trading_dagster.orchestration.live_run import cycle_request
from trading_dagster.orchestration.live_sensor import build_cycle_sensor, judge_timer
from trading_dagster.orchestration.live_step import start_cycle
from trading_dagster.orchestration.live_timing import Due, NotDue
from trading_dagster.orchestration.live_unit import DECISION_TAG, SKIP_TAG, LiveUnit

pytestmark = pytest.mark.dagster
HOUR = timedelta(hours=1)
AVAILABILITY = "trigger: {kind: data_availability, poll_seconds: 5, max_data_delay_minutes: 30}\n"


def pair(name: str, last: datetime | None, supposed: datetime | None = None) -> CandleAvailability:
    return CandleAvailability((ChainId.centralised_exchange, "coinbase", name, "USD"), TimeBucket.h1, last, supposed)


def poll(now: datetime, *pairs: CandleAvailability, passed: datetime | None = None, delay: timedelta = HOUR) -> Poll:
    newest = now.replace(minute=0)
    return Poll(now, newest, HOUR, delay, Progress(passed), pairs)


def test_a_cycle_begins_when_all_pairs_are_ready() -> None:
    outcome = judge_poll(PollCursor(), poll(at(5, 1), pair("BTC", at(4)), pair("ETH", at(4))))

    assert outcome.run_at == at(5)
    assert outcome.cursor == PollCursor(at(5), at(5, 1), 1)


def test_a_pair_without_trades_is_ready() -> None:
    outcome = judge_poll(PollCursor(), poll(at(5, 1), pair("BTC", at(4)), pair("ETH", at(1), at(4))))

    assert outcome.run_at == at(5)


def test_one_missing_pair_is_waited_for_and_named() -> None:
    first = judge_poll(PollCursor(), poll(at(5, 1), pair("BTC", at(4)), pair("ETH", at(3))))
    second = judge_poll(first.cursor, poll(at(5, 2), pair("BTC", at(4)), pair("ETH", None)))

    assert (first.run_at, second.run_at) == (None, None)
    assert "1 of 2 pairs lack candles for 2018-03-01 05:00:00" in first.reason
    assert '"ETH", "USD") has the candle of 2018-03-01 03:00:00' in first.reason.replace("'", '"')
    assert "waiting since 2018-03-01 05:01:00 (2 polls)" in second.reason
    assert "has nothing" in second.reason
    assert second.cursor == PollCursor(at(5), at(5, 1), 2)


def test_candles_that_come_in_late_still_begin_the_cycle() -> None:
    waiting = judge_poll(PollCursor(), poll(at(5, 1), pair("BTC", at(3))))

    outcome = judge_poll(waiting.cursor, poll(at(5, 40), pair("BTC", at(4))))

    assert outcome.run_at == at(5)
    assert "after 0:39:00, 2 polls" in outcome.reason


def test_too_late_candles_are_alarmed_once_and_the_cycle_skipped() -> None:
    waiting = judge_poll(PollCursor(), poll(at(5, 1), pair("BTC", at(3))))
    delay = timedelta(minutes=30)

    late = judge_poll(waiting.cursor, poll(at(5, 31), pair("BTC", at(3)), delay=delay))
    again = judge_poll(late.cursor, poll(at(5, 32), pair("BTC", at(3)), delay=delay))

    assert (late.skip_at, late.alarm, late.run_at) == (at(5), True, None)
    assert (again.skip_at, again.alarm) == (at(5), False)
    assert "No candles after 0:30:00" in late.reason
    after = judge_poll(again.cursor, poll(at(5, 33), pair("BTC", at(4)), passed=at(5)))
    assert (after.run_at, after.skip_at) == (None, None)
    assert judge_poll(after.cursor, poll(at(6, 1), pair("BTC", at(5)), passed=at(5))).run_at == at(6)


def test_an_older_decision_time_is_waited_for_as_long_as_its_candles_may_be_late() -> None:
    waiting = judge_poll(PollCursor(), poll(at(5, 1), pair("BTC", at(3)), delay=3 * HOUR))

    still = judge_poll(waiting.cursor, poll(at(6, 30), pair("BTC", at(3)), delay=3 * HOUR))
    ready = judge_poll(still.cursor, poll(at(6, 40), pair("BTC", at(4)), delay=3 * HOUR))
    newest = judge_poll(still.cursor, poll(at(6, 50), pair("BTC", at(5)), delay=3 * HOUR))
    given_up = judge_poll(still.cursor, poll(at(8, 10), pair("BTC", at(3)), delay=3 * HOUR))

    assert still.cursor.decision_at == at(5)
    assert ready.run_at == at(5)
    assert newest.run_at == at(6)
    assert (given_up.skip_at, given_up.alarm) == (at(5), True)


@pytest.mark.parametrize("ready_until", [3, 4])
def test_a_decided_or_skipped_time_is_never_asked_for(ready_until: int) -> None:
    outcome = judge_poll(PollCursor(at(5), at(5, 1), 3), poll(at(5, 59), pair("BTC", at(ready_until)), passed=at(5)))

    assert (outcome.run_at, outcome.skip_at) == (None, None)
    assert "the next decision time is 2018-03-01 06:00:00" in outcome.reason


def test_the_cursor_is_json_with_named_fields() -> None:
    cursor = PollCursor(at(5), at(5, 1), 7, True)

    assert json.loads(str(cursor)) == {
        "decision_at": "2018-03-01T05:00:00",
        "first_polled_at": "2018-03-01T05:01:00",
        "polls": 7,
        "alarmed": True,
    }
    assert PollCursor.parse(str(cursor)) == cursor
    assert PollCursor.parse(None) == PollCursor.parse(str(PollCursor())) == PollCursor()


def test_two_requests_of_a_decision_time_have_one_key(live: tuple[LiveUnit, ManualClock]) -> None:
    unit, _ = live

    first, second = cycle_request(unit, at(5)), cycle_request(unit, at(5))

    assert first.run_key == second.run_key == "flip:2018-03-01T05:00:00"
    assert first.tags[DECISION_TAG] == "2018-03-01T05:00:00"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[LiveUnit, ManualClock]]:
    unit, clock = make_unit(tmp_path, extra=AVAILABILITY)
    yield unit, clock
    unit.close()


def tick(unit: LiveUnit, cursor: str | None = None) -> Any:
    sensor = build_cycle_sensor(unit, unit.group)
    assert sensor is not None
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        return sensor.evaluate_tick(context)


def test_the_sensor_asks_for_a_run_and_then_says_what_it_waits_for(live: tuple[LiveUnit, ManualClock]) -> None:
    unit, clock = live

    first = tick(unit)
    (request,) = first.run_requests
    assert request.run_key == "flip:2018-03-01T00:00:00"
    run_cycle(unit.open(), at(0))
    second = tick(unit, first.cursor)

    assert second.run_requests == []
    assert "2018-03-01 00:00:00 is decided or skipped" in second.skip_message
    clock.moment = aware(1, 0)
    assert [each.run_key for each in tick(unit, second.cursor).run_requests] == ["flip:2018-03-01T01:00:00"]


def test_the_sensor_builds_the_list_of_pairs_the_first_time(live: tuple[LiveUnit, ManualClock]) -> None:
    unit, _ = live
    assert unit.home.read_pairs("flip", unit.edition) is None

    tick(unit)

    known = unit.home.read_pairs("flip", unit.edition)
    assert known is not None
    assert known[0] is TimeBucket.h1
    assert known[1] == [(ChainId.centralised_exchange, "coinbase", "BTC", "USD", 0.001)]


def test_a_pair_that_was_taken_out_of_the_strategy_is_not_waited_for(tmp_path: Path) -> None:
    unit, _ = make_unit(tmp_path, extra=AVAILABILITY)
    bucket, pairs = TimeBucket.h1, [(ChainId.centralised_exchange, "coinbase", "GONE", "USD")]
    tick(unit)
    file = unit.home.root / "flip" / "pairs.json"
    file.write_text(
        json.dumps({"bucket": bucket.value, "pairs": [[int(pairs[0][0]), *pairs[0][1:], None]], "made_by": "before"})
    )

    (request,) = tick(unit).run_requests

    assert request.run_key == "flip:2018-03-01T00:00:00"
    unit.close()


def test_a_pair_that_is_gone_from_the_universe_is_not_waited_for_after_one_skipped_decision(
    live: tuple[LiveUnit, ManualClock],
) -> None:
    unit, clock = live
    file = unit.home.root / "flip" / "pairs.json"
    gone = [int(ChainId.centralised_exchange), "coinbase", "GONE", "USD", None]
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"bucket": TimeBucket.h1.value, "pairs": [gone], "made_by": unit.edition}))

    skipped = start_cycle(unit, at(0), "GONE/USD has no candles")

    assert skipped.skipped == "GONE/USD has no candles"
    clock.moment = aware(1, 0)
    assert [each.run_key for each in tick(unit).run_requests] == ["flip:2018-03-01T01:00:00"]


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"decision_at": 3}', '{"polls": 1}'])
def test_a_cursor_of_another_version_begins_anew(live: tuple[LiveUnit, ManualClock], text: str) -> None:
    unit, _ = live
    assert PollCursor.parse(text) == PollCursor()
    assert len(tick(unit, text).run_requests) == 1


def test_a_ledger_decided_by_somebody_else_is_respected(live: tuple[LiveUnit, ManualClock]) -> None:
    unit, _ = live
    trader = unit.open()
    skip_cycle(trader, load_universe(trader, at(0)), at(0), "an operator said so")

    assert tick(unit).run_requests == []


def test_late_candles_alarm_and_ask_for_a_run_that_skips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    text = AVAILABILITY.replace("30}", "10}")
    unit, _ = make_unit(tmp_path, extra=text)
    monkeypatch.setattr("trading_dagster.orchestration.live_sensor.read_availability", lambda *_: [pair("BTC", at(-2))])
    waiting = tick(unit)  # half past midnight: later than ten minutes

    (request,) = waiting.run_requests
    assert request.run_key == "flip:2018-03-01T00:00:00:skip"
    assert "No candles after 0:10:00" in request.tags[SKIP_TAG]
    assert json.loads(waiting.cursor)["alarmed"] is True
    assert "flip: candles for 2018-03-01 00:00:00 are late" in caplog.text
    caplog.clear()
    tick(unit, waiting.cursor)
    assert "are late" not in caplog.text
    unit.close()


def test_the_timer_after_the_last_cycles_end(tmp_path: Path) -> None:
    unit, clock = make_unit(tmp_path, extra="trigger: {kind: since_last_cycle_end}\n")
    assert judge_timer(unit) == Due(at(0))  # none yet: at once

    clock.moment = aware(0, 40)
    run_cycle(unit.open(), at(0))
    clock.moment = aware(1, 30)
    early = judge_timer(unit)
    clock.moment = aware(1, 41)

    assert isinstance(early, NotDue)
    assert "the next one is due at 2018-03-01 01:40:00" in early.reason
    assert judge_timer(unit) == Due(at(1))
    (request,) = tick(unit).run_requests
    assert request.run_key == "flip:2018-03-01T01:00:00"
    unit.close()


def test_the_timer_of_a_faster_world_goes_by_the_offset(tmp_path: Path) -> None:
    unit, clock = make_unit(tmp_path, speed=60.0)
    clock.moment = aware(1, 7)
    assert judge_timer(unit) == Due(at(0))
    run_cycle(unit.open(), at(0))
    assert isinstance(judge_timer(unit), NotDue)

    clock.moment = aware(1, 8)

    assert judge_timer(unit) == Due(at(1))
    assert read_progress(unit.observe()).last_decision_at == at(0)
    unit.close()
