"""How 100,000 pairs are chosen from without loading them: python -m benchmarks.pair_scale [--pairs N --days N].

A lake of daily candles of 100,000 pairs over 365 days (36.5 million candles, less those before a tenth of the pairs was
born and after another tenth died; 12 files) is made once. Then the 100 pairs with most volume of the last 30 days are
chosen at each first of a month (`select_by_volume`), in a process of its own: told are wall and CPU time, and its peak
memory beside what the candles take in memory. The choice is checked against one made with numpy from all volumes.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.lake import Lake
from trading_dagster.market.membership import select_by_volume

START = datetime.fromisoformat("2023-01-01")
WINDOW = timedelta(days=30)
TOP = 100
GIB = 2**30


def draw_volume(pairs: int, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Return volume in base tokens and closes, shape (pairs, days); volume is NaN where there is no candle."""
    draw = np.random.default_rng(9)
    lives_on = draw.random((2, pairs)) < 0.9
    born = np.where(lives_on[0], 0, draw.integers(0, days, pairs))[:, None]
    dies = np.where(lives_on[1], days, draw.integers(0, days, pairs))[:, None]
    day = np.arange(days)
    size = draw.lognormal(5, 3, pairs)[:, None]
    volume = (size * draw.exponential(1, (pairs, days))).round(3)
    volume[(day < born) | (day >= dies)] = np.nan
    return volume, np.tile(draw.uniform(0.5, 50, pairs).round(4)[:, None], (1, days))


def make_lake(folder: Path, pairs: int, days: int) -> Path:
    """Write the lake once; in its own layout, months at rest."""
    root = folder / f"pairs-{pairs}x{days}"
    if (root / "done").is_file():
        return root
    shutil.rmtree(root, ignore_errors=True)
    target = root / "scale" / TimeBucket.d1.value
    target.mkdir(parents=True)
    volume, close = draw_volume(pairs, days)
    names = pa.array([f"P{place:06d}/USD@dex {1} 0.003" for place in range(pairs)])
    times = pd.date_range(START, periods=days, freq="D", unit="us")
    for month in sorted(set(times.to_period("M"))):
        own = np.flatnonzero(times.to_period("M") == month)
        rows, cells = np.nonzero(np.isfinite(volume[:, own]))
        cells = own[cells]
        prices = close[rows, cells]
        table = {
            "market": pa.DictionaryArray.from_arrays(pa.array(rows.astype(np.int32)), names).cast(pa.string()),
            "timestamp": pa.array(times.to_numpy()[cells]).cast(pa.timestamp("us", "UTC")),
            **{name: pa.array(prices) for name in ("open", "high", "low", "close")},
            "volume": pa.array(volume[rows, cells]),
        }
        pq.write_table(
            pa.table(table), target / f"{month}.parquet", compression="zstd", row_group_size=131_072,
            use_dictionary=["market"],
        )  # fmt: skip
    (root / "done").touch()
    return root


def choose(root: str, days: int) -> None:
    """Choose, and tell what it took."""
    from trading_dagster.market.lake import LakeSource

    wall, cpu = time.perf_counter(), time.process_time()
    start = START + timedelta(days=31)
    chosen = select_by_volume(
        LakeSource(Lake(root), "scale"), TimeBucket.d1, top=TOP, start=start, end=START + timedelta(days=days),
        window=WINDOW,
    )  # fmt: skip
    told = {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB,
        "members": {
            period.since.isoformat(): [str(member[2]) for member in period.members] for period in chosen.periods
        },
    }
    print(json.dumps(told))


def require_equal(members: dict[str, list[str]], pairs: int, days: int) -> None:
    """Compare with a choice from all volumes in memory."""
    volume, close = draw_volume(pairs, days)
    for since, names in members.items():
        day = (datetime.fromisoformat(since) - START).days
        value = np.nansum(volume[:, day - WINDOW.days : day] * close[:, day - WINDOW.days : day], axis=1)
        best = np.argsort(-value, kind="stable")[:TOP]
        assert {f"P{place:06d}" for place in best} == set(names), since


def main() -> None:
    """Measure and print."""
    if len(sys.argv) > 1 and sys.argv[1] == "--choose":
        choose(sys.argv[2], int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--data", type=Path, default=Path(".benchmarks"))
    options = parser.parse_args()
    root = make_lake(options.data, options.pairs, options.days)
    command = [sys.executable, "-m", "benchmarks.pair_scale", "--choose", str(root), str(options.days)]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    told = json.loads(finished.stdout)
    require_equal(told["members"], options.pairs, options.days)
    rows = sum(pq.read_metadata(path).num_rows for path in root.rglob("*.parquet"))
    print(
        f"{options.pairs:,} pairs, {rows:,} daily candles ({rows * 56 / GIB:.2f} GiB in memory): top {TOP} of "
        f"{len(told['members'])} months, equal to a choice from all of them\n"
        f"{told['wall']:.1f} s wall, {told['cpu']:.1f} s CPU, peak {told['peak_gib']:.2f} GiB with Python itself"
    )


if __name__ == "__main__":
    main()
