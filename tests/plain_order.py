"""Plain loops over candles for the examples whose orders wait: nothing of the engine is used but its data."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pandas as pd
from plain_loop import ALLOCATION, FEE, PlainBook, read_candles

PAIR = "BTC/USD"
FIRST, LAST = pd.Timestamp(2018, 2, 1), pd.Timestamp(2019, 10, 17)


@dataclass
class PlainExits:
    """What a position waits for: a stop, then sells of (price or None, tokens or None for all), in order."""

    stop: float
    levels: list[tuple[float | None, float | None]]
    timeout: timedelta
    opened: pd.Timestamp | None = None
    fired: pd.Timestamp | None = None


@dataclass
class PartBook(PlainBook):
    """A book that can sell a part."""

    exits: PlainExits | None = field(default=None)

    def sell_part(self, time: pd.Timestamp, mid: float, tokens: float | None) -> None:
        held = self.held[PAIR]
        if tokens is None or tokens >= held * (1 - 1e-12):
            self.sell(time, PAIR, mid)
            self.exits = None
            return
        self.held[PAIR] = held - tokens
        self.cash += tokens * mid * (1 - FEE)
        self.fills.append((time, PAIR, "sell", mid))

    def check_open(self, time: pd.Timestamp, mid: float) -> None:
        """Do what fires at an open: one trade an instant, the stop first."""
        exits = self.exits
        if exits is None or PAIR not in self.held or exits.fired == time:
            return
        if mid <= exits.stop:
            self.sell_part(time, mid, None)
            return
        for level in exits.levels:
            price, tokens = level
            assert exits.opened is not None
            if mid >= price if price is not None else time > exits.opened + exits.timeout:
                exits.levels.remove(level)
                exits.fired = time
                self.sell_part(time, mid, tokens)
                return

    def check_inside(self, time: pd.Timestamp, opened: float, low: float, high: float) -> None:
        """Do what fires between a candle's low and high: one trade, the stop first."""
        exits = self.exits
        if exits is None or PAIR not in self.held:
            return
        if low <= exits.stop:
            self.sell_part(time, min(exits.stop, opened), None)
            return
        for level in exits.levels:
            price, tokens = level
            if price is not None and high >= price:
                exits.levels.remove(level)
                exits.fired = time
                self.sell_part(time, max(price, opened), tokens)
                return


def plain_take_profit_grid(start: datetime) -> tuple[PlainBook, float]:
    hourly = read_candles("sample_btc_1h.parquet", PAIR, start)
    closes = hourly["close"].resample("4h").last()
    trend = (closes / closes.rolling(120).mean()).tolist()
    book, mid = PartBook(), 0.0
    for time, hour_open in hourly["open"].items():
        if time < FIRST or time > LAST:
            continue
        if time > FIRST:
            book.check_open(time, hour_open)
        if time.hour % 4 or time == LAST:
            continue
        mid = hour_open
        row = int(closes.index.searchsorted(time)) - 1
        if PAIR not in book.held and trend[row - 1] <= 1 < trend[row]:
            book.buy(time, PAIR, book.cash * ALLOCATION, mid)
            part = book.held[PAIR] / 4
            levels: list[tuple[float | None, float | None]] = [(mid * step, part) for step in (1.02, 1.04, 1.06)]
            book.exits = PlainExits(mid * 0.96, [*levels, (mid * 1.08, None), (None, None)], timedelta(days=5), time)
        book.check_open(time, hour_open)
    return book, book.equity({PAIR: mid})


def plain_dip_limit_entry(start: datetime) -> tuple[PlainBook, float]:
    hourly = read_candles("sample_btc_1h.parquet", PAIR, start)
    trend = hourly["close"] / hourly["close"].rolling(720).mean()
    book, mid = PartBook(), 0.0
    order: tuple[float, float, pd.Timestamp] | None = None  # price, USD, last instant
    for row, (time, candle) in enumerate(hourly[["open", "low", "high"]].iterrows()):
        if time < FIRST or time > LAST:
            continue
        opened, low, high = candle
        low, high = min(low, opened), max(high, opened)

        def at_open(order, time=time, opened=opened):
            book.check_open(time, opened)
            if order is not None and time > order[2]:
                book.exits = None
                return None
            return enter(book, order, time, opened) if order is not None and opened <= order[0] else order

        if time > FIRST:
            order = at_open(order)
        if time == LAST:
            continue
        if time.hour == 0:
            mid = opened
            if PAIR not in book.held and order is None and trend.iloc[row - 1] > 1:
                price, usd = opened * 0.93, book.cash * ALLOCATION
                half = usd / (opened * (1 + FEE)) / 2
                order = (price, usd, time + timedelta(hours=23))
                levels = [(price * 1.02, half), (price * 1.04, None), (None, None)]
                book.exits = PlainExits(price * 0.93, levels, timedelta(days=2))
            order = at_open(order)
        if order is not None and low <= order[0] and time <= order[2]:
            order = enter(book, order, time, min(order[0], opened))
        else:
            book.check_inside(time, opened, low, high)
    return book, book.equity({PAIR: mid})


def enter(book: PartBook, order: tuple[float, float, pd.Timestamp], time: pd.Timestamp, mid: float) -> None:
    """Fill an entry; its exits begin to wait, from the next instant on."""
    book.buy(time, PAIR, order[1], mid)
    assert book.exits is not None
    book.exits.opened = book.exits.fired = time
