"""With shorts, credit and interest, too: State is a fold, value is conserved, and cutting a run changes nothing."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_loans import decide_loans_by_seed, make_lending_universe
from random_order_strategy import describe_orders as describe
from random_strategy import Parameters, deposit_sometimes
from test_fold import run_whole, windows_at

from trading_dagster.backtest import plan_backtest
from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.domain.event import InterestAccrued
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeType
from trading_dagster.execution.wallet import check_wallet
from trading_dagster.research.bias import check_bias
from trading_dagster.storage.event_codec import EventDecoder, encode_event
from trading_dagster.storage.ledger_store import MemoryLedgerStore
from trading_dagster.storage.strategy_ledger import StrategyLedger

SEEDS = st.integers(min_value=0, max_value=10_000)
SLOW = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LAST_DIGIT = Decimal("1e-18")


def plan_of(seed, **functions):
    return plan_backtest(
        decide_trades=decide_loans_by_seed(seed),
        universe=make_lending_universe(seed),
        parameters=Parameters,
        execution_test_hook=deposit_sometimes,
        **functions,
    )


@SLOW
@given(SEEDS)
def test_ledger_replays_to_the_state_and_survives_its_json_form(seed):
    plan = plan_of(seed)
    run, events, _ = run_whole(plan)
    assert describe(State.replay(events, run.marks)) == describe(run.state)
    lines = [encode_event(event) for event in events]
    decoded = EventDecoder(plan.universe.pairs).decode_all(lines)
    assert decoded == events
    shorts = [pair for pair in run.state.known_pairs.values() if pair.is_short()]
    again = State.replay(decoded).known_pairs.values()
    assert [p.internal_id for p in again if p.is_short()] == [p.internal_id for p in shorts]


@SLOW
@given(SEEDS)
def test_value_is_conserved_to_the_last_unit(seed):
    """Cash, collateral and debt are exactly what trades and interest moved; nothing is ever negative."""
    run, events, samples = run_whole(plan_of(seed))
    state, portfolio = run.state, run.state.portfolio
    trades = [t for t in portfolio.get_all_trades() if t.fill is not None]
    flows = sum((u.quantity for u in portfolio.reserve.balance_updates.values()), Decimal(0))
    moved = Decimal(0)
    for trade in trades:
        change = trade.fill.loan
        moved += (
            (-trade.fill.reserve if trade.is_buy() else trade.fill.reserve)
            if change is None
            else (-change.collateral_allocation)
        )
    assert abs(flows + moved - portfolio.reserve.quantity) < LAST_DIGIT
    for position in portfolio.get_all_positions():
        loan = position.loan
        if loan is None:
            continue
        own = list(position.get_successful_trades())
        gains = list(position.balance_updates.values())
        lent = sum((t.fill.loan.collateral_change for t in own), Decimal(0))
        lent += sum((u.quantity for u in gains if u.asset == loan.collateral.asset), Decimal(0))
        assert abs(lent - loan.collateral.total) < LAST_DIGIT
        assert loan.collateral.total >= -LAST_DIGIT
        if loan.borrowed is None:
            continue
        owed = -sum((t.fill.quantity for t in own), Decimal(0))
        owed += sum((u.quantity for u in gains if u.asset == loan.borrowed.asset), Decimal(0))
        assert abs(owed - loan.borrowed.total) < LAST_DIGIT
        for trade in own:  # what is sold or bought back moves collateral at the trade's price, worsened by its fee only
            bought = float(trade.fill.quantity) * trade.fill.price
            change = float(trade.fill.loan.collateral_consumption)
            assert -change == pytest.approx(bought, rel=3e-4 if trade.is_buy() else 1e-12, abs=1e-9)
    check_wallet(state, run.wallet)
    assert all(balance >= 0 for balance in run.wallet.balances.values())
    assert (samples.frame["cash"] >= 0).all()
    accrued = [event.update for event in events if isinstance(event, InterestAccrued)]
    assert accrued
    assert all(update.quantity >= 0 for update in accrued)


@SLOW
@given(SEEDS)
def test_recorded_equity_is_what_the_portfolio_says(seed):
    seen = {}

    def watch(hook_input):
        seen[hook_input.timestamp] = hook_input.state.portfolio.calculate_total_equity()

    _, _, samples = run_whole(plan_of(seed, after_strategy_tick=watch))
    frame = samples.frame[~samples.frame["timestamp"].duplicated(keep=False)].set_index("timestamp")["equity"]
    both = [time for time in seen if time in frame.index]
    assert len(both) > 50
    assert {time: frame[time] for time in both} == {time: seen[time] for time in both}


@SLOW
@given(SEEDS, st.sets(st.integers(min_value=1, max_value=119), min_size=1, max_size=6))
def test_cutting_a_backtest_anywhere_changes_no_bit(tmp_path_factory, seed, cuts):
    plan = plan_of(seed)
    run, _, samples = run_whole(plan)
    windows = windows_at(cuts)
    folder = tmp_path_factory.mktemp("cut")
    outcomes = [
        outcome
        for window in windows
        for outcome in PartitionedBacktest(plan_of(seed), folder, windows).run([window.key])
    ]
    equity = pd.concat([o.tables["equity"].frame for o in outcomes], ignore_index=True)
    pd.testing.assert_frame_equal(equity, samples.frame, check_exact=True)
    result = PartitionedBacktest(plan, folder, windows).load_result()
    assert describe(result.state) == describe(run.state)


@SLOW
@given(SEEDS)
def test_state_loaded_from_snapshots_equals_the_replay(seed):
    plan = plan_of(seed)
    run, events, _ = run_whole(plan)
    store = MemoryLedgerStore()
    lease = store.acquire("test", ["strategy:loans"], 3600)
    ledger = StrategyLedger(store, "loans", lease)
    state = ledger.create(events[0])
    for at in range(1, len(events), 97):
        for event in events[at : at + 97]:
            state.record(event)
        ledger.save()
        ledger = StrategyLedger(store, "loans", lease)
        state = ledger.load(plan.universe.pairs)
    state.use_marks(run.marks)
    expected = State.replay(events, run.marks)
    assert describe(state) == describe(expected)
    assert state.sync.interest_last_sync_at == expected.sync.interest_last_sync_at
    live = [p for p in state.portfolio.loan_positions.values() if p.balance_updates]
    assert sum(len(p.balance_updates) for p in live) <= 97  # interest before the snapshot is not read again


def test_random_strategies_do_everything_that_is_tested():
    kinds, types, liquidated, waited = set(), set(), 0, Counter()
    for seed in range(12):
        portfolio = run_whole(plan_of(seed))[0].state.portfolio
        waited += Counter(p.is_short() and bool(p.pending_since_at) for p in portfolio.get_all_positions())
        waited += Counter(t.failure for p in portfolio.expired_positions.values() for t in p.expired_trades.values())
        trades = [t for t in portfolio.get_all_trades() if t.fill]
        kinds |= {t.pair.kind for t in trades}
        types |= {t.trade_type for t in trades}
        liquidated += sum(t.is_liquidation() for t in trades)
    assert len(kinds) == 3
    assert {TradeType.rebalance, TradeType.stop_loss, TradeType.take_profit, TradeType.liquidation} <= types
    assert liquidated
    reasons = Counter({reason.split(":")[0]: n for reason, n in waited.items() if isinstance(reason, str)})
    assert waited[True] > 20  # shorts that waited and opened
    assert {"it did not fire in time", "fired and was refused", "cancelled by the strategy"} <= reasons.keys(), reasons


@settings(SLOW, max_examples=2)
@given(SEEDS)
def test_nothing_depends_on_later_candles_or_rates(seed):
    report = check_bias(plan_of(seed), cuts=2)
    assert report.is_clean, str(report)
