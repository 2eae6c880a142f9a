"""The time that live trading goes by: the wall clock, or one that runs faster over a past to be replayed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from trading_dagster.domain.error import BadConfiguration


class WorldClock(Protocol):
    """What tells a live strategy the time."""

    def now(self) -> datetime:
        """Return the present, aware UTC."""
        ...


class SystemClock:
    """The wall clock."""

    def now(self) -> datetime:
        """Return the present, aware UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class AcceleratedClock:
    """A clock that showed ``world_start`` at the moment ``began_at`` and runs ``speed`` times as fast; for replays."""

    world_start: datetime
    began_at: datetime
    speed: float

    def __post_init__(self) -> None:
        """Check."""
        if not self.speed > 0:
            raise BadConfiguration(f"The speed of a clock is {self.speed}: give a number above 0")
        for name in ("world_start", "began_at"):
            if getattr(self, name).tzinfo is None:
                raise BadConfiguration(f"{name} of a clock has no time zone: write it as 2018-01-01T00:00:00Z")

    def now(self) -> datetime:
        """Return the present of the replayed world, aware UTC."""
        return self.at(datetime.now(UTC))

    def at(self, moment: datetime) -> datetime:
        """Return what this clock shows at a moment of the wall clock, aware UTC."""
        return (self.world_start + (moment - self.began_at) * self.speed).astimezone(UTC)


@dataclass(slots=True)
class ManualClock:
    """A clock that is set by hand; for tests and replays without waiting."""

    moment: datetime

    def now(self) -> datetime:
        """Return the moment it was set to, aware UTC."""
        return self.moment
