"""Lakes of the first version are read, continued and brought up to date; newer ones are refused."""

import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from trading_dagster.domain.error import LakeNotSupported
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_compaction import compact_lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.month_file import FOOTER_KEY, VERSION

FIRST_VERSION = Path(__file__).parent / "lake_v1"
READER = """
import sys, time
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.lake import Lake
lake, reads = Lake(sys.argv[1]), 0
end = time.monotonic() + 60
while time.monotonic() < end and not (reads > 3 and __import__("pathlib").Path(sys.argv[2]).exists()):
    source = lake.source("sample")
    markets = [market for market in source.list_markets() if market.bucket is TimeBucket.d1]
    seen = 0
    for market in markets:
        frames = list(source.load_candles([market], market.first_at, market.end_at))
        for frame in frames:
            assert frame["timestamp"].is_unique and (frame["high"] >= frame["low"]).all()
            seen += len(frame)
    assert seen >= 129, seen
    reads += 1
print(reads)
"""


@pytest.fixture
def old(tmp_path):
    """Return a copy of a lake that the first version wrote: BTC/USD hourly, all pairs daily, early 2018."""
    shutil.copytree(FIRST_VERSION, tmp_path / "lake")
    return Lake(tmp_path / "lake")


def test_lake_of_the_first_version_is_read(old):
    assert {content.version for _, content in old.read_contents("sample")} == {1}
    counts = old.query("SELECT bucket, count(*) AS n FROM candles GROUP BY 1 ORDER BY 1")
    assert counts.to_numpy().tolist() == [["1d", 129], ["1h", 120]]
    assert old.find_damaged() == []
    fresh = EmbeddedSample()
    (market,) = [each for each in old.source("sample").list_markets() if each.bucket is TimeBucket.h1]
    span = (market.first_at, market.end_at)
    mine, theirs = (
        pd.concat(each.load_candles([market], *span))
        .astype({"pair": "str"})
        .sort_values("timestamp", ignore_index=True)
        for each in (old.source("sample"), fresh)
    )
    assert mine.equals(theirs)


def test_old_lake_is_continued_without_asking_again(old):
    report = import_candles(
        old,
        EmbeddedSample(),
        name="sample",
        bucket=TimeBucket.h1,
        start_at=datetime(2018, 1, 29),
        end_at=datetime(2018, 2, 5),
    )
    assert report.rows_added == 48
    assert [content.version for _, content in old.read_contents("sample", TimeBucket.h1)] == [1, VERSION]
    assert old.find_damaged() == []


def test_compaction_migrates_and_keeps_every_hash(old):
    hashes = {bucket: old.content_hash("sample", bucket) for bucket in (TimeBucket.h1, TimeBucket.d1)}
    report = compact_lake(old)
    assert len(report.migrated) == len(report.rewritten) == 5
    assert {content.version for _, content in old.read_contents("sample")} == {VERSION}
    assert {bucket: old.content_hash("sample", bucket) for bucket in hashes} == hashes
    assert compact_lake(old).rewritten == []
    again = import_candles(
        old,
        EmbeddedSample(),
        name="sample",
        bucket=TimeBucket.d1,
        start_at=datetime(2018, 1, 20),
        end_at=datetime(2018, 3, 4),
    )
    assert again.months_written == ()


def test_compaction_leaves_damaged_months_and_removes_leftovers(old):
    path = old.month_path("sample", TimeBucket.d1, "2018-02")
    path.write_bytes(path.read_bytes()[:-40])
    leftover = path.with_name(".2018-01.parquet.123-abcd.tmp")
    leftover.write_bytes(b"half")
    report = compact_lake(old)
    assert report.damaged == [path]
    assert report.leftovers == [leftover]
    assert not leftover.exists()
    assert len(report.migrated) == 4


def test_month_of_a_newer_version_is_refused(old):
    path = old.month_path("sample", TimeBucket.d1, "2018-02")
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[FOOTER_KEY]) | {"version": VERSION + 1}
    pq.write_table(table.replace_schema_metadata({FOOTER_KEY: json.dumps(about)}), path)
    with pytest.raises(
        LakeNotSupported, match=rf"2018-02.parquet: written in version {VERSION + 1} .* up to {VERSION}"
    ):
        old.source("sample").list_markets()


def test_two_processes_read_while_one_writes(old, tmp_path):
    done = tmp_path / "done"
    command = [sys.executable, "-c", READER, str(old.folder), str(done)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for end in range(5, 25):
        import_candles(
            old,
            EmbeddedSample(),
            name="sample",
            bucket=TimeBucket.d1,
            start_at=datetime(2018, 1, 20),
            end_at=datetime(2018, 3, end),
        )
        compact_lake(old)
    done.touch()
    for reader in readers:
        output, _ = reader.communicate(timeout=90)
        assert reader.returncode == 0
        assert int(output) > 3
