"""Frames as the engine makes them, for the tests of charts."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

TRADE_COLUMNS = [
    "trade_id", "position_id", "pair", "pair_id", "kind", "side", "trade_type", "opened_at", "executed_at",
    "planned_price", "executed_price", "mid_price", "quantity", "reserve", "fee", "status", "profit", "notes",
]  # fmt: skip
POSITION_COLUMNS = [
    "position_id", "pair", "pair_id", "kind", "status", "opened_at", "closed_at", "opening_price", "closing_price",
    "value_at_open", "quantity", "realised_profit", "unrealised_profit", "profit_pct", "duration", "stop_loss",
    "take_profit", "close_reason", "trade_count", "fees",
]  # fmt: skip


def _walk(bars: int, freq: str, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, bars)))
    start = np.concatenate([[100.0], close[:-1]])
    spread = np.abs(random.normal(0, 0.004, bars))
    index = pd.date_range("2023-01-15", periods=bars, freq=freq, name="timestamp")
    return pd.DataFrame(
        {
            "open": start,
            "high": np.maximum(start, close) * (1 + spread),
            "low": np.minimum(start, close) * (1 - spread),
            "close": close,
            "volume": random.uniform(1, 10, bars),
        },
        index=index,
    )


@pytest.fixture
def make_candles():
    """Return a maker of random candles: bars, frequency, seed."""
    return lambda bars, freq="h", seed=1: _walk(bars, freq, seed)


@pytest.fixture
def candles():
    """Return 12,000 hourly candles."""
    return _walk(12_000, "h", 1)


@pytest.fixture
def equity(candles):
    """Return equity by hour."""
    return (candles["close"] * 100).rename("equity")


@pytest.fixture
def no_trades():
    """Return a table of trades without rows."""
    return pd.DataFrame(columns=TRADE_COLUMNS)


@pytest.fixture
def no_positions():
    """Return a table of positions without rows."""
    return pd.DataFrame(columns=POSITION_COLUMNS)


@pytest.fixture
def make_trading():
    """Return a maker of trades and positions: candles, number of positions, pair."""
    return _trading


@pytest.fixture
def trading(candles):
    """Return the trades and positions of 40 round trips."""
    return _trading(candles, 40)


def _trading(candles: pd.DataFrame, count: int, pair: str = "BTC-USD") -> tuple[pd.DataFrame, pd.DataFrame]:
    trades, positions = [], []
    step = max(len(candles) // count, 2)
    for number in range(count):
        at_open = candles.index[(number * step) % len(candles)]
        at_close = candles.index[(number * step + step // 2) % len(candles)]
        price, price_out = float(candles["open"].loc[at_open]), float(candles["open"].loc[at_close])
        profit = 1_000 * (price_out / price - 1)
        reason = ("rebalance", "stop_loss", "take_profit", "rebalance")[number % 4]
        shared = {"position_id": number + 1, "pair": pair, "pair_id": 1, "kind": "spot_market_hold"}
        for side, at, paid, kind in (("buy", at_open, price, "rebalance"), ("sell", at_close, price_out, reason)):
            is_buy = side == "buy"
            trades.append(
                {
                    **shared, "trade_id": len(trades) + 1, "side": side, "trade_type": kind, "opened_at": at,
                    "executed_at": at, "planned_price": paid, "executed_price": paid, "mid_price": paid,
                    "quantity": (1 if is_buy else -1) * 1_000 / price, "reserve": 1_000.0, "fee": 3.0,
                    "status": "success", "profit": np.nan if is_buy else profit, "notes": "",
                }
            )  # fmt: skip
        positions.append(
            {
                **shared, "status": "closed", "opened_at": at_open, "closed_at": at_close, "opening_price": price,
                "closing_price": price_out, "value_at_open": 1_000.0, "quantity": 0.0, "realised_profit": profit,
                "unrealised_profit": 0.0, "profit_pct": profit / 1_000, "duration": timedelta(hours=step // 2),
                "stop_loss": price * 0.9, "take_profit": np.nan, "close_reason": reason, "trade_count": 2, "fees": 6.0,
            }
        )  # fmt: skip
    return pd.DataFrame(trades, columns=TRADE_COLUMNS), pd.DataFrame(positions, columns=POSITION_COLUMNS)
