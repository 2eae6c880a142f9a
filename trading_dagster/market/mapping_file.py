"""A mapping file: what a user says that the columns, pairs and times of his files mean."""

from __future__ import annotations

from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import Literal

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.exchange import split_ticker
from trading_dagster.market.file_layout import FileLayout


@checked_dataclass(frozen=True, config={"extra": "forbid"})
class MappingFile:
    """The fields of a mapping file, see docs/data.md."""

    columns: dict[str, str] = field(default_factory=dict)
    header: list[str] | None = None
    pairs: dict[str, str] = field(default_factory=dict)
    pair: str | None = None
    exchange: str | None = None
    bucket: str | None = None
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    time_format: str | None = None
    label: Literal["open", "close"] = "open"
    utc_offset_hours: float = 0.0
    decimal: Literal[".", ","] = "."


def read_mapping(path: Path) -> FileLayout:
    """Read a mapping file; raises BadConfiguration naming every wrong field."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        given = TypeAdapter(MappingFile).validate_python(loaded or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadConfiguration(f"mapping {path}: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise BadConfiguration(f"mapping {path}: {wrong}; see docs/data.md for its fields") from None
    for pair in (*given.pairs.values(), *([given.pair] if given.pair else [])):
        split_ticker(pair)
    bucket = next((each for each in TimeBucket if given.bucket in (each.value, each.name)), None)
    if given.bucket is not None and bucket is None:
        known = ", ".join(each.value for each in TimeBucket)
        raise BadConfiguration(f"mapping {path}: bucket is {given.bucket!r}: use one of {known}")
    if given.label == "close" and bucket is None:
        raise BadConfiguration(f"mapping {path}: label is close, so bucket must say how wide the candles are: add it")
    shift = timedelta(hours=given.utc_offset_hours)
    if given.label == "close" and bucket is not None:
        shift += bucket.to_timedelta()
    return FileLayout(
        names={theirs: ours for ours, theirs in given.columns.items()},
        header=None if given.header is None else tuple(given.header),
        pairs=given.pairs,
        pair=given.pair,
        exchange=given.exchange,
        bucket=bucket,
        unit=given.time_unit,
        time_format=given.time_format,
        shift=shift,
        decimal=given.decimal,
    )
