"""When a deployment decides: the clock of its world, and what begins a cycle."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from pydantic.dataclasses import dataclass

from trading_dagster.live.deployment_field import STRICT, Minutes, PositiveMinutes

DEFAULT_OFFSET_MIN = 8.0


@dataclass(frozen=True, slots=True, config=STRICT)
class RealClock:
    """The wall clock."""

    kind: Literal["real"] = "real"


@dataclass(frozen=True, slots=True, config=STRICT)
class ReplayClock:
    """Past candles served as if they came in now; ``start`` is shown when the deployment first runs.

    Attributes:
        start: The time at which the replayed world begins, aware UTC.
        speed: How many times as fast as the wall clock it runs.
        delay_s: How long after its close a candle arrives, seconds of the replayed world.
    """

    kind: Literal["replay"]
    start: datetime
    speed: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    delay_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def __post_init__(self) -> None:
        """Check."""
        if self.start.tzinfo is None:
            raise ValueError("start has no time zone: write it as 2018-01-01T00:00:00Z")


Clock: TypeAlias = Annotated[RealClock | ReplayClock, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True, config=STRICT)
class CycleOffset:
    """Decide some minutes after each decision time, when the candles should be there."""

    kind: Literal["cycle_offset"] = "cycle_offset"
    offset_minutes: Minutes = DEFAULT_OFFSET_MIN


@dataclass(frozen=True, slots=True, config=STRICT)
class DataAvailability:
    """Decide as soon as all pairs have their candles; ``max_data_delay_minutes`` None is one cycle."""

    kind: Literal["data_availability"]
    poll_seconds: Annotated[float, Field(ge=5, le=3600)] = 5.0
    max_data_delay_minutes: PositiveMinutes | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
class SinceLastCycleEnd:
    """Decide one cycle after the end of the last cycle."""

    kind: Literal["since_last_cycle_end"]


Trigger: TypeAlias = Annotated[CycleOffset | DataAvailability | SinceLastCycleEnd, Field(discriminator="kind")]
