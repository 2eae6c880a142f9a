"""The candles of all feeds: one asset a feed and bucket, and the jobs that bring them up to date."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from trading_dagster.market.feed import Feed
from trading_dagster.orchestration.market_asset import build_market_assets, build_market_jobs


def market_assets(feeds: Sequence[Feed]) -> list[dg.AssetsDefinition]:
    """Return the assets of feeds."""
    return build_market_assets(feeds)


def market_jobs(feeds: Sequence[Feed]) -> list[Any]:
    """Return the jobs of feeds that are brought up to date."""
    return build_market_jobs(feeds)
