"""The trading rules, stated once so that every engine can be held to the same fills.

Common to both
    A decision at bar i + 1 knows the closes up to bar i and is filled at the OPEN of bar i + 1. A buy of V USD is
    filled at ask = open x (1 + fee) and brings V / ask units; a sell of q units brings q x bid, bid = open x (1 - fee).
    Quantities are fractional, nothing is rounded, no trade is too small. The last close is never acted upon.
    Final equity = cash + sum of quantity x last close, without a fee for the sale that does not happen.

EMA cross (W1, W2)
    Fast and slow are `ewm(span, adjust=False)` of the closes, spans 10 and 40. Fast above slow and nothing held: buy
    for 0.98 of the cash. Fast not above slow and something held: sell all. A position is never resized.

Grid (W5)
    The EMA cross with every pair of 10 fast and 10 slow spans, on all processor cores. Its final equity is the sum of
    those of all pairs, its fills are those of the pair with the highest.

Momentum (W3, W4)
    Every bar, first (W3 only): a held pair whose open is at or below 0.90 x the open at which its position was opened
    is sold completely. Increases and reductions leave that level alone; a position opened anew sets a new one.
    On rebalance bars (W3: 00:00 UTC; W4: Mondays), once `lookback` changes are known, then:

    1. momentum = close[i] / close[i - lookback] - 1 for each pair; the n highest are the targets, ties by pair id.
    2. equity = cash + sum of quantity x bid; the target value of each is 0.98 / n x equity.
    3. Sells: held pairs that are no target are sold completely; held targets worth (at bid) more than their target
       value are reduced by (excess / open) units, so the sale realises excess x (1 - fee).
    4. Buys: targets worth less are bought for the difference in USD at ask.

Alpha (alpha)
    At every bar the weights are decided: the 20 pairs of the highest momentum above 0 over 168 bars have 1 / rank, ties
    by pair id, divided by the sum, at most 0.2 each. On bars at 00:00 UTC, once 168 changes are known, the portfolio is
    traded towards weight x 0.98 x equity as in the momentum rule; nothing when no difference is 10 USD.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.workload import Workload

CASH = 100_000.0
FAST, SLOW = 10, 40
FASTS, SLOWS = range(5, 15), range(20, 120, 10)
"""Spans of W5, 100 pairs."""

ALLOCATION = 0.98
MONDAY = 0


@dataclass(frozen=True, slots=True)
class Momentum:
    """Numbers of the momentum rule.

    Attributes:
        lookback: Bars between the two closes that are compared.
        top: Number of pairs held.
        stop: Fraction of the opening price at or below which a position is sold; None for no stops.
    """

    lookback: int
    top: int
    stop: float | None


TOP, LOOKBACK, MAX_WEIGHT, MIN_TRADE = 20, 168, 0.2, 10.0
"""Numbers of the alpha rule: pairs held, bars of momentum, largest weight, USD."""

MOMENTUM = {"w3": Momentum(lookback=168, top=5, stop=0.90), "w4": Momentum(lookback=28, top=20, stop=None)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run must show to be comparable.

    Attributes:
        equity: Final equity in USD by the definition in the module docstring.
        fills: Number of executed buys and sells.
    """

    equity: float
    fills: int


def rebalance_mask(workload: Workload) -> npt.NDArray[np.bool_]:
    """Mark the bars at whose open the momentum rule trades.

    The first one is the first rebalance time at which the bar before it has `lookback` bars before itself.
    """
    mask = is_rebalance_time(workload, workload.timestamps)
    mask[: MOMENTUM[workload.name].lookback + 1] = False
    return mask


def alpha_mask(workload: Workload) -> npt.NDArray[np.bool_]:
    """Mark the bars at whose open the alpha rule trades: midnights from the first with known momenta on."""
    mask = is_rebalance_time(workload, workload.timestamps)
    mask[: LOOKBACK + 1] = False
    return mask


def is_rebalance_time(workload: Workload, timestamps: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    """Tell for each candle open whether it is midnight (W3) or a Monday (W4)."""
    calendar = timestamps.day_of_week == MONDAY if workload.frequency == "1D" else timestamps.hour == 0
    return np.array(calendar, dtype=np.bool_)
