"""Segments on disk are whole or absent, whatever happens while they are written."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import LedgerError, StorageFailed
from trading_dagster.statistics.table import Table
from trading_dagster.storage.file import parquet_to_table
from trading_dagster.storage.segment import (
    GENESIS,
    encode_segments,
    read_ledger,
    read_snapshot,
    read_table,
    write_segment,
)

TYPES = {"n": "int64", "text": "str", "x": "float64"}
FIELDS = {
    "began_from": GENESIS,
    "plan_hash": "plan",
    "next_cycle": 3,
    "wallet": {"1-0x01": "12.5"},
    "queue": (("2021-01-01T00:00:00", "500"),),
    "cash": "12.5",
    "equity": 12.5,
}


def write(folder: Path, count: int = 3):
    rows = [(n, f"row {n}", n / 3) for n in range(count)]
    lines = [json.dumps({"n": n}) for n in range(count)]
    (content,) = encode_segments([(lines, {"rows": Table.from_rows(rows, TYPES)})])
    return write_segment(folder, content, FIELDS)


def test_segment_reads_back_as_it_was_written(tmp_path):
    written = write(tmp_path / "a")
    assert read_snapshot(tmp_path / "a") == written
    assert read_ledger(tmp_path / "a") == (written, ['{"n": 0}', '{"n": 1}', '{"n": 2}'])


def test_equal_content_gives_equal_hashes_and_other_content_another(tmp_path):
    assert write(tmp_path / "a").hash() == write(tmp_path / "b").hash()
    assert write(tmp_path / "a").hash() != write(tmp_path / "b", count=4).hash()


def test_segment_that_was_never_written_has_no_snapshot(tmp_path):
    assert read_snapshot(tmp_path / "none") is None
    assert read_ledger(tmp_path / "none") is None


def test_rewriting_replaces_the_whole_folder(tmp_path):
    write(tmp_path / "a")
    (tmp_path / "a" / "stray.txt").write_text("old")
    written = write(tmp_path / "a", count=5)
    assert read_snapshot(tmp_path / "a") == written
    assert not (tmp_path / "a" / "stray.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_table_reads_back_as_it_was_written(tmp_path):
    written = write(tmp_path / "a")
    table = read_table(tmp_path / "a", written, "rows", TYPES)
    assert list(zip(*table.columns.values(), strict=True)) == [(n, f"row {n}", n / 3) for n in range(3)]
    assert len(read_table(tmp_path / "a", written, "absent", TYPES)) == 0


ALL_TYPES = {
    "n": "int64",
    "x": "float64",
    "flag": "bool",
    "text": "str",
    "at": "datetime64[us]",
    "took": "timedelta64[us]",
}
ROWS = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.booleans(),
        st.none() | st.text(max_size=5),
        st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
        st.none() | st.timedeltas(timedelta(-1000), timedelta(1000)),
    ),
    max_size=5,
)


@given(st.lists(ROWS, min_size=1, max_size=4), st.booleans())
def test_segments_encoded_together_have_the_bytes_of_segments_encoded_alone(pieces, has_durations):
    types = ALL_TYPES if has_durations else {name: ALL_TYPES[name] for name in list(ALL_TYPES)[:-1]}
    tables = [Table.from_rows([row[: len(types)] for row in rows], types) for rows in pieces]
    segments = [([f"event {n}"], {"rows": table} if n % 3 else {}) for n, table in enumerate(tables)]

    together = encode_segments(segments)

    assert together == [content for segment in segments for content in encode_segments([segment])]
    for (_, stored), content in zip(segments, together, strict=True):
        for name, table in stored.items():
            assert parquet_to_table(content.tables[f"{name}.parquet"], types).has_same_values(table)


def test_table_that_was_changed_or_deleted_is_refused(tmp_path):
    written = write(tmp_path / "a")
    path = tmp_path / "a" / "rows.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"rows\.parquet was changed after it was written: run this part again"):
        read_table(tmp_path / "a", written, "rows", TYPES)
    path.unlink()
    with pytest.raises(LedgerError, match=r"rows\.parquet was changed"):
        read_table(tmp_path / "a", written, "rows", TYPES)


def test_unreadable_snapshot_says_which_and_what_to_do(tmp_path):
    write(tmp_path / "a")
    (tmp_path / "a" / "ledger.jsonl").write_text('{"began_from": ')
    with pytest.raises(LedgerError, match=r"a/ledger\.jsonl cannot be read .* delete .* and run this part again"):
        read_snapshot(tmp_path / "a")


@pytest.mark.parametrize(("field", "found"), [("schema_version", "schema 99"), ("layout", "layout 99")])
def test_snapshot_of_another_version_is_refused(tmp_path, field, found):
    written = write(tmp_path / "a")
    path = tmp_path / "a" / "ledger.jsonl"
    path.write_text(path.read_text().replace(f'"{field}": {getattr(written, field)}', f'"{field}": 99'))
    with pytest.raises(LedgerError, match=f"{found}.*delete .* and run this part again"):
        read_snapshot(tmp_path / "a")


def test_segment_of_the_first_layout_is_refused(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "snapshot.json").write_text("{}")
    (folder / "ledger.jsonl").write_text('{"event":"CycleCompleted","cycle":1}\n')
    with pytest.raises(LedgerError, match=r"layout 1, this version reads 2: delete .*/a and run this part again"):
        read_snapshot(folder)


def test_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailed, match="Free space or choose another folder"):
        write(tmp_path / "file" / "a")


FULL_DISK = """
import resource, signal, sys
sys.dont_write_bytecode = True  # a file-size limit would cut compiled modules short
from pathlib import Path
sys.path.insert(0, {tests!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from storage.test_segment import write
from trading_dagster.domain.error import StorageFailed
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
try:
    write(Path({folder!r}), count=5_000)
except StorageFailed as error:
    print("refused:", error)
"""


def test_full_disk_leaves_the_older_segment_and_no_debris(tmp_path):
    """The file-size limit of a process makes writes fail in the middle, as a full disk does."""
    before = write(tmp_path / "a")
    code = FULL_DISK.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path / "a"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused: Cannot write"), done
    assert read_snapshot(tmp_path / "a") == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
