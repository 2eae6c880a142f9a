"""Redemptions on paper: asked for, pending, paid once before a decision; as a backtest's with the same flows."""

from __future__ import annotations

from decimal import Decimal

import pytest
from live.world import DAY, START, Crash, CrashingStore, Steps, events, hold, load, make_live, never, set_time

import trading_dagster as td
from trading_dagster.domain.error import BadInput, TradeError, UncleanState
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.deposit import deposit
from trading_dagster.live.inspection import show_status
from trading_dagster.live.redemption import cancel_redemption, redeem
from trading_dagster.live.revaluation import sync_treasury
from trading_dagster.research.divergence import compare_with_backtest
from trading_dagster.storage.strategy_ledger import StrategyLedger

FEES = td.FundFees(management=0.2, performance=0.2, every=3 * DAY)


def run_until(live, first, last):
    for day in range(first, last):
        set_time(live, START + day * DAY)
        run_cycle(live)


def redemptions(live):
    updates = load(live).portfolio.reserve.balance_updates.values()
    return [u for u in updates if u.cause is BalanceUpdateCause.redemption]


def test_redemption_is_paid_at_once_where_there_is_cash_and_burns_shares():
    live = make_live(never)
    run_until(live, 0, 1)
    report = redeem(live, Decimal("1234.5"), "Alice")
    assert (report.is_paid, report.waiting, report.accounts.is_clean) == (True, (), True)
    state = load(live)
    assert state.portfolio.reserve.quantity == Decimal("8765.5")
    assert state.sync.treasury.share_count == Decimal("8765.5")
    (update,) = redemptions(live)
    assert (update.quantity, update.owner_address) == (Decimal("-1234.5"), "Alice")
    assert live.store.read_samples(live.id)[-1].share_price == 1


def test_redemption_waits_for_cash_and_the_cycle_that_has_it_pays_before_it_decides():
    """All but 400 is in positions until the second day sells them; the third finds the cash."""
    seen = []

    def decide(input):
        pm = input.get_position_manager()
        seen.append((pm.get_pending_redemptions(), pm.get_current_cash()))
        if input.cycle == 1:
            return pm.open_spot(input.strategy_universe.get_pair_by_id(1), value=9_600)
        return pm.close_all() if pm.is_any_open() else []

    live = make_live(decide)
    run_until(live, 0, 1)
    report = redeem(live, Decimal(5_000))
    assert (report.is_paid, [each.number for each in report.waiting]) == (False, [1])
    assert show_status(live).redemptions == report.waiting
    assert sync_treasury(live) == []
    run_until(live, 1, 2)
    assert redemptions(live) == []
    run_until(live, 2, 3)
    assert seen[1] == (5_000, 400)
    assert seen[2][0] == 0
    assert [update.quantity for update in redemptions(live)] == [-5_000]
    assert show_status(live).redemptions == ()


def test_paper_with_redemptions_and_fees_is_the_backtest_with_the_same_flows():

    def decide(input):
        pm = input.get_position_manager()
        if input.timestamp.day % 2:
            return pm.close_all() if pm.is_any_open() else []
        value = min(pm.get_current_cash() / 3, 1_000)
        return [trade for pair in input.strategy_universe.pairs for trade in pm.open_spot(pair, value=value)]

    live = make_live(decide, parameters={"fund_fees": FEES})
    run_until(live, 0, 5)
    assert not redeem(live, Decimal(8_000)).is_paid
    run_until(live, 5, 14)

    def investors(cycle, timestamp, state, sync_model):
        if cycle == 1:
            sync_model.simulate_funding(START + 4.5 * DAY, -8_000)

    backtest = td.run_backtest(
        live.strategy, start=START, end=START + 14 * DAY, execution_test_hook=investors, progress=False
    )
    mine, theirs = load(live), backtest.state
    paid = [[u.quantity for u in s.portfolio.reserve.balance_updates.values()] for s in (mine, theirs)]
    assert paid == [[10_000, -8_000]] * 2
    assert mine.portfolio.reserve.quantity == theirs.portfolio.reserve.quantity
    assert mine.sync.treasury.fund_fees == theirs.sync.treasury.fund_fees
    assert START + 6 * DAY in [entry.at for entry in mine.sync.treasury.fund_fees], "before it was paid"
    assert mine.sync.treasury.share_count == theirs.sync.treasury.share_count
    assert compare_with_backtest(live).is_identical


def test_paper_with_a_deposit_and_fees_is_the_backtest_with_the_same_flow():
    """It comes right before the cycle of day 5, in the middle of a period."""
    live = make_live(parameters={"fund_fees": FEES})
    run_until(live, 0, 5)
    set_time(live, START + 5 * DAY)
    assert deposit(live, Decimal(4_000)).is_clean
    run_until(live, 5, 14)

    def investors(cycle, timestamp, state, sync_model):
        if cycle == 1:
            sync_model.simulate_funding(START + 5 * DAY, 4_000)

    backtest = td.run_backtest(
        live.strategy, start=START, end=START + 14 * DAY, execution_test_hook=investors, progress=False
    )
    mine, theirs = load(live).sync.treasury, backtest.state.sync.treasury
    assert mine.fund_fees == theirs.fund_fees
    assert START + 5 * DAY in [entry.at for entry in mine.fund_fees]
    assert mine.share_count == theirs.share_count
    assert [u.quantity for u in load(live).portfolio.reserve.balance_updates.values()] == [10_000, 4_000]
    assert compare_with_backtest(live).is_identical


def test_first_deposit_of_an_operator_comes_on_top_of_the_initial_cash():
    live = make_live(never)
    deposit(live, Decimal(500))
    run_until(live, 0, 1)
    assert [u.quantity for u in load(live).portfolio.reserve.balance_updates.values()] == [10_000, 500]
    with pytest.raises(BadInput, match="give an amount above 0"):
        deposit(live, Decimal(-1))


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_save_is_paid_once(after):
    for kill_at in range(1, 10):
        store = CrashingStore()
        live = make_live(never, store=store)
        run_until(live, 0, 1)
        store.count, store.crash_at, store.after = 0, kill_at, after
        try:
            redeem(live, Decimal(1_000))
        except Crash:
            store.crash_at = None
            run_until(live, 1, 2)
            asked = "RedemptionRequested" in events(live)
            assert len(redemptions(live)) == asked
            assert load(live).portfolio.reserve.quantity == 10_000 - 1_000 * asked
            whole = StrategyLedger(store, live.id).load(use_snapshot=False).sync.treasury
            assert whole.share_count == load(live).sync.treasury.share_count
        else:
            assert kill_at > 2
            break


def test_waiting_redemption_survives_a_restart_and_can_be_cancelled_once():
    live = make_live(hold(value=3_000))
    run_until(live, 0, 1)
    redeem(live, Decimal(9_000))
    for by_snapshot in (True, False):
        treasury = StrategyLedger(live.store, live.id).load(use_snapshot=by_snapshot).sync.treasury
        assert [(each.number, each.amount) for each in treasury.redemptions.values()] == [(1, 9_000)]
        assert treasury.pending_redemptions == 9_000
    assert cancel_redemption(live, 1).waiting == ()
    assert load(live).sync.treasury.pending_redemptions == 0
    with pytest.raises(BadInput, match="no redemption 1 that waits; waiting are: none"):
        cancel_redemption(live, 1)
    assert redeem(live, Decimal(100)).redemption.number == 2


def test_what_cannot_be_redeemed_is_refused_and_leaves_nothing():
    live = make_live(hold())
    for amount in (Decimal(0), Decimal(-5), Decimal("NaN")):
        with pytest.raises(BadInput, match="give an amount above 0"):
            redeem(live, amount)
    steps = Steps(live)
    steps.decide()
    with pytest.raises(UncleanState, match="did not begin"):
        redeem(live, Decimal(9_500))
    steps.execute()
    steps.complete()
    stopped = make_live(hold(), store=live.store, forbid_trading=lambda: "stop")
    with pytest.raises(TradeError, match="stop"):
        redeem(stopped, Decimal(1))
    assert "RedemptionRequested" not in events(live)
