"""A kill -9 at any moment of a download, an import or a compaction costs nothing: the next run completes the lake."""

import contextlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from market.exchange_server import FakeExchange, serve_exchange

from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_compaction import compact_lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.month_import import read_repairs

KILLS = 18  # of each kind
NOW = datetime(2024, 4, 10, 12, 30)
FIRST = {"BTCUSDT": datetime(2024, 2, 20), "ETHUSDT": datetime(2024, 3, 7, 5)}


@pytest.fixture(scope="module")
def processes():
    """Start the program that forks jobs."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    command = [sys.executable, "-m", "market.kill_job"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # so that nothing waits where select does not see it
        env={**os.environ, "PYTHONPATH": path},
    ) as server:
        yield server
        server.stdin.close()


class Killer:
    """Starts a job on a lake, kills it after a random time, and counts the kills."""

    def __init__(self, processes, job, *arguments):
        self.processes, self.job, self.arguments = processes, job, arguments
        self.random = random.Random(job)
        self.kills = 0

    def start(self, lake):
        self.processes.stdin.write(json.dumps([self.job, str(lake.folder), *map(str, self.arguments)]).encode() + b"\n")
        return int(self.processes.stdout.readline())

    def finish(self, lake):
        """Run the job to its end; returns how long it took, seconds."""
        began = time.monotonic()
        self.start(lake)
        assert int(self.processes.stdout.readline()) == 0
        return time.monotonic() - began

    def run_until_done(self, lake, duration_s, check):
        """Run the job again and again, killing it after a random time, until one run gets through."""
        while self.kills < KILLS:
            process = self.start(lake)
            ended, _, _ = select.select([self.processes.stdout], [], [], self.random.uniform(0, duration_s))
            if not ended:
                with contextlib.suppress(ProcessLookupError):  # it ended in this moment
                    os.kill(process, signal.SIGKILL)
            code = int(self.processes.stdout.readline())
            if code == 0:
                return
            assert code == -signal.SIGKILL
            self.kills += 1
            check(lake)
        self.finish(lake)


def read_all(lake):
    return lake.query("SELECT market, timestamp, open, high, low, close, volume FROM candles ORDER BY ALL")


def check_readable(lake):
    assert lake.find_damaged() == []
    if any(lake.folder.glob("*/*/*.parquet")):
        candles = read_all(lake)
        assert not candles.duplicated(["market", "timestamp"]).any()


def prepare(tmp_path, name, like=None):
    folder = tmp_path / name
    if like is not None:
        shutil.copytree(like.folder, folder)
    return Lake(folder)


def kill_often(killer, tmp_path, *, like=None, finished):
    """Fill lake after lake with killed processes until there were enough kills; each must end as the whole one did."""
    whole = prepare(tmp_path, "whole", like)
    killer.finish(whole)
    duration_s = killer.finish(prepare(tmp_path, "timed", like))  # the first one had to load things
    expected = finished(whole)
    rounds = 0
    while killer.kills < KILLS:
        lake = prepare(tmp_path, f"lake{rounds}", like)
        killer.run_until_done(lake, duration_s, check_readable)
        killer.finish(lake)  # once more: it finds nothing to do
        assert finished(lake).equals(expected)
        rounds += 1
    assert killer.kills == KILLS
    return whole


def test_killed_downloads_are_completed_without_hole_or_duplicate(tmp_path, processes):
    with serve_exchange(FakeExchange(NOW, **FIRST)) as url:
        whole = kill_often(Killer(processes, "download", url, NOW), tmp_path, finished=read_all)
    candles = read_all(whole)
    for pair, first in FIRST.items():
        own = candles[candles["market"].str.startswith(f"{pair[:3]}/USDT@")]["timestamp"]
        assert own.dt.tz_localize(None).tolist() == list(pd.date_range(first, "2024-04-10 11:00", freq="h"))


def test_killed_imports_are_completed_with_their_record_of_repairs(tmp_path, processes, shared_data):
    candles = pd.read_parquet(shared_data / "dirty_daily_12exchanges.parquet")
    path = tmp_path / "dirty.parquet"
    candles[(candles["exchange"] == "mexbt") & (candles["timestamp"] < "2015-02-01")].to_parquet(path)

    def finished(lake):
        months = sorted(lake.folder.glob("dirty/1d/[0-9][0-9][0-9][0-9]-[0-9][0-9].parquet"))
        repairs = [read_repairs(month) for month in months]
        return pd.concat([read_all(lake), *(frame for frame in repairs if len(frame))], ignore_index=True)

    whole = kill_often(Killer(processes, "import", path), tmp_path, finished=finished)
    kept = finished(whole)
    assert (kept["action"] == "dropped").sum() == 46
    assert len(kept) == len(pd.read_parquet(path))


def test_killed_compactions_lose_nothing(tmp_path, processes):
    start = Lake(tmp_path / "start")
    import_candles(start, EmbeddedSample(), bucket=TimeBucket.d1, start_at=datetime(2019, 6, 1))
    before = read_all(start)
    whole = kill_often(Killer(processes, "compaction"), tmp_path, like=start, finished=read_all)
    assert read_all(whole).equals(before)
    assert compact_lake(whole).rewritten == []
    assert not list(whole.folder.rglob("*.tmp"))
