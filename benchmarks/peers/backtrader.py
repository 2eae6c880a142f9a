"""backtrader: a line-based event engine; the rules run in `next_open` with cheat-on-open.

Cheat-on-open shows the open that an order will be filled at, so a buy can be sized in USD at the ask as the rule wants;
only earlier closes are looked at. The library's own EMA starts from a simple average, hence the averages of W1 and W2
are computed with pandas (inside the timed call).
"""

from collections.abc import Callable
from pathlib import Path

import backtrader as bt

from benchmarks.peers.floor import rank_momentum, weigh_alpha
from benchmarks.rule import (
    ALLOCATION,
    CASH,
    FAST,
    LOOKBACK,
    MIN_TRADE,
    MOMENTUM,
    SLOW,
    Momentum,
    Outcome,
    alpha_mask,
    rebalance_mask,
)
from benchmarks.workload import Workload, load_candles


class Counted(bt.Strategy):
    """A strategy that counts its fills."""

    fills = 0

    def notify_order(self, order: bt.Order) -> None:
        if order.status == order.Completed:
            self.fills += 1
        elif order.status in {order.Margin, order.Rejected}:
            raise RuntimeError(f"Order refused: {order}; the rule never spends more than the cash")


class EmaCross(Counted):
    """The rule of W1 and W2."""

    params = (("signals", ()), ("fee", 0.0))

    def next_open(self) -> None:
        if self.p.signals[len(self.data) - 1]:
            if not self.position:
                price = self.data.open[0] * (1 + self.p.fee)
                self.buy(size=ALLOCATION * self.broker.getcash() / price)
        elif self.position:
            self.close()


class TopMomentum(Counted):
    """The rule of W3 and W4."""

    params = (("rule", None), ("mask", ()), ("fee", 0.0))

    def __init__(self) -> None:
        self.levels: dict[int, float] = {}

    def next_open(self) -> None:
        rule: Momentum = self.p.rule
        sold: dict[int, float] = {}
        if rule.stop:
            for pair, level in list(self.levels.items()):
                if self.datas[pair].open[0] <= level:
                    sold[pair] = self.sell_all(pair)
        if self.p.mask[len(self.data) - 1]:
            self.rebalance(rule, sum(sold.values()))

    def sell_all(self, pair: int) -> float:
        """Sell a position completely; return what it brings."""
        data = self.datas[pair]
        size = self.getposition(data).size
        self.sell(data, size=size)
        del self.levels[pair]
        return size * data.open[0] * (1 - self.p.fee)

    def rebalance(self, rule: Momentum, proceeds: float) -> None:
        now = [data.close[-1] for data in self.datas]
        before = [data.close[-1 - rule.lookback] for data in self.datas]
        ranked = rank_momentum(now, before, rule.top)
        values = {
            p: self.getposition(self.datas[p]).size * self.datas[p].open[0] * (1 - self.p.fee) for p in self.levels
        }
        goal = ALLOCATION / rule.top * (self.broker.getcash() + proceeds + sum(values.values()))
        for pair, value in values.items():
            if pair not in ranked:
                self.sell_all(pair)
            elif value > goal:
                self.sell(self.datas[pair], size=(value - goal) / self.datas[pair].open[0])
        for pair in ranked:
            missing, price = goal - values.get(pair, 0.0), self.datas[pair].open[0]
            if missing > 0:
                self.buy(self.datas[pair], size=missing / (price * (1 + self.p.fee)))
                self.levels.setdefault(pair, (rule.stop or 0.0) * price)


class Alpha(Counted):
    """The alpha rule: weights at every bar, trades on marked ones."""

    params = (("mask", ()), ("fee", 0.0))

    def next_open(self) -> None:
        if len(self.data) <= LOOKBACK + 1:
            return
        weights = weigh_alpha(
            [data.close[-1] for data in self.datas], [data.close[-1 - LOOKBACK] for data in self.datas]
        )
        if not self.p.mask[len(self.data) - 1]:
            return
        sizes = {pair: self.getposition(data).size for pair, data in enumerate(self.datas)}
        opens = [data.open[0] for data in self.datas]
        values = {pair: size * opens[pair] * (1 - self.p.fee) for pair, size in sizes.items() if size}
        equity = ALLOCATION * (self.broker.getcash() + sum(values.values()))
        changes = {pair: weights.get(pair, 0.0) * equity - values.get(pair, 0.0) for pair in {**values, **weights}}
        if max(map(abs, changes.values()), default=0.0) < MIN_TRADE:
            return
        for pair, change in changes.items():
            if pair not in weights:
                self.sell(self.datas[pair], size=sizes[pair])
            elif change < 0:
                self.sell(self.datas[pair], size=-change / opens[pair])
        for pair, change in changes.items():
            if change > 0:
                self.buy(self.datas[pair], size=change / (opens[pair] * (1 + self.p.fee)))


def prepare(workload: Workload, folder: Path) -> Callable[[], Outcome]:
    """Cut one frame a pair; return the call that is timed."""
    candles = load_candles(workload, folder)
    frames = [frame.set_index("timestamp").drop(columns="pair_id") for _, frame in candles.groupby("pair_id")]
    last_closes = [float(frame["close"].iloc[-1]) for frame in frames]
    mask = rebalance_mask(workload).tolist() if workload.name in MOMENTUM else []

    def run() -> Outcome:
        cerebro = bt.Cerebro(cheat_on_open=True, stdstats=False)
        for frame in frames:
            cerebro.adddata(bt.feeds.PandasData(dataname=frame))
        cerebro.broker.setcash(CASH)
        cerebro.broker.setcommission(commission=workload.fee)
        cerebro.broker.set_checksubmit(False)
        if workload.name == "alpha":
            cerebro.addstrategy(Alpha, mask=alpha_mask(workload).tolist(), fee=workload.fee)
        elif mask:
            cerebro.addstrategy(TopMomentum, rule=MOMENTUM[workload.name], mask=mask, fee=workload.fee)
        else:
            fast, slow = (frames[0]["close"].ewm(span=span, adjust=False).mean() for span in (FAST, SLOW))
            cerebro.addstrategy(EmaCross, signals=(fast > slow).shift(fill_value=False).tolist(), fee=workload.fee)
        strategy = cerebro.run()[0]
        sizes = [strategy.getposition(data).size for data in strategy.datas]
        held = sum(size * close for size, close in zip(sizes, last_closes, strict=True))
        return Outcome(cerebro.broker.getcash() + held, strategy.fills)

    return run
