"""Bare Python loops over lists: what the rules themselves cost in this language, with no engine around them."""

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

from benchmarks.rule import (
    ALLOCATION,
    CASH,
    FAST,
    FASTS,
    LOOKBACK,
    MAX_WEIGHT,
    MIN_TRADE,
    MOMENTUM,
    SLOW,
    SLOWS,
    TOP,
    Momentum,
    Outcome,
    alpha_mask,
    rebalance_mask,
)
from benchmarks.workload import Workload, load_candles, pivot_candles

Rows = list[list[float]]


def prepare(workload: Workload, folder: Path) -> Callable[[], Outcome]:
    """Turn the candles into lists; return the call that is timed."""
    candles = load_candles(workload, folder)
    if workload.name == "alpha":
        rows, last = (pivot_candles(candles, column, workload.pairs).tolist() for column in ("open", "close"))
        midnights = alpha_mask(workload).tolist()
        return lambda: run_alpha(rows, last, midnights, workload.fee)
    if workload.name in MOMENTUM:
        opens, closes = (pivot_candles(candles, column, workload.pairs).tolist() for column in ("open", "close"))
        mask = rebalance_mask(workload).tolist()
        return lambda: run_momentum(opens, closes, mask, MOMENTUM[workload.name], workload.fee)
    opens, closes = candles["open"].tolist(), candles["close"].tolist()
    if workload.name == "w5":
        return lambda: run_grid(opens, closes, workload.fee)
    return lambda: run_ema_cross(opens, closes, workload.fee)


def run_grid(opens: Sequence[float], closes: Sequence[float], fee: float) -> Outcome:
    """Trade the EMA cross with every pair of spans, one after the other."""
    outcomes = [run_ema_cross(opens, closes, fee, spans) for spans in product(FASTS, SLOWS)]
    return Outcome(sum(each.equity for each in outcomes), max(outcomes, key=lambda each: each.equity).fills)


def run_ema_cross(
    opens: Sequence[float], closes: Sequence[float], fee: float, spans: tuple[int, int] = (FAST, SLOW)
) -> Outcome:
    """Trade the EMA cross over one pair's prices."""
    ask_factor, bid_factor = 1 + fee, 1 - fee
    fast_alpha, slow_alpha = (2 / (span + 1) for span in spans)
    fast = slow = closes[0]
    cash, quantity, fills = CASH, 0.0, 0
    equity = [CASH]
    for price, close in zip(opens[1:], closes[1:], strict=True):
        if fast > slow:
            if not quantity:
                value = ALLOCATION * cash
                quantity = value / (price * ask_factor)
                cash -= value
                fills += 1
        elif quantity:
            cash += quantity * price * bid_factor
            quantity = 0.0
            fills += 1
        equity.append(cash + quantity * close)
        fast += fast_alpha * (close - fast)
        slow += slow_alpha * (close - slow)
    return Outcome(equity[-1], fills)


def run_momentum(opens: Rows, closes: Rows, mask: Sequence[bool], rule: Momentum, fee: float) -> Outcome:
    """Trade the momentum rule over rows of prices, one row a bar."""
    bid_factor = 1 - fee
    stop = rule.stop or 0.0
    cash, fills = CASH, 0
    quantities: dict[int, float] = {}
    levels: dict[int, float] = {}
    equity = [CASH]
    for i in range(1, len(opens)):
        prices = opens[i]
        if stop:
            for pair in [pair for pair in quantities if prices[pair] <= levels[pair]]:
                cash += quantities.pop(pair) * prices[pair] * bid_factor
                del levels[pair]
                fills += 1
        if mask[i]:
            ranked = rank_momentum(closes[i - 1], closes[i - 1 - rule.lookback], rule.top)
            cash, traded = rebalance(prices, ranked, quantities, cash, fee)
            fills += traded
            levels = {pair: levels[pair] if pair in levels else stop * prices[pair] for pair in quantities}
        row = closes[i]
        equity.append(cash + sum(quantity * row[pair] for pair, quantity in quantities.items()))
    return Outcome(equity[-1], fills)


def rank_momentum(now: Sequence[float], before: Sequence[float], top: int) -> list[int]:
    """Return the columns of the `top` highest momenta, strongest first, ties by column."""
    momentum = [a / b - 1 for a, b in zip(now, before, strict=True)]
    return sorted(range(len(momentum)), key=momentum.__getitem__, reverse=True)[:top]


def rebalance(
    prices: Sequence[float], ranked: list[int], quantities: dict[int, float], cash: float, fee: float
) -> tuple[float, int]:
    """Sell, then buy towards equal weights; change `quantities`, return cash and the number of fills."""
    ask_factor, bid_factor = 1 + fee, 1 - fee
    values = {pair: quantity * prices[pair] * bid_factor for pair, quantity in quantities.items()}
    target = ALLOCATION / len(ranked) * (cash + sum(values.values()))
    fills = 0
    for pair, value in values.items():
        if pair not in ranked:
            cash += value
            del quantities[pair]
            fills += 1
        elif value > target:
            quantity = (value - target) / prices[pair]
            cash += quantity * prices[pair] * bid_factor
            quantities[pair] -= quantity
            fills += 1
    for pair in ranked:
        missing = target - values.get(pair, 0.0)
        if missing > 0:
            cash -= missing
            quantities[pair] = quantities.get(pair, 0.0) + missing / (prices[pair] * ask_factor)
            fills += 1
    return cash, fills


def run_alpha(opens: Rows, closes: Rows, mask: Sequence[bool], fee: float) -> Outcome:
    """Weigh by rank at every bar, trade towards the weights on marked ones."""
    cash, fills = CASH, 0
    quantities: dict[int, float] = {}
    equity = [CASH]
    for i in range(1, len(opens)):
        if i > LOOKBACK:
            weights = weigh_alpha(closes[i - 1], closes[i - 1 - LOOKBACK])
            if mask[i]:
                cash, traded = trade_towards(opens[i], weights, quantities, cash, fee)
                fills += traded
        row = closes[i]
        equity.append(cash + sum(quantity * row[pair] for pair, quantity in quantities.items()))
    return Outcome(equity[-1], fills)


def weigh_alpha(now: Sequence[float], before: Sequence[float]) -> dict[int, float]:
    """Return the weight of the columns of the highest momenta above 0: 1 / rank, normalised and capped."""
    momenta = {column: a / b - 1 for column, (a, b) in enumerate(zip(now, before, strict=True)) if a / b - 1 > 0}
    ranked = sorted(momenta, key=momenta.__getitem__, reverse=True)[:TOP]
    total = sum(1 / rank for rank in range(1, len(ranked) + 1))
    return {column: min(1 / rank / total, MAX_WEIGHT) for rank, column in enumerate(ranked, 1)}


def trade_towards(
    prices: Sequence[float], weights: dict[int, float], quantities: dict[int, float], cash: float, fee: float
) -> tuple[float, int]:
    """Sell, then buy towards weights; change `quantities`, return cash and the number of fills."""
    values = {pair: quantity * prices[pair] * (1 - fee) for pair, quantity in quantities.items()}
    equity = cash + sum(values.values())
    targets = {pair: weight * ALLOCATION * equity for pair, weight in weights.items()}
    changes = {pair: targets.get(pair, 0.0) - values.get(pair, 0.0) for pair in {**values, **targets}}
    if max(map(abs, changes.values()), default=0.0) < MIN_TRADE:
        return cash, 0
    fills = 0
    for pair, change in changes.items():
        if pair not in weights:
            cash += values[pair]
            del quantities[pair]
        elif change < 0:
            quantities[pair] += change / prices[pair]
            cash -= change * (1 - fee)
        else:
            continue
        fills += 1
    for pair, change in changes.items():
        if change > 0:
            quantities[pair] = quantities.get(pair, 0.0) + change / (prices[pair] * (1 + fee))
            cash -= change
            fills += 1
    return cash, fills
