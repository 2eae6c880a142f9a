"""Messages reach log, database and targets, at most once per interval over all processes, and never stop trading."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from http_server import QuietHandler, serve

from trading_dagster.domain.error import BadConfiguration, BadInput, UtcDatetimeRequired
from trading_dagster.domain.message import Message, MessageKind, MessageLevel
from trading_dagster.live.notification import AppriseSink, LogReporter, Notifier, RecordingReporter, apprise_sinks
from trading_dagster.storage.database import Database
from trading_dagster.storage.message_store import MemoryMessageStore, SqlMessageStore

NOW = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECRET = "hunter2-token"
ALARM = Message("s", MessageLevel.alarm, MessageKind.low_gas, "s: low gas", "0.001 ETH are left", NOW)
TRADE = replace(ALARM, level=MessageLevel.trade, kind="cycle", subject="cycle 1")


class Receiver:
    """What webhooks are sent to: a local HTTP server that keeps what it receives."""

    def __init__(self) -> None:
        self.received: list[dict] = []
        self.status = 200
        self.delay_s = 0.0
        self.url = ""

    @property
    def subjects(self) -> list[str]:
        return [body["title"] for body in self.received]


class Handler(QuietHandler):
    def respond(self) -> None:
        body, receiver = json.loads(self.read_body()), self.server.content
        time.sleep(receiver.delay_s)
        receiver.received.append(body | {"path": self.path})
        self.send(b"", receiver.status)


@contextmanager
def receive() -> Iterator[Receiver]:
    receiver = Receiver()
    with serve(Handler, receiver) as address:
        receiver.url = f"json://user:{SECRET}@{address.removeprefix('http://')}/{SECRET}/"
        yield receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receive() as receiver:
        yield receiver


class Clock:
    def __init__(self) -> None:
        self.seconds = 1e6

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryMessageStore:
    return MemoryMessageStore(clock)


def notifier(store, receiver: Receiver, **options) -> Notifier:
    return Notifier(store, [AppriseSink(receiver.url, "target 1 of X")], interval=HOUR, **options)


# -- what arrives -----------------------------------------------------------------------------------------------------


def test_message_arrives_with_subject_text_and_type(store, receiver):
    notify = notifier(store, receiver)
    notify.report(ALARM)
    notify.report(TRADE)
    assert [(body["title"], body["message"], body["type"]) for body in receiver.received] == [
        ("s: low gas", "0.001 ETH are left", "failure"),
        ("cycle 1", "0.001 ETH are left", "info"),
    ]
    assert [stored.is_delivered for stored in store.list_newest()] == [True, True]


def test_level_below_the_lowest_is_kept_and_logged_only(store, receiver, caplog):
    caplog.set_level(logging.INFO)
    notifier(store, receiver).report(replace(TRADE, level=MessageLevel.info))
    assert receiver.received == []
    assert store.list_newest()[0].message.subject == "cycle 1"
    assert "[info] cycle 1" in caplog.text
    assert store.claim_undelivered() is None


@pytest.mark.parametrize(
    ("level", "logged"),
    [("alarm", logging.ERROR), ("trade_high", logging.WARNING), ("trade", logging.INFO), ("info", logging.INFO)],
)
def test_log_shows_every_message_at_its_level(caplog, level, logged):
    caplog.set_level(logging.INFO)
    LogReporter().report(replace(ALARM, level=MessageLevel[level]))
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logged, f"[{level}] s: low gas\n0.001 ETH are left")
    ]


def test_long_and_odd_texts_are_taken(store, receiver):
    odd = replace(ALARM, subject="two\nlines " + "x" * 300, text="a\0b" + "\ud800" + "<b>&" * 10_000)
    assert len(odd.subject) == 200
    assert odd.subject.startswith("two lines xxx")
    assert len(odd.text) == 20_000
    notifier(store, receiver).report(odd)
    assert receiver.received[0]["message"].startswith("ab?<b>&<b>&")


def test_message_without_time_zone_or_subject_is_refused():
    with pytest.raises(UtcDatetimeRequired):
        replace(ALARM, at=datetime(2024, 1, 1))
    with pytest.raises(BadInput, match="needs a kind and a subject"):
        replace(ALARM, subject="\n")


def test_recording_reporter_remembers_alarms_that_were_not_sent_again(store, receiver):
    notify = notifier(store, receiver)
    notify.report(ALARM)
    recording = RecordingReporter(notify)
    recording.report(ALARM)
    recording.report(TRADE)
    assert recording.alarms == [ALARM]
    assert receiver.subjects == ["s: low gas", "cycle 1"]


# -- how often --------------------------------------------------------------------------------------------------------


def test_same_message_is_sent_once_an_interval_with_the_number_of_those_left_out(store, receiver, clock):
    notify = notifier(store, receiver)
    for n in range(5):
        notify.report(replace(ALARM, text=f"text {n}", at=NOW + n * HOUR))
    assert len(receiver.received) == 1
    (stored,) = store.list_newest()
    assert (stored.repeats, stored.last_at, stored.message.text) == (4, NOW + 4 * HOUR, "text 0")
    clock.seconds += 3599
    notify.report(ALARM)
    assert len(receiver.received) == 1
    clock.seconds += 1
    notify.report(replace(ALARM, text="still low"))
    assert receiver.received[1]["message"] == "still low\n(5 more of these were not sent)"
    assert len(store.list_newest()) == 2


@pytest.mark.parametrize(
    "other", [{"strategy_id": "t"}, {"kind": MessageKind.node}, {"subject": "s: trade #7 failed"}], ids=str
)
def test_another_strategy_kind_or_subject_is_sent_at_once(store, receiver, other):
    notify = notifier(store, receiver)
    notify.report(ALARM)
    notify.report(replace(ALARM, **other))
    assert len(receiver.received) == 2


def test_clock_that_is_set_back_silences_nothing(store, receiver, clock):
    notify = notifier(store, receiver)
    notify.report(ALARM)
    clock.seconds -= 100_000
    notify.report(ALARM)
    assert len(receiver.received) == 2


REPORT = """
import sys, warnings
from datetime import UTC, datetime, timedelta
from trading_dagster.domain.message import Message, MessageLevel
from trading_dagster.live.notification import Notifier, apprise_sinks
from trading_dagster.storage.database import Database
from trading_dagster.storage.message_store import SqlMessageStore
store = SqlMessageStore(Database(sys.argv[1]))
notify = Notifier(store, apprise_sinks("TARGETS"), interval=timedelta(hours=1))
for n in range(5):
    notify.report(Message("s", MessageLevel.alarm, "node", "s: node", f"{n}", datetime(2024, 1, 1, tzinfo=UTC)))
notify.report(Message("s", MessageLevel.trade, "cycle", sys.argv[2], "", datetime(2024, 1, 1, tzinfo=UTC)))
"""


def test_processes_side_by_side_send_a_message_once(tmp_path, receiver):
    message_url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Database(message_url).close()
    environment = os.environ | {"TARGETS": f"\n {receiver.url} \n"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", REPORT, message_url, f"cycle {n}"],
            env=environment,
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert sorted(receiver.subjects) == ["cycle 0", "cycle 1", "cycle 2", "s: node"]
    assert SECRET not in "".join(said)
    database = Database(message_url)
    (stored,) = SqlMessageStore(database).list_newest("s", levels=[MessageLevel.alarm])
    assert stored.repeats == 14
    assert stored.is_delivered
    database.close()


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 500])
def test_refused_message_is_logged_and_sent_again_later(store, receiver, clock, caplog, status):
    receiver.status = status
    notify = notifier(store, receiver)
    notify.report(ALARM)
    assert "target 1 of X did not take the message 's: low gas'" in caplog.text
    assert notify.resend() == 0
    receiver.status = 200
    clock.seconds += 31
    assert notify.resend() == 1
    assert receiver.received[-1]["message"] == "0.001 ETH are left\n(late: this is of 2024-01-01 00:00:00 UTC)"
    assert store.list_newest()[0].is_delivered
    assert notify.resend() == 0


def test_message_that_no_target_took_does_not_silence_the_next(store, receiver, clock):
    receiver.status = 500
    notify = notifier(store, receiver)
    notify.report(ALARM)
    receiver.status = 200
    clock.seconds += 31
    notify.report(ALARM)
    assert receiver.received[-1]["message"].endswith("(1 more of these were not sent)")
    assert len(receiver.received) == 2


def test_slow_target_is_not_waited_for_and_the_others_get_theirs(store, receiver, caplog):
    with receive() as slow:
        slow.delay_s = 30
        sinks = [AppriseSink(slow.url, "slow"), AppriseSink(receiver.url, "fast")]
        began = time.monotonic()
        Notifier(store, sinks, timeout_s=0.5).report(ALARM)
        assert time.monotonic() - began < 10
    assert receiver.subjects == ["s: low gas"]
    assert "slow did not take the message 's: low gas': no answer within 0.5 s" in caplog.text
    assert store.list_newest()[0].is_delivered


def test_target_that_is_gone_is_logged_without_its_secret(store, caplog):
    caplog.set_level(logging.DEBUG)
    with receive() as gone:
        pass
    sink = AppriseSink(gone.url, "target 1 of X")
    Notifier(store, [sink]).report(ALARM)
    assert "target 1 of X did not take the message" in caplog.text
    assert SECRET not in caplog.text + repr(sink)
    assert not store.list_newest()[0].is_delivered


def test_secret_reaches_no_log_however_much_is_logged(store, receiver, caplog):
    """urllib3 logs the path of each request and apprise its URLs: that is where chat services have their tokens."""
    caplog.set_level(logging.DEBUG)
    for name in ("", "apprise", "urllib3", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    for status in (200, 500):
        receiver.status = status
        notifier(store, receiver).report(replace(ALARM, subject=f"status {status}"))
    assert SECRET in receiver.received[0]["path"]
    assert "status 500" in caplog.text
    assert SECRET not in caplog.text


class RaisingSink:
    name = "odd"

    def send(self, message: Message, text: str) -> str:
        raise ValueError(f"bad URL {SECRET}")


def test_sink_that_raises_stops_nothing_and_tells_no_secret(store, receiver, caplog):
    Notifier(store, [RaisingSink(), AppriseSink(receiver.url, "good")]).report(ALARM)
    assert receiver.subjects == ["s: low gas"]
    assert "odd did not take the message 's: low gas': it raised ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_without_a_database_messages_are_sent_all_the_same_but_not_again_and_again(tmp_path, receiver, caplog):
    database = Database(tmp_path / "m.db")
    database.close()
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "m.db").write_text("no database\n" * 1000)
    notify = notifier(SqlMessageStore(database), receiver)
    for _ in range(3):
        notify.report(ALARM)
    notify.report(TRADE)
    assert receiver.subjects == ["s: low gas", "cycle 1"]
    assert "cannot be kept" in caplog.text
    assert notify.resend() == 0
    database.close()


def test_message_from_inside_a_write_transaction_is_sent_all_the_same(tmp_path, receiver):
    database = Database(tmp_path / "m.db", busy_timeout_s=0.2)
    store = SqlMessageStore(database)
    notify = notifier(store, receiver)
    with database.write():
        notify.report(ALARM)
    assert receiver.subjects == ["s: low gas"]
    notify.report(TRADE)
    assert [m.message.subject for m in store.list_newest()] == ["cycle 1"]
    database.close()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "TARGETS is to hold apprise URLs, but it is not set"),
        ("  ", "but it is not set"),
        (f"json://localhost nonsense-{SECRET}", "target 2 of TARGETS is no URL that apprise can use"),
        (f"discord://{SECRET}", "target 1 of TARGETS is no URL"),
    ],
)
def test_unusable_targets_are_refused_without_showing_them(monkeypatch, caplog, value, says):
    monkeypatch.delenv("TARGETS", raising=False)
    if value is not None:
        monkeypatch.setenv("TARGETS", value)
    with pytest.raises(BadConfiguration, match=says) as caught:
        apprise_sinks("TARGETS")
    assert SECRET not in str(caught.value) + caplog.text


def test_targets_are_named_by_their_place(monkeypatch):
    monkeypatch.setenv("TARGETS", f"json://localhost/{SECRET}\njson://localhost/b")
    assert [sink.name for sink in apprise_sinks("TARGETS")] == ["target 1 of TARGETS", "target 2 of TARGETS"]


def test_live_trading_does_not_import_apprise_before_it_is_used():
    code = "import sys, trading_dagster.live.notification; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0
