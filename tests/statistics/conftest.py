"""Real returns that every measure is checked on."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (
    ROOT / "trading_dagster" / "market" / "sample",
    Path(os.environ.get("TRADING_DAGSTER_TEST_DATA", ROOT.parent / "shared" / "data")),
)


def read_closes(name: str, pair: str) -> pd.Series[float]:
    for folder in FOLDERS:
        if (folder / name).exists():
            candles = pd.read_parquet(folder / name)
            candles = candles[candles["pair"] == pair]
            times = pd.DatetimeIndex(candles["timestamp"]).tz_localize(None)
            return pd.Series(candles["close"].to_numpy(), index=times)
    pytest.skip(f"{name} is in none of {', '.join(map(str, FOLDERS))}; set TRADING_DAGSTER_TEST_DATA to its folder")


def daily_returns(pair: str) -> pd.Series[float]:
    """Bitstamp's daily closes as returns, up to the hole in March 2019: without gaps, conventions are comparable."""
    closes = read_closes("sample_btc_eth_ltc_1d.parquet", pair)[:"2019-03-19"]
    returns = closes / closes.shift(1) - 1.0
    return returns.iloc[1:]


@pytest.fixture(params=["BTC/USD", "ETH/USD", "LTC/USD"])
def daily(request: pytest.FixtureRequest) -> pd.Series[float]:
    return daily_returns(request.param)


@pytest.fixture
def bitcoin() -> pd.Series[float]:
    return daily_returns("BTC/USD")


@pytest.fixture
def ether() -> pd.Series[float]:
    return daily_returns("ETH/USD")


@pytest.fixture
def hourly() -> pd.Series[float]:
    closes = read_closes("sample_btc_1h.parquet", "BTC/USD")
    returns = closes / closes.shift(1) - 1.0
    return returns.iloc[1:]


@pytest.fixture
def bitcoin_closes() -> pd.Series[float]:
    return read_closes("sample_btc_eth_ltc_1d.parquet", "BTC/USD")
