"""A backtest in progress: one cycle after the other, from its start or from where an earlier part ended."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from functools import partial

from trading_dagster.accounting.equity_log import SAMPLE_COLUMNS, EquityLog
from trading_dagster.accounting.fund_fee import take_fund_fees
from trading_dagster.accounting.interest import LendingInterest
from trading_dagster.accounting.simulated_treasury import QueuedFlow, SimulatedTreasury
from trading_dagster.backtest.before_cycle import BeforeCycle, DelistedCloses, PeriodicFundFees
from trading_dagster.backtest.delay import DelayedExecution, delay_execution
from trading_dagster.backtest.delisting import Delistings
from trading_dagster.backtest.plan import BacktestPlan
from trading_dagster.backtest.trigger_checks import TriggerChecks, require_watched
from trading_dagster.cycle import CycleHooks, DecisionCycle
from trading_dagster.domain.event import Event, StateCreated
from trading_dagster.domain.fund_fee import read_fund_fees
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.run_range import BacktestData
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_aware
from trading_dagster.execution.costed import simulate_execution
from trading_dagster.execution.loan_service import DEFAULT_LIQUIDATION_PENALTY, LoanService
from trading_dagster.execution.simulated import SimulatedExecution
from trading_dagster.execution.vault_settlement import VaultSettlement
from trading_dagster.execution.wallet import SimulatedWallet, check_wallet
from trading_dagster.pricing.candle_market import CandleMarket
from trading_dagster.pricing.candle_pricing import CandlePricing
from trading_dagster.pricing.cost_model import CostModel
from trading_dagster.statistics.table import Table
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.indicator_lookup import StrategyInputIndicators
from trading_dagster.strategy.input import StrategyInput
from trading_dagster.strategy.parameters import max_price_impact
from trading_dagster.strategy.position_manager import PositionManager
from trading_dagster.strategy.trade_planning import DEFAULT_SLIPPAGE_TOLERANCE
from trading_dagster.strategy.universe_view import VisibleUniverse

PROGRESS_STEPS = 200
ALLOCATIONS_BETWEEN_COLLECTIONS = 1_000_000

Progress = Callable[[int, int], object]


class BacktestRun:
    """A backtest in progress: cycles are run in order, and what happened can be taken out piece by piece."""

    def __init__(self, plan: BacktestPlan, state: State | None = None, next_cycle: int = 0) -> None:
        """Begin a new backtest, or continue one from its replayed state at a cycle index."""
        self.plan = plan
        self.next_cycle = next_cycle
        self.clock = DecisionClock(plan.grid_us.tolist())
        costs = CostModel(plan.parameters.get("costs") or ())
        market = _market_of(plan, costs)
        self.marks = market.value_at(self.clock)
        self.clock.move(min(next_cycle, plan.cycle_count - 1))
        self.wallet = SimulatedWallet()
        self.treasury = SimulatedTreasury(self.wallet.add)
        self.state = self._begin() if state is None else self._take_over(state)
        pricing = market.price_on(plan.universe.candles, self.clock)
        self.input = self._make_input(pricing)
        manager = self.input.get_position_manager()
        self.has_charges = costs.changes_fills
        execution = simulate_execution(self.wallet, self._has_trigger_feed, costs, max_price_impact(plan.parameters))
        has_vaults = any(pair.settles_later for pair in plan.universe.pairs)
        settlement = VaultSettlement(self.wallet, pricing, costs) if has_vaults else None
        self._before: list[BeforeCycle] = []
        if plan.parameters.get("close_delisted", True):
            delistings = Delistings(plan.universe.candles, pricing.data_delay_tolerance, plan.grid_us)
            self._before.append(DelistedCloses(delistings, manager, pricing, execution, settlement))
        self._charge_fund_fees()
        self._delayed = delay_execution(execution, costs, market, plan)
        self.equity_log = EquityLog(plan.grid_us, self.marks, next_cycle, self.state.portfolio)
        self.cycle = self._make_cycle(manager, execution, settlement)
        self.triggers = self._watch_triggers(market, execution)
        if state is not None:
            self.cycle.note_holdings(next_cycle)

    def _begin(self) -> State:
        """Return the state of a new backtest, and let its initial cash come in."""
        plan, now = self.plan, self.clock.timestamp
        state = State(StateCreated(to_aware(now), plan.name, plan.universe.get_reserve_asset()), self.marks)
        self.treasury.simulate_funding(now, plan.initial_cash)
        return self._attach(state)

    def _take_over(self, state: State) -> State:
        """Return a replayed state that is valued by the candles of this run."""
        state.use_marks(self.marks)
        return self._attach(state)

    def _attach(self, state: State) -> State:
        state.use_clock(self.clock)
        plan = self.plan
        state.backtest_data = BacktestData(plan.start, plan.end, plan.cycle_duration, state.ready_at)
        return state

    def _make_input(self, pricing: CandlePricing) -> StrategyInput:
        """Return what the strategy is given: all of it ends at the decision time."""
        plan = self.plan
        visible = VisibleUniverse(plan.universe, self.clock)
        return StrategyInput(
            clock=self.clock,
            state=self.state,
            strategy_universe=visible,
            parameters=plan.parameters,
            indicators=StrategyInputIndicators(plan.universe, plan.indicators, self.clock),
            pricing_model=pricing,
            position_manager=PositionManager(self.clock, visible, self.state, pricing, _slippage_of(plan)),
            execution_context=plan.context,
        )

    def _charge_fund_fees(self) -> None:
        """Let the fund's fees be taken when they are due, and before shares come in or go out."""
        fund_fees = read_fund_fees(self.plan.parameters, self.plan.strategy.details)
        if fund_fees is not None:
            self._before.append(PeriodicFundFees(fund_fees, self.plan, self.state))
            self.treasury.before_flow = partial(take_fund_fees, fund_fees)

    def _make_cycle(
        self, manager: PositionManager, execution: SimulatedExecution, settlement: VaultSettlement | None
    ) -> DecisionCycle:
        plan, lending = self.plan, self.plan.universe.lending
        loans = None
        if lending is not None:
            interest = LendingInterest(lending, self.wallet.add)
            loans = LoanService(
                interest=interest,
                position_manager=manager,
                execution=execution,
                liquidation_penalty=_penalty_of(plan),
            )
        return DecisionCycle(
            clock=self.clock,
            strategy_input=self.input,
            decide_trades=plan.strategy.decide_trades,
            execution=execution if self._delayed is None else self._delayed,
            sync_model=self.treasury,
            equity_log=self.equity_log,
            hooks=_hooks_of(plan),
            settlement=settlement,
            loans=loans,
        )

    def _watch_triggers(self, market: CandleMarket, execution: SimulatedExecution) -> TriggerChecks | None:
        """Return the checks between cycles, None where the universe has no candles for them."""
        plan, feed = self.plan, self.plan.universe.stop_loss_candles
        if feed is None:
            return None
        clock = DecisionClock([int(plan.grid_us[0])])
        pricing = market.price_on(feed, clock)
        return TriggerChecks(
            pricing=pricing,
            clock=clock,
            position_manager=PositionManager(clock, plan.universe, self.state, pricing, _slippage_of(plan)),
            execution=execution,
            marks=self.marks,
            equity_log=self.equity_log,
            model=plan.trigger_model,
            liquidation_penalty=_penalty_of(plan),
        )

    @classmethod
    def resume(
        cls,
        plan: BacktestPlan,
        events: Iterable[Event],
        *,
        next_cycle: int,
        wallet: dict[AssetIdentifier, Decimal],
        queue: Iterable[QueuedFlow],
    ) -> BacktestRun:
        """Continue from a ledger: State is its fold; raises AccountingMismatch when the wallet does not agree."""
        state = State.replay(events)
        run = cls(plan, state, next_cycle)
        run.wallet.balances.update(wallet)
        run.treasury.queue = list(queue)
        check_wallet(state, run.wallet)
        run.cycle.note_holdings(next_cycle)
        if run.triggers is not None:
            run.triggers.refresh()
        return run

    def advance(self, to_cycle: int, progress: Progress | None = None) -> None:
        """Run the cycles up to an index (exclusive), each with the trigger window after it."""
        total = to_cycle - self.next_cycle
        block = max(1, total // PROGRESS_STEPS) if progress is not None else total
        with rare_collections():
            while self.next_cycle < to_cycle:
                self._prepare(self.next_cycle)
                end = min(self.next_cycle + block, to_cycle)
                for task in self._before:
                    due = task.next_from(self.next_cycle + 1)
                    end = end if due is None else min(end, due)
                self._run_block(self.next_cycle, end, is_last=end == to_cycle)
                if progress is not None:
                    progress(total - (to_cycle - end), total)

    def _run_block(self, first: int, end: int, is_last: bool) -> None:
        if self._delayed is not None:
            self._run_delayed_block(self._delayed, first, end, is_last)
            return
        run_cycle, triggers, cycle = self.cycle.run, self.triggers, self.cycle
        grid = self.clock.grid_us
        width = self.plan.cycle_duration.to_timedelta() // timedelta(microseconds=1)
        last = end - 1
        for index in range(first, end):
            run_cycle(index)
            changed = cycle.changed
            if index == last and is_last and not changed:
                cycle.complete(index)
                changed = True
            if triggers is None:
                if changed:
                    require_watched(self.state.portfolio)
            else:
                if changed:
                    triggers.refresh()
                if triggers.is_watching:
                    start_us = grid[index]
                    skip_start = not (changed or index == first)
                    if triggers.run_window(index, start_us, start_us + width, skip_start):
                        cycle.note_holdings(index + 1)
        self.next_cycle = end

    def _prepare(self, index: int) -> None:
        """Do what is due before a cycle."""
        for task in self._before:
            if task.next_from(index) == index:
                self.clock.move(index)
                task.run(index)

    def _run_delayed_block(self, delayed: DelayedExecution, first: int, end: int, is_last: bool) -> None:
        """Run cycles whose trades are filled later: triggers are checked before and after."""
        cycle = self.cycle
        width = self.plan.cycle_duration.to_timedelta() // timedelta(microseconds=1)
        for index in range(first, end):
            cycle.run(index)
            changed = cycle.changed
            if index == end - 1 and is_last and not changed:
                cycle.complete(index)
                changed = True
            start_us = self.clock.grid_us[index]
            end_us = start_us + width
            if delayed.waiting:
                due_us = delayed.due_after(start_us)
                self._check_triggers(index, start_us, due_us - 1)
                delayed.fill(self.state, due_us)
                self.marks.look_at_triggers(due_us)
                self.equity_log.sample_instant(index, due_us, self.state.portfolio)
                self.marks.look_at_cycle()
                cycle.note_holdings(index + 1)
                self._check_triggers(index, due_us, end_us)
            else:
                self._check_triggers(index, start_us, end_us, skip_start=not (changed or index == first))
        self.next_cycle = end

    def _check_triggers(self, index: int, start_us: int, end_us: int, skip_start: bool = False) -> None:
        triggers = self.triggers
        if triggers is None:
            require_watched(self.state.portfolio)
            return
        triggers.refresh(() if self._delayed is None else tuple(self._delayed.waiting))
        if triggers.is_watching and triggers.run_window(index, start_us, end_us, skip_start):
            self.cycle.note_holdings(index + 1)

    def take_segment(self) -> tuple[list[Event], Table]:
        """Return the events and equity samples since the last call."""
        samples = Table(self.equity_log.take_samples(self.next_cycle, self.state.portfolio), SAMPLE_COLUMNS)
        events = self.state.take_events()
        self.cycle.forget_events()
        check_wallet(self.state, self.wallet)
        return events, samples

    def _has_trigger_feed(self, pair: TradingPairIdentifier) -> bool:
        return self.triggers is not None and self.triggers.can_watch(pair)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for cyclic garbage rarely: a run makes many small objects that all stay.

    Freezing and unfreezing puts them among the old objects without walking through them.
    """
    before = gc.get_threshold()
    if before[0]:  # 0 means that the user switched collection off
        gc.set_threshold(max(before[0], ALLOCATIONS_BETWEEN_COLLECTIONS), *before[1:])
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()
        gc.set_threshold(*before)


def _market_of(plan: BacktestPlan, costs: CostModel) -> CandleMarket:
    options = plan.options
    return CandleMarket(
        plan.universe,
        costs,
        trading_fee_override=options.trading_fee_override,
        default_fee=options.default_fee,
        allow_missing_fees=options.allow_missing_fees,
        three_leg_resolution=options.three_leg_resolution,
        data_delay_tolerance=options.data_delay_tolerance,
    )


def _slippage_of(plan: BacktestPlan) -> float:
    tolerance: float = plan.parameters.get("slippage_tolerance", DEFAULT_SLIPPAGE_TOLERANCE)
    return tolerance


def _penalty_of(plan: BacktestPlan) -> float:
    penalty: float = plan.parameters.get("liquidation_penalty", DEFAULT_LIQUIDATION_PENALTY)
    return penalty


def _hooks_of(plan: BacktestPlan) -> CycleHooks | None:
    hook, strategy = plan.execution_test_hook, plan.strategy
    on_before_cycle = getattr(hook, "on_before_cycle", hook)
    if on_before_cycle is None and strategy.before_strategy_tick is None and strategy.after_strategy_tick is None:
        return None
    return CycleHooks(on_before_cycle, strategy.before_strategy_tick, strategy.after_strategy_tick)
