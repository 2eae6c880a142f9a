"""bt driven as fast as it goes: one algo that reads plain lists by position instead of frames by date.

Nobody writes bt strategies this way; it shows what of bt's time is bt's own. Fills are those of `bt`.
"""

from collections.abc import Callable
from pathlib import Path

import bt
import pandas as pd

from benchmarks.peers.floor import rank_momentum
from benchmarks.rule import ALLOCATION, CASH, FAST, MOMENTUM, SLOW, Momentum, Outcome, rebalance_mask
from benchmarks.workload import Workload, load_candles, pivot_candles


class EmaCross(bt.Algo):
    """The rule of W1 and W2."""

    def __init__(self, opens: list[float], closes: pd.Series, fee: float) -> None:
        super().__init__()
        fast, slow = (closes.ewm(span=span, adjust=False).mean() for span in (FAST, SLOW))
        self.signals = (fast > slow).shift(fill_value=False).tolist()
        self.opens, self.ask_factor = opens, 1 + fee
        self.i, self.quantity, self.fills = -1, 0.0, 0

    def __call__(self, target: bt.Strategy) -> bool:
        self.i += 1
        if self.signals[self.i]:
            if not self.quantity:
                self.quantity = ALLOCATION * target.capital / (self.opens[self.i] * self.ask_factor)
                target.transact(self.quantity, child="1")
                self.fills += 1
        elif self.quantity:
            target.transact(-self.quantity, child="1")
            self.quantity = 0.0
            self.fills += 1
        return True


class TopMomentum(bt.Algo):
    """The rule of W3 and W4."""

    def __init__(
        self, opens: list[list[float]], closes: list[list[float]], mask: list[bool], rule: Momentum, fee: float
    ) -> None:
        super().__init__()
        self.opens, self.closes, self.mask, self.rule, self.fee = opens, closes, mask, rule, fee
        self.i, self.fills = -1, 0
        self.levels: dict[int, float] = {}
        self.names = [str(pair) for pair in range(1, len(opens[0]) + 1)]

    def __call__(self, target: bt.Strategy) -> bool:
        self.i += 1
        if self.rule.stop:
            prices = self.opens[self.i]
            for pair in [pair for pair, level in self.levels.items() if prices[pair] <= level]:
                self.trade(target, pair, -target.children[self.names[pair]].position)
                del self.levels[pair]
        if self.mask[self.i]:
            self.rebalance(target)
        return True

    def trade(self, target: bt.Strategy, pair: int, quantity: float) -> None:
        target.transact(quantity, child=self.names[pair])
        self.fills += 1

    def rebalance(self, target: bt.Strategy) -> None:
        prices, rule = self.opens[self.i], self.rule
        ranked = rank_momentum(self.closes[self.i - 1], self.closes[self.i - 1 - rule.lookback], rule.top)
        quantities = {pair: target.children[self.names[pair]].position for pair in self.levels}
        values = {pair: quantity * prices[pair] * (1 - self.fee) for pair, quantity in quantities.items()}
        goal = ALLOCATION / rule.top * (target.capital + sum(values.values()))
        for pair, value in values.items():
            if pair not in ranked:
                self.trade(target, pair, -quantities[pair])
                del self.levels[pair]
            elif value > goal:
                self.trade(target, pair, -(value - goal) / prices[pair])
        for pair in ranked:
            missing = goal - values.get(pair, 0.0)
            if missing > 0:
                self.trade(target, pair, missing / (prices[pair] * (1 + self.fee)))
                self.levels.setdefault(pair, (rule.stop or 0.0) * prices[pair])


def prepare(workload: Workload, folder: Path) -> Callable[[], Outcome]:
    """Pivot the candles; return the call that is timed."""
    candles = load_candles(workload, folder)
    names = [str(pair) for pair in range(1, workload.pairs + 1)]
    opens, closes = (pivot_candles(candles, column, workload.pairs) for column in ("open", "close"))
    prices = pd.DataFrame(opens, index=workload.timestamps, columns=names)
    last_closes = dict(zip(names, closes[-1].tolist(), strict=True))
    if workload.name in MOMENTUM:
        rows, mask = (opens.tolist(), closes.tolist()), rebalance_mask(workload).tolist()
        make_algo = lambda: TopMomentum(*rows, mask, MOMENTUM[workload.name], workload.fee)  # noqa: E731
    else:
        column, series = opens[:, 0].tolist(), pd.Series(closes[:, 0])
        make_algo = lambda: EmaCross(column, series, workload.fee)  # noqa: E731

    def commission(quantity: float, price: float) -> float:
        return abs(quantity) * price * workload.fee

    def run() -> Outcome:
        strategy = bt.Strategy("benchmark", [make_algo()], children=names)
        test = bt.Backtest(strategy, prices, initial_capital=CASH, commissions=commission, integer_positions=False)
        test.run()
        held = test.strategy.children
        equity = test.strategy.capital + sum(child.position * last_closes[name] for name, child in held.items())
        return Outcome(float(equity), test.strategy.stack.algos[0].fills)

    return run
