"""Deposits, redemptions and the share price they must not move."""

from __future__ import annotations

from datetime import UTC, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tape import START, USDC, WETH_USDC, Desk, run_on, universe_of

from trading_dagster.accounting.simulated_treasury import share_price
from trading_dagster.domain.error import BadInput, NaiveDatetimeRequired
from trading_dagster.domain.event import BalanceUpdated
from trading_dagster.domain.treasury import BalanceUpdateCause, BalanceUpdatePositionType

HOUR = timedelta(hours=1)


@pytest.fixture
def desk() -> Desk:
    """Hold 1,000 USDC and nothing else, at bar 0 of WETH at 100, 200, 50 without fee."""
    return Desk({WETH_USDC: [100.0, 200.0, 50.0, 50.0]}, cash=1000)


def sync(desk: Desk, bar: int) -> list:
    desk.at(bar)
    return desk.treasury.sync_treasury(START + bar * HOUR, desk.state)


def shares(desk: Desk) -> Decimal:
    return desk.state.sync.treasury.share_count


# -- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "bar"), [(timedelta(0), 0), (timedelta(minutes=1), 1), (HOUR, 1), (HOUR + timedelta(microseconds=1), 2)]
)
def test_flow_is_applied_in_the_first_cycle_at_or_after_its_time(desk, at, bar):
    desk.treasury.simulate_funding(START + at, 500)
    applied = [number for number in range(4) if sync(desk, number)]
    assert applied == [bar]
    assert desk.portfolio.reserve.quantity == desk.wallet.get_balance(USDC) == 1500


def test_flow_is_stamped_with_its_cycle_and_keeps_its_own_time(desk):
    desk.treasury.simulate_funding(START + timedelta(minutes=10), Decimal("0.5"))
    (update,) = sync(desk, 2)
    assert update.cause is BalanceUpdateCause.deposit
    assert update.position_type is BalanceUpdatePositionType.reserve
    assert (update.quantity, update.old_balance, update.usd_value) == (Decimal("0.5"), 1000, 0.5)
    assert (update.block_mined_at, update.strategy_cycle_included_at) == (
        START + timedelta(minutes=10),
        START + 2 * HOUR,
    )
    treasury = desk.state.sync.treasury
    assert treasury.last_cycle_at == START + 2 * HOUR
    reference = treasury.balance_update_refs[-1]
    assert (reference.balance_update_id, reference.cause, reference.usd_value) == (2, BalanceUpdateCause.deposit, 0.5)


def test_flows_of_one_cycle_are_applied_in_order_of_their_time(desk):
    desk.treasury.simulate_funding(START + 2 * timedelta(minutes=1), -1500)
    desk.treasury.simulate_funding(START + timedelta(minutes=1), 800)
    causes = [update.cause for update in sync(desk, 1)]
    assert causes == [BalanceUpdateCause.deposit, BalanceUpdateCause.redemption]
    assert desk.portfolio.reserve.quantity == 300


def test_sync_again_changes_nothing(desk):
    desk.treasury.simulate_funding(START, 500)
    sync(desk, 1)
    desk.state.take_events()
    assert sync(desk, 1) == []
    assert desk.state.take_events() == []


@pytest.mark.parametrize("amount", [0, 0.0, Decimal(0)])
def test_flow_of_nothing_is_refused(desk, amount):
    with pytest.raises(BadInput, match="amount other than 0"):
        desk.treasury.simulate_funding(START, amount)


@pytest.mark.parametrize("amount", [float("nan"), float("-inf")])
def test_flow_that_is_no_number_is_refused(desk, amount):
    with pytest.raises(BadInput, match="finite"):
        desk.treasury.simulate_funding(START, amount)


def test_flow_at_a_zone_aware_time_is_refused(desk):
    with pytest.raises(NaiveDatetimeRequired):
        desk.treasury.simulate_funding(START.replace(tzinfo=UTC), 5)
    assert desk.treasury.queue == []


# -- redemptions ------------------------------------------------------------------------------------------------------


def test_redemption_waits_for_cash_and_shows_as_pending(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 900))
    desk.treasury.simulate_funding(START, -300)
    assert sync(desk, 1) == []
    assert desk.manager.get_pending_redemptions() == 300
    assert desk.portfolio.get_cash() == 100
    desk.execute(desk.manager.close_all())
    (update,) = sync(desk, 2)
    assert (update.cause, update.quantity) == (BalanceUpdateCause.redemption, -300)
    assert desk.manager.get_pending_redemptions() == 0
    assert desk.portfolio.get_cash() == 100 + 1800 - 300 == desk.wallet.get_balance(USDC)


def test_redemption_of_later_is_not_pending_yet(desk):
    desk.treasury.simulate_funding(START + 2 * HOUR, -5000)
    sync(desk, 1)
    assert desk.manager.get_pending_redemptions() == 0
    sync(desk, 2)
    assert desk.manager.get_pending_redemptions() == 5000


def test_redemption_of_exactly_the_cash_is_paid(desk):
    desk.treasury.simulate_funding(START, -1000)
    sync(desk, 1)
    assert desk.portfolio.reserve.quantity == 0


def test_waiting_redemptions_add_up(desk):
    desk.treasury.simulate_funding(START, -1001)
    desk.treasury.simulate_funding(START, -2000)
    sync(desk, 1)
    assert desk.manager.get_pending_redemptions() == 3001


def test_strategy_sees_pending_redemptions_and_pays_them_in_the_next_cycle():
    seen = []

    def decide(input):
        manager = input.get_position_manager()
        seen.append((manager.get_pending_redemptions(), manager.get_current_cash()))
        if input.cycle == 1:
            return manager.open_spot(WETH_USDC, 900)
        return manager.close_all() if manager.get_pending_redemptions() and manager.is_any_open() else []

    def redeem(cycle, timestamp, state, sync_model):
        if cycle == 2:
            sync_model.simulate_funding(timestamp, -500)

    run_on(universe_of({WETH_USDC: [100.0] * 5}), decide, cycles=4, cash=1000, execution_test_hook=redeem)
    assert seen == [(0, 1000), (500, 100), (0, 500), (0, 500)]


# -- shares -----------------------------------------------------------------------------------------------------------


def test_first_deposit_mints_at_the_initial_share_price(desk):
    assert shares(desk) == 1000
    assert share_price(desk.state) == 1


def test_flows_are_paid_at_the_share_price_of_their_cycle(desk):
    """1,000 shares; all in WETH, which doubles: a deposit of 500 mints 250 shares at 2, a redemption burns alike."""
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    desk.treasury.simulate_funding(START + HOUR, 500)
    sync(desk, 1)
    assert shares(desk) == 1250
    assert share_price(desk.state) == 2
    desk.treasury.simulate_funding(START + 2 * HOUR, -200)
    sync(desk, 2)  # WETH at 50: NAV 500 + 500, share price 0.8
    assert float(shares(desk)) == pytest.approx(1250 - 250)
    assert share_price(desk.state) == pytest.approx(0.8)


def test_share_price_begins_anew_after_everything_was_redeemed(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 777.7))
    desk.at(1).execute(desk.manager.close_all())
    desk.treasury.simulate_funding(START, -desk.portfolio.reserve.quantity)
    sync(desk, 2)
    assert abs(shares(desk)) < Decimal("1e-9")
    desk.treasury.simulate_funding(START, 400)
    sync(desk, 3)
    assert float(shares(desk)) == pytest.approx(400)
    assert share_price(desk.state) == pytest.approx(1)


@settings(max_examples=50)
@given(
    st.lists(st.floats(min_value=50, max_value=200), min_size=6, max_size=6),
    st.lists(st.floats(min_value=-300, max_value=2000).filter(lambda v: abs(v) > 0.01), min_size=5, max_size=5),
    st.floats(min_value=0.1, max_value=1),
)
def test_flows_never_move_the_share_price(prices, flows, part):
    """The share price follows the position alone: the same strategy without flows has the same share price."""
    universe = universe_of({WETH_USDC: prices})

    def decide(input):
        """Hold the same part of the equity in every cycle, so that flows change the size and not the shape."""
        manager = input.get_position_manager()
        if manager.get_pending_redemptions():
            return []
        trades = manager.close_all() if manager.is_any_open() else []
        value = manager.get_current_portfolio().calculate_total_equity() * part * 0.999
        return trades + manager.open_spot(WETH_USDC, value)

    def fund(cycle, timestamp, state, sync_model):
        if cycle > 1:
            cash = float(state.portfolio.reserve.quantity)
            sync_model.simulate_funding(timestamp, max(flows[cycle - 2], -cash * 0.5 or 1.0))

    with_flows = run_on(universe, decide, cycles=6, cash=1000, execution_test_hook=fund)
    without = run_on(universe, decide, cycles=6, cash=1000)
    assert with_flows.samples["share_price"].tolist() == pytest.approx(without.samples["share_price"].tolist())
    assert with_flows.samples["share_count"].iloc[-1] != without.samples["share_count"].iloc[-1]


def test_every_flow_leaves_one_event_with_its_share_price(desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    desk.state.take_events()
    desk.treasury.simulate_funding(START, 10)
    sync(desk, 1)
    (event,) = desk.state.take_events()
    assert isinstance(event, BalanceUpdated)
    assert event.share_price == 2
