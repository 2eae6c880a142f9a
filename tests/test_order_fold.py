"""Whatever orders a strategy places: money is conserved, nothing is negative, cutting or replaying changes nothing."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_order_strategy import describe_orders, parameters_of, place_orders_by_seed
from random_strategy import START, Parameters, deposit_sometimes, make_universe

from trading_dagster.backtest import BacktestRun, plan_backtest
from trading_dagster.backtest.partition import PartitionedBacktest, PartitionWindow
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeStatus, TradeType
from trading_dagster.execution.wallet import check_wallet
from trading_dagster.research.bias import check_bias
from trading_dagster.storage.event_codec import EventDecoder, encode_event

SEEDS = st.integers(min_value=0, max_value=10_000)
SLOW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def plan_of(seed):
    return plan_backtest(
        decide_trades=place_orders_by_seed(seed),
        universe=make_universe(seed),
        parameters=parameters_of(seed),
        execution_test_hook=deposit_sometimes,
    )


def run_whole(plan):
    run = BacktestRun(plan)
    run.advance(plan.cycle_count)
    return run, *run.take_segment()


def test_random_orders_fire_expire_and_are_refused():
    """What the properties below are worth: everything that may become of an order does become of some."""
    fates: Counter = Counter()
    for seed in range(4):
        run, _, _ = run_whole(plan_of(seed))
        portfolio = run.state.portfolio
        for position in (*portfolio.get_all_positions(pending=True), *portfolio.expired_positions.values()):
            for trade in (*position.trades.values(), *position.expired_trades.values()):
                fates[trade.trade_type, trade.get_status()] += 1
                fates[(trade.failure or "").split(":")[0]] += 1
    for kind in (TradeType.market_limit, TradeType.flexible_trigger):
        assert fates[kind, TradeStatus.success] > 10
        assert fates[kind, TradeStatus.expired] > 10
    for reason in (
        "fired and was refused",
        "it did not fire in time",
        "its position closed",
        "cancelled by the strategy",
    ):
        assert fates[reason] > 0, reason


@SLOW
@given(SEEDS)
def test_replay_and_json_give_the_same_orders(seed):
    plan = plan_of(seed)
    run, events, _ = run_whole(plan)
    lines = [encode_event(event) for event in events]
    decoded = EventDecoder(plan.universe.pairs).decode_all(lines)
    assert decoded == events
    assert describe_orders(State.replay(decoded, run.marks)) == describe_orders(run.state)


@SLOW
@given(SEEDS)
def test_no_order_makes_anything_negative_or_loses_money(seed):
    run, _, samples = run_whole(plan_of(seed))
    state = run.state
    state.perform_integrity_check()
    check_wallet(state, run.wallet)
    assert all(balance >= 0 for balance in run.wallet.balances.values())
    assert (samples.frame["cash"] >= 0).all()
    positions = list(state.portfolio.get_all_positions())
    assert all(p.quantity >= 0 for p in positions)
    flows = sum((u.quantity for u in state.portfolio.reserve.balance_updates.values()), Decimal(0))
    fills = [t for p in positions for t in p.trades.values() if t.is_success()]
    moved = sum((-t.fill.reserve if t.is_buy() else t.fill.reserve for t in fills), Decimal(0))
    assert abs(flows + moved - state.portfolio.reserve.quantity) < Decimal("1e-18")
    for position in positions:
        fired = Counter(t.activated_trigger.triggered_at for t in position.trades.values() if t.activated_trigger)
        most = 2 if seed % 2 else 1  # looked into, a candle has two instants: its open and the rest
        assert max(fired.values(), default=0) <= most


@SLOW
@given(SEEDS, st.sets(st.integers(min_value=1, max_value=119), min_size=1, max_size=9), st.booleans())
def test_cutting_a_backtest_with_orders_anywhere_changes_no_bit(tmp_path_factory, seed, cuts, restart):
    plan = plan_of(seed)
    run, _, samples = run_whole(plan)
    edges = [START, *(START + timedelta(hours=4 * cut) for cut in sorted(cuts)), Parameters.backtest_end]
    windows = [
        PartitionWindow(f"{n:03d}", a, b) for n, (a, b) in enumerate(zip(edges, edges[1:], strict=False)) if a < b
    ]
    folder = tmp_path_factory.mktemp("cut")
    if restart:
        parts = [(PartitionedBacktest(plan_of(seed), folder, windows), window) for window in windows]
        outcomes = [outcome for part, window in parts for outcome in part.run([window.key])]
    else:
        outcomes = list(PartitionedBacktest(plan, folder, windows).run([w.key for w in windows]))
    equity = pd.concat([o.tables["equity"].frame for o in outcomes], ignore_index=True)
    pd.testing.assert_frame_equal(equity, samples.frame, check_exact=True)
    result = PartitionedBacktest(plan, folder, windows).load_result()
    assert describe_orders(result.state) == describe_orders(run.state)
    trades = pd.concat([o.tables["trades"].frame for o in outcomes], ignore_index=True)
    trades = trades[trades["trade_id"].isin(result.trades["trade_id"])]  # those of expired positions are not in it
    pd.testing.assert_frame_equal(trades.sort_values("trade_id", ignore_index=True), result.trades, check_exact=True)


@pytest.mark.parametrize("seed", [2, 3])
def test_orders_do_not_look_ahead(seed):
    """The bump test: with all candles after an instant changed, everything up to it is the same, in both models."""
    report = check_bias(plan_of(seed), cuts=4)
    assert report.is_clean, str(report)
    assert report.decisions > 100
