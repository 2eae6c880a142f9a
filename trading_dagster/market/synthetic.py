"""Synthetic market data for tests, demos and examples: the same seed gives the same numbers everywhere.

The generators are random walks of ``random.Random(seed)``; drift is per bar whatever the bucket, and the high of a bar
may lie below its close. Nothing here resembles a real market.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from trading_dagster.domain.error import BadInput, MarketDataMissing
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket, require_naive_utc
from trading_dagster.market.contract import Candles
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.exchange import Exchange, pseudo_address
from trading_dagster.market.lending import (
    RATE_COLUMNS,
    LendingCandleType,
    LendingProtocolType,
    LendingReserve,
    LendingUniverse,
    make_reserve_tokens,
)
from trading_dagster.market.panel import OHLCV
from trading_dagster.market.universe import TradingStrategyUniverse

RATES = {"supply": LendingCandleType.supply_apr, "variable": LendingCandleType.variable_borrow_apr}


def generate_ohlcv_candles(
    bucket: TimeBucket,
    start: datetime,
    end: datetime,
    *,
    start_price: float = 1800.0,
    daily_drift: tuple[float, float] = (0.95, 1.05),
    high_drift: float = 1.05,
    low_drift: float = 0.90,
    random_seed: int = 1,
    pair_id: int = 1,
) -> Candles:
    """Return a random walk as candles: pair_id, timestamp, open, high, low, close, volume (0).

    For each bar, in this order: close uniform between open times the two drifts, high uniform between open and
    open times ``high_drift``, low uniform between open and open times ``low_drift``; the next open is the close.

    Args:
        bucket: Width of a bar.
        start: Open of the first bar, naive UTC.
        end: Exclusive end.
        start_price: First open.
        daily_drift: Bounds of close ÷ open, per bar.
        high_drift: Bound of high ÷ open.
        low_drift: Bound of low ÷ open.
        random_seed: Seed of ``random.Random``.
        pair_id: Value of the column.
    """
    timestamps = _timestamps(bucket, start, end)
    uniform = random.Random(random_seed).uniform  # noqa: S311 - reproducible prices, not a secret
    rows = np.empty((len(timestamps), 4))
    price = float(start_price)
    drift_low, drift_high = daily_drift
    for row in rows:
        close = uniform(price * drift_low, price * drift_high)
        high = uniform(price, price * high_drift)
        low = uniform(price, price * low_drift)
        row[:] = price, high, low, close
        price = close
    return _frame(pair_id, timestamps, rows)


def generate_multi_pair_candles(
    bucket: TimeBucket,
    start: datetime,
    end: datetime,
    pairs: Mapping[TradingPairIdentifier, float],
    random_seed: int = 1,
) -> Candles:
    """Return `generate_ohlcv_candles` of several pairs, {pair: start price}; each begins with the same seed."""
    frames = [
        generate_ohlcv_candles(
            bucket, start, end, start_price=price, random_seed=random_seed, pair_id=_require_id(pair)
        )
        for pair, price in pairs.items()
    ]
    return pd.concat(frames, ignore_index=True)


def generate_fixed_price_candles(
    bucket: TimeBucket, start: datetime, end: datetime, pair_price_map: Mapping[TradingPairIdentifier, float]
) -> Candles:
    """Return candles whose four prices never change, {pair: price}."""
    timestamps = _timestamps(bucket, start, end)
    frames = [
        _frame(_require_id(pair), timestamps, np.full((len(timestamps), 4), float(price)))
        for pair, price in pair_price_map.items()
    ]
    return pd.concat(frames, ignore_index=True)


def generate_tvl_candles(
    bucket: TimeBucket,
    start: datetime,
    end: datetime,
    *,
    start_liquidity: float = 10_000_000.0,
    daily_drift: tuple[float, float] = (0.95, 1.05),
    high_drift: float = 1.05,
    low_drift: float = 0.90,
    random_seed: int = 1,
    pair_id: int = 1,
) -> Candles:
    """Return a random walk of TVL in USD: pair_id, timestamp, open, high, low, close.

    The algorithm and its arguments are those of `generate_ohlcv_candles`.
    """
    candles = generate_ohlcv_candles(
        bucket,
        start,
        end,
        start_price=start_liquidity,
        daily_drift=daily_drift,
        high_drift=high_drift,
        low_drift=low_drift,
        random_seed=random_seed,
        pair_id=pair_id,
    )
    return candles.drop(columns="volume")


def generate_exchange(exchange_id: int, chain_id: ChainId, address: str, exchange_slug: str = "my-dex") -> Exchange:
    """Return a made-up venue."""
    return Exchange(exchange_id, chain_id, address, exchange_slug)


def generate_lending_reserve(
    token: AssetIdentifier,
    reserve_id: int = 1,
    protocol: LendingProtocolType = LendingProtocolType.aave_v3,
    liquidation_threshold: float = 0.85,
) -> LendingReserve:
    """Return a made-up lending reserve of a token; its aToken and debt token have addresses made from the token's."""
    atoken, vtoken = make_reserve_tokens(
        token,
        [pseudo_address(protocol.value, kind, token.get_identifier()) for kind in ("supply", "variable")],
        liquidation_threshold,
    )
    return LendingReserve(reserve_id, ChainId(token.chain_id), protocol, token, atoken, vtoken)


def generate_lending_universe(
    bucket: TimeBucket,
    start: datetime,
    end: datetime,
    reserves: Sequence[LendingReserve],
    aprs: Mapping[str, float],
) -> LendingUniverse:
    """Return flat rates in percent a year, {"supply": 2, "variable": 5}, the same for every reserve."""
    unknown = sorted(set(aprs) - set(RATES))
    if unknown:
        raise BadInput(f"aprs has unknown rates {unknown}: give {', '.join(RATES)}")
    timestamps = _timestamps(bucket, start, end)
    rates = {
        (reserve.reserve_id, RATES[name]): pd.DataFrame(dict.fromkeys(RATE_COLUMNS, float(percent)), index=timestamps)
        for reserve in reserves
        for name, percent in aprs.items()
    }
    return LendingUniverse(bucket, tuple(reserves), rates)


def load_ohlcv_parquet_file(
    path: Path | str, chain_id: ChainId, exchange_id: int, pair_id: int, exchange_slug: str | None = None
) -> Candles:
    """Return the candles of a one-pair Parquet file with the id of a pair set.

    The file has timestamp (a column or the index), open, high, low, close and volume. ``chain_id``,
    ``exchange_id`` and ``exchange_slug`` are accepted for ported code and say where the pair trades.

    Raises:
        MarketDataMissing: There is no such file.
    """
    del chain_id, exchange_id, exchange_slug
    file = Path(path)
    if not file.is_file():
        raise MarketDataMissing(f"path {file}: there is no such file; give the path of a Parquet file of candles")
    frame = pd.read_parquet(file)
    if "timestamp" not in frame.columns:
        frame = frame.reset_index(names="timestamp")
    if frame["timestamp"].dt.tz is not None:
        frame["timestamp"] = frame["timestamp"].dt.tz_convert("UTC").dt.tz_localize(None)
    frame["pair_id"] = pair_id
    return frame[["pair_id", "timestamp", *(name for name in OHLCV if name in frame.columns)]]


def create_synthetic_single_pair_universe(
    candles: Candles,
    chain_id: ChainId,
    exchange: Exchange,
    time_bucket: TimeBucket,
    pair: TradingPairIdentifier,
    *,
    lending_candles: LendingUniverse | None = None,
) -> TradingStrategyUniverse:
    """Return the universe of one pair; its candles serve as stop-loss feed too, its quote token is the reserve."""
    dataset = Dataset(
        time_bucket=time_bucket,
        exchanges=(exchange,),
        pairs=(pair,),
        candles=candles,
        backtest_stop_loss_candles=candles,
        backtest_stop_loss_time_bucket=time_bucket,
        lending_candles=lending_candles,
    )
    return TradingStrategyUniverse.create_from_dataset(dataset, pair.quote, primary_chain=chain_id)


def _timestamps(bucket: TimeBucket, start: datetime, end: datetime) -> pd.DatetimeIndex:
    require_naive_utc(start)
    require_naive_utc(end)
    if start >= end:
        raise BadInput(f"start {start} is not before end {end}")
    return pd.date_range(start, end, freq=bucket.to_pandas_timedelta(), inclusive="left", unit="us", name="timestamp")


def _frame(pair_id: int, timestamps: pd.DatetimeIndex, prices: np.ndarray) -> Candles:
    columns = {name: prices[:, i] for i, name in enumerate(("open", "high", "low", "close"))}
    return pd.DataFrame({"pair_id": pair_id, "timestamp": timestamps, **columns, "volume": 0.0})


def _require_id(pair: TradingPairIdentifier) -> int:
    if pair.internal_id is None:
        raise BadInput(f"{pair} has no internal_id: set one, the candles need it as pair_id")
    return pair.internal_id
