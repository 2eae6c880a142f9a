"""When a cycle may begin because all its candles are there: a decision in words, made anew at every poll."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trading_dagster.live.progress import Progress
from trading_dagster.market.availability import CandleAvailability
from trading_dagster.market.exchange import format_description

logger = logging.getLogger(__name__)

MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class PollCursor:
    """What a sensor remembers between polls; times are naive UTC of the deployment's clock.

    Attributes:
        decision_at: The decision time whose candles are awaited, None before the first poll.
        first_polled_at: When that wait began.
        polls: How often it was looked for them.
        alarmed: Whether its lateness was told.
    """

    decision_at: datetime | None = None
    first_polled_at: datetime | None = None
    polls: int = 0
    alarmed: bool = False

    @classmethod
    def parse(cls, text: str | None) -> PollCursor:
        """Return the cursor of a text; a new one for none, and for one of another version: waiting begins anew."""
        if not text:
            return cls()
        try:
            fields = json.loads(text)
            return cls(
                _read(fields["decision_at"]),
                _read(fields["first_polled_at"]),
                int(fields["polls"]),
                bool(fields["alarmed"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            logger.warning("The sensor's cursor %s is none of this version (%s): it begins anew", text[:200], error)
            return cls()

    def __str__(self) -> str:
        """Return it as JSON."""
        fields = {
            "decision_at": None if self.decision_at is None else self.decision_at.isoformat(),
            "first_polled_at": None if self.first_polled_at is None else self.first_polled_at.isoformat(),
            "polls": self.polls,
            "alarmed": self.alarmed,
        }
        return json.dumps(fields)

    def awaits(self, decision_at: datetime, now: datetime) -> PollCursor:
        """Return the cursor after one more poll for a decision time."""
        if decision_at == self.decision_at:
            return replace(self, polls=self.polls + 1)
        return PollCursor(decision_at, now, 1)


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll saw. Times are naive UTC; ``newest_at`` is the newest decision time, ``max_delay`` of candles."""

    now: datetime
    newest_at: datetime
    cycle: timedelta
    max_delay: timedelta
    progress: Progress
    availability: Sequence[CandleAvailability]

    def lacks(self, decision_at: datetime) -> list[CandleAvailability]:
        """Return the pairs whose candles for a decision time are not all there."""
        return [pair for pair in self.availability if not pair.is_ready(decision_at)]


@dataclass(frozen=True, slots=True)
class PollOutcome:
    """What to do after a poll.

    Attributes:
        cursor: What to remember.
        reason: Why, in words.
        run_at: The decision time to run a cycle for, None for none.
        skip_at: The decision time to record as skipped, None for none.
        alarm: Whether a person is to be told the reason.
    """

    cursor: PollCursor
    reason: str
    run_at: datetime | None = None
    skip_at: datetime | None = None
    alarm: bool = False


def judge_poll(cursor: PollCursor, poll: Poll) -> PollOutcome:
    """Decide whether a cycle may begin.

    The newest decision time goes first. An older one is waited for only as long as its candles may be late; after that
    it is to be skipped, with an alarm, and the next one is awaited. A decision time that was decided or skipped is
    never asked for again.
    """
    newest = poll.newest_at
    if poll.progress.has_passed(newest):
        later = newest + poll.cycle
        return PollOutcome(PollCursor(), f"{newest} is decided or skipped; the next decision time is {later}")
    if not poll.lacks(newest):
        return _begin(cursor, poll, newest)
    older = cursor.decision_at
    if older is None or older >= newest or poll.progress.has_passed(older):
        return _await(cursor, poll, newest)
    if not poll.lacks(older) and poll.now - older <= poll.max_delay:
        return _begin(cursor, poll, older)
    return _await(cursor, poll, older)


def _begin(cursor: PollCursor, poll: Poll, decision_at: datetime) -> PollOutcome:
    seen = cursor.awaits(decision_at, poll.now)
    waited = poll.now - (seen.first_polled_at or poll.now)
    reason = (
        f"all {len(poll.availability)} pairs have their candles for {decision_at} after {waited}, {seen.polls} polls"
    )
    return PollOutcome(seen, reason, run_at=decision_at)


def _await(cursor: PollCursor, poll: Poll, decision_at: datetime) -> PollOutcome:
    seen = cursor.awaits(decision_at, poll.now)
    missing = poll.lacks(decision_at)
    named = "; ".join(_describe(pair) for pair in missing[:MAX_NAMED])
    rest = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
    reason = (
        f"{len(missing)} of {len(poll.availability)} pairs lack candles for {decision_at}, "
        f"waiting since {seen.first_polled_at} ({seen.polls} polls): {named}{rest}"
    )
    if poll.now - decision_at <= poll.max_delay:
        return PollOutcome(seen, reason)
    reason = f"No candles after {poll.max_delay}, the decision is skipped: {reason}"
    return PollOutcome(replace(seen, alarmed=True), reason, skip_at=decision_at, alarm=not seen.alarmed)


def _describe(pair: CandleAvailability) -> str:
    newest = "nothing" if pair.newest_at is None else f"the candle of {pair.newest_at}"
    return f"{format_description(pair.pair)} has {newest}"


def _read(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
