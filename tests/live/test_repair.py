"""Frozen positions go on: released or tried again by events, with their capital counted once."""

import pytest
from live.world import (
    DAY,
    START,
    Crash,
    CrashingStore,
    Steps,
    WalletVenue,
    events,
    hold,
    load,
    make_live,
    run_days,
    set_time,
)

from trading_dagster.domain.error import BadInput, TradeError, UncleanState
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.live.correction import correct_accounts
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.repair import RETRY_OF, repair, retry


def fail_to_sell(live, venue):
    """Let the sell of ETH fail on the second day; returns the tokens that were not there."""
    run_days(live, 1)
    set_time(live, START + DAY)
    steps = Steps(live)
    steps.decide()
    asset, taken = venue.take(load(live), "ETH-USD")
    steps.execute()
    venue.wallet.add(asset, taken)
    steps.complete()
    (number,) = load(live).portfolio.frozen_positions
    return number


def fail_to_buy(live, venue):
    """Let the first buy of a cycle fail for lack of cash in the wallet; returns its position."""
    steps = Steps(live)
    steps.decide()
    reserve = load(live).portfolio.reserve.asset
    cash = venue.wallet.get_balance(reserve)
    venue.wallet.add(reserve, -cash)
    steps.execute()
    venue.wallet.add(reserve, cash)
    steps.complete()
    (number,) = load(live).portfolio.frozen_positions
    return number


@pytest.fixture
def unsold():
    venue = WalletVenue()
    live = make_live(venue=venue)
    return live, venue, fail_to_sell(live, venue)


@pytest.fixture
def unbought():
    venue = WalletVenue()
    live = make_live(hold(("BTC-USD",)), venue=venue)
    return live, venue, fail_to_buy(live, venue)


def test_released_position_is_open_again_and_its_trade_counts_as_never_tried(unsold):
    live, _, number = unsold
    cash = load(live).portfolio.reserve.quantity
    report = repair(live)
    assert (report.opened, report.closed, report.dropped, report.refused) == ((number,), (), (), ())
    assert report.accounts.is_clean
    position = load(live).portfolio.open_positions[number]
    assert position.get_last_trade().get_status() is TradeStatus.repaired
    assert position.get_last_trade().get_value() == 0
    assert "released by an operator" in position.notes
    assert load(live).portfolio.reserve.quantity == cash
    set_time(live, START + 2 * DAY)
    assert run_cycle(live).status is CycleStatus.done


def test_released_buy_gives_its_capital_back_once_and_leaves_no_position(unbought):
    live, _, number = unbought
    assert load(live).portfolio.get_cash() == 10_000
    report = repair(live)
    assert report.dropped == (number,)
    state = load(live)
    assert state.portfolio.get_cash() == 10_000
    assert not list(state.portfolio.get_open_and_frozen_positions())
    assert list(state.portfolio.expired_positions) == [number]
    state.perform_integrity_check()
    set_time(live, START + DAY)
    run_cycle(live)
    assert len(load(live).portfolio.open_positions) == 1


def test_tokens_that_are_gone_are_released_then_corrected(unsold):
    live, venue, number = unsold
    asset = load(live).portfolio.frozen_positions[number].pair.base
    venue.wallet.add(asset, -venue.wallet.get_balance(asset))
    report = repair(live)
    assert report.opened == (number,)
    assert [row.asset for row in report.accounts.mismatches] == [asset]
    assert correct_accounts(live, lambda _: True).after.is_clean
    assert load(live).portfolio.closed_positions[number].get_quantity() == 0
    set_time(live, START + 2 * DAY)
    assert run_cycle(live).status is CycleStatus.done


def test_release_run_again_does_nothing(unsold):
    live, _, number = unsold
    repair(live)
    before = events(live)
    assert repair(live).opened == ()
    with pytest.raises(BadInput, match=f"#{number} is not frozen; frozen are: none"):
        repair(live, [number])
    assert events(live) == before


def test_trade_that_may_still_take_effect_keeps_its_position_frozen(unsold):
    live, venue, number = unsold
    venue.why_not_retry = "its transaction can be mined until block 7"
    before = events(live)
    report = repair(live)
    assert report.opened == ()
    assert "until block 7" in report.refused[0]
    assert "until block 7" in retry(live).notes[0]
    assert events(live) == before
    assert repair(live, [number], "I waited", force=True).opened == (number,)


def test_retry_makes_a_new_trade_of_what_failed(unsold):
    live, _, number = unsold
    result = retry(live)
    (trade,) = result.trades
    assert result.is_complete
    assert result.accounts.is_clean
    position = load(live).portfolio.closed_positions[number]
    failed = position.trades[trade.other_data[RETRY_OF]]
    assert failed.get_status() is TradeStatus.repaired
    assert trade.executed_quantity == failed.planned_quantity
    assert not load(live).portfolio.frozen_positions
    assert retry(live).trades == ()


def test_retried_buy_takes_its_capital_once(unbought):
    live, _, number = unbought
    result = retry(live, [number])
    assert result.is_complete
    state = load(live)
    assert list(state.portfolio.open_positions) == [number]
    assert state.portfolio.get_cash() == 9000
    assert state.portfolio.get_net_asset_value() == pytest.approx(10_000, rel=1e-3)
    assert result.accounts.is_clean


def test_retry_that_fails_again_freezes_again(unsold):
    live, venue, number = unsold
    asset = load(live).portfolio.frozen_positions[number].pair.base
    taken = venue.wallet.get_balance(asset)
    venue.wallet.add(asset, -taken)
    result = retry(live)
    assert not result.is_complete
    assert "cannot give" in result.notes[-1]
    assert list(load(live).portfolio.frozen_positions) == [number]
    venue.wallet.add(asset, taken)
    assert retry(live).is_complete
    assert load(live).portfolio.closed_positions[number].is_closed()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("save", [1, 2])
def test_crash_in_a_retry_neither_loses_nor_doubles(save, after):
    venue, store = WalletVenue(), CrashingStore()
    live = make_live(hold(("BTC-USD",)), venue=venue, store=store)
    number = fail_to_buy(live, venue)
    store.count, store.crash_at, store.after = 0, save, after
    balances = dict(venue.wallet.balances)
    with pytest.raises(Crash):
        retry(live)
    if (save, after) == (2, False):
        venue.wallet.balances = balances  # on paper a fill that was not stored never happened
    while load(live).portfolio.frozen_positions:
        retry(live)
    set_time(live, START + DAY)
    run_cycle(live)
    portfolio = load(live).portfolio
    assert len(portfolio.open_positions) == 1
    assert portfolio.get_cash() == 9000
    assert (number in portfolio.open_positions) or (number in portfolio.expired_positions)
    load(live).perform_integrity_check()


def test_retry_waits_for_the_cycle_in_progress_and_the_kill_switch(unsold):
    live, _, _ = unsold
    set_time(live, START + 2 * DAY)
    Steps(live).decide()
    with pytest.raises(UncleanState, match="did not begin"):
        retry(live)
    stopped = make_live(store=live.store, venue=live.venue, at=START + 2 * DAY, forbid_trading=lambda: "stop")
    with pytest.raises(TradeError, match="nothing is traded: stop"):
        retry(stopped)


def test_buy_that_cash_does_not_cover_any_more_stays_frozen(unbought):
    live, venue, number = unbought
    greedy = make_live(hold(("ETH-USD",), value=9500), store=live.store, venue=venue, at=START + DAY)
    run_cycle(greedy)
    result = retry(greedy)
    assert result.trades == ()
    assert "needs 1000 USD, of 500" in result.notes[0]
    assert number in load(live).portfolio.frozen_positions
