"""Everything together: whatever a strategy mixes, its ledger is the truth, money is conserved and no cut shows."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_everything import (
    decide_everything,
    describe_everything,
    make_everything,
    move_money,
    parameters_of,
)
from test_fold import run_whole, windows_at

from trading_dagster.backtest import BacktestRun, plan_backtest
from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.backtest.result import BacktestResult
from trading_dagster.domain.event import BalanceUpdated, TradeCharged, TradeExecuted
from trading_dagster.domain.identifier import TradingPairKind
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeStatus, TradeType
from trading_dagster.domain.treasury import BalanceUpdatePositionType
from trading_dagster.domain.trigger import TriggerModel
from trading_dagster.execution.wallet import check_wallet
from trading_dagster.research.bias import check_bias
from trading_dagster.storage.event_codec import EventDecoder, encode_event

SEEDS = st.integers(min_value=0, max_value=100_000)
LAST_DIGIT = Decimal("1e-18")


def plan_of(seed, **functions):
    return plan_backtest(
        decide_trades=decide_everything(seed),
        universe=make_everything(seed),
        parameters=parameters_of(seed),
        execution_test_hook=move_money(seed),
        **functions,
    )


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SEEDS, st.sets(st.integers(min_value=1, max_value=119), min_size=1, max_size=5), st.booleans())
def test_whatever_is_mixed_adds_up_and_can_be_cut_anywhere(tmp_path_factory, seed, cuts, restart):
    seen = {}

    def watch(given_input):
        seen[given_input.timestamp] = given_input.state.portfolio.calculate_total_equity()

    plan = plan_of(seed, after_strategy_tick=watch)
    run, events, samples = run_whole(plan)

    check_replay(plan, run, events)
    check_money(run, events, samples)
    check_equity(seen, samples)
    check_cuts(seed, plan, run, events, samples, cuts, restart, tmp_path_factory.mktemp("cut"))


def check_replay(plan, run, events):
    expected = describe_everything(run.state)
    assert describe_everything(State.replay(events, run.marks)) == expected
    lines = [encode_event(event) for event in events]
    decoded = EventDecoder(plan.universe.pairs).decode_all(lines)
    assert decoded == events
    assert [encode_event(event) for event in decoded] == lines
    assert describe_everything(State.replay(decoded, run.marks)) == expected


def check_money(run, events, samples):
    """Cash is exactly what flows, fills and gas made of it; ledger and wallet agree, and nothing is negative."""
    state, portfolio = run.state, run.state.portfolio
    state.perform_integrity_check()
    check_wallet(state, run.wallet)
    assert all(balance >= 0 for balance in run.wallet.balances.values())
    assert (samples.frame["cash"] >= 0).all()
    cash = Decimal(0)
    for event in events:
        if isinstance(event, BalanceUpdated) and event.update.position_type is BalanceUpdatePositionType.reserve:
            cash += event.update.quantity
        elif isinstance(event, TradeCharged):
            cash -= event.charges.gas
        elif isinstance(event, TradeExecuted) and event.loan is not None:
            cash -= event.loan.collateral_allocation
        elif isinstance(event, TradeExecuted):
            cash -= event.reserve if event.quantity > 0 else -event.reserve
    assert abs(cash - portfolio.get_reserve_at_vaults() - portfolio.reserve.quantity) < LAST_DIGIT
    for position in portfolio.get_all_positions():
        assert position.quantity >= -LAST_DIGIT or position.is_short()
        loan = position.loan
        if loan is not None and position.is_open():
            assert loan.collateral.total >= 0
            assert loan.borrowed is None or loan.borrowed.quantity >= 0
    expected = sum(t.allocated for t in portfolio.get_all_trades() if t.is_unfinished() and t.started_at)
    assert expected == portfolio.get_reserve_at_vaults()


def check_equity(seen, samples):
    frame = samples.frame[~samples.frame["timestamp"].duplicated(keep=False)].set_index("timestamp")["equity"]
    both = [time for time in seen if time in frame.index]
    assert len(both) > 20 or len(both) < len(seen) / 2  # filled a cycle later, instants have the times of cycles
    assert {time: frame[time] for time in both} == {time: seen[time] for time in both}


def check_cuts(seed, plan, run, events, samples, cuts, restart, folder):
    windows = windows_at(cuts)
    if restart:
        parts = [(PartitionedBacktest(plan_of(seed), folder, windows), window) for window in windows]
        outcomes = [outcome for part, window in parts for outcome in part.run([window.key])]
    else:
        outcomes = list(PartitionedBacktest(plan_of(seed), folder, windows).run([window.key for window in windows]))
    equity = pd.concat([o.tables["equity"].frame for o in outcomes], ignore_index=True)
    pd.testing.assert_frame_equal(equity, samples.frame, check_exact=True)
    cut = PartitionedBacktest(plan_of(seed), folder, windows).load_result()
    assert describe_everything(cut.state) == describe_everything(run.state)
    whole = BacktestResult(plan, run.state, samples.frame, events)
    trades = pd.concat([o.tables["trades"].frame for o in outcomes], ignore_index=True)
    known = whole.trades["trade_id"]
    waiting = [
        t.trade_id for t in run.state.portfolio.get_all_trades() if t.trade_id in run.state.portfolio.settlements
    ]
    pd.testing.assert_frame_equal(
        trades[trades["trade_id"].isin(known)].sort_values("trade_id", ignore_index=True),
        whole.trades[~known.isin(waiting)].reset_index(drop=True),
        check_exact=True,
    )
    decisions = pd.concat([o.tables["decisions"].frame for o in outcomes], ignore_index=True)
    pd.testing.assert_frame_equal(decisions, whole.decisions, check_exact=True)


def test_resumed_at_every_tenth_cycle_a_run_is_the_same():
    plan = plan_of(11)
    whole, _, samples = run_whole(plan)
    lines, parts, run = [], [], BacktestRun(plan)
    for end in [*range(10, plan.cycle_count, 10), plan.cycle_count]:
        run.advance(end)
        made, part = run.take_segment()
        lines += [encode_event(event) for event in made]
        parts.append(part.columns["equity"])
        run = BacktestRun.resume(
            plan_of(11),
            EventDecoder(plan.universe.pairs).decode_all(lines),
            next_cycle=end,
            wallet=dict(run.wallet.balances),
            queue=run.treasury.queue,
        )
    assert np.concatenate(parts).tobytes() == samples.columns["equity"].tobytes()
    assert describe_everything(run.state) == describe_everything(whole.state)


@settings(max_examples=2, deadline=None, derandomize=True)
@given(SEEDS)
def test_nothing_depends_on_later_candles_or_rates(seed):
    """The bump test: whatever is changed after an instant changes nothing up to it."""
    report = check_bias(plan_of(seed), cuts=2)
    assert report.is_clean, str(report)


@pytest.mark.parametrize("seed", [5, 12])
def test_everything_can_be_told_of_such_a_result(tmp_path, seed):
    plan = plan_of(seed)
    run, events, samples = run_whole(plan)
    result = BacktestResult(plan, run.state, samples.frame, events)
    result.save(tmp_path)
    assert len(result.statistics) > 20
    assert len(result.costs) == sum(t.is_success() for t in run.state.portfolio.get_all_trades())
    assert len(result.deposit_adjusted_returns("D")) > 10
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_random_strategies_do_everything_that_is_tested():
    done: Counter = Counter()
    for seed in range(16):
        plan = plan_of(seed)
        run, _, samples = run_whole(plan)
        done[plan.trigger_model] += 1
        done["costs"] += bool(plan.parameters.costs)
        done["delay"] += any("Delay" in str(cost) for cost in plan.parameters.costs)
        done["fund fees"] += bool(run.state.sync.treasury.fund_fees)
        done["redeemed"] += sum(u.quantity < 0 for u in run.state.portfolio.reserve.balance_updates.values())
        for trade in run.state.portfolio.get_all_trades():
            done.update([trade.pair.kind, trade.trade_type, trade.get_status()])
            gone = trade.pair.is_vault() and trade.trade_type is TradeType.delisting
            done["vault that stopped", trade.pair.settles_later] += gone
            early = trade.settles_at and trade.executed_at and trade.executed_at < trade.settles_at
            done["order at a vault that stopped", trade.is_buy()] += bool(early)
            done["short slipped"] += trade.is_short() and trade.charges.slippage > 0
            done["short moved the price"] += trade.is_short() and trade.charges.impact > 0
            done["short delayed"] += trade.is_short() and bool(trade.charges.delay)
            done["short that waited"] += trade.is_short() and trade.trade_type is TradeType.market_limit
        assert samples.frame["equity"].iloc[-1] > 0
    wanted = (
        *TriggerModel,
        "costs",
        "delay",
        "fund fees",
        "redeemed",
        "short that waited",
        "short slipped",
        "short moved the price",
        "short delayed",
        ("vault that stopped", False),
        ("vault that stopped", True),
        ("order at a vault that stopped", True),
        ("order at a vault that stopped", False),
        TradingPairKind.spot_market_hold,
        TradingPairKind.lending_protocol_short,
        TradingPairKind.credit_supply,
        TradingPairKind.vault,
        TradeType.rebalance,
        TradeType.stop_loss,
        TradeType.take_profit,
        TradeType.market_limit,
        TradeType.flexible_trigger,
        TradeType.liquidation,
        TradeType.delisting,
        TradeStatus.vault_settlement_pending,
    )
    assert all(done[kind] > 0 for kind in wanted), done
