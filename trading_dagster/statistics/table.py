"""Tables as typed columns: cheap to make and to store, turned into a frame only when somebody looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

Column: TypeAlias = "Sequence[Any] | npt.NDArray[Any]"


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length by name.

    Args:
        columns: Values; None is a missing text, time or duration.
        types: Type of each column: int64, float64, bool, str, datetime64[us] (naive UTC) or timedelta64[us].
    """

    columns: Mapping[str, Column]
    types: Mapping[str, str]

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[Any]], types: Mapping[str, str]) -> Table:
        """Make a table of rows, each with a value for every type in order."""
        values: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else ((),) * len(types)
        return cls(dict(zip(types, values, strict=True)), types)

    @classmethod
    def join(cls, tables: Sequence[Table], types: Mapping[str, str]) -> Table:
        """Return the rows of several tables of the same types, one after the other."""
        return cls({name: _join_columns([table.columns[name] for table in tables]) for name in types}, types)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values()), ()))

    def has_same_values(self, other: Table) -> bool:
        """Tell whether another table has the same columns and rows; missing values equal each other."""
        return self.types == other.types and all(
            _are_same(self.columns[name], other.columns[name], dtype) for name, dtype in self.types.items()
        )

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Return the table as a frame with these types."""
        return pd.DataFrame({name: self._own_array(name) for name in self.types}, copy=False)

    def _own_array(self, name: str) -> Any:
        """Return a column as an array that nobody else has."""
        column = self.columns[name]
        return column.copy() if isinstance(column, np.ndarray) else as_array(column, self.types[name])


def _join_columns(columns: Sequence[Column]) -> Column:
    arrays = [column for column in columns if isinstance(column, np.ndarray)]
    if len(arrays) == len(columns) and arrays:
        return np.concatenate(arrays)
    return [value for column in columns for value in column]


def _are_same(values: Column, others: Column, dtype: str) -> bool:
    are_plain = not isinstance(values, np.ndarray) and not isinstance(others, np.ndarray)
    if are_plain and list(values) == list(others):  # NaN that are different objects are found equal as arrays
        return True
    if dtype == "str":
        return list(values) == list(others)
    one, two = as_array(values, dtype), as_array(others, dtype)
    return np.array_equal(one, two, equal_nan=dtype != "bool")


def as_array(values: Column, dtype: str) -> Any:
    """Return values as an array of a type, missing times as NaT."""
    if isinstance(values, np.ndarray):
        return values
    if dtype == "str":
        return pd.array(list(values), dtype="str")
    if dtype.startswith(("datetime64", "timedelta64")):  # pandas reads datetimes ten times as fast as numpy
        times: Any = pd.array(list(values), dtype=cast("Any", dtype))
        return times.to_numpy()
    return np.array(values, dtype=dtype)
