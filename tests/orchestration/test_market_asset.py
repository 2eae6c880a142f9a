"""Market data as assets: months in parallel, checks, what depends on them, and a schedule that keeps them fresh."""

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.feed import SAMPLE_FEED, Feed, find_feeds, read_feed
from trading_dagster.market.lake import LAKE_VARIABLE, Lake
from trading_dagster.orchestration.backtest_asset import build_backtest_assets
from trading_dagster.orchestration.home import prepare_home
from trading_dagster.orchestration.market_asset import (
    build_market_assets,
    build_market_jobs,
    build_market_schedules,
    due_months,
    market_key,
)

pytestmark = pytest.mark.dagster

WORKER = """
import sys
from pathlib import Path
import dagster as dg
from trading_dagster.market.feed import read_feed
from trading_dagster.orchestration.market_asset import build_market_assets
assets = build_market_assets([read_feed(Path(sys.argv[1]))])
with dg.DagsterInstance.get() as instance:
    for month in sys.argv[2:]:
        assert dg.materialize(assets, partition_key=month, instance=instance).success
"""
MONTHS = [f"{year}-{month:02d}" for year in (2022, 2023) for month in range(1, 13)]


def make_file(path, *, break_at=None):
    times = pd.date_range("2022-01-01", "2024-01-01", freq="h", inclusive="left", tz="UTC")
    close = 100 * np.exp(np.random.default_rng(3).normal(0, 0.005, len(times)).cumsum())
    frames = []
    for pair in ("BTC/USD", "ETH/USD"):
        frame = pd.DataFrame({"timestamp": times, "pair": pair, "open": close, "close": close, "volume": 1.5})
        frames.append(frame.assign(high=close * 1.01, low=close * 0.99))
    candles = pd.concat(frames, ignore_index=True)
    if break_at is not None:
        candles.loc[candles["timestamp"] == break_at, "low"] = -1.0
    candles.to_parquet(path)
    return candles


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setenv(LAKE_VARIABLE, str(tmp_path / "lake"))
    return Lake()


def write_feed(tmp_path, extra=""):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "source: file\npath: candles.parquet\nexchange: kraken\nbuckets: [1h]\nstart: 2022-01-01\n"
        f"end: 2024-01-01\n{extra}"
    )
    return file


def test_backfill_of_24_months_runs_in_three_processes_at_once(tmp_path, lake, monkeypatch):
    candles = make_file(tmp_path / "candles.parquet")
    file = write_feed(tmp_path)
    home = prepare_home(tmp_path / "home")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(file), *MONTHS[place::3]],
            env={**os.environ, "DAGSTER_HOME": str(home), LAKE_VARIABLE: str(lake.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for place in range(3)
    ]
    outputs = [worker.communicate(timeout=300)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 3, outputs
    assert not any("locked" in output for output in outputs)
    assert len(lake.query("SELECT DISTINCT pair, timestamp FROM candles")) == len(candles)
    assert lake.find_damaged() == []
    assert sorted(json.loads((lake.folder / "mine" / "1h" / "manifest.json").read_text())) == [
        f"{month}.parquet" for month in MONTHS
    ]
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        key = market_key(read_feed(file), TimeBucket.h1)
        assert set(instance.get_materialized_partitions(key)) == set(MONTHS)


def test_month_tells_rows_gaps_hash_and_shows_a_picture(tmp_path, lake):
    make_file(tmp_path / "candles.parquet")
    feed = read_feed(write_feed(tmp_path))
    result = dg.materialize(build_market_assets([feed]), partition_key="2022-02")
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["dagster/partition_row_count"].value == metadata["candles_added"].value == 2 * 28 * 24
    assert (metadata["missing_bars"].value, metadata["alarms"].value, metadata["pairs"].value) == (0, 0, 2)
    assert "data:image/png;base64" in metadata["coverage"].value
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks == {"candle_schema": True, "candle_quality": True}
    again = dg.materialize(build_market_assets([feed]), partition_key="2022-02")
    (event,) = again.get_asset_materialization_events()
    assert event.materialization.metadata["candles_added"].value == 0
    assert event.materialization.metadata["content_hash"].value == metadata["content_hash"].value


def test_broken_month_is_refused_or_repaired_as_the_feed_says(tmp_path, lake):
    make_file(tmp_path / "candles.parquet", break_at="2022-02-05 04:00:00+00:00")
    refused = dg.materialize(
        build_market_assets([read_feed(write_feed(tmp_path))]), partition_key="2022-02", raise_on_error=False
    )
    assert not refused.success
    assert not refused.get_asset_materialization_events()
    feed = read_feed(write_feed(tmp_path, "repair: [drop_non_positive]\n"))
    (event,) = dg.materialize(build_market_assets([feed]), partition_key="2022-02").get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert (metadata["rows_repaired"].value, metadata["missing_bars"].value) == (2, 2)


def test_sample_is_shown_as_it_is_read(lake):
    (event,) = dg.materialize(
        build_market_assets([SAMPLE_FEED]), partition_key="2018-03", selection=[market_key(SAMPLE_FEED, TimeBucket.h1)]
    ).get_asset_materialization_events()
    assert event.materialization.metadata["candles"].value == 31 * 24
    assert not lake.folder.exists()


def test_universe_depends_on_the_market_data_it_reads(short_strategy, tmp_path):
    make_file(tmp_path / "candles.parquet")
    mine = read_feed(write_feed(tmp_path))
    (universe, *_) = build_backtest_assets(short_strategy, feeds=[SAMPLE_FEED, mine])
    (key,) = universe.keys
    assert universe.asset_deps[key] == {market_key(SAMPLE_FEED, TimeBucket.h1)}
    named = short_strategy.with_parameters({"market_feed": "mine"})
    (universe, *_) = build_backtest_assets(named, feeds=[SAMPLE_FEED, mine])
    assert universe.asset_deps[key] == {market_key(mine, TimeBucket.h1)}


def test_schedule_asks_for_the_newest_month_and_the_one_before_in_its_last_days(tmp_path):
    feed = Feed(name="live", source="exchange", exchange="binance", buckets=("1h", "1d"), start=date(2024, 1, 1))
    assert due_months(feed, datetime(2024, 3, 1, 12, tzinfo=UTC)) == ["2024-02", "2024-03"]
    assert due_months(feed, datetime(2024, 3, 15, tzinfo=UTC)) == ["2024-03"]
    assert due_months(feed, datetime(2023, 3, 15, tzinfo=UTC)) == []
    assets = build_market_assets([feed])
    definitions = dg.Definitions(
        assets=assets, jobs=build_market_jobs([feed]), schedules=build_market_schedules([feed])
    )
    schedule = definitions.resolve_schedule_def("market_live_1h_schedule")
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2024, 3, 1, 0, 5, tzinfo=UTC), repository_def=definitions.get_repository_def()
    )
    requests = schedule.evaluate_tick(context).run_requests
    assert [request.partition_key for request in requests] == ["2024-02", "2024-03"]
    (spec,) = assets[0].specs
    assert spec.freshness_policy.fail_window.to_timedelta() == timedelta(hours=26)
    assert assets[0].backfill_policy == dg.BackfillPolicy.multi_run(max_partitions_per_run=1)


def test_feed_files_are_found_and_mistakes_named(tmp_path, monkeypatch):
    good = tmp_path / "spot.yaml"
    good.write_text("source: exchange\nexchange: binance\npairs: [BTC/USDT]\nbuckets: [1h]\nstart: 2024-01-01\n")
    (tmp_path / "bad.yaml").write_text("source: exchange\nbuckets: [7x]\nstart: 2024-01-01\n")
    (tmp_path / "example.yaml").write_text("source: nothing\n")
    found = list(find_feeds({"TRADING_DAGSTER_FEEDS": str(tmp_path)}))
    assert found[0] is SAMPLE_FEED
    assert isinstance(found[1], BadConfiguration)
    assert "buckets is ('7x',): use some of" in str(found[1])
    assert found[2].name == "spot"
    assert [feed for feed in find_feeds({}) if not Path("feeds").exists()] in ([SAMPLE_FEED], [])
