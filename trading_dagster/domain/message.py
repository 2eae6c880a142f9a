"""What a live strategy tells its operator."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.time import to_naive

MAX_SUBJECT = 200
MAX_TEXT = 20_000


class MessageLevel(Enum):
    """How much a message matters, in growing order."""

    info = "info"
    """Nothing needs to be done: a quiet cycle."""
    trade = "trade"
    """Something was traded."""
    trade_high = "trade_high"
    """A position was opened, closed, triggered or frozen, or a trade failed."""
    alarm = "alarm"
    """A person must look: trading stopped, or does what it should not."""


class MessageKind(StrEnum):
    """What a message is about; other texts are allowed, too."""

    cycle = "cycle"
    triggers = "triggers"
    failure = "failure"
    freeze = "freeze"
    data_lag = "data_lag"
    low_gas = "low_gas"
    unclean_state = "unclean_state"
    accounts = "accounts"
    watchdog = "watchdog"
    limit = "limit"
    approval = "approval"
    kill_switch = "kill_switch"
    wallet = "wallet"
    node = "node"


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        strategy_id: Id of the deployment, "" for what concerns all of them.
        level: How much it matters.
        kind: What it is about, such as a MessageKind.
        subject: One line. Messages that repeat have the same: of those with one strategy, kind and subject not all
            are sent. So it names a trade or a cycle where each one counts, and no changing numbers otherwise.
        text: The rest, as plain text.
        at: When, aware UTC by the clock the strategy goes by.
    """

    strategy_id: str
    level: MessageLevel
    kind: str
    subject: str
    text: str
    at: datetime

    def __post_init__(self) -> None:
        """Check the time, and shorten and clean the texts so that every database and target takes them."""
        to_naive(self.at)
        if not self.kind or not self.subject.strip():
            raise BadInput(f"A message needs a kind and a subject, got {self.kind!r} and {self.subject!r}")
        object.__setattr__(self, "kind", _clean(str(self.kind), 64))
        object.__setattr__(self, "subject", _clean(" ".join(self.subject.split()), MAX_SUBJECT))
        object.__setattr__(self, "text", _clean(self.text.rstrip(), MAX_TEXT))


def _clean(text: str, length: int) -> str:
    """Return a text without what PostgreSQL refuses, cut to a length."""
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    return text if len(text) <= length else f"{text[: length - 3]}..."
