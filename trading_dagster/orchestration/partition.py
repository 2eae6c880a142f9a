"""Cut a strategy's range into calendar partitions: months, weeks from Monday, or days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import dagster as dg

from trading_dagster.backtest.plan import decision_grid
from trading_dagster.backtest.segment_writer import PartitionWindow
from trading_dagster.domain.error import ParameterTypeInvalid
from trading_dagster.strategy.parameters import StrategyParameters, require_for_backtest

PARTITION_PARAMETER = "backtest_partition"


class Grain(StrEnum):
    """How long a partition is; ``Parameters.backtest_partition`` names one."""

    month = "month"
    week = "week"
    day = "day"

    @property
    def cron(self) -> str:
        """Return the cron schedule whose ticks begin partitions."""
        return {Grain.month: "0 0 1 * *", Grain.week: "0 0 * * 1", Grain.day: "0 0 * * *"}[self]

    @property
    def key_format(self) -> str:
        """Return how a partition is named after its first day."""
        return "%Y-%m" if self is Grain.month else "%Y-%m-%d"

    @property
    def longest(self) -> timedelta:
        """Return the length of the longest partition."""
        return timedelta(days={Grain.month: 31, Grain.week: 7, Grain.day: 1}[self])

    def floor(self, moment: datetime) -> datetime:
        """Return the begin of the partition that contains a naive UTC time."""
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        if self is Grain.month:
            return day.replace(day=1)
        return day - timedelta(days=day.weekday()) if self is Grain.week else day

    def ceil(self, moment: datetime) -> datetime:
        """Return the end of the last partition that has anything before a naive UTC time."""
        floored = self.floor(moment)
        return floored if floored == moment else self.floor(floored + self.longest)


def choose_grain(parameters: StrategyParameters, grain: Grain | str | None = None) -> Grain:
    """Return the length of partitions: the argument, the parameter ``backtest_partition``, or a month.

    Raises:
        ParameterTypeInvalid: It names no grain, or partitions would be shorter than a decision cycle.
    """
    wanted = grain or parameters.get(PARTITION_PARAMETER) or Grain.month
    names = [member.value for member in Grain]
    if wanted not in names:
        raise ParameterTypeInvalid(f"Parameters.{PARTITION_PARAMETER} is {wanted!r}: use one of {', '.join(names)}")
    chosen = Grain(wanted)
    require_for_backtest(parameters)
    if parameters.cycle_duration.to_timedelta() > chosen.longest:
        raise ParameterTypeInvalid(
            f"Parameters.{PARTITION_PARAMETER} is {chosen.value!r}, shorter than cycle_duration "
            f"{parameters.cycle_duration.value}: use a longer one of {', '.join(names)}"
        )
    return chosen


def define_partitions(parameters: StrategyParameters, grain: Grain) -> dg.TimeWindowPartitionsDefinition:
    """Return the partitions from ``backtest_start`` to ``backtest_end``; raises BadInput for an empty range."""
    start, end = parameters.backtest_start, parameters.backtest_end
    decision_grid(start, end, parameters.cycle_duration)
    return dg.TimeWindowPartitionsDefinition(
        start=grain.floor(start),
        end=grain.ceil(end),
        fmt=grain.key_format,
        cron_schedule=grain.cron,
        timezone="UTC",
        end_offset=1,  # data may reach into a partition that has not ended yet
    )


def cut_windows(parameters: StrategyParameters, grain: Grain) -> list[PartitionWindow]:
    """Return the partitions as windows, the first and the last clipped to the strategy's range."""
    first, last = parameters.backtest_start, parameters.backtest_end
    decision_grid(first, last, parameters.cycle_duration)
    windows = []
    start = grain.floor(first)
    while start < last:
        end = grain.ceil(start + timedelta(microseconds=1))
        windows.append(PartitionWindow(start.strftime(grain.key_format), max(first, start), min(end, last)))
        start = end
    return windows


def range_tags(keys: Sequence[str]) -> dict[str, str]:
    """Return the tags with which one run covers a range of partitions, as a backfill's run has them."""
    return {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
