"""A fund's fees on paper: those of the backtest to the last bit, once, and never for a time before they were agreed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from live.world import (
    DAY,
    START,
    STRATEGY,
    Crash,
    CrashingStore,
    Steps,
    WalletVenue,
    hold,
    load,
    make_live,
    never,
    run_days,
    set_time,
)

import trading_dagster as td
from trading_dagster.domain.error import UnexpectedAccountingCorrectionIssue
from trading_dagster.domain.state import State
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.inspection import show_valuation
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.storage.strategy_ledger import StrategyLedger

FEES = td.FundFees(management=0.2, performance=0.2, every=3 * DAY)
DAYS = 14
"""Periods of three days begin on days 1, 4, 7, 10 and 13."""
YEAR = timedelta(days=365)


def with_fees(fees: td.FundFees | None, **more) -> LiveStrategy:
    return make_live(parameters={"fund_fees": fees}, **more)


def change_fees(live: LiveStrategy, fees: td.FundFees | None) -> LiveStrategy:
    return replace(live, strategy=live.strategy.with_parameters({"fund_fees": fees}))


def taken(live: LiveStrategy):
    return load(live).sync.treasury.fund_fees


def test_fees_are_those_of_the_backtest_to_the_last_bit():
    live = with_fees(FEES)
    run_days(live, DAYS)
    backtest = td.run_backtest(
        STRATEGY, parameters={"fund_fees": FEES}, start=START, end=START + DAYS * DAY, progress=False
    )

    treasury = backtest.state.sync.treasury
    assert taken(live) == treasury.fund_fees, (
        "the last cycle begins a period, so live takes what the backtest's end does"
    )
    assert [entry.at - START for entry in taken(live)] == [DAY * n for n in (1, 4, 7, 10, 13)]
    assert any(entry.take.performance_usd for entry in taken(live))
    assert load(live).sync.treasury.share_count == treasury.share_count
    prices = [sample.share_price for sample in live.store.read_samples(live.id)]
    assert prices == backtest.share_price.tolist()


def test_ledger_replays_to_the_fees_it_was_loaded_with():
    live = with_fees(FEES)
    run_days(live, DAYS)
    whole = StrategyLedger(live.store, live.id).load(use_snapshot=False)
    assert whole.sync.treasury.fund_fees == taken(live)
    assert whole.sync.treasury.share_count == load(live).sync.treasury.share_count


def test_missed_cycles_are_charged_at_the_first_one_after_them():
    """Days 1 to 7 are missed, and with them three beginnings of a period: one fee for eight days."""
    live = with_fees(td.FundFees(management=0.2, every=3 * DAY), decide=never)
    for day in (0, 8, 10):
        set_time(live, START + day * DAY)
        run_cycle(live)

    entries = taken(live)
    assert [entry.at for entry in entries] == [START + 8 * DAY, START + 10 * DAY]
    assert entries[0].take.share_price == pytest.approx(0.8 ** (8 * DAY / YEAR), rel=1e-12)
    assert entries[1].take.share_price == pytest.approx(0.8 ** (10 * DAY / YEAR), rel=1e-12)


def test_steps_that_are_run_again_take_nothing_more():
    live = with_fees(FEES)
    run_days(live, 5)
    before = taken(live)
    steps = Steps(live)
    for step in (steps.decide, steps.execute, steps.complete, steps.decide):
        step()
    run_cycle(live)
    assert taken(live) == before


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_save_takes_the_fees_of_a_period_once(after: bool):
    calm = with_fees(FEES)
    run_days(calm, 5)
    assert len(taken(calm)) == 2
    for crash_at in range(1, 20):
        store = CrashingStore()
        live = with_fees(FEES, store=store)
        run_days(live, 4)
        store.count, store.crash_at, store.after = 0, crash_at, after
        set_time(live, START + 4 * DAY)
        try:
            run_cycle(live)
        except Crash:
            run_cycle(live)
        else:
            assert crash_at > 4, "several saves were tried"
            break
        finished = load(live)
        assert taken(live) == taken(calm)
        assert finished.sync.treasury.share_count == load(calm).sync.treasury.share_count
        assert StrategyLedger(store, live.id).load(use_snapshot=False).sync.treasury.fund_fees == taken(calm)


def test_fees_of_a_fund_that_went_without_begin_now_and_charge_nothing_before():
    """Ten days without fees, with a gain: the mark is the price of now, the time begins now."""
    live = with_fees(None, decide=hold(value=3000))
    run_days(live, 10)
    assert taken(live) == []
    live = change_fees(live, FEES)
    set_time(live, START + 10 * DAY)
    run_cycle(live)

    (begin,) = taken(live)
    assert (begin.take.management_shares, begin.take.performance_shares) == (0, 0)
    assert load(live).sync.treasury.share_count == 10_000
    assert begin.take.share_price == begin.take.high_water_mark > 1
    for day in (11, 12, 13):
        set_time(live, START + day * DAY)
        run_cycle(live)
    assert len(taken(live)) == 2
    first = taken(live)[1]
    assert first.at == START + 13 * DAY
    kept = Decimal(1 / 0.8 ** (3 * DAY / YEAR)) - 1
    assert first.take.management_shares == pytest.approx(10_000 * kept, rel=Decimal("1e-12"))


def test_changed_fees_settle_the_old_ones_and_count_from_then():
    live = with_fees(td.FundFees(management=0.5, every=10_000 * DAY), decide=never)
    run_days(live, 5)
    live = change_fees(live, td.FundFees(management=0.1, every=10_000 * DAY))
    set_time(live, START + 5 * DAY)
    run_cycle(live)
    live = change_fees(live, None)
    set_time(live, START + 9 * DAY)
    run_cycle(live)
    set_time(live, START + 11 * DAY)
    run_cycle(live)

    assert [entry.at for entry in taken(live)] == [START + 5 * DAY, START + 9 * DAY]
    expected = 0.5 ** (5 * DAY / YEAR) * 0.9 ** (4 * DAY / YEAR)
    assert taken(live)[-1].take.share_price == pytest.approx(expected, rel=1e-12)
    assert live.store.read_samples(live.id)[-1].share_price == pytest.approx(expected, rel=1e-12)


def test_no_fee_is_taken_of_tokens_that_are_not_there():
    venue = WalletVenue()
    live = with_fees(FEES, venue=venue, decide=hold())
    run_days(live, 3)
    venue.take(load(live), "BTC-USD")
    set_time(live, START + 4 * DAY)
    with pytest.raises(UnexpectedAccountingCorrectionIssue, match="before fees of the fund"):
        run_cycle(live)
    assert len(taken(live)) == 1, "that of the first day"


def test_what_was_taken_is_told_and_shown():
    live = with_fees(FEES)
    run_days(live, 4)
    set_time(live, START + 4 * DAY)
    report = Steps(live).decide()
    assert report.notes[0].startswith("fees of the fund until 2018-04-14 00:00:00: management ")
    state = load(live)
    shown = show_valuation(live)
    assert shown.share_count == state.sync.treasury.share_count
    assert float(shown.fee_shares) == pytest.approx(float(shown.share_count) - 10_000)


def test_a_strategy_without_fees_has_none_of_it_in_its_ledger():
    live = make_live()
    run_days(live, 4)
    state: State = load(live)
    assert state.sync.treasury.fund_fees == []
    assert not state.other_data.data
