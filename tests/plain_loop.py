"""What the plain loops are made of that examples are compared with: a book of cash and tokens, candles, averages."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pandas as pd

from trading_dagster.market.file_source import SAMPLE_FOLDER

FEE = 0.001
ALLOCATION = 0.98
DAY = timedelta(days=1)


@dataclass
class PlainBook:
    """Cash and tokens at prices without fee; the fee is put on in here."""

    cash: float = 10_000.0
    held: dict[str, float] = field(default_factory=dict)
    fills: list[tuple[pd.Timestamp, str, str, float]] = field(default_factory=list)

    def buy(self, time: pd.Timestamp, pair: str, usd: float, mid: float) -> None:
        self.held[pair] = usd / (mid * (1 + FEE))
        self.cash -= usd
        self.fills.append((time, pair, "buy", mid))

    def sell(self, time: pd.Timestamp, pair: str, mid: float) -> None:
        self.cash += self.held.pop(pair) * mid * (1 - FEE)
        self.fills.append((time, pair, "sell", mid))

    def equity(self, mids: dict[str, float]) -> float:
        return self.cash + sum(quantity * mids[pair] * (1 - FEE) for pair, quantity in self.held.items())


def read_candles(file: str, pair: str, start: datetime | None = None) -> pd.DataFrame:
    frame = pd.read_parquet(SAMPLE_FOLDER / file)
    frame = frame[frame["pair"] == pair].set_index(frame["timestamp"][frame["pair"] == pair].dt.tz_localize(None))
    return frame if start is None else frame[frame.index >= start]


def read_daily(start: datetime) -> dict[str, pd.DataFrame]:
    return {p: read_candles("sample_btc_eth_ltc_1d.parquet", p, start) for p in ("BTC/USD", "ETH/USD", "LTC/USD")}


def value_at(series: pd.Series, time: pd.Timestamp, oldest: timedelta) -> float:
    """Return the row at a time, or the latest before it if no older than ``oldest``, else NaN."""
    row = int(series.index.searchsorted(time, side="right")) - 1
    is_known = row >= 0 and time - series.index[row] <= oldest
    return float(series.iloc[row]) if is_known else float("nan")


def smooth_like_wilder(values: Sequence[float], bars: int) -> list[float]:
    """Return the mean of the first ``bars`` values, then previous + (value - previous) / bars; NaN before."""
    smoothed = [float("nan")] * (bars - 1) + [sum(values[:bars]) / bars]
    for value in values[bars:]:
        smoothed.append((smoothed[-1] * (bars - 1) + value) / bars)
    return smoothed


def ema(values: Sequence[float], bars: int) -> list[float]:
    averages = [float("nan")] * (bars - 1) + [sum(values[:bars]) / bars]
    for value in values[bars:]:
        averages.append(averages[-1] + 2 / (bars + 1) * (value - averages[-1]))
    return averages


def rsi(closes: pd.Series, bars: int) -> pd.Series:
    changes = [after - before for before, after in zip(closes, closes[1:], strict=False)]
    gains = smooth_like_wilder([max(change, 0.0) for change in changes], bars)
    losses = smooth_like_wilder([max(-change, 0.0) for change in changes], bars)
    values = [100 * gain / (gain + loss) for gain, loss in zip(gains, losses, strict=True)]
    return pd.Series([float("nan"), *values], closes.index)
