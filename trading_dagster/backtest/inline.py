"""Run a backtest in one piece: what notebooks and the command line call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from tqdm import tqdm

from trading_dagster.backtest.plan import BacktestOptions, BacktestPlan, StrategyLike, plan_backtest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.backtest.run import BacktestRun, Progress
from trading_dagster.domain.trigger import TriggerModel
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.pricing.cost import Cost
from trading_dagster.strategy.indicator_calculation import IndicatorStore
from trading_dagster.strategy.parameters import StrategyParameters


def run_backtest(
    strategy: StrategyLike | None = None,
    *,
    universe: TradingStrategyUniverse | None = None,
    parameters: type | StrategyParameters | dict[str, Any] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    initial_cash: float | None = None,
    trigger_model: TriggerModel | None = None,
    costs: Sequence[Cost] | None = None,
    name: str | None = None,
    client: Any = None,
    options: BacktestOptions | None = None,
    indicator_store: IndicatorStore | None = None,
    execution_test_hook: Any = None,
    progress: bool = True,
    **functions: Any,
) -> BacktestResult:
    """Run a strategy over recorded candles, from start to end in one piece.

    Args:
        strategy: Path of a strategy file, a module, or a StrategyModule; None when bare functions are given
            (``decide_trades=``, ``create_indicators=``, ``create_trading_universe=``).
        universe: Trade on this universe instead of calling create_trading_universe.
        parameters: A class or mapping whose values replace those of the strategy's Parameters, or add to them.
        start: First decision, naive UTC; default ``Parameters.backtest_start``.
        end: Exclusive end, naive UTC; default ``Parameters.backtest_end``.
        initial_cash: USD; default ``Parameters.initial_cash``.
        trigger_model: Whether stop losses, take profits and waiting trades are looked for at the opens of the stop-loss
            candles or inside them, too; default ``Parameters.trigger_model``, or else at the opens.
        costs: What trading costs beside fees, such as ``[td.Slippage(bps=10)]``; default ``Parameters.costs``, else
            nothing.
        name: Shown in reports.
        client: Market data source handed to create_trading_universe; None is the embedded sample.
        options: Fees and tolerances that are not the strategy's.
        indicator_store: Where calculated indicators are kept between runs.
        execution_test_hook: ``on_before_cycle(cycle, timestamp, state, sync_model)``, or an object with that method;
            deposits and redemptions are queued there with ``sync_model.simulate_funding(at, amount)``.
        progress: Draw progress bars on a terminal.
        **functions: The bare functions.

    Raises:
        BadInput: strategy, parameters, range or data are unusable; the message says what to change.
        StrategyFailed: decide_trades raised; the message has cycle, time and traceback.
        TradeError: a planned trade cannot be executed.

    >>> run_backtest("strategies/ema_cross.py").equity_curve.iloc[-1]  # doctest: +SKIP
    """
    plan = plan_backtest(
        strategy,
        universe=universe,
        parameters=parameters,
        start=start,
        end=end,
        initial_cash=initial_cash,
        trigger_model=trigger_model,
        costs=costs,
        name=name,
        client=client,
        options=options,
        indicator_store=indicator_store,
        execution_test_hook=execution_test_hook,
        progress=progress,
        **functions,
    )
    return run_plan(plan, progress=progress)


def run_plan(plan: BacktestPlan, *, progress: bool = False) -> BacktestResult:
    """Run a planned backtest in one piece."""
    run = BacktestRun(plan)
    with _progress_bar(plan.cycle_count, progress) as advance:
        run.advance(plan.cycle_count, advance)
    events, samples = run.take_segment()
    return BacktestResult(plan, run.state, samples.frame, events)


@contextmanager
def _progress_bar(total: int, wanted: bool) -> Iterator[Progress | None]:
    if not wanted:
        yield None
        return
    with tqdm(total=total, desc="Backtesting", unit="cycle", disable=None) as bar:
        yield lambda done, _total: bar.update(done - bar.n)
