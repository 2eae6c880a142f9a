"""Whether a chain is at the present: its newest block's time against a clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from trading_dagster.domain.error import BadConfiguration, ChainHalted, ClockSkewed
from trading_dagster.evm.block import BlockHeader

BLOCKS_BEHIND = 20
"""How many blocks may be missing before a chain counts as standing still."""
LEAST_HEAD_AGE = timedelta(minutes=2)
MAX_CLOCK_SKEW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How far the newest block's time may be from a clock; None does not look.

    Attributes:
        max_head_age: How old the newest block may be.
        max_clock_skew: How far in the future it may be.
    """

    max_head_age: timedelta | None = None
    max_clock_skew: timedelta | None = None

    def __post_init__(self) -> None:
        """Check."""
        for name in ("max_head_age", "max_clock_skew"):
            limit = getattr(self, name)
            if limit is not None and limit <= timedelta(0):
                raise BadConfiguration(f"{name} is {limit}: give a time above 0, or None for no limit")

    @classmethod
    def of_pace(cls, block_time_s: float) -> TimeLimits:
        """Return what fits a public chain whose blocks take some seconds each."""
        return cls(max(LEAST_HEAD_AGE, BLOCKS_BEHIND * timedelta(seconds=block_time_s)), MAX_CLOCK_SKEW)


def check_chain_time(head: BlockHeader, now: datetime, limits: TimeLimits, chain_id: int) -> None:
    """Compare the newest block with a clock, aware UTC.

    Raises:
        ChainHalted: The block is too old: prices are of the past, and nothing that is sent is mined.
        ClockSkewed: The block is from the future: this machine's clock is behind.
    """
    age = now - datetime.fromtimestamp(head.timestamp, UTC)
    what = f"The newest block of chain {chain_id}, {head.number}, is"
    if limits.max_head_age is not None and age > limits.max_head_age:
        raise ChainHalted(
            f"{what} {_whole(age)} old, at most {limits.max_head_age} are allowed: the chain stands still, the nodes "
            "are far behind, or this machine's clock is ahead. Nothing new is traded: look at a block explorer, at "
            "the nodes and at the time service"
        )
    if limits.max_clock_skew is not None and -age > limits.max_clock_skew:
        raise ClockSkewed(
            f"{what} {_whole(-age)} in the future, at most {limits.max_clock_skew} are allowed: this machine's clock "
            f"is behind, it shows {now:%Y-%m-%d %H:%M:%S} UTC. Nothing new is traded: run a time service"
        )


def _whole(span: timedelta) -> timedelta:
    return timedelta(seconds=round(span.total_seconds()))
