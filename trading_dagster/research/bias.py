"""The bump test: a strategy that looks into the future decides differently when the future is another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from typing import Any

import numpy as np
from tqdm import tqdm

from trading_dagster.backtest.plan import BacktestPlan, StrategyLike, plan_backtest
from trading_dagster.backtest.run import BacktestRun
from trading_dagster.domain.error import BadInput, IndicatorError, StrategyFailed, TradingDagsterError
from trading_dagster.domain.event import (
    CycleCompleted,
    Event,
    PairIntroduced,
    PositionOpened,
    TradePlanned,
    TriggersMoved,
)
from trading_dagster.domain.time import from_unix_us, to_naive, to_unix_us
from trading_dagster.domain.trade import TradeType
from trading_dagster.domain.trigger import TriggerModel
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.research.bias_report import BiasReport, DecisionBias, IndicatorBias
from trading_dagster.research.bump import OtherFuture, change_future
from trading_dagster.strategy.indicator_bias import find_differences, find_lookahead
from trading_dagster.strategy.indicator_calculation import calculate_indicators
from trading_dagster.strategy.indicator_definition import IndicatorSet
from trading_dagster.strategy.indicator_result import IndicatorResults

SPREAD_CUTS = 5
TRADE_CUTS = 8


def check_bias(
    strategy: StrategyLike | BacktestPlan | None = None,
    *,
    cuts: int | Sequence[datetime] | None = None,
    seed: int = 0,
    progress: bool = False,
    **plan_arguments: Any,
) -> BiasReport:
    """Change what came after several instants; whatever was known or decided by then must stay, bit by bit.

    For each cut the candles that a decision at that time may not know, those of lending rates as well, are made ten
    times as high, a tenth as high, and missing, with the strategy otherwise unchanged; so are the limits of vaults,
    which open, close, or never change again. Indicators are calculated anew, also on candles that end at the cut, and
    the backtest is run again up to it. Rows of indicators visible by then, and all trades, fills, triggers
    and stored values up to then, prices and quantities included, are compared. Cuts are the times of trades, where a
    glance at the next candle shows most easily, and times evenly spread.

    What the test cannot see: create_trading_universe is not run again, so pairs chosen with hindsight stay chosen. A
    strategy with TriggerModel.intrabar is run with sampled: a fill inside the candle that begins at a cut has the cut's
    time and rightly depends on what comes after it.

    Args:
        strategy: Whatever run_backtest takes, or a planned backtest; None when bare functions are given.
        cuts: Decision times, naive UTC, or how many to choose of each kind; None takes 5 spread and 8 of trades.
        seed: Of the noise in changed candles.
        progress: Draw a progress bar.
        **plan_arguments: As in run_backtest: universe, parameters, start, end, initial_cash, client, options,
            and the bare functions.

    Raises:
        BadInput: A cut lies outside the backtest, or what plan_backtest raises.
        StrategyFailed: The strategy fails on the candles as they are; so do other errors of a backtest.

    >>> print(check_bias("strategies/ema_cross.py"))  # doctest: +SKIP
    """
    plan = strategy if isinstance(strategy, BacktestPlan) else plan_backtest(strategy, **plan_arguments)
    if plan.trigger_model is TriggerModel.intrabar:
        plan = replace(plan, parameters=plan.parameters.replace(trigger_model=TriggerModel.sampled))
    events, failure = _run(plan, plan.cycle_count - 1)
    if failure is not None:
        raise failure  # on the candles as they are: there is nothing to compare
    chosen = _choose_cuts(plan, events, cuts)
    difference = _first_difference(events, _run(plan, plan.cycle_count - 1)[0])
    unrepeatable = None if difference is None else "{1} at {0}, then {2}".format(*difference)
    times = [from_unix_us(int(plan.grid_us[cycle])) for cycle in chosen]
    found, failures = _look_ahead_of_indicators(plan, times)
    indicators = {(bias.indicator, bias.column, bias.pair): bias for bias in reversed(found)}
    trades: dict[datetime, DecisionBias] = {}
    rounds = [(cycle, cut, future) for cycle, cut in zip(chosen, times, strict=True) for future in OtherFuture]
    for cycle, cut, future in tqdm(rounds, desc="Changing the future", unit="run", disable=None if progress else True):
        universe = change_future(plan.universe, cut, future, seed)
        try:
            results = calculate_indicators(_Factory(plan).of(universe), universe)
        except IndicatorError as error:
            failures.append(f"With the candles that a decision at {cut} does not know {future.value}: {error}")
            continue
        differing = list(_compare_indicators(plan, results, cut, future))
        for bias in differing:
            indicators.setdefault((bias.indicator, bias.column, bias.pair), bias)
        known = [event for event in events if to_naive(event.at) <= cut]
        changed, failure = _run(replace(plan, universe=universe, indicators=results), cycle)
        difference = _first_difference(known, [event for event in changed if to_naive(event.at) <= cut])
        if difference is None and isinstance(failure, StrategyFailed):
            difference = (cut, "decide_trades ran", f"it failed: {failure}")
        if difference is not None:
            trades.setdefault(cut, DecisionBias(*difference, cut, future, bool(differing)))
    return BiasReport(
        strategy=plan.name,
        cuts=tuple(times),
        decisions=len(events),
        indicators=tuple(indicators.values()),
        trades=tuple(trades.values()),
        failures=tuple(failures),
        unrepeatable=unrepeatable,
    )


def _look_ahead_of_indicators(plan: BacktestPlan, cuts: Sequence[datetime]) -> tuple[list[IndicatorBias], list[str]]:
    """Calculate indicators on candles that end at each cut; returns what differs and what fails."""
    try:
        findings = find_lookahead(_Factory(plan), plan.universe, plan.parameters, cuts, plan.context)
    except IndicatorError as error:
        return [], [f"With candles that end at a cut: {error}"]
    return [
        IndicatorBias(
            indicator=finding.indicator,
            column=finding.column,
            pair=finding.pair,
            bar=finding.bar,
            known=finding.with_future,
            changed=finding.without_future,
            cut=finding.known_at,
            future=OtherFuture.nothing,
        )
        for finding in findings
    ], []


@dataclass(frozen=True, slots=True)
class _Factory:
    """Makes the indicators of a plan's strategy, in whichever form the strategy file defines them."""

    plan: BacktestPlan

    def create_indicators(
        self, timestamp: datetime | None, parameters: Any, strategy_universe: Any, execution_context: Any, /
    ) -> IndicatorSet:
        """Return the indicators of a universe."""
        del timestamp
        return self.plan.strategy.build_indicators(strategy_universe, parameters, execution_context)

    def of(self, universe: TradingStrategyUniverse) -> IndicatorSet:
        """Return the indicators of a universe, with the plan's parameters."""
        return self.create_indicators(None, self.plan.parameters, universe, self.plan.context)


def _choose_cuts(plan: BacktestPlan, events: Sequence[Event], cuts: int | Sequence[datetime] | None) -> list[int]:
    """Return the numbers of the cycles to cut at, ascending."""
    if cuts is not None and not isinstance(cuts, int):
        outside = [cut for cut in cuts if not 0 <= plan.cycle_at(cut) < plan.cycle_count]
        if outside or not cuts:
            raise BadInput(f"cuts: {outside or 'none given'}: choose times from {plan.start} to before {plan.end}")
        return sorted({plan.cycle_at(cut) for cut in cuts})
    if cuts is not None and cuts < 1:
        raise BadInput(f"cuts is {cuts}: choose at least one")
    spread = SPREAD_CUTS if cuts is None else cuts
    decided = sorted(
        {
            plan.cycle_at(to_naive(event.at))
            for event in events
            if isinstance(event, TradePlanned) and event.plan.trade_type is TradeType.rebalance
        }
    )
    of_trades = TRADE_CUTS if cuts is None else cuts
    chosen = {int(i) for i in np.linspace(0, plan.cycle_count - 1, spread + 2)[1:-1]}
    if decided:
        chosen |= {decided[int(i)] for i in np.linspace(0, len(decided) - 1, of_trades)}
    return sorted(chosen)


def _run(plan: BacktestPlan, last_cycle: int) -> tuple[list[Event], TradingDagsterError | None]:
    """Run the cycles up to one, it included; returns what happened and what stopped it."""
    run = BacktestRun(plan)
    failure = None
    try:
        run.advance(last_cycle + 1)
    except TradingDagsterError as error:
        failure = error
    events = run.state.take_events()
    return [event for event in events if not isinstance(event, CycleCompleted | PairIntroduced)], failure


def _compare_indicators(
    plan: BacktestPlan, changed: IndicatorResults, cut: datetime, future: OtherFuture
) -> Iterator[IndicatorBias]:
    for definition in plan.indicators.indicators:
        for pair in plan.universe.pairs if definition.source.is_per_pair() else (None,):
            pair_id = None if pair is None else pair.internal_id
            before, after = plan.indicators.get(definition, pair_id), changed.get(definition, pair_id)
            for column, (bar, known, other) in find_differences(before, after, to_unix_us(cut)):
                ticker = None if pair is None else pair.get_ticker()
                yield IndicatorBias(definition.label, column, ticker, bar, known, other, cut, future)
                break


def _first_difference(known: Sequence[Event], changed: Sequence[Event]) -> tuple[datetime, str, str] | None:
    """Return when and how two courses of events part, None when they are the same."""
    for place, (one, other) in enumerate(zip_longest(known, changed)):
        if one is None or other is None or not (one == other or repr(one) == repr(other)):
            at = min(event.at for event in (one, other) if event is not None)
            return to_naive(at), _describe(known[place : place + 2]), _describe(changed[place : place + 2])
    return None


def _describe(events: Sequence[Event]) -> str:
    """Say what the first of some events is; the trade that follows belongs to an opened position."""
    if not events:
        return "nothing happened"
    event = events[0]
    if isinstance(event, TradePlanned):
        plan = event.plan
        side = "buy" if plan.quantity > 0 else "sell"
        return f"planned to {side} {abs(plan.quantity):f} {plan.pair.base.token_symbol} @ {plan.pricing.price!r}"
    if isinstance(event, PositionOpened):
        opened = f"opened position {event.position_id} at equity {event.portfolio_value_at_open!r}"
        return ", ".join([opened, *(_describe([trade]) for trade in events[1:] if isinstance(trade, TradePlanned))])
    if isinstance(event, TriggersMoved):
        levels = f"stop loss {event.stop_loss!r}, take profit {event.take_profit!r}"
        return f"set {levels} of position {event.position_id}"
    return f"{type(event).__name__} {event}"
