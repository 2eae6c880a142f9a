"""Steps in any order, with crashes anywhere: whatever happens, the ledger stays whole and trading can go on."""

import random
from collections import Counter
from decimal import Decimal

import pytest
from live.world import DAY, START, Crash, CrashingStore, Steps, load, make_live, set_time

from trading_dagster.domain.error import BadInput, UncleanState
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.live.closing import close_all
from trading_dagster.live.cycle import CycleStatus, run_cycle, skip_cycle
from trading_dagster.live.repair import repair
from trading_dagster.live.revaluation import check_live_accounts, revalue
from trading_dagster.live.test_trade import perform_test_trade
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.storage.event_codec import EventDecoder

STEPS = 30


def decide(input):
    """Buys and sells by the decision time alone, with stops that fire now and then."""
    rng = random.Random(str(input.timestamp))
    manager = input.get_position_manager()
    trades = []
    for pair in input.strategy_universe.pairs:
        position = manager.get_current_position_for_pair(pair)
        if position is None and rng.random() < 0.7:
            trades += manager.open_spot(pair, value=rng.uniform(50, 500), stop_loss_pct=0.98)
        elif position is not None and rng.random() < 0.4:
            trades += manager.close_position(position)
    return trades


def act(live, rng):
    """Do one thing that a schedule, an operator or an impatient retry may do."""
    at = live.newest_decision_at() - rng.choice([0, 0, 0, 0, 1]) * DAY
    steps = Steps(live, at)
    choices = [
        steps.decide,
        steps.execute,
        steps.complete,
        steps.decide,
        steps.execute,
        steps.complete,
        lambda: check_triggers(live),
        lambda: revalue(live),
        lambda: repair(live),
        lambda: close_all(live),
        lambda: perform_test_trade(live, "ETH/USD", 10),
        lambda: skip_cycle(live, steps.universe, at, "by chance"),
        lambda: set_time(live, live.now() + DAY / 2),
        lambda: set_time(live, live.now() + DAY),
    ]
    rng.choice(choices)()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
def test_ledger_stays_whole_whatever_the_order(seed):
    rng = random.Random(seed)
    store = CrashingStore()
    live = make_live(decide, store=store, at=START + 20 * DAY)
    for _ in range(STEPS):
        store.count, store.crash_at, store.after = 0, rng.choice([None, None, 1, 2, 3]), rng.random() < 0.5
        try:
            act(live, rng)
        except (Crash, UncleanState, BadInput):
            continue
    store.crash_at = None
    set_time(live, live.now() + 2 * DAY)
    assert run_cycle(live).status is CycleStatus.done

    state = load(live)
    state.perform_integrity_check()
    trades = state.portfolio.get_all_trades()
    spent = sum((t.executed_reserve for t in trades if t.is_success() and t.is_buy()), Decimal(0))
    earned = sum((t.executed_reserve for t in trades if t.is_success() and t.is_sell()), Decimal(0))
    assert abs(state.portfolio.reserve.quantity - (10_000 - spent + earned)) < Decimal("1e-20")
    assert {t.get_status() for t in trades} <= {TradeStatus.success, TradeStatus.discarded}
    assert all(not position.unfinished_trade_count for position in state.portfolio.get_positions_in_memory())
    assert state.decision is None
    assert check_live_accounts(live).is_clean
    rows = store.read(live.id)
    kinds = Counter(row.type for row in rows)
    assert kinds["CycleDecided"] == kinds["CycleCompleted"]
    assert kinds["BalanceUpdated"] == 1
    executed = Counter(row.body for row in rows if row.type == "TradeExecuted")
    assert all(count == 1 for count in executed.values())
    whole = State.replay(EventDecoder().decode_all(row.body for row in rows))
    assert whole.portfolio.get_cash() == state.portfolio.get_cash()
    assert whole.cycle == state.cycle
