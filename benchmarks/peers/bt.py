"""bt: a tree of securities walked bar by bar, the strategy a stack of small callbacks (`Algo`).

bt trades at the price of the bar it shows. It is therefore given the opens as its prices, and signals of bar i under
the date of bar i + 1: the same fills as ours. When to rebalance and what to hold comes from the library's own algos,
which look frames up by date; how much is traded comes from algos of ours, because the library's `Rebalance` sizes sells
otherwise. They trade exact quantities through `transact`, which charges the commission on the notional. It is run by
`bt.run`, whose result has the statistics and, asked for them, the transactions.
"""

from collections.abc import Callable
from pathlib import Path

import bt
import pandas as pd

from benchmarks.rule import (
    ALLOCATION,
    CASH,
    FAST,
    LOOKBACK,
    MAX_WEIGHT,
    MIN_TRADE,
    MOMENTUM,
    SLOW,
    TOP,
    Momentum,
    Outcome,
)
from benchmarks.workload import Workload, load_candles, pivot_candles


class Traded(bt.Algo):
    """An algo that trades exact quantities and counts its fills."""

    def __init__(self, fee: float) -> None:
        super().__init__()
        self.fee, self.fills = fee, 0

    def trade(self, target: bt.Strategy, name: str, quantity: float) -> None:
        target.transact(quantity, child=name)
        self.fills += 1


class HoldWhere(Traded):
    """Hold the only security for 0.98 of the cash where a signal says so; `SelectWhere` takes 30 times as long."""

    def __init__(self, fee: float, signals: pd.Series) -> None:
        super().__init__(fee)
        self.signals = signals

    def __call__(self, target: bt.Strategy) -> bool:
        security = target.children.get("1")
        is_holding = security is not None and security.position != 0
        if self.signals.at[target.now]:
            if not is_holding:
                price = target.universe.at[target.now, "1"]
                self.trade(target, "1", ALLOCATION * target.capital / (price * (1 + self.fee)))
        elif is_holding:
            self.trade(target, "1", -security.position)
        return True


class RebalanceSelected(Traded):
    """Trade towards equal weights of the selected securities, sells first, by the rule of W3 and W4."""

    def __init__(self, fee: float, levels: dict[str, float], rule: Momentum) -> None:
        super().__init__(fee)
        self.levels, self.rule = levels, rule

    def __call__(self, target: bt.Strategy) -> bool:
        selected = target.temp["selected"]
        if not selected:
            return True
        held = {name: target.children[name] for name in self.levels}
        values = {name: child.position * child.price * (1 - self.fee) for name, child in held.items()}
        goal = ALLOCATION / len(selected) * (target.capital + sum(values.values()))
        for name, value in values.items():
            if name not in selected:
                self.trade(target, name, -held[name].position)
                del self.levels[name]
            elif value > goal:
                self.trade(target, name, -(value - goal) / held[name].price)
        prices = target.universe.loc[target.now]
        for name in selected:
            missing = goal - values.get(name, 0.0)
            if missing > 0:
                self.trade(target, name, missing / (prices[name] * (1 + self.fee)))
                self.levels.setdefault(name, (self.rule.stop or 0.0) * prices[name])
        return True


class StopLoss(Traded):
    """Sell positions whose price is at or below their level."""

    def __init__(self, fee: float, levels: dict[str, float]) -> None:
        super().__init__(fee)
        self.levels = levels

    def __call__(self, target: bt.Strategy) -> bool:
        for name in [name for name, level in self.levels.items() if target.children[name].price <= level]:
            self.trade(target, name, -target.children[name].position)
            del self.levels[name]
        return True


def prepare(workload: Workload, folder: Path) -> Callable[[], Outcome]:
    """Return the timed call of exact fills through `bt.run`, with its statistics and its table of transactions."""
    make_test, last = prepare_exact(workload, folder)

    def run() -> Outcome:
        test = make_test()
        result = bt.run(test)
        return Outcome(value_at(test.strategy, last), len(result.get_transactions()))

    return run


def prepare_bare(workload: Workload, folder: Path) -> Callable[[], Outcome]:
    """Return the timed call of the same without the result: fills are counted, not listed."""
    make_test, last = prepare_exact(workload, folder)

    def run() -> Outcome:
        test = make_test()
        test.run()
        fills = sum(algo.fills for algo in test.strategy.stack.algos if isinstance(algo, Traded))
        return Outcome(value_at(test.strategy, last), fills)

    return run


def prepare_exact(workload: Workload, folder: Path) -> tuple[Callable[[], bt.Backtest], dict[str, float]]:
    """Pivot the candles; return what makes a backtest of exact quantities, and the last closes."""
    opens, closes = load_prices(workload, folder)
    make_algos = make_momentum_algos if workload.name in MOMENTUM else make_ema_algos
    if workload.name == "alpha":
        make_algos = make_alpha_algos

    def make_test() -> bt.Backtest:
        strategy = bt.Strategy("benchmark", make_algos(workload, closes), children=list(opens.columns))
        return make_backtest(strategy, opens, workload.fee)

    return make_test, closes.iloc[-1].to_dict()


def load_prices(workload: Workload, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return opens and closes, a column a pair."""
    candles = load_candles(workload, folder)
    names = [str(pair) for pair in range(1, workload.pairs + 1)]
    opens, closes = (
        pd.DataFrame(pivot_candles(candles, column, workload.pairs), index=workload.timestamps, columns=names)
        for column in ("open", "close")
    )
    return opens, closes


def make_backtest(strategy: bt.Strategy, opens: pd.DataFrame, fee: float) -> bt.Backtest:
    """Return a backtest of fractional quantities that pays the fee on the notional."""

    def commission(quantity: float, price: float) -> float:
        return abs(quantity) * price * fee

    return bt.Backtest(
        strategy,
        opens,
        initial_capital=CASH,
        commissions=commission,
        integer_positions=False,
        progress_bar=False,
    )


def value_at(strategy: bt.Strategy, prices: dict[str, float]) -> float:
    """Return capital and positions at these prices, USD."""
    held = strategy.children.items()
    return float(strategy.capital + sum(child.position * prices[name] for name, child in held))


def prepare_rebalance(workload: Workload, folder: Path) -> Callable[[], Outcome]:
    """Return the timed call of bt with its own algos throughout, `Rebalance` included.

    `Rebalance` sizes every trade itself, so that commissions are paid out of the amount: sells are a little larger
    than ours, and equity is not the same.
    """
    opens, closes = load_prices(workload, folder)
    last, rule = closes.iloc[-1].to_dict(), MOMENTUM[workload.name]

    def run() -> Outcome:
        levels: dict[str, float] = {}
        momentum = (closes / closes.shift(rule.lookback) - 1).shift()
        schedule = bt.algos.RunWeekly() if workload.frequency == "1D" else bt.algos.RunDaily()
        stops = [StopLoss(workload.fee, levels)] if rule.stop else []
        choose = [bt.algos.SetStat(momentum), bt.algos.SelectN(rule.top), bt.algos.WeighEqually()]
        trade = [bt.algos.ScaleWeights(ALLOCATION), bt.algos.Rebalance(), NoteLevels(levels, rule)]
        strategy = bt.Strategy("benchmark", [*stops, schedule, *choose, *trade])
        test = make_backtest(strategy, opens, workload.fee)
        result = bt.run(test)
        return Outcome(value_at(test.strategy, last), len(result.get_transactions()))

    return run


class NoteLevels(bt.Algo):
    """Remember the stop level of what was bought, and forget that of what was sold."""

    def __init__(self, levels: dict[str, float], rule: Momentum) -> None:
        super().__init__()
        self.levels, self.rule = levels, rule

    def __call__(self, target: bt.Strategy) -> bool:
        held = {name for name, child in target.children.items() if child.position}
        for name in self.levels.keys() - held:
            del self.levels[name]
        for name in held - self.levels.keys():
            self.levels[name] = (self.rule.stop or 0.0) * target.children[name].price
        return True


def make_ema_algos(workload: Workload, closes: pd.DataFrame) -> list[bt.Algo]:
    """Return the stack of W1 and W2."""
    fast, slow = (closes["1"].ewm(span=span, adjust=False).mean() for span in (FAST, SLOW))
    return [HoldWhere(workload.fee, (fast > slow).shift(fill_value=False))]


def make_momentum_algos(workload: Workload, closes: pd.DataFrame) -> list[bt.Algo]:
    """Return the stack of W3 and W4."""
    rule = MOMENTUM[workload.name]
    levels: dict[str, float] = {}
    momentum = (closes / closes.shift(rule.lookback) - 1).shift()
    schedule = bt.algos.RunWeekly() if workload.frequency == "1D" else bt.algos.RunDaily()
    stops = [StopLoss(workload.fee, levels)] if rule.stop else []
    select = [bt.algos.SetStat(momentum), bt.algos.SelectN(rule.top)]
    return [*stops, schedule, *select, RebalanceSelected(workload.fee, levels, rule)]


class WeighByRank(bt.Algo):
    """Weigh what was selected and rose, strongest first, by 1 / rank, normalised and capped."""

    def __call__(self, target: bt.Strategy) -> bool:
        momenta = target.temp["stat"]
        ranked = [name for name in target.temp["selected"] if momenta[name] > 0]
        total = sum(1 / rank for rank in range(1, len(ranked) + 1))
        target.temp["weights"] = {name: min(1 / rank / total, MAX_WEIGHT) for rank, name in enumerate(ranked, 1)}
        return True


class TradeTowards(Traded):
    """Trade towards weights by the alpha rule, sells first."""

    def __call__(self, target: bt.Strategy) -> bool:
        weights, prices = target.temp["weights"], target.universe.loc[target.now]
        if target.temp["stat"].isna().all():
            return True
        held = {name: child for name, child in target.children.items() if child.position}
        values = {name: child.position * prices[name] * (1 - self.fee) for name, child in held.items()}
        equity = ALLOCATION * (target.capital + sum(values.values()))
        changes = {name: weights.get(name, 0.0) * equity - values.get(name, 0.0) for name in {**values, **weights}}
        if max(map(abs, changes.values()), default=0.0) < MIN_TRADE:
            return True
        for name, change in changes.items():
            if name not in weights:
                self.trade(target, name, -held[name].position)
            elif change < 0:
                self.trade(target, name, change / prices[name])
        for name, change in changes.items():
            if change > 0:
                self.trade(target, name, change / (prices[name] * (1 + self.fee)))
        return True


def make_alpha_algos(workload: Workload, closes: pd.DataFrame) -> list[bt.Algo]:
    """Return the stack of the alpha rule: weights at every bar, trades once a day."""
    momentum = (closes / closes.shift(LOOKBACK) - 1).shift()
    weigh = [bt.algos.SetStat(momentum), bt.algos.SelectN(TOP), WeighByRank()]
    return [*weigh, bt.algos.RunDaily(run_on_first_date=False), TradeTowards(workload.fee)]
