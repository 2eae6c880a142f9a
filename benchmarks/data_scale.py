"""How the lake takes 17.5 million candles, beside plain DuckDB: python -m benchmarks.data_scale [--pairs N --hours N].

Synthetic hourly candles of 1,000 pairs over 17,520 hours lie in 24 Parquet files, one a month. Ours, in one process:
*import* them into a lake (checked against the contract, sorted, hashed, written), *check* their quality pair by pair,
*load* them as a universe, and *resample* them to daily candles loaded as another. Plain DuckDB, in another process:
reads the same files and computes the same aggregates - by pair the counts that the quality report has of what can be
said in SQL (rows, span, duplicates, not finite, impossible, not positive, negative volume, missing bars, longest gap,
jumps), and the daily candles - and reads all rows into memory, as a universe needs them. Writing is ours alone.

Both may use all cores. Told are wall and CPU time, the ratio of each, and peak memory. Target: at most 3 times DuckDB's
time, below 4 GiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

START = pd.Timestamp("2022-01-01")
GIB = 2**30
PRICES = ("open", "high", "low", "close")

QUALITY_SQL = """
WITH ordered AS (
    SELECT pair, timestamp, open, high, low, close, volume,
        lag(timestamp) OVER w AS before_at, lag(close) OVER w AS before
    FROM read_parquet({files}) WINDOW w AS (PARTITION BY pair ORDER BY timestamp)
)
SELECT pair, count(*) AS rows, min(timestamp) AS first, max(timestamp) AS last,
    count(*) FILTER (timestamp = before_at) AS duplicates,
    count(*) FILTER (NOT isfinite(open + high + low + close + volume)) AS not_finite,
    count(*) FILTER (high < low OR open > high OR open < low OR close > high OR close < low) AS impossible,
    count(*) FILTER (least(open, high, low, close) <= 0) AS non_positive,
    count(*) FILTER (volume < 0) AS negative_volume,
    sum(greatest(0, epoch_us(timestamp) - epoch_us(before_at) - 3600000000) // 3600000000) AS missing_bars,
    max(timestamp - before_at) AS longest_gap,
    count(*) FILTER (abs(ln(close / before)) > ln(1.5)) AS jumps
FROM ordered GROUP BY pair ORDER BY pair
"""
DAILY_SQL = """
SELECT pair, date_trunc('day', timestamp) AS day, arg_min(open, timestamp) AS open, max(high) AS high, min(low) AS low,
    arg_max(close, timestamp) AS close, sum(volume) AS volume
FROM read_parquet({files}) GROUP BY ALL ORDER BY pair, day
"""
ROWS_SQL = "SELECT pair, timestamp, open, high, low, close, volume FROM read_parquet({files})"


def make_files(folder: Path, pairs: int, hours: int) -> list[Path]:
    """Write the candles once, a file a month."""
    folder = folder / f"scale-{pairs}x{hours}"
    if not (folder / "done").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _write_files(folder, pairs, hours)
        (folder / "done").touch()
    return sorted(folder.glob("*.parquet"))


def _write_files(folder: Path, pairs: int, hours: int) -> None:
    draw = np.random.default_rng(5)
    close = draw.uniform(0.5, 2_000, pairs)
    names = pa.array([f"C{place:05d}/USD" for place in range(pairs)])
    times = pd.date_range(START, periods=hours, freq="h", unit="us")
    for month in sorted(set(times.to_period("M"))):
        own = times[times.to_period("M") == month]
        shape = (pairs, len(own))
        closes = close[:, None] * np.exp(np.cumsum(draw.normal(0, 0.008, shape), axis=1))
        opens = np.concatenate([close[:, None], closes[:, :-1]], axis=1)
        close = closes[:, -1]
        wick = np.abs(draw.normal(0, 0.003, (2, *shape)))
        columns = {
            "open": opens,
            "high": np.maximum(opens, closes) * (1 + wick[0]),
            "low": np.minimum(opens, closes) * (1 - wick[1]),
            "close": closes,
            "volume": draw.exponential(1_000, shape),
        }
        codes = pa.array(np.repeat(np.arange(pairs, dtype=np.int32), len(own)))
        table = {
            "timestamp": pa.array(np.tile(own.to_numpy(), pairs)).cast(pa.timestamp("us", "UTC")),
            "pair": pa.DictionaryArray.from_arrays(codes, names),
        } | {name: pa.array(values.round(6).reshape(-1)) for name, values in columns.items()}
        pq.write_table(pa.table(table), folder / f"{month}.parquet", compression="zstd")


class Clock:
    """Times steps; wall and CPU seconds, children not counted."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}

    def run(self, name: str, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.steps[name] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        return result

    def tell(self, **more: Any) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
        print(json.dumps({"steps": self.steps, "peak_gib": peak, **more}))


def run_duckdb(files: list[str]) -> None:
    """Compute the aggregates."""
    clock = Clock()
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    quality = clock.run("check", lambda: connection.sql(QUALITY_SQL.format(files=files)).fetchnumpy())
    daily = clock.run("resample", lambda: connection.sql(DAILY_SQL.format(files=files)).fetchnumpy())
    clock.run("load", lambda: connection.sql(ROWS_SQL.format(files=files)).to_arrow_table())
    clock.tell(
        rows=int(quality["rows"].sum()),
        bad=int(sum(quality[name].sum() for name in ("duplicates", "impossible", "non_positive", "not_finite"))),
        days=len(daily["day"]),
        daily_volume=float(daily["volume"].sum()),
        daily_close=float(daily["close"].sum()),
    )


def run_lake(folder: str, lake_folder: str) -> None:
    """Import, check, load, resample."""
    from trading_dagster.domain.time import TimeBucket
    from trading_dagster.market.file_source import FileSource
    from trading_dagster.market.lake import Lake
    from trading_dagster.market.lake_import import import_candles
    from trading_dagster.market.lake_quality import report_quality
    from trading_dagster.market.loader import load_partial_data
    from trading_dagster.market.universe import TradingStrategyUniverse

    clock, lake = Clock(), Lake(lake_folder)

    def load(bucket: TimeBucket) -> TradingStrategyUniverse:
        dataset = load_partial_data(lake.source("scale"), None, bucket)
        return TradingStrategyUniverse.create_from_dataset(dataset)

    report = clock.run("import", lambda: import_candles(lake, FileSource(folder, exchange="synthetic"), name="scale"))
    quality = clock.run("check", lambda: report_quality(lake.source("scale"), TimeBucket.h1))
    daily = clock.run("resample", lambda: load(TimeBucket.d1))
    volume = float(np.nansum(daily.candles.columns["volume"]))
    close = float(np.nansum(daily.candles.columns["close"]))
    days = int(daily.candles.exists.sum())
    universe = clock.run("load", lambda: load(TimeBucket.h1))
    assert int(universe.candles.exists.sum()) == report.rows_added
    clock.tell(
        rows=int(quality["rows"].sum()),
        bad=int(quality[["duplicates", "impossible", "non_positive", "not_finite"]].sum().sum()),
        days=days,
        daily_volume=volume,
        daily_close=close,
    )


def run_apart(*arguments: str) -> dict[str, Any]:
    """Run a part in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.data_scale", *arguments]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return told


def compare(files: list[Path]) -> None:
    """Run both and print."""
    with tempfile.TemporaryDirectory(dir=files[0].parent.parent) as scratch:
        theirs = run_apart("--duckdb", *map(str, files))
        ours = run_apart("--lake", str(files[0].parent), scratch)
    for name in ("rows", "bad", "days"):
        assert ours[name] == theirs[name], (name, ours[name], theirs[name])
    for name in ("daily_volume", "daily_close"):
        assert abs(ours[name] / theirs[name] - 1) < 1e-9, name
    print(f"{ours['rows']:,} candles of {len(files)} files, {ours['days']:,} daily ones; all aggregates equal")
    totals = {}
    for who, told in (("DuckDB", theirs), ("lake", ours)):
        steps = told["steps"]
        totals[who] = {kind: sum(step[kind] for step in steps.values()) for kind in ("wall", "cpu")}
        parts = ", ".join(f"{name} {step['wall']:.1f}/{step['cpu']:.1f}" for name, step in steps.items())
        total = totals[who]
        print(
            f"{who:7} {total['wall']:6.1f} s wall {total['cpu']:6.1f} s CPU, peak {told['peak_gib']:.2f} GiB ({parts})"
        )
    ratios = {kind: totals["lake"][kind] / totals["DuckDB"][kind] for kind in ("wall", "cpu")}
    is_met = ratios["wall"] <= 3 and ours["peak_gib"] < 4
    verdict = "met" if is_met else "MISSED"
    print(
        f"ratio   {ratios['wall']:6.2f} wall   {ratios['cpu']:6.2f} CPU   target 3 by the clock, below 4 GiB: {verdict}"
    )


def main() -> None:
    """Measure and print."""
    if len(sys.argv) > 1 and sys.argv[1] == "--duckdb":
        run_duckdb(sys.argv[2:])
        return
    if len(sys.argv) > 1 and sys.argv[1] == "--lake":
        run_lake(*sys.argv[2:4])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--pairs", type=int, default=1_000)
    parser.add_argument("--hours", type=int, default=17_520)
    parser.add_argument("--data", type=Path, default=Path(".benchmarks"))
    options = parser.parse_args()
    compare(make_files(options.data, options.pairs, options.hours))


if __name__ == "__main__":
    main()
