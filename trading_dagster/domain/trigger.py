"""Flexible triggers: what a trade waits for, and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum

from trading_dagster.domain.value import value


class TriggerType(Enum):
    """What a waiting trade does to its position."""

    market_limit = "market_limit"
    """Enters: it opens or enlarges the position."""
    take_profit_partial = "take_profit_partial"
    """Sells a part, or all that is left at the last of several levels."""
    take_profit_full = "take_profit_full"
    """Closes the position."""


class TriggerCondition(Enum):
    """What a trade waits for."""

    cross_above = "cross_above"
    """The mid price is at the level or above."""
    cross_below = "cross_below"
    """The mid price is at the level or below."""
    timed_absolute = "timed_absolute"
    """A time has passed."""
    timed_relative_to_open = "timed_relative_to_open"
    """The position has been open for longer than a while."""


class TriggerModel(Enum):
    """How a backtest looks for triggers between two decisions."""

    sampled = "sampled"
    """At the opens of the stop-loss candles only, as a live system that polls."""
    intrabar = "intrabar"
    """At the opens, then inside each candle between its low and its high."""


@value
class Trigger:
    """What a waiting trade waits for.

    Attributes:
        type: What the trade does to its position.
        condition: What it waits for.
        price: The level of a cross, a mid price.
        triggering_at: The time of timed_absolute, naive UTC as all times here.
        triggering_at_delta: How long after the position's opening timed_relative_to_open fires.
        expires_at: After this time it fires no more.
        expired_at: When it expired.
        triggered_at: When it fired.
    """

    type: TriggerType
    condition: TriggerCondition
    price: float | None = None
    triggering_at: datetime | None = None
    triggering_at_delta: timedelta | None = None
    expires_at: datetime | None = None
    expired_at: datetime | None = None
    triggered_at: datetime | None = None

    def __str__(self) -> str:
        """Return a line a person can read."""
        if self.condition is TriggerCondition.timed_absolute:
            what = f"after {self.triggering_at}"
        elif self.condition is TriggerCondition.timed_relative_to_open:
            what = f"{self.triggering_at_delta} after opening"
        else:
            what = f"{self.condition.value} {self.price}"
        return f"{self.type.value} {what}" + (f" until {self.expires_at}" if self.expires_at else "")

    def is_expired(self, at: datetime) -> bool:
        """Tell whether it can fire no more at a naive UTC time."""
        return self.expires_at is not None and at > self.expires_at

    def is_timed(self) -> bool:
        """Tell whether it waits for a time, not for a price."""
        return self.price is None

    def fires_after(self, opened_at: datetime) -> datetime | None:
        """Return the time after which a timed trigger fires, of a position opened then; None for a price."""
        if self.condition is TriggerCondition.timed_absolute:
            return self.triggering_at
        delta = self.triggering_at_delta
        return None if delta is None else opened_at + delta

    def is_hit(self, *, at: datetime, mid: float, opened_at: datetime) -> bool:
        """Tell whether it fires at a naive UTC time and mid price; expiry is not looked at."""
        price = self.price
        if price is not None:
            return mid >= price if self.condition is TriggerCondition.cross_above else mid <= price
        after = self.fires_after(opened_at)
        return after is not None and at > after

    def expire(self, at: datetime) -> Trigger:
        """Return it as expired at a naive UTC time."""
        return replace(self, expired_at=at)

    def fire(self, at: datetime) -> Trigger:
        """Return it as fired at a naive UTC time."""
        return replace(self, triggered_at=at)

    def rearm(self) -> Trigger:
        """Return it as it was before it fired or expired."""
        return replace(self, expired_at=None, triggered_at=None)
