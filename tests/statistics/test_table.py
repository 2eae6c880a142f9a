"""Tables as typed columns."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from trading_dagster.statistics.table import Table

TYPES = {"n": "int64", "x": "float64", "text": "str", "at": "datetime64[us]", "done": "bool"}
DURATIONS = {"at": "datetime64[us]", "took": "timedelta64[us]"}
ROWS = [(1, 0.5, "a", datetime(2024, 1, 1), True), (2, np.nan, "", None, False)]


def test_equal_rows_are_the_same_however_they_are_kept():
    table = Table.from_rows(ROWS, TYPES)
    arrays = {name: table.frame[name].to_numpy() for name in TYPES if name != "text"}
    assert table.has_same_values(Table({**table.columns, **arrays}, TYPES))
    assert Table.from_rows([], TYPES).has_same_values(Table.from_rows([], TYPES))


@pytest.mark.parametrize("column", range(len(TYPES)))
def test_one_other_value_is_another_table(column):
    other = [3, 0.25, "b", datetime(2024, 1, 2), False][column]
    changed = [*ROWS[0][:column], other, *ROWS[0][column + 1 :]]
    assert not Table.from_rows(ROWS, TYPES).has_same_values(Table.from_rows([tuple(changed), ROWS[1]], TYPES))


def test_other_length_or_columns_is_another_table():
    table = Table.from_rows(ROWS, TYPES)
    assert not table.has_same_values(Table.from_rows(ROWS[:1], TYPES))
    assert not table.has_same_values(Table.from_rows([], {"n": "int64"}))


def test_what_is_written_into_a_frame_changes_neither_the_table_nor_whom_it_has_its_columns_from():
    times = np.array([0, 1], dtype=np.int64)
    table = Table({"at": times.view("datetime64[us]"), "x": [0.5, 1.5]}, {"at": "datetime64[us]", "x": "float64"})
    frame = table.frame
    frame.loc[0, "at"] = datetime(2024, 1, 1)
    frame.loc[0, "x"] = 9.0
    assert times.tolist() == [0, 1]
    assert table.columns["x"] == [0.5, 1.5]
    assert frame.loc[0].tolist() == [datetime(2024, 1, 1), 9.0]


def test_missing_times_and_durations_are_not_a_time():
    table = Table.from_rows([(None, None), (datetime(2024, 1, 1, 2), timedelta(days=5, microseconds=1))], DURATIONS)
    assert list(table.frame["at"]) == [pd.NaT, datetime(2024, 1, 1, 2)]
    assert list(table.frame["took"]) == [pd.NaT, timedelta(days=5, microseconds=1)]
    for rows in ([], [(None, None)]):
        assert dict(Table.from_rows(rows, DURATIONS).frame.dtypes.astype(str)) == DURATIONS
