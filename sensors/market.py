"""The schedules that keep market data fresh."""

from collections.abc import Sequence

import dagster as dg

from trading_dagster.market.feed import Feed
from trading_dagster.orchestration.market_asset import build_market_schedules


def market_schedules(feeds: Sequence[Feed]) -> list[dg.ScheduleDefinition]:
    """Return the schedules of feeds."""
    return build_market_schedules(feeds)
