"""Fixtures of the porting tests: a venue with three pairs, and strategies in the old import style."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.memory_source import MemorySource

OLD_STRATEGIES = Path(__file__).parent / "old_strategy"


@pytest.fixture(scope="session")
def client() -> MemorySource:
    times = pd.date_range(datetime(2022, 1, 1), datetime(2022, 5, 10), freq="4h", inclusive="left")
    random = np.random.default_rng(11)
    candles, tvl = [], []
    for pair, price in (("BTC/USDT", 40_000.0), ("ETH/USDT", 3_000.0), ("LTC/USDT", 150.0)):
        closes = price * np.exp(np.cumsum(random.normal(0.0005, 0.012, len(times))))
        opens = np.concatenate(([price], closes[:-1]))
        columns = {"timestamp": times, "pair": pair, "open": opens, "close": closes}
        high, low = np.maximum(opens, closes) * 1.002, np.minimum(opens, closes) * 0.998
        candles.append(pd.DataFrame(columns | {"high": high, "low": low, "volume": 1_000.0}))
        tvl.append(
            pd.DataFrame({"timestamp": times, "pair": pair, **dict.fromkeys(("open", "high", "low", "close"), 5e5)})
        )
    return MemorySource(
        {TimeBucket.h4: pd.concat(candles, ignore_index=True)},
        exchange="binance",
        liquidity={TimeBucket.h4: pd.concat(tvl, ignore_index=True)},
        fee=0.001,
    )
