"""One month of candles in the lake: a Parquet file that carries its own version, content hash and coverage.

What the file covers stands in its footer, so candles and their description change in one rename. Versions:

1. OHLCV and later TVL and counts, no version in the footer, one row group.
2. The footer names its version; rows by market, then time, in row groups of `GROUP_ROWS`, so that a reader of few
   markets skips the others.

Older versions are read as they are; whatever writes a month writes the newest. `compact_lake` brings all up to date.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trading_dagster.domain.error import CandleContractBroken, LakeNotSupported
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket, from_unix_us, to_unix_us
from trading_dagster.market.atomic_file import write_atomically
from trading_dagster.market.contract import Candles, is_in_order
from trading_dagster.market.identifier_json import pair_from_json, pair_to_json
from trading_dagster.market.market_key import key_without_pool, market_key
from trading_dagster.market.panel import OHLCV, PRICE_COLUMNS, Integers
from trading_dagster.market.source import Market

FOOTER_KEY = b"trading_dagster"
VERSION_KEY = b"trading_dagster_version"
"""Says the version again, so that it is known without reading the footer; from version 3 on."""

SCHEMA = pa.schema(
    [("market", pa.dictionary(pa.int32(), pa.string())), ("timestamp", pa.timestamp("us", "UTC"))]
    + [(name, pa.float64()) for name in OHLCV]
)
TVL_COLUMNS = tuple(f"tvl_{name}" for name in PRICE_COLUMNS)
EXTRA_COLUMNS = (*TVL_COLUMNS, "buys", "sells")
"""What only some sources have: TVL in USD over the bar, and how many swaps bought and sold the base token."""
VERSION = 3
GROUP_ROWS = 32_768
QUICK_LEVEL, COMPACT_LEVEL = 3, 15
"""Levels of compression: for months that still grow, and for those at rest."""

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a month file knows of a market: the times asked for, and the candles found.

    Args:
        market: The market; its span is that of the candles in this file.
        row_count: Number of candles.
        covered: Times [from, to) that were asked of the source, microseconds since 1970, sorted, disjoint.
    """

    market: Market
    row_count: int
    covered: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class MonthContent:
    """The footer of a month file; ``is_compact`` when it was written to stay as it is."""

    content_hash: str
    row_count: int
    coverages: tuple[Coverage, ...]
    version: int = VERSION
    is_compact: bool = False


def write_month(
    path: Path,
    bucket: TimeBucket,
    frame: Candles,
    coverages: Sequence[Coverage],
    *,
    is_compact: bool = False,
    turn: Callable[[], None] = lambda: None,
) -> MonthContent:
    """Write a month atomically and return its footer.

    Args:
        path: The file.
        bucket: Width of the candles.
        frame: timestamp (naive UTC), market (see `market_key`), open, high, low, close, volume; columns of
            `EXTRA_COLUMNS` are kept where they are.
        coverages: One for each market, also those without candles.
        is_compact: Take time to make the file small: for months that do not grow any more.
        turn: Called when all is ready, before the file is put into place.
    """
    frame = in_order(frame)
    extra = extra_columns(frame)
    numbers = (*OHLCV, *extra)
    table = pa.table(
        [
            _to_dictionary(frame["market"]),
            pa.array(frame["timestamp"].dt.tz_localize("UTC"), SCHEMA.field("timestamp").type),
            *(pa.array(frame[name], pa.float64()) for name in numbers),
        ],
        schema=pa.schema([*SCHEMA, *((name, pa.float64()) for name in extra)]),
    )
    ordered = tuple(sorted(coverages, key=lambda c: market_key(c.market)))
    content = MonthContent(hash_rows(frame), len(frame), ordered, is_compact=is_compact)
    footer = {
        FOOTER_KEY: json.dumps(_to_json(content, bucket), sort_keys=True).encode(),
        VERSION_KEY: str(VERSION).encode(),
    }
    write_atomically(
        path,
        lambda temporary: pq.write_table(
            table.replace_schema_metadata(footer),
            temporary,
            compression="zstd",
            compression_level=COMPACT_LEVEL if is_compact else QUICK_LEVEL,
            row_group_size=GROUP_ROWS,
            use_dictionary=["market"],
            column_encoding={"timestamp": "DELTA_BINARY_PACKED", **dict.fromkeys(numbers, "BYTE_STREAM_SPLIT")},
        ),
        turn,
    )
    return content


def as_markets(marks: pd.Series, names: Iterable[str] = ()) -> pd.Series:
    """Return the names of markets as a categorical whose categories, ``names`` among them, are sorted."""
    categories = marks.cat.categories if isinstance(marks.dtype, pd.CategoricalDtype) else marks.unique()
    known = sorted({str(name) for name in categories}.union(names))
    return marks.astype(pd.CategoricalDtype(known))


def in_order(frame: Candles) -> Candles:
    """Return the rows sorted by market and time, the markets as a categorical of those there are."""
    marks = as_markets(frame["market"]).cat.remove_unused_categories()
    codes: Integers = np.asarray(marks.cat.codes, dtype=np.int64)
    times = frame["timestamp"].to_numpy()
    frame = frame.assign(market=marks).reset_index(drop=True)
    return frame if is_in_order(codes, times) else frame.iloc[np.lexsort((times, codes))].reset_index(drop=True)


def _to_dictionary(marks: pd.Series) -> pa.DictionaryArray:
    names = pa.array([str(name) for name in marks.cat.categories], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(marks.cat.codes.to_numpy(dtype=np.int32)), names)


def read_footer(path: Path) -> MonthContent:
    """Return the footer of a month file.

    Raises:
        CandleContractBroken: The file is damaged.
        LakeNotSupported: It was written by a newer version.
    """
    about = _read_about(path)
    bucket = TimeBucket(about["bucket"])
    coverages = tuple(_coverage(item, bucket) for item in about["markets"])
    return MonthContent(
        about["content_hash"],
        about["row_count"],
        coverages,
        about.get("version", 1),
        bool(about.get("is_compact", False)),
    )


def read_digest(path: Path) -> tuple[str, int]:
    """Return content hash and number of rows of a month file; raises as `read_footer`."""
    about = _read_about(path)
    return about["content_hash"], about["row_count"]


def _read_about(path: Path) -> dict[str, Any]:
    try:
        metadata = pq.read_metadata(path).metadata or {}
        about: dict[str, Any] = json.loads(metadata[FOOTER_KEY])
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise CandleContractBroken(
            f"path {path}: not a month of the lake ({error}); delete it, import again"
        ) from error
    version = about.get("version", 1)
    if version > VERSION:
        raise LakeNotSupported(
            f"path {path}: written in version {version} of the lake, this program knows up to {VERSION}: update it, "
            "or use another lake"
        )
    return about


def extra_columns(frame: Candles) -> list[str]:
    """Return the columns of `EXTRA_COLUMNS` that a frame has, in their order."""
    return [name for name in EXTRA_COLUMNS if name in frame.columns]


def has_tvl(path: Path) -> bool:
    """Tell whether a month file has TVL."""
    return TVL_COLUMNS[0] in pq.read_schema(path).names


def find_renames(path: Path, metadata: Mapping[bytes, bytes] | None = None) -> dict[str, str]:
    """Return by what marks the rows of a market in a month file of an older version what marks them today.

    Args:
        path: The file.
        metadata: Of its schema, where it is known.
    """
    known = metadata if metadata is not None else pq.read_metadata(path).metadata or {}
    if VERSION_KEY in known:
        return {}
    markets = [coverage.market for coverage in read_footer(path).coverages]
    return {key_without_pool(market): market_key(market) for market in markets if market.identifier is not None}


def rename_markets(frame: Candles, renames: Mapping[str, str]) -> Candles:
    """Return rows with the names of markets as they are today."""
    if not renames or not len(frame):
        return frame
    marks = as_markets(frame["market"])
    return frame.assign(market=marks.cat.rename_categories(lambda name: renames.get(name, name)))


def read_month(path: Path, *, as_stored: bool = False) -> Candles:
    """Return the candles of a month file: market, timestamp (naive UTC), open, high, low, close, volume, extras.

    ``as_stored`` leaves markets the names that an older version gave them, of which the content hash is made.
    """
    try:
        frame = pq.read_table(path).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise CandleContractBroken(f"path {path}: not readable ({error}); delete it, import again") from error
    frame["timestamp"] = frame["timestamp"].dt.tz_localize(None)
    return frame if as_stored else rename_markets(frame, find_renames(path))


def hash_rows(frame: Candles) -> str:
    """Return a hash of candles sorted by market and time."""
    digest = hashlib.blake2b(digest_size=16)
    codes, names = pd.factorize(frame["market"])
    digest.update(json.dumps([str(name) for name in names]).encode())
    digest.update(np.asarray(codes, dtype=np.int64).tobytes())
    digest.update(pd.DatetimeIndex(frame["timestamp"]).as_unit("us").asi8.tobytes())
    for name in (*OHLCV, *extra_columns(frame)):
        digest.update(frame[name].to_numpy(dtype=np.float64).tobytes())
    return digest.hexdigest()


def join_intervals(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return the same times as sorted, disjoint intervals."""
    joined: list[Interval] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif start < end:
            joined.append((start, end))
    return tuple(joined)


def missing_intervals(wanted: Interval, covered: Iterable[Interval]) -> list[Interval]:
    """Return the parts of ``wanted`` that no interval covers."""
    missing, position = [], wanted[0]
    for start, end in join_intervals(covered):
        if start > position:
            missing.append((position, min(start, wanted[1])))
        position = max(position, end)
        if position >= wanted[1]:
            break
    if position < wanted[1]:
        missing.append((position, wanted[1]))
    return [(start, end) for start, end in missing if start < end]


def _to_json(content: MonthContent, bucket: TimeBucket) -> dict[str, Any]:
    return {
        "version": content.version,
        "is_compact": content.is_compact,
        "bucket": bucket.value,
        "content_hash": content.content_hash,
        "row_count": content.row_count,
        "markets": [
            {
                "chain_id": int(item.market.chain_id),
                "exchange_slug": item.market.exchange_slug,
                "pair": item.market.pair,
                "first_us": to_unix_us(item.market.first_at),
                "last_us": to_unix_us(item.market.last_at),
                "fee": item.market.fee,
                "identifier": None if item.market.identifier is None else pair_to_json(item.market.identifier),
                "row_count": item.row_count,
                "covered": item.covered,
            }
            for item in content.coverages
        ],
    }


def _coverage(about: dict[str, Any], bucket: TimeBucket) -> Coverage:
    market = Market(
        chain_id=ChainId(about["chain_id"]),
        exchange_slug=about["exchange_slug"],
        pair=about["pair"],
        bucket=bucket,
        first_at=from_unix_us(about["first_us"]),
        last_at=from_unix_us(about["last_us"]),
        fee=about["fee"],
        identifier=None if about["identifier"] is None else pair_from_json(about["identifier"]),
    )
    return Coverage(market, about["row_count"], tuple((start, end) for start, end in about["covered"]))
