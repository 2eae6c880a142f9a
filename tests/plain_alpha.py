"""Plain loops of the examples that build a portfolio from signals; nothing of the engine is used."""

from datetime import datetime
from math import isnan

import pandas as pd
from plain_loop import DAY, FEE, PlainBook, read_daily, rsi, value_at

SHORTEST_WEIGHT = 0.005


def rebalance(
    book: PlainBook,
    time: pd.Timestamp,
    targets: dict[str, float],
    weights: dict[str, float],
    mids: dict[str, float],
    *,
    largest: float = 10.0,
    smallest: float,
) -> None:
    """Trade towards targets in USD, sells first; small weights are closed, small changes and pairs without price left.

    Nothing is done when no change is as large as ``largest``; changes below ``smallest`` are left out but for closes.
    When a sell is left out, buys are scaled to the cash there is and what the other sells bring.
    """
    values = {pair: quantity * mids[pair] * (1 - FEE) for pair, quantity in book.held.items() if mids[pair] > 0}
    changes = {pair: targets.get(pair, 0.0) - values.get(pair, 0.0) for pair in {*targets, *values}}
    if max(map(abs, changes.values()), default=0.0) < largest:
        return
    closes = [pair for pair in values if weights.get(pair, 0.0) < SHORTEST_WEIGHT]
    large = {
        pair: usd
        for pair, usd in changes.items()
        if pair not in closes and weights.get(pair, 0.0) >= SHORTEST_WEIGHT and abs(usd) >= smallest
    }
    is_sell_left_out = any(usd < 0 and pair not in closes and pair not in large for pair, usd in changes.items())
    for pair in closes:
        book.sell(time, pair, mids[pair])
    for pair, usd in large.items():
        if usd < 0:
            book.held[pair] += usd / mids[pair]
            book.cash -= usd * (1 - FEE)
            book.fills.append((time, pair, "sell", mids[pair]))
    buys = {pair: usd for pair, usd in large.items() if usd > 0}
    asked = sum(buys.values())
    factor = book.cash / asked if is_sell_left_out and asked > book.cash else 1.0
    for pair, usd in buys.items():
        before = book.held.get(pair, 0.0)
        book.buy(time, pair, usd * factor, mids[pair])
        book.held[pair] += before
    assert book.cash >= -1e-9


def pinned_value(book: PlainBook, mids: dict[str, float], last_values: dict[str, float]) -> float:
    """Return what is held without a price, at its last value."""
    return sum(last_values[pair] for pair in book.held if isnan(mids[pair]))


def plain_index_by_volume(start: datetime) -> tuple[PlainBook, float]:
    daily = read_daily(start)
    book, mids, last_values = PlainBook(), dict[str, float](), dict[str, float]()
    for time in pd.date_range("2018-01-01", "2020-01-16", freq="7D"):
        mids = {pair: value_at(candles["open"], time, 2 * DAY) for pair, candles in daily.items()}
        last_values |= {pair: q * mids[pair] * (1 - FEE) for pair, q in book.held.items() if mids[pair] > 0}
        volumes = {}
        for pair, candles in daily.items():
            rows = candles[candles.index < time]
            is_in = len(rows) >= 28 and rows.index[-1] == time - DAY
            traded = sum(v * c for v, c in zip(rows["volume"][-28:], rows["close"][-28:], strict=True))
            if is_in and (rows.index[-1] - rows.index[0]) / DAY / 365.25 >= 0.16 and traded >= 75_000_000:
                volumes[pair] = traded
        pinned = pinned_value(book, mids, last_values)
        equity = (book.cash + sum(last_values[pair] for pair in book.held)) * 0.95 - pinned
        left, targets = equity, dict.fromkeys(volumes, 0.0)
        for pair in sorted(volumes, key=volumes.__getitem__, reverse=True):
            if left > 5:
                targets[pair] = min(left, 0.4 * equity)
                left -= targets[pair]
        total = sum(targets.values())
        weights = {pair: target / total for pair, target in targets.items()}
        rebalance(book, time, targets, weights, mids, smallest=50)
    return book, book.equity(mids)


def plain_rsi_regime_rotation(start: datetime) -> tuple[PlainBook, float]:
    daily = {pair: candles for pair, candles in read_daily(start).items() if pair != "LTC/USD"}
    strength = {pair: rsi(candles["close"], 14) for pair, candles in daily.items()}
    average = daily["BTC/USD"]["close"].rolling(50).mean()
    book, mids = PlainBook(), dict[str, float]()
    for time in pd.date_range("2018-01-01", "2020-01-16", freq="D"):
        mids_now = {pair: value_at(candles["open"], time, 2 * DAY) for pair, candles in daily.items()}
        now = {pair: value_at(series, time - DAY, DAY) for pair, series in strength.items()}
        if any(map(isnan, now.values())):
            continue
        mids = mids_now
        is_rising = value_at(daily["BTC/USD"]["close"] / average, time - DAY, DAY) > 1
        equity = book.equity(mids)
        raw = {pair: value**3 for pair, value in now.items() if is_rising and value >= 50}
        weights = {pair: value / sum(raw.values()) for pair, value in raw.items()}
        targets = {pair: weight * equity * 0.98 for pair, weight in weights.items()}
        rebalance(book, time, targets, weights, mids, largest=equity * 0.1, smallest=equity * 0.1)
    return book, book.equity(mids)


def plain_momentum_alpha(start: datetime) -> tuple[PlainBook, float]:
    daily = read_daily(start)
    risen = {pair: candles["close"] / candles["close"].shift(21) - 1 for pair, candles in daily.items()}
    book, stops, mids, last_values = PlainBook(), dict[str, float](), dict[str, float](), dict[str, float]()
    for time in pd.date_range("2018-01-01", "2020-01-17", freq="D"):
        mids_now = {pair: value_at(candles["open"], time, 2 * DAY) for pair, candles in daily.items()}
        for pair in sorted(book.held):
            if mids_now[pair] <= stops[pair]:
                book.sell(time, pair, mids_now[pair])
        if time == pd.Timestamp(2020, 1, 17):
            break
        mids = mids_now
        last_values |= {pair: q * mids[pair] * (1 - FEE) for pair, q in book.held.items() if mids[pair] > 0}
        now = {pair: value_at(series, time - DAY, DAY) for pair, series in risen.items()}
        ranked = sorted((pair for pair in now if now[pair] > 0), key=now.__getitem__, reverse=True)
        parts = {pair: 1 / place for place, pair in enumerate(ranked, start=1)}
        weights = {pair: min(part / sum(parts.values()), 0.5) for pair, part in parts.items()}
        pinned = pinned_value(book, mids, last_values)
        equity = (book.cash + sum(last_values[pair] for pair in book.held)) * 0.95 - pinned
        held_before = set(book.held)
        rebalance(book, time, {pair: weight * equity for pair, weight in weights.items()}, weights, mids, smallest=100)
        stops |= {pair: mids[pair] * 0.85 for pair in book.held.keys() - held_before}
    return book, book.equity(mids)
