"""The port through which live trading tells its operator something, and where messages go: log, database, targets.

Reporting never raises and never stops trading: what fails is logged, a slow target is not waited for. Targets are
apprise URLs (chat, mail, webhook ...) read from an environment variable; they hold secrets, which reach no log and no
error.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

from trading_dagster.domain.error import BadConfiguration, LedgerError
from trading_dagster.domain.message import Message, MessageLevel
from trading_dagster.storage.message_store import Claim, MemoryMessageStore, MessageStore

logger = logging.getLogger(__name__)

DEFAULT_INTERVAL = timedelta(minutes=15)
"""How long the same message is not sent again."""
DEFAULT_TIMEOUT_S = 10.0
"""How long all targets together are waited for, seconds."""
MAX_RESENT = 10
_ORDER = {level: number for number, level in enumerate(MessageLevel)}
_LOG_LEVELS = {MessageLevel.alarm: logging.ERROR, MessageLevel.trade_high: logging.WARNING}


class Reporter(Protocol):
    """Where live trading reports what an operator should know."""

    def report(self, message: Message) -> None:
        """Pass a message on; never raises."""
        ...


class MessageSink(Protocol):
    """A target that messages are sent to: a plug-in. It may fail and take long, nothing waits for it beyond a limit."""

    @property
    def name(self) -> str:
        """Return what it is called in the log, without secrets."""
        ...

    def send(self, message: Message, text: str) -> str:
        """Send a message with its text as it is to be shown; return what went wrong, nothing when it was taken."""
        ...


class LogReporter:
    """Writes messages to the log."""

    def report(self, message: Message) -> None:
        """See Reporter."""
        level = _LOG_LEVELS.get(message.level, logging.INFO)
        logger.log(level, "[%s] %s\n%s", message.level.value, message.subject, message.text)


class RecordingReporter:
    """Keeps the messages of one run beside passing them on, so that the run can fail when one was an alarm."""

    def __init__(self, inner: Reporter) -> None:
        """Pass on to another reporter."""
        self._inner = inner
        self.messages: list[Message] = []

    def report(self, message: Message) -> None:
        """See Reporter."""
        self.messages.append(message)
        self._inner.report(message)

    @property
    def alarms(self) -> list[Message]:
        """Return the alarms, also those that were not sent because the same was sent shortly before."""
        return [message for message in self.messages if message.level is MessageLevel.alarm]


class Notifier:
    """Keeps messages, writes them to the log and sends them to targets, the same one at most once per interval.

    When the store cannot be used, messages are sent all the same, limited within this process only.
    """

    def __init__(
        self,
        store: MessageStore,
        sinks: Sequence[MessageSink] = (),
        *,
        interval: timedelta = DEFAULT_INTERVAL,
        lowest_level: MessageLevel = MessageLevel.trade,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """Take the parts.

        Args:
            store: Where messages are kept; processes that share it do not send what another did.
            sinks: Targets; none for the log and the store only.
            interval: How long the same message (strategy, kind, subject) is only counted after it was sent.
            lowest_level: The least that is sent to targets; everything is kept and logged.
            timeout_s: How long to wait for all targets together, seconds.
        """
        self._store = store
        self._sinks = tuple(sinks)
        self._interval = interval
        self._lowest_level = lowest_level
        self._timeout_s = timeout_s
        self._log = LogReporter()
        self._stand_in = MemoryMessageStore()

    def report(self, message: Message) -> None:
        """See Reporter."""
        store = self._store
        try:
            claim = store.claim(message, self._interval)
        except LedgerError as error:
            logger.warning("The message %r cannot be kept: %s", message.subject, error)
            store = self._stand_in
            claim = store.claim(message, self._interval)
        if claim is None:
            logger.debug("Not sent again: [%s] %s", message.level.value, message.subject)
            return
        self._log.report(message)
        is_to_be_sent = _ORDER[message.level] >= _ORDER[self._lowest_level]
        if not is_to_be_sent or self._send(claim):
            self._mark(store, claim)

    def resend(self) -> int:
        """Send urgent messages of the last day that no target took, until one fails again; returns how many went.

        Call it from something that runs regularly; never raises.
        """
        for sent in range(MAX_RESENT):
            try:
                claim = self._store.claim_undelivered()
            except LedgerError as error:
                logger.warning("Messages to be sent again cannot be read: %s", error)
                return sent
            if claim is None or not self._send(claim, is_late=True):
                return sent
            self._mark(self._store, claim)
        return MAX_RESENT

    def _send(self, claim: Claim, *, is_late: bool = False) -> bool:
        """Send to all targets side by side; returns whether one took it, or there is none."""
        if not self._sinks:
            return True
        text = _text_of(claim, is_late=is_late)
        problems: dict[int, str] = {}
        threads = [
            threading.Thread(
                target=_attempt,
                args=(sink, claim.message, text, number, problems),
                name=f"notify {number}",
                daemon=True,
            )
            for number, sink in enumerate(self._sinks)
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + self._timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        outcomes = dict(problems)
        for number, sink in enumerate(self._sinks):
            problem = outcomes.get(number, f"no answer within {self._timeout_s:g} s")
            if problem:
                logger.warning("%s did not take the message %r: %s", sink.name, claim.message.subject, problem)
        return "" in outcomes.values()

    def _mark(self, store: MessageStore, claim: Claim) -> None:
        try:
            store.mark_delivered(claim.key)
        except LedgerError as error:
            logger.warning("That %r was sent cannot be kept: %s", claim.message.subject, error)


class AppriseSink:
    """One apprise URL. The URL is a secret: it is kept from logs, errors and this object's text."""

    def __init__(self, url: str, name: str) -> None:
        """Make a target called ``name``; raises BadConfiguration when apprise cannot use the URL."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # apprise imports what Python 3.13 dropped
            try:
                import apprise
            except ModuleNotFoundError as error:
                raise BadConfiguration(
                    "Sending messages needs the package apprise: pip install 'trading-dagster[notify]'"
                ) from error
            _silence()
            self.name = name
            self._target: Any = apprise.Apprise()
            if not self._target.add(url):
                raise BadConfiguration(f"{name} is no URL that apprise can use: look its service up in apprise's list")
        for service in self._target:
            if service.overflow_mode == apprise.OverflowMode.UPSTREAM:  # which targets refuse when a text is too long
                service.overflow_mode = apprise.OverflowMode.SPLIT
        self._types = {
            MessageLevel.alarm: apprise.NotifyType.FAILURE,
            MessageLevel.trade_high: apprise.NotifyType.WARNING,
        }
        self._other_type = apprise.NotifyType.INFO
        self._format = apprise.NotifyFormat.TEXT

    def __repr__(self) -> str:
        """Return its name."""
        return f"<AppriseSink {self.name}>"

    def send(self, message: Message, text: str) -> str:
        """See MessageSink."""
        kind = self._types.get(message.level, self._other_type)
        is_taken = self._target.notify(body=text, title=message.subject, notify_type=kind, body_format=self._format)
        return "" if is_taken else "it was refused or cannot be reached; try its URL with the apprise command"


def apprise_sinks(variable: str) -> list[AppriseSink]:
    """Return the targets that an environment variable holds: apprise URLs separated by spaces or line breaks.

    Raises:
        BadConfiguration: The variable is not set, or one of its URLs cannot be used; the URL is not shown.
    """
    urls = os.environ.get(variable, "").split()
    if not urls:
        raise BadConfiguration(f"The environment variable {variable} is to hold apprise URLs, but it is not set")
    return [AppriseSink(url, f"target {number} of {variable}") for number, url in enumerate(urls, start=1)]


def _attempt(sink: MessageSink, message: Message, text: str, number: int, problems: dict[int, str]) -> None:
    try:
        problems[number] = sink.send(message, text)
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything, and none may stop trading
        problems[number] = f"it raised {type(error).__name__}"  # its text may hold the target's URL


def _text_of(claim: Claim, *, is_late: bool) -> str:
    lines = [claim.message.text] if claim.message.text else []
    if is_late:
        lines.append(f"(late: this is of {claim.message.at:%Y-%m-%d %H:%M:%S} UTC)")
    if claim.suppressed:
        lines.append(f"({claim.suppressed} more of these were not sent)")
    return "\n".join(lines) or claim.message.subject


def _silence() -> None:
    """Keep the URLs of targets, which hold secrets, from the log: apprise and urllib3 write them there."""
    logging.getLogger("apprise").disabled = True
    pool = logging.getLogger("urllib3.connectionpool")
    if _is_no_debug not in pool.filters:
        pool.addFilter(_is_no_debug)


def _is_no_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG
