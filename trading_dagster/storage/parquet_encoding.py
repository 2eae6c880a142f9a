"""Small tables as Parquet files, many at a time.

A general writer takes longer to set up a column than to fill it, so writing the partitions of a backtest with one took
a fifth of the time of the backtest. These files have one page a column, its values plain, without statistics. Their
bytes depend on the rows alone: they name no version of a library.

Format: github.com/apache/parquet-format, ``parquet.thrift`` in Thrift's compact protocol, in which a field is a byte
(how far its number is from the one before, and its type) and a value, and a zero byte ends a structure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trading_dagster.domain.error import SerialisationRefused
from trading_dagster.statistics.table import Column, Table, as_array

GROUP_ROWS = 100_000
"""Rows of a group, the unit that readers can read apart from the rest."""

SMALLEST_COMPRESSED = 512
"""Bytes; shorter pages stay as they are."""

_MAGIC = b"PAR1"
_SNAPPY = pa.Codec("snappy")
_Piece = tuple[int, int]
"""First row and the one after the last."""


def tables_to_parquet(tables: Sequence[Table]) -> list[bytes]:
    """Return tables of the same types as Parquet files: together sooner, but each the same as it would be alone.

    Raises:
        SerialisationRefused: Parquet has no form for a type.
    """
    types = tables[0].types
    form = _Form.of(types)
    joined = Table.join(tables, types).columns
    pieces = list(_cut([len(table) for table in tables]))
    every = [piece for of_table in pieces for piece in of_table]
    columns = [_encode_column(joined[name], dtype, every) for name, dtype in types.items()]
    groups = zip(*columns, strict=True)
    return [_assemble(form, [(end - begin, next(groups)) for begin, end in of_table]) for of_table in pieces]


def _cut(lengths: Sequence[int]) -> Iterator[list[_Piece]]:
    """Yield for each table the groups of its rows, counted through all tables."""
    first = 0
    for length in lengths:
        end = first + length
        yield [(begin, min(begin + GROUP_ROWS, end)) for begin in range(first, end, GROUP_ROWS)]
        first = end


# -- values -----------------------------------------------------------------------------------------------------------


def _encode_column(column: Column, dtype: str, pieces: Sequence[_Piece]) -> list[bytes]:
    """Return a page of values for each piece of a column; where they may be missing, which are there comes first."""
    if dtype == "str":
        return _encode_texts(column, pieces)
    values = as_array(column, dtype).astype(dtype, casting="same_kind", copy=False)
    if dtype == "bool":
        return [np.packbits(values[begin:end], bitorder="little").tobytes() for begin, end in pieces]
    if not dtype.startswith("datetime64"):
        return [values[begin:end].tobytes() for begin, end in pieces]
    is_known = (~np.isnat(values)).tobytes()
    return [_encode_times(values[begin:end], is_known[begin:end]) for begin, end in pieces]


def _encode_times(times: npt.NDArray[Any], is_known: bytes) -> bytes:
    known = times if 0 not in is_known else times[~np.isnat(times)]
    return _encode_presence(is_known) + known.tobytes()


def _encode_texts(column: Column, pieces: Sequence[_Piece]) -> list[bytes]:
    encoded = {text: b"" if text is None else _with_length(text.encode()) for text in set(column)}
    is_known = b"\1" * len(column) if None not in encoded else bytes(text is not None for text in column)
    return [
        _encode_presence(is_known[begin:end]) + b"".join(map(encoded.__getitem__, column[begin:end]))
        for begin, end in pieces
    ]


def _encode_presence(is_known: bytes) -> bytes:
    """Return which values there are, from a byte a row that is 0 or 1, as runs of equal ones."""
    if 0 not in is_known:
        return _with_length(_size(len(is_known) << 1) + b"\1")
    runs = ((known, sum(1 for _ in run)) for known, run in groupby(is_known))
    return _with_length(b"".join([_size(count << 1) + bytes([known]) for known, count in runs]))


def _with_length(content: bytes) -> bytes:
    return len(content).to_bytes(4, "little") + content


# -- structures -------------------------------------------------------------------------------------------------------

_BOOL_FALSE, _I32, _I64, _BINARY, _LIST, _STRUCT = 2, 5, 6, 8, 9, 12
_END = b"\0"


def _size(value: int) -> bytes:
    """Return an unsigned number, seven bits a byte, the lowest first."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _number(value: int) -> bytes:
    """Return a number of zero or more, which in a signed field is written doubled."""
    return _size(value << 1)


def _field(step: int, kind: int, value: bytes = b"") -> bytes:
    """Return a field whose number is so far from the one before."""
    return bytes([step << 4 | kind]) + value


def _text(value: str) -> bytes:
    raw = value.encode()
    return _size(len(raw)) + raw


def _list(kind: int, count: int) -> bytes:
    """Return the head of a list."""
    return bytes([count << 4 | kind]) if count < 15 else bytes([15 << 4 | kind]) + _size(count)


_NEXT_I32, _NEXT_I64, _NEXT_BUT_ONE_I64 = _field(1, _I32), _field(1, _I64), _field(2, _I64)
_REQUIRED, _OPTIONAL = _number(0), _number(1)
_PLAIN, _RUNS = _number(0), _number(3)
_UNCOMPRESSED, _COMPRESSED = _number(0), _number(1)
_BOOLEAN, _INT64, _DOUBLE, _BYTES = map(_number, (0, 2, 5, 6))
_IS_TEXT = _field(2, _I32, _number(0)) + _field(4, _STRUCT, _field(1, _STRUCT, _END) + _END)
_IS_LOCAL_TIME_US = _field(
    6, _STRUCT, _field(8, _STRUCT, _field(1, _BOOL_FALSE) + _field(1, _STRUCT, _field(2, _STRUCT, _END) + _END) + _END)
    + _END
)  # fmt: skip
_TYPES = {
    "bool": (_BOOLEAN, _REQUIRED, b""),
    "int64": (_INT64, _REQUIRED, b""),
    "float64": (_DOUBLE, _REQUIRED, b""),
    "str": (_BYTES, _OPTIONAL, _IS_TEXT),
    "datetime64[us]": (_INT64, _OPTIONAL, _IS_LOCAL_TIME_US),
}
"""How a type is stored, whether values may be missing, and what readers take it for."""

# PageHeader: 1 kind of page, 2 size, 3 compressed size, 5 DataPageHeader: 1 values, 2 encoding, 3 and 4 of levels
_PAGE_BEGIN = _field(1, _I32, _number(0)) + _NEXT_I32
_PAGE_VALUES = _field(2, _STRUCT) + _NEXT_I32
_PAGE_END = _NEXT_I32 + _PLAIN + (_NEXT_I32 + _RUNS) * 2 + _END + _END


@dataclass(frozen=True, slots=True)
class _Form:
    """What is the same in all files of tables of the same types.

    Attributes:
        begin: FileMetaData up to its number of rows: 1 version, 2 schema.
        columns: ColumnChunk of each column up to its codec: 2 an offset that is always 0, 3 ColumnMetaData: 1 type,
            2 encodings, 3 path.
        columns_head: The head of a list of columns.
    """

    begin: bytes
    columns: Sequence[bytes]
    columns_head: bytes

    @classmethod
    def of(cls, types: Mapping[str, str]) -> _Form:
        unknown = set(types.values()) - set(_TYPES)
        if unknown:
            raise SerialisationRefused(f"A table has columns of type {sorted(unknown)}: use one of {sorted(_TYPES)}")
        root = _field(4, _BINARY, _text("schema")) + _NEXT_I32 + _number(len(types)) + _END
        leaves, columns = [], []
        for name, dtype in types.items():
            stored, repetition, meaning = _TYPES[dtype]
            named = _NEXT_I32 + stored + _field(2, _I32, repetition) + _field(1, _BINARY, _text(name))
            leaves.append(named + meaning + _END)
            columns.append(
                b"".join([
                    _NEXT_BUT_ONE_I64, _number(0), _field(1, _STRUCT), _NEXT_I32, stored,
                    _field(1, _LIST, _list(_I32, 2)), _PLAIN, _RUNS,
                    _field(1, _LIST, _list(_BINARY, 1)), _text(name), _NEXT_I32,
                ])
            )  # fmt: skip
        schema = _field(1, _LIST, _list(_STRUCT, len(types) + 1)) + root + b"".join(leaves)
        return cls(_NEXT_I32 + _number(1) + schema, columns, _list(_STRUCT, len(types)))


def _assemble(form: _Form, groups: Sequence[tuple[int, Sequence[bytes]]]) -> bytes:
    """Return a file of groups, each the number of its rows and a page for each column."""
    parts, described, offset = [_MAGIC], list[bytes](), len(_MAGIC)
    for rows, pages in groups:
        values, whole_size, chunks = _number(rows), 0, list[bytes]()
        for begin, page in zip(form.columns, pages, strict=True):
            is_long = len(page) >= SMALLEST_COMPRESSED
            stored = _SNAPPY.compress(page, asbytes=True) if is_long else page
            head = b"".join(
                (_PAGE_BEGIN, _number(len(page)), _NEXT_I32, _number(len(stored)), _PAGE_VALUES, values, _PAGE_END)
            )
            codec = _COMPRESSED if is_long else _UNCOMPRESSED
            size, stored_size = _number(len(head) + len(page)), _number(len(head) + len(stored))
            # ColumnMetaData goes on: 5 values, 6 and 7 sizes, 9 offset
            chunks += (begin, codec, _NEXT_I64, values, _NEXT_I64, size, _NEXT_I64, stored_size)
            chunks += (_NEXT_BUT_ONE_I64, _number(offset), _END, _END)
            parts += (head, stored)
            offset += len(head) + len(stored)
            whole_size += len(head) + len(page)
        # RowGroup: 1 columns, 2 size, 3 rows
        described += (_field(1, _LIST), form.columns_head, *chunks, _NEXT_I64, _number(whole_size), _NEXT_I64, values)
        described.append(_END)
    # FileMetaData goes on: 3 rows, 4 groups, 6 writer
    total = _NEXT_I64 + _number(sum(rows for rows, _ in groups)) + _field(1, _LIST, _list(_STRUCT, len(groups)))
    writer = _field(2, _BINARY, _text("trading-dagster")) + _END
    footer = b"".join([form.begin, total, *described, writer])
    return b"".join([*parts, footer, len(footer).to_bytes(4, "little"), _MAGIC])
