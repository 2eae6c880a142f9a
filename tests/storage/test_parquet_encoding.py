"""Small tables become Parquet files that pyarrow, pandas and DuckDB read as what they were."""

import hashlib
import math
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import SerialisationRefused
from trading_dagster.statistics.table import Table
from trading_dagster.statistics.trade_table import TRADE_COLUMNS
from trading_dagster.storage import parquet_encoding
from trading_dagster.storage.file import parquet_to_table
from trading_dagster.storage.parquet_encoding import tables_to_parquet

TYPES = {"n": "int64", "x": "float64", "flag": "bool", "text": "str", "at": "datetime64[us]"}
ARROW_SCHEMA = pa.schema(
    [("n", pa.int64()), ("x", pa.float64()), ("flag", pa.bool_()), ("text", pa.string()), ("at", pa.timestamp("us"))]
)
ROW = st.tuples(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.none() | st.text(max_size=5),
    st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
)
SOME = [
    (1, 0.5, True, "a|b\n", datetime(2024, 2, 29, 1, 2, 3, 4)),
    (-2, math.nan, False, None, None),
    (3, -math.inf, True, "", datetime(1969, 12, 31)),
]


def encode(rows: list[tuple], types: dict[str, str] = TYPES) -> bytes:
    (content,) = tables_to_parquet([Table.from_rows(rows, types)])
    return content


@given(st.lists(st.lists(ROW, max_size=20), min_size=1, max_size=4), st.sampled_from([1, 2, 7, 100_000]))
def test_any_rows_come_back_with_their_types(pieces: list[list[tuple]], group_rows: int) -> None:
    tables = [Table.from_rows(rows, TYPES) for rows in pieces]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_encoding, "GROUP_ROWS", group_rows)
        files = tables_to_parquet(tables)

    for file, table in zip(files, tables, strict=True):
        assert parquet_to_table(file, TYPES).has_same_values(table)
        about = pq.ParquetFile(pa.BufferReader(file))
        assert about.schema_arrow.types == ARROW_SCHEMA.types
        assert about.metadata.num_rows == len(table)
        assert about.metadata.num_row_groups == -(-len(table) // group_rows)


def test_what_is_missing_is_null_and_nan_is_not() -> None:
    stored = pq.read_table(pa.BufferReader(encode(SOME)))

    assert stored.column("text").null_count == stored.column("at").null_count == 1
    assert stored.column("x").null_count == 0
    assert stored.to_pylist()[2] == dict(zip(TYPES, SOME[2], strict=True))


@pytest.mark.parametrize("count", [0, 3, 3_000])
def test_duckdb_and_pandas_read_the_rows(tmp_path: Path, count: int) -> None:
    rows = (SOME * 1_000)[:count]
    file = tmp_path / "rows.parquet"
    file.write_bytes(encode(rows))

    with duckdb.connect() as connection:
        seen = connection.execute("SELECT * FROM read_parquet(?)", [str(file)])
        assert [str(column[1]) for column in seen.description or ()] == [
            "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR", "TIMESTAMP"
        ]  # fmt: skip
        found = seen.fetchall()
    assert list(map(repr, found)) == list(map(repr, rows))
    pd.testing.assert_frame_equal(pd.read_parquet(file), Table.from_rows(rows, TYPES).frame)


def test_long_columns_are_compressed_and_short_ones_are_not() -> None:
    row = Table.from_rows([(n, "long text " * 20) for n in range(200)], {"n": "int64", "text": "str"})
    few = Table.from_rows([(1, "short")], {"n": "int64", "text": "str"})

    compressed, plain = (pq.ParquetFile(pa.BufferReader(file)).metadata for file in tables_to_parquet([row, few]))

    chunk = compressed.row_group(0).column(1)
    assert (chunk.compression, plain.row_group(0).column(1).compression) == ("SNAPPY", "UNCOMPRESSED")
    assert chunk.total_compressed_size < chunk.total_uncompressed_size / 5


def test_many_columns_without_rows_are_read() -> None:
    trades = Table.from_rows([], TRADE_COLUMNS)

    (file,) = tables_to_parquet([trades])

    assert list(pq.read_table(pa.BufferReader(file)).column_names) == list(TRADE_COLUMNS)
    assert pd.read_parquet(pa.BufferReader(file)).dtypes.map(str).to_dict() == trades.frame.dtypes.map(str).to_dict()


def test_arrays_of_other_widths_are_converted() -> None:
    columns = {"n": np.array([1], "int32"), "at": np.array(["2024-01-02T03:04:05"], "datetime64[s]")}
    types = {"n": "int64", "at": "datetime64[us]"}

    (file,) = tables_to_parquet([Table(columns, types)])

    assert pq.read_table(pa.BufferReader(file)).to_pylist() == [{"n": 1, "at": datetime(2024, 1, 2, 3, 4, 5)}]


def test_an_array_that_would_lose_something_is_refused() -> None:
    with pytest.raises(TypeError, match="Cannot cast"):
        tables_to_parquet([Table({"n": np.array([1.5])}, {"n": "int64"})])


def test_a_type_that_parquet_lacks_is_refused() -> None:
    with pytest.raises(SerialisationRefused, match=r"columns of type \['timedelta64\[us\]'\]: use one of"):
        encode([(timedelta(1),)], {"took": "timedelta64[us]"})


def test_bytes_do_not_depend_on_versions_of_libraries() -> None:
    """A partition that is run again after an update of pyarrow has the bytes it had."""
    content = encode(SOME)

    assert hashlib.blake2b(content, digest_size=16).hexdigest() == "7a36e6ed3505748af04625a50f2153cb"
