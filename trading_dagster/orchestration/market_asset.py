"""The Dagster assets of market data: one a feed and bucket, partitioned by month, checked, kept fresh by a schedule."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.contract import find_defects
from trading_dagster.market.feed import (
    SAMPLE_FEED,
    Feed,
    FeedMonth,
    bring_month,
    choose_buckets,
    find_feeds,
    month_span,
)
from trading_dagster.market.lake import Lake
from trading_dagster.market.quality import judge_quality, quality_report
from trading_dagster.orchestration.failure import explain_failures
from trading_dagster.orchestration.feed_opening import open_feed
from trading_dagster.orchestration.key_figure import frame_to_markdown
from trading_dagster.orchestration.metadata import picture
from trading_dagster.strategy.parameters import StrategyParameters

logger = logging.getLogger(__name__)

GROUP = "market"
FEED_PARAMETER = "market_feed"
LOOK_BACK = timedelta(days=2)
"""So long after its end a month is still brought up to date by the schedule."""

MAX_ROWS = 50
CHECKS = {
    "candle_schema": "Candles keep the contract: no duplicates, prices above zero, high and low around them.",
    "candle_quality": "No long gaps, jumps, flash crashes, redenominations or stale ends. A warning: look at them.",
}


def usable_feeds() -> list[Feed]:
    """Return the feeds that can be used; the others are logged as errors, so that one does not stop the rest."""
    feeds = []
    for feed in find_feeds():
        if isinstance(feed, BadConfiguration):
            logger.error("Feed left out: %s", feed)
        else:
            feeds.append(feed)
    return feeds


def market_key(feed: Feed, bucket: TimeBucket) -> dg.AssetKey:
    """Return the key of a feed's candles in one bucket."""
    return dg.AssetKey([GROUP, feed.name, f"candles_{bucket.value}"])


def find_market_deps(parameters: StrategyParameters, feeds: Sequence[Feed]) -> list[dg.AssetDep]:
    """Return the market assets that a strategy's universe reads: of the feed it names, by default of the sample."""
    name = parameters.get(FEED_PARAMETER) or SAMPLE_FEED.name
    wanted = [parameters.get("candle_time_bucket"), parameters.get("stop_loss_time_bucket")]
    known = [bucket for bucket in wanted if isinstance(bucket, TimeBucket)]
    return [
        dg.AssetDep(market_key(feed, bucket))
        for feed in feeds
        if feed.name == name
        for bucket in choose_buckets(feed, known)
    ]


def build_market_assets(feeds: Sequence[Feed]) -> list[dg.AssetsDefinition]:
    """Return an asset for each feed and bucket; a backfill makes one run a month, which run side by side."""
    return [_build_asset(feed, bucket) for feed in feeds for bucket in feed.time_buckets]


def build_market_jobs(feeds: Sequence[Feed]) -> list[Any]:
    """Return the job of each feed that has a schedule."""
    return [
        dg.define_asset_job(
            _job_name(feed, bucket),
            selection=[market_key(feed, bucket)],
            description=f"Brings a month of {feed.name} {bucket.value} up to date.",
        )
        for feed in feeds
        if feed.refresh
        for bucket in feed.time_buckets
    ]


def build_market_schedules(feeds: Sequence[Feed]) -> list[dg.ScheduleDefinition]:
    """Return the schedules that bring the newest month up to date, and the one before in its last candles' time."""
    return [_build_schedule(feed, bucket) for feed in feeds if feed.refresh for bucket in feed.time_buckets]


def define_months(feed: Feed) -> dg.MonthlyPartitionsDefinition:
    """Return the months of a feed, the one in progress too."""
    end = None if feed.end is None else datetime.combine(feed.end, datetime.min.time())
    return dg.MonthlyPartitionsDefinition(
        start_date=datetime.combine(feed.start.replace(day=1), datetime.min.time()),
        end_date=end,
        end_offset=0 if end is not None else 1,
        fmt="%Y-%m",
        timezone="UTC",
    )


def due_months(feed: Feed, now: datetime) -> list[str]:
    """Return the months that a schedule brings up to date at a time, aware UTC."""
    months = dict.fromkeys(f"{moment:%Y-%m}" for moment in (now - LOOK_BACK, now))
    first, last = f"{feed.start:%Y-%m}", None if feed.end is None else f"{feed.end - timedelta(days=1):%Y-%m}"
    return [month for month in months if month >= first and (last is None or month <= last)]


def _build_asset(feed: Feed, bucket: TimeBucket) -> dg.AssetsDefinition:
    key = market_key(feed, bucket)
    fresh = None
    if feed.end is None:
        fresh = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=feed.stale_after_hours))
    spec = dg.AssetSpec(
        key,
        description=f"Candles of {bucket.value} from {feed.source} {feed.exchange or feed.name}, in the lake by month.",
        group_name=GROUP,
        owners=["team:data"],
        kinds={"parquet", feed.source},
        freshness_policy=fresh,
        metadata={"source": feed.source, "pairs": ", ".join(feed.pairs) or "all"},
    )

    @dg.multi_asset(
        name="__".join(key.path),
        specs=[spec],
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=text, blocking=name == "candle_schema")
            for name, text in CHECKS.items()
        ],
        partitions_def=define_months(feed),
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
        can_subset=False,
    )
    def candles(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        for month in context.partition_keys:
            start, end = month_span(month)
            with explain_failures():
                found = bring_month(feed, Lake(), bucket, start, end, source=open_feed(feed))
            if month != context.partition_keys[-1]:
                context.log_event(dg.AssetMaterialization(key, partition=month, metadata=_describe(found, bucket, end)))
                continue
            yield dg.MaterializeResult(
                key,
                metadata=_describe(found, bucket, end),
                data_version=dg.DataVersion(found.content_hash or "empty"),
            )
            yield from _check(found, bucket, end, key)

    return candles


def _describe(found: FeedMonth, bucket: TimeBucket, end: datetime) -> Mapping[str, Any]:
    """Return rows, pairs, gaps, span, hash, a table of quality and a picture; numbers are plotted over the months."""
    candles = found.candles
    numbers = {
        "dagster/partition_row_count": len(candles),
        "candles": len(candles),
        "candles_added": found.rows_added,
        "rows_repaired": found.rows_repaired,
        "content_hash": found.content_hash or "empty",
    }
    from trading_dagster.charts.quality import paint_quality  # painting is imported where it is done

    if not len(candles):
        return {**numbers, "pairs": 0, "missing_bars": 0, "alarms": 0}
    report = quality_report(candles, bucket, expected_end=_closed(candles, bucket, end))
    alarms = judge_quality(report)
    return {
        **numbers,
        "pairs": len(report),
        "missing_bars": int(report["missing_bars"].sum()),
        "alarms": len(alarms),
        "first": dg.MetadataValue.timestamp(candles["timestamp"].min().tz_localize("UTC")),
        "last": dg.MetadataValue.timestamp(candles["timestamp"].max().tz_localize("UTC")),
        "quality": dg.MetadataValue.md(frame_to_markdown(_worst_first(report).head(MAX_ROWS))),
        "coverage": picture(paint_quality(candles, bucket, title="Candles"), "Which candles exist and which stand out"),
    }


def _check(found: FeedMonth, bucket: TimeBucket, end: datetime, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    candles = found.candles
    defects = find_defects(candles, bucket, "lake", any_order=True) if len(candles) else []
    yield dg.AssetCheckResult(
        check_name="candle_schema",
        asset_key=key,
        passed=not defects,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"candles": len(candles), "broken": "; ".join(map(str, defects)) or "nothing"},
    )
    alarms = pd.DataFrame()
    if len(candles):
        alarms = judge_quality(quality_report(candles, bucket, expected_end=_closed(candles, bucket, end)))
    yield dg.AssetCheckResult(
        check_name="candle_quality",
        asset_key=key,
        passed=not len(alarms),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "alarms": len(alarms),
            "table": dg.MetadataValue.md(frame_to_markdown(alarms.head(MAX_ROWS)) if len(alarms) else "nothing"),
        },
    )


def _closed(candles: pd.DataFrame, bucket: TimeBucket, end: datetime) -> datetime:
    """Return up to where candles may be expected: the month's end, or that of the newest candle before."""
    newest: datetime = candles["timestamp"].max().to_pydatetime() + bucket.to_timedelta()
    return min(end, newest)


def _worst_first(report: pd.DataFrame) -> pd.DataFrame:
    counts = report.drop(columns=["rows"]).select_dtypes("int64").sum(axis=1)
    return report.loc[counts.sort_values(ascending=False, kind="stable").index]


def _job_name(feed: Feed, bucket: TimeBucket) -> str:
    return f"market_{feed.name}_{bucket.value}"


def _build_schedule(feed: Feed, bucket: TimeBucket) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{_job_name(feed, bucket)}_schedule",
        job_name=_job_name(feed, bucket),
        cron_schedule=feed.refresh,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING if feed.autostart else dg.DefaultScheduleStatus.STOPPED,
        description=f"Brings the newest month of {feed.name} {bucket.value} up to date.",
    )
    def refresh(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        at = context.scheduled_execution_time.astimezone(UTC)
        months = due_months(feed, at)
        if not months:
            return dg.SkipReason(f"{feed.name} has no month at {at:%Y-%m-%d}: it goes from {feed.start} to {feed.end}")
        return [dg.RunRequest(run_key=f"{at.isoformat()} {month}", partition_key=month) for month in months]

    return refresh
