"""backtesting.py: an event loop over one instrument, the strategy a class with `init` and `next`.

W1 and W2 only: an account holds one instrument. Fractional quantities come from `FractionalBacktest`, which trades
whole multiples of a unit; 1e-12 keeps the rounding far below the tolerance. `commission` is charged on the notional,
so a relative size buys size x cash / (open x (1 + fee)): the ask of our rule.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from backtesting import Strategy
from backtesting.lib import FractionalBacktest

from benchmarks.rule import ALLOCATION, CASH, FAST, FASTS, SLOW, SLOWS, Outcome
from benchmarks.workload import FloatArray, Workload, load_candles

UNIT = 1e-12


class EmaCross(Strategy):
    """The rule of W1, W2 and W5."""

    fast_span, slow_span = FAST, SLOW

    def init(self) -> None:
        self.fast = self.I(average, self.data.Close, self.fast_span)
        self.slow = self.I(average, self.data.Close, self.slow_span)

    def next(self) -> None:
        if self.fast[-1] > self.slow[-1]:
            if not self.position:
                self.buy(size=ALLOCATION)
        elif self.position:
            self.position.close()


def average(close: FloatArray, span: int) -> FloatArray:
    """Return the exponential moving average of the closes."""
    return pd.Series(np.asarray(close)).ewm(span=span, adjust=False).mean().to_numpy()


def prepare(workload: Workload, folder: Path) -> Callable[[], Outcome]:
    """Name the columns as the library wants them; return the call that is timed."""
    candles = load_candles(workload, folder)
    names = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}
    frame = candles.set_index("timestamp")[list(names)].rename(columns=names)
    # The progress bar costs time and the note on open trades at the end is intended: the last position stays open.
    warnings.filterwarnings("ignore", category=UserWarning, module="backtesting")

    def run() -> Outcome:
        test = FractionalBacktest(frame, EmaCross, cash=CASH, commission=workload.fee, fractional_unit=UNIT)
        if workload.name == "w5":
            return search(test)
        statistics = test.run()
        still_open = len(statistics["_strategy"].trades)
        return Outcome(float(statistics["Equity Final [$]"]), 2 * len(statistics["_trades"]) + still_open)

    return run


def search(test: FractionalBacktest) -> Outcome:
    """Run every pair of spans with the library's own optimiser, which starts a process for each core."""
    best, equities = test.optimize(fast_span=FASTS, slow_span=SLOWS, maximize="Equity Final [$]", return_heatmap=True)
    still_open = len(best["_strategy"].trades)
    return Outcome(float(equities.sum()), 2 * len(best["_trades"]) + still_open)
