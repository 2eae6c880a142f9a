"""Tables as typed columns."""

from datetime import datetime

import numpy as np
import pytest

from trading_dagster.statistics.table import Table

TYPES = {"n": "int64", "x": "float64", "text": "str", "at": "datetime64[us]", "done": "bool"}
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
