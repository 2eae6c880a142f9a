"""The candles that every engine is measured on, cached as Parquet: seeded geometric random walks, and real ones.

Each workload is one long frame with the columns `pair_id, timestamp, open, high, low, close, volume`; timestamps are
naive UTC and label a candle by its open. The same seed gives the same values on every machine.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

FloatArray = npt.NDArray[np.float64]

DEFAULT_FOLDER = Path(".benchmarks")
SHARED_DATA = Path(os.environ.get("TRADING_DAGSTER_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
START_PRICE = 1000.0
GAP_SIGMA = 1e-4
"""Standard deviation of the logarithmic step from one close to the next open."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Size, shape and costs of one measurement.

    Attributes:
        name: Key on the command line and name of the cached file.
        pairs: Number of trading pairs, numbered from 1.
        start: First candle open, ISO date, UTC.
        bars: Candles a pair, before repetition.
        frequency: Pandas offset alias of the candle interval.
        sigma: Standard deviation of the logarithmic return of one candle.
        seed: Seed of the one generator that makes all pairs, in order of pair id.
        fee: Trading fee as a fraction of the traded amount.
        title: One line for the printed table.
        repeats: How often the walk is walked, each time from where it ended: more of the same, for growth.
        file: Real candles instead of a walk: a file of the folder of shared data, "" for none.
    """

    name: str
    pairs: int
    start: str
    bars: int
    frequency: str
    sigma: float
    seed: int
    fee: float
    title: str
    repeats: int = 1
    file: str = ""

    @property
    def rows(self) -> int:
        """Count candles over all pairs."""
        return self.pairs * self.bars * self.repeats

    @property
    def timestamps(self) -> pd.DatetimeIndex:
        """Return the candle opens, naive UTC, microsecond resolution."""
        return pd.date_range(self.start, periods=self.bars * self.repeats, freq=self.frequency).as_unit("us")


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("w1", 1, "2020-01-01", 1461 * 24, "1h", 0.008, 1, 0.003, "1 pair, hourly, 4 years, EMA cross"),
        Workload("w2", 1, "2023-01-01", 365 * 1440, "1min", 0.0008, 2, 0.00003, "1 pair, minutes, 1 year, EMA cross"),
        Workload("w3", 20, "2022-01-01", 730 * 24, "1h", 0.008, 3, 0.003, "20 pairs, hourly, daily top 5, 10 % stop"),
        Workload("w4", 1000, "2021-01-01", 1095, "1D", 0.04, 4, 0.003, "1,000 pairs, daily, weekly top 20"),
        Workload("w5", 1, "2020-01-01", 1461 * 24, "1h", 0.008, 1, 0.003, "w1 with 100 pairs of spans, on all cores"),
        Workload("growth-20k", 1, "2023-01-01", 20_000, "1min", 0.0008, 2, 0.00003, "1 pair, 20,000 cycles, EMA cross"),
        Workload(
            "growth-320k", 1, "2023-01-01", 20_000, "1min", 0.0008, 2, 0.00003, "the same, 16 times over", repeats=16
        ),
        Workload(
            "memory", 1000, "2022-01-01", 730 * 24, "1h", 0.008, 5, 0.003, "1,000 pairs, hourly, 2 years, 3 indicators"
        ),
        Workload(
            "alpha",
            136,
            "2024-01-01",
            6002,
            "1h",
            0.0,
            0,
            0.001,
            "136 real pairs, hourly weights, every midnight towards the top 20 by 1/n",
            file="binance_136pairs_1h.parquet",
        ),
    )
}


def generate_candles(
    generator: np.random.Generator, *, bars: int, sigma: float, start_price: float = START_PRICE
) -> dict[str, FloatArray]:
    """Draw one random walk: open, high, low and close in four decimals, volume in two.

    The open is the previous close times exp(N(0, 1e-4)); high and low lie beyond both by |N(0, sigma / 3)|.
    """
    close = start_price * np.exp(np.cumsum(generator.normal(0.0, sigma, bars)))
    opening = np.concatenate([[start_price], close[:-1]]) * np.exp(generator.normal(0, GAP_SIGMA, bars))
    high = np.maximum(opening, close) * np.exp(np.abs(generator.normal(0, sigma / 3, bars)))
    low = np.minimum(opening, close) * np.exp(-np.abs(generator.normal(0, sigma / 3, bars)))
    volume = generator.lognormal(8, 1, bars)
    opening, close = np.round(opening, 4), np.round(close, 4)
    return {
        "open": opening,
        "high": np.maximum(np.round(high, 4), np.maximum(opening, close)),
        "low": np.minimum(np.round(low, 4), np.minimum(opening, close)),
        "close": close,
        "volume": np.round(volume, 2),
    }


def repeat_candles(columns: dict[str, FloatArray], repeats: int) -> dict[str, FloatArray]:
    """Walk the same returns several times, each time from the close before."""
    scale = (columns["close"][-1] / START_PRICE) ** np.arange(repeats)
    return {
        name: np.tile(values, repeats) if name == "volume" else np.outer(scale, values).ravel()
        for name, values in columns.items()
    }


def read_pairs(workload: Workload) -> Iterator[pd.DataFrame]:
    """Yield real candles of one pair after the other, made as long as each other.

    What is missing gets a flat candle at the close before it, before the first candle at its open: engines without a
    notion of holes can run it, and a pair that does not trade has no momentum.
    """
    path = SHARED_DATA / workload.file
    if not path.is_file():
        raise FileNotFoundError(f"Workload {workload.name} needs {path}: set TRADING_DAGSTER_TEST_DATA to its folder")
    frame = pd.read_parquet(path)
    times = workload.timestamps
    for pair_id, (_, candles) in enumerate(frame.groupby("pair", sort=True), start=1):
        opens = pd.DatetimeIndex(candles["timestamp"]).tz_localize(None).as_unit("us")
        dense = candles.set_index(opens)[["open", "high", "low", "close", "volume"]].reindex(times)
        last = dense["close"].ffill().fillna(candles["open"].iloc[0])
        prices = {name: dense[name].fillna(last) for name in ("open", "high", "low", "close")}
        yield pd.DataFrame({"pair_id": np.int32(pair_id), **prices, "volume": dense["volume"].fillna(0.0)}).reset_index(
            names="timestamp"
        )


def iterate_pairs(workload: Workload) -> Iterator[pd.DataFrame]:
    """Yield the candles of one pair after the other, so that a large workload never has to fit into memory."""
    if workload.file:
        yield from read_pairs(workload)
        return
    generator = np.random.default_rng(workload.seed)
    timestamps = workload.timestamps
    for pair_id in range(1, workload.pairs + 1):
        columns = generate_candles(generator, bars=workload.bars, sigma=workload.sigma)
        if workload.repeats > 1:
            columns = repeat_candles(columns, workload.repeats)
        yield pd.DataFrame({"pair_id": np.int32(pair_id), "timestamp": timestamps, **columns})


def make_cache(folder: Path) -> None:
    """Create the cache folder, kept out of version control by a file in itself."""
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf8")


def cache_candles(workload: Workload, folder: Path) -> Path:
    """Return the workload's Parquet file, writing it pair by pair when it is not there yet."""
    path = folder / f"{workload.name}.parquet"
    if path.exists():
        return path
    make_cache(folder)
    unfinished = path.with_suffix(".tmp")
    writer: pq.ParquetWriter | None = None
    for frame in iterate_pairs(workload):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        writer = writer or pq.ParquetWriter(unfinished, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is None:
        raise ValueError(f"Workload {workload.name} has {workload.pairs} pairs: nothing to write; give it at least one")
    writer.close()
    unfinished.replace(path)
    return path


def load_candles(workload: Workload, folder: Path) -> pd.DataFrame:
    """Read the cached candles of a workload, generating them first when needed."""
    return pd.read_parquet(cache_candles(workload, folder))


def pivot_candles(candles: pd.DataFrame, column: str, pairs: int) -> FloatArray:
    """Return one candle column as an array of shape (bars, pairs), pairs in order of their id."""
    return np.ascontiguousarray(candles[column].to_numpy().reshape(pairs, -1).T)
