"""The same loops compiled by Numba: what a machine-code simulation without a callback costs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit

from benchmarks.rule import ALLOCATION, CASH, FAST, MOMENTUM, SLOW, Outcome, rebalance_mask
from benchmarks.workload import FloatArray, Workload, load_candles, pivot_candles


def prepare(workload: Workload, folder: Path) -> Callable[[], Outcome]:
    """Turn the candles into arrays; return the call that is timed."""
    candles = load_candles(workload, folder)
    if workload.name in MOMENTUM:
        opens, closes = (pivot_candles(candles, column, workload.pairs) for column in ("open", "close"))
        mask, rule = rebalance_mask(workload), MOMENTUM[workload.name]
        stop = rule.stop or 0.0
        return lambda: Outcome(*run_momentum(opens, closes, mask, rule.lookback, rule.top, stop, workload.fee)[:2])
    opens, closes = candles["open"].to_numpy(), candles["close"].to_numpy()
    return lambda: Outcome(*run_ema_cross(opens, closes, workload.fee)[:2])


@njit
def run_ema_cross(opens: FloatArray, closes: FloatArray, fee: float) -> tuple[float, int, FloatArray]:
    """Trade the EMA cross over one pair's prices; return final equity, fills and the equity curve."""
    fast_alpha, slow_alpha = 2 / (FAST + 1), 2 / (SLOW + 1)
    fast = slow = closes[0]
    cash, quantity, fills = CASH, 0.0, 0
    equity = np.full(len(opens), CASH)
    for i in range(1, len(opens)):
        if fast > slow:
            if quantity == 0.0:
                value = ALLOCATION * cash
                quantity = value / (opens[i] * (1 + fee))
                cash -= value
                fills += 1
        elif quantity > 0.0:
            cash += quantity * opens[i] * (1 - fee)
            quantity = 0.0
            fills += 1
        equity[i] = cash + quantity * closes[i]
        fast += fast_alpha * (closes[i] - fast)
        slow += slow_alpha * (closes[i] - slow)
    return equity[-1], fills, equity


@njit
def run_momentum(
    opens: FloatArray,
    closes: FloatArray,
    mask: npt.NDArray[np.bool_],
    lookback: int,
    top: int,
    stop: float,
    fee: float,
) -> tuple[float, int, FloatArray]:
    """Trade the momentum rule over price arrays of shape (bars, pairs); return equity, fills and the curve."""
    bars, pairs = opens.shape
    cash, fills = CASH, 0
    quantities, levels = np.zeros(pairs), np.zeros(pairs)
    equity = np.full(bars, CASH)
    for i in range(1, bars):
        if stop > 0.0:
            for pair in range(pairs):
                if quantities[pair] > 0.0 and opens[i, pair] <= levels[pair]:
                    cash += quantities[pair] * opens[i, pair] * (1 - fee)
                    quantities[pair] = levels[pair] = 0.0
                    fills += 1
        if mask[i]:
            momentum = closes[i - 1] / closes[i - 1 - lookback] - 1
            ranked = np.argsort(-momentum, kind="mergesort")[:top]
            cash, traded = rebalance(opens[i], ranked, quantities, cash, fee)
            fills += traded
            for pair in range(pairs):
                if quantities[pair] == 0.0:
                    levels[pair] = 0.0
                elif levels[pair] == 0.0:
                    levels[pair] = stop * opens[i, pair]
        equity[i] = cash + np.sum(quantities * closes[i])
    return equity[-1], fills, equity


@njit
def rebalance(
    prices: FloatArray, ranked: npt.NDArray[np.int64], quantities: FloatArray, cash: float, fee: float
) -> tuple[float, int]:
    """Sell, then buy towards equal weights; change `quantities`, return cash and the number of fills."""
    is_target = np.zeros(len(prices), dtype=np.bool_)
    is_target[ranked] = True
    values = quantities * prices * (1 - fee)
    target = ALLOCATION / len(ranked) * (cash + values.sum())
    fills = 0
    for pair in range(len(prices)):
        if quantities[pair] > 0.0 and not is_target[pair]:
            cash += values[pair]
            quantities[pair] = 0.0
            fills += 1
        elif is_target[pair] and values[pair] > target:
            quantity = (values[pair] - target) / prices[pair]
            cash += quantity * prices[pair] * (1 - fee)
            quantities[pair] -= quantity
            fills += 1
    for pair in ranked:
        missing = target - values[pair]
        if missing > 0:
            cash -= missing
            quantities[pair] += missing / (prices[pair] * (1 + fee))
            fills += 1
    return cash, fills
