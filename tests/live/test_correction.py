"""An operator brings the ledger to what the wallet has: by events, confirmed, all of them or none."""

from decimal import Decimal

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

from trading_dagster.domain.error import BadInput, UncleanState
from trading_dagster.domain.event import PositionFrozen
from trading_dagster.domain.trade import TradeFlag, TradeType
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.live.correction import CorrectionKind, correct_accounts
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.operation import open_operation
from trading_dagster.live.revaluation import check_live_accounts


def yes(report):
    return True


def never_asked(report):
    raise AssertionError("it was asked")


@pytest.fixture
def held():
    """Three positions held in a wallet, a day later."""
    venue = WalletVenue()
    live = make_live(hold(), venue=venue)
    run_days(live, 1)
    set_time(live, START + DAY)
    return live, venue


def kinds(report):
    return [correction.kind for correction in report.corrections]


def test_nothing_is_asked_or_recorded_when_all_agrees(held):
    live, _ = held
    before = events(live)
    report = correct_accounts(live, never_asked)
    assert not report.is_needed
    assert "Nothing is to be corrected" in str(report)
    assert events(live) == before


def test_missing_tokens_shrink_the_position(held):
    live, venue = held
    _, taken = venue.take(load(live), "ETH-USD", 0.25)
    old = load(live).portfolio.open_positions[2].get_quantity()
    report = correct_accounts(live, yes)
    assert kinds(report) == [CorrectionKind.position]
    assert report.after.is_clean
    position = load(live).portfolio.open_positions[2]
    assert position.get_quantity() == pytest.approx(old - taken, rel=Decimal("1e-20"))
    (update,) = position.balance_updates.values()
    assert (update.cause, update.old_balance) == (BalanceUpdateCause.correction, old)
    assert update.quantity == pytest.approx(-taken, rel=Decimal("1e-20"))
    assert check_live_accounts(live).is_clean
    assert run_cycle(live).status is CycleStatus.done


def test_position_of_which_nothing_is_left_is_closed_with_a_trace(held):
    live, venue = held
    venue.take(load(live), "BTC-USD")
    cash = load(live).portfolio.get_cash()
    report = correct_accounts(live, yes)
    assert kinds(report) == [CorrectionKind.close]
    position = load(live).portfolio.closed_positions[1]
    trade = position.get_last_trade()
    assert (trade.trade_type, trade.executed_quantity, trade.executed_reserve) == (
        TradeType.accounting_correction,
        0,
        0,
    )
    assert position.get_quantity() == 0
    assert load(live).portfolio.get_cash() == cash
    load(live).perform_integrity_check()
    assert run_cycle(live).status is CycleStatus.done


def test_cash_differs_only_by_a_cause_that_was_named(held):
    live, venue = held
    reserve = load(live).portfolio.reserve
    venue.wallet.add(reserve.asset, Decimal(-500))
    before = events(live)
    with pytest.raises(BadInput, match="Cash differs by -500"):
        correct_accounts(live, never_asked)
    with pytest.raises(BadInput, match="which is no deposit"):
        correct_accounts(live, never_asked, reserve_cause=BalanceUpdateCause.deposit)
    assert events(live) == before
    shares = load(live).sync.treasury.share_count
    report = correct_accounts(live, yes, reserve_cause=BalanceUpdateCause.redemption)
    assert kinds(report) == [CorrectionKind.reserve]
    assert load(live).portfolio.reserve.quantity == reserve.quantity - 500
    assert load(live).sync.treasury.share_count < shares
    assert [u.cause.value for u in load(live).portfolio.reserve.balance_updates.values()] == ["deposit", "redemption"]


def test_correction_of_cash_is_performance_and_mints_no_shares(held):
    live, venue = held
    reserve = load(live).portfolio.reserve
    venue.wallet.add(reserve.asset, Decimal(300))
    shares = load(live).sync.treasury.share_count
    correct_accounts(live, yes, reserve_cause=BalanceUpdateCause.correction)
    assert load(live).portfolio.reserve.quantity == reserve.quantity + 300
    assert load(live).sync.treasury.share_count == shares


def test_unknown_token_of_the_universe_opens_a_position_and_leaves_cash_alone():
    venue = WalletVenue()
    live = make_live(hold(("BTC-USD",)), venue=venue)
    run_days(live, 1)
    universe = Steps(live).universe
    ether = next(pair for pair in universe.pairs if pair.base.token_symbol == "ETH")
    venue.wallet.add(ether.base, Decimal("1.5"))
    cash, equity = load(live).portfolio.reserve.quantity, load(live).portfolio.calculate_total_equity()
    report = correct_accounts(live, yes)
    assert kinds(report) == [CorrectionKind.open]
    state = load(live)
    position = state.portfolio.get_open_position_for_pair(ether)
    assert position.get_quantity() == Decimal("1.5")
    trade = position.get_first_trade()
    assert {TradeFlag.open, TradeFlag.missing_position_repair} <= trade.flags
    assert trade.trade_type is TradeType.accounting_correction
    assert state.portfolio.reserve.quantity == cash
    assert position.get_average_buy() == pytest.approx(trade.planned_mid_price, rel=1e-4)
    assert state.portfolio.calculate_total_equity() == pytest.approx(equity + 1.5 * trade.planned_mid_price)
    assert check_live_accounts(live).is_clean
    assert correct_accounts(live, never_asked).corrections == ()
    set_time(live, START + DAY)
    assert run_cycle(live).status is CycleStatus.done


def test_cheap_unknown_token_is_ignored():
    venue = WalletVenue()
    live = make_live(hold(("BTC-USD",)), venue=venue)
    run_days(live, 1)
    ether = next(pair for pair in Steps(live).universe.pairs if pair.base.token_symbol == "ETH")
    venue.wallet.add(ether.base, Decimal("0.0001"))
    before = events(live)
    report = correct_accounts(live, never_asked)
    assert kinds(report) == [CorrectionKind.ignore]
    assert "worth less than 0.1 USD" in str(report)
    assert events(live) == before


def test_several_differences_are_corrected_together(held):
    live, venue = held
    venue.take(load(live), "BTC-USD")
    venue.take(load(live), "ETH-USD", 0.5)
    venue.wallet.add(load(live).portfolio.reserve.asset, Decimal(7))
    report = correct_accounts(live, yes, reserve_cause=BalanceUpdateCause.deposit)
    assert sorted(kind.value for kind in kinds(report)) == ["change cash", "change position", "close position"]
    assert check_live_accounts(live).is_clean


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_crash_while_correcting_leaves_all_or_nothing(after):
    venue, store = WalletVenue(), CrashingStore()
    live = make_live(hold(), venue=venue, store=store)
    run_days(live, 1)
    venue.take(load(live), "BTC-USD")
    venue.take(load(live), "ETH-USD", 0.5)
    before = events(live)
    store.count, store.crash_at, store.after = 0, 1, after
    with pytest.raises(Crash):
        correct_accounts(live, yes)
    assert check_live_accounts(live).is_clean is after
    assert (events(live) == before) is not after
    correct_accounts(live, yes)
    assert check_live_accounts(live).is_clean
    assert len(events(live)) == len(before) + 5


def test_what_is_not_confirmed_or_a_dry_run_changes_nothing(held):
    live, venue = held
    venue.take(load(live), "BTC-USD")
    before, seen = events(live), []

    def no(report):
        seen.append(str(report))
        return False

    assert correct_accounts(live, no).after is None
    assert correct_accounts(live, never_asked, dry_run=True).is_needed
    assert events(live) == before
    assert "MISMATCH" in seen[0]
    assert "close position #1: -0.14" in seen[0]


def test_refused_while_a_position_is_frozen(held):
    live, venue = held
    venue.take(load(live), "BTC-USD")
    with open_operation(live, "a test") as step:
        step.state.record(PositionFrozen(live.clock.now(), 2, "reverted"))
        step.session.save()
    with pytest.raises(UncleanState, match=r"frozen(.|\n)*#2"):
        correct_accounts(live, never_asked)


def test_refused_while_trades_of_a_cycle_wait():
    venue = WalletVenue()
    live = make_live(hold(), venue=venue)
    steps = Steps(live)
    steps.decide()
    with pytest.raises(UncleanState, match="3 of its trades did not begin"):
        correct_accounts(live, never_asked)
    steps.execute()
    venue.take(load(live), "BTC-USD")
    correct_accounts(live, yes)
    assert steps.complete().status is CycleStatus.done


def test_difference_is_shared_by_positions_that_hold_the_same_token():
    venue = WalletVenue()

    def decide(input):
        manager = input.get_position_manager()
        pair = next(iter(input.strategy_universe.pairs))
        return [
            trade
            for value in (1000, 3000)
            for trade in manager.open_spot(pair, value=value, flags={TradeFlag.ignore_open})
        ]

    live = make_live(decide, venue=venue)
    run_days(live, 1)
    before = [p.quantity for p in load(live).portfolio.open_positions.values()]
    venue.take(load(live), "BTC-USD", 0.5)
    correct_accounts(live, yes)
    after = [p.quantity for p in load(live).portfolio.open_positions.values()]
    assert [float(new / old) for new, old in zip(after, before, strict=True)] == pytest.approx([0.5, 0.5])
    assert check_live_accounts(live).is_clean
