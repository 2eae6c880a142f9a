"""State: its invariants, the ledger's rules, kept values and the blacklist."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from ledger import AAVE, Ledger, day, make_five_positions
from scenario import USDC, WETH_USDC
from tape import START, Desk, run_on, universe_of
from tape import WETH_USDC as FREE

from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.backtest.plan import plan_backtest
from trading_dagster.backtest.segment_writer import PartitionWindow
from trading_dagster.domain.error import (
    BadInput,
    IntegrityError,
    LedgerError,
    NaiveDatetimeRequired,
    NotEnoughMoney,
    SerialisationRefused,
)
from trading_dagster.domain.event import (
    BalanceUpdated,
    CycleCompleted,
    DataSaved,
    PositionOpened,
    StateCreated,
    TradePlanned,
    TradeStarted,
)
from trading_dagster.domain.state import State
from trading_dagster.domain.time import CycleDuration, to_aware, to_naive
from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.storage.event_codec import encode_event
from trading_dagster.strategy.routing import TradeRouting

AT = datetime(2022, 1, 2, tzinfo=UTC)

# -- integrity --------------------------------------------------------------------------------------------------------


def events_of(ledger: Ledger) -> list:
    return ledger.state.take_events()


def test_sound_ledger_passes():
    ledger = make_five_positions()
    ledger.state.perform_integrity_check()
    State.replay(events_of(ledger)).perform_integrity_check()


def test_events_of_a_moment_share_one_time():
    state = make_five_positions().state
    now = state.clock_at()
    state.record(CycleCompleted(now, 100))
    assert state.aware_at(to_naive(now)) is now
    assert state.last_updated_at == to_naive(now)
    later = to_naive(now) + timedelta(days=1)
    assert state.aware_at(later) == to_aware(later)
    with pytest.raises(NaiveDatetimeRequired):
        state.aware_at(now)


def test_second_position_of_an_id_is_refused():
    ledger = make_five_positions()
    events = events_of(ledger)
    again = next(e for e in events if isinstance(e, PositionOpened) and e.position_id == 5)
    with pytest.raises(IntegrityError, match=r"second position #5, the next free id is 6"):
        State.replay([*events, again])


def test_second_trade_of_an_id_is_refused():
    ledger = make_five_positions()
    events = events_of(ledger)
    again = next(e for e in events if isinstance(e, TradePlanned) and e.plan.trade_id == 9)
    with pytest.raises(IntegrityError, match="second trade #9"):
        State.replay([*events, again])


def test_second_balance_update_of_an_id_is_refused():
    ledger = Ledger()
    events = events_of(ledger)
    with pytest.raises(IntegrityError, match="second balance update #1"):
        State.replay([*events, events[-1]])


def test_log_of_a_chain_counts_once():
    ledger = Ledger(cash=0)
    ledger.flow(0, 100)
    (_, first) = events_of(ledger)
    on_chain = replace(first.update, tx_hash="0xaa", log_index=3)
    repeated = replace(on_chain, balance_update_id=2)
    other_log = replace(on_chain, balance_update_id=2, log_index=4)
    state = State(StateCreated(AT, "test", USDC))
    state.record(BalanceUpdated(AT, on_chain))
    with pytest.raises(LedgerError, match="applied before: the same log may count only once"):
        state.record(BalanceUpdated(AT, repeated))
    state.record(BalanceUpdated(AT, other_log))
    assert state.portfolio.reserve.quantity == 200


@pytest.mark.parametrize("what", ["position", "trade", "balance_update"])
@pytest.mark.parametrize("shift", [-1, 1])
def test_counter_that_is_not_one_above_the_largest_id_is_found(what, shift):
    state = make_five_positions().state
    name = f"next_{what}_id"
    setattr(state.portfolio, name, getattr(state.portfolio, name) + shift)
    with pytest.raises(IntegrityError, match=f"next {what.replace('_', ' ')} id is .* but the largest used is"):
        state.perform_integrity_check()


def test_trade_in_two_positions_is_found():
    state = make_five_positions().state
    closed = state.portfolio.closed_positions
    closed[2].trades[1] = closed[1].trades[1]
    with pytest.raises(IntegrityError, match=r"trade ids occur twice: \[1, 1\]"):
        state.perform_integrity_check()


def test_position_that_is_open_and_closed_is_found():
    state = make_five_positions().state
    state.portfolio.closed_positions[5] = state.portfolio.open_positions[5]
    with pytest.raises(IntegrityError, match=r"position ids occur twice: \[5, 5\]"):
        state.perform_integrity_check()


def test_cash_below_zero_is_refused_by_the_ledger_and_found_by_the_check():
    ledger = Ledger(cash=100)
    with pytest.raises(IntegrityError, match=r"Cash would become -50 USDC after adding -150"):
        ledger.flow(1, -150)
    assert ledger.state.portfolio.reserve.quantity == 100
    ledger.state.portfolio.reserve.quantity = Decimal(-1)
    with pytest.raises(IntegrityError, match="Cash is negative: -1"):
        ledger.state.perform_integrity_check()


def test_started_buy_beyond_cash_is_refused_and_changes_nothing():
    ledger = Ledger(cash=100)
    ledger.state.record(PositionOpened(AT, 1, WETH_USDC, 100.0))
    with pytest.raises(NotEnoughMoney, match="for 150 USDC but cash is 100: buy for less or sell first"):
        ledger.buy(1, 150, 100, position=1)
    (trade,) = ledger.state.portfolio.open_positions[1].trades.values()
    assert (ledger.state.portfolio.reserve.quantity, trade.started_at) == (100, None)


# -- ledger -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("events", [[], [CycleCompleted(AT, 1)]], ids=["empty", "without its start"])
def test_ledger_without_its_first_event_is_refused(events):
    with pytest.raises(LedgerError, match="begins with StateCreated"):
        State.replay(events)


def test_second_creation_inside_a_ledger_is_refused():
    created = StateCreated(AT, "test", USDC)
    with pytest.raises(LedgerError, match="StateCreated cannot be replayed inside a ledger"):
        State.replay([created, created])


def test_replay_leaves_no_events_to_store_and_keeps_the_clock():
    ledger = make_five_positions()
    events = events_of(ledger)
    state = State.replay(events)
    assert not state.new_events
    assert state.take_events() == []
    assert state.clock_at() == events[-1].at


def test_events_are_handed_out_once():
    ledger = Ledger()
    assert len(events_of(ledger)) == 2
    assert events_of(ledger) == []
    ledger.flow(1, 5)
    assert [type(e) for e in events_of(ledger)] == [BalanceUpdated]


def test_first_deposit_is_the_initial_cash():
    ledger = Ledger(cash=0)
    assert ledger.state.portfolio.get_initial_cash() == 0
    ledger.flow(1, 700)
    ledger.flow(2, 300)
    ledger.flow(3, -100)
    portfolio = ledger.state.portfolio
    assert (portfolio.get_initial_cash(), portfolio.get_cash()) == (700, 900)
    causes = [ref.cause for ref in ledger.state.sync.treasury.balance_update_refs]
    assert causes == [BalanceUpdateCause.deposit, BalanceUpdateCause.deposit, BalanceUpdateCause.redemption]


def test_trade_started_twice_takes_its_reserve_once():
    ledger = Ledger(cash=1000)
    ledger.buy(1, 100, 100, outcome="running")
    with pytest.raises(LedgerError, match="started"):
        ledger.state.record(TradeStarted(AT, 1, 1))
    assert ledger.state.portfolio.reserve.quantity == 900


# -- values a strategy keeps ------------------------------------------------------------------------------------------


def test_latest_value_of_a_name_is_found_whatever_was_stored_later():
    data = Ledger().state.other_data
    assert data.load_latest("signal") is None
    data.save(1, "signal", 1.5)
    data.save(2, "signal", {"b": [1, 2]})
    data.save(3, "another", 9)
    assert data.load_latest("signal") == {"b": [1, 2]}
    assert data.data == {1: {"signal": 1.5}, 2: {"signal": {"b": [1, 2]}}, 3: {"another": 9}}


def test_kept_value_does_not_change_unless_it_is_saved_again():
    state = Ledger().state
    history = [1]
    state.other_data.save(1, "history", history)
    history.append(2)
    state.other_data.load_latest("history").append(3)
    assert state.other_data.load_latest("history") == [1]
    saved = [e for e in state.take_events() if isinstance(e, DataSaved)]
    assert [e.value for e in saved] == [[1]]


def test_kept_values_survive_a_replay():
    state = Ledger().state
    state.other_data.save(4, "x", {"a": 1})
    again = State.replay(state.take_events())
    assert again.other_data.load_latest("x") == {"a": 1}
    assert again.other_data.data == {4: {"x": {"a": 1}}}


@pytest.mark.parametrize("value", [{1, 2}, object(), float("nan"), 2**60], ids=["set", "object", "nan", "2**60"])
def test_value_that_cannot_be_stored_is_refused_when_it_is_saved(value):
    with pytest.raises(SerialisationRefused):
        Ledger().state.other_data.save(1, "x", value)


def test_kept_zone_aware_time_is_refused():
    with pytest.raises(SerialisationRefused):
        encode_event(DataSaved(AT, 1, "x", AT))


# -- blacklist --------------------------------------------------------------------------------------------------------


def test_blacklisted_token_spoils_its_pairs_until_it_is_allowed_again():
    state = Ledger().state
    assert state.is_good_pair(WETH_USDC)
    state.blacklist_asset(WETH_USDC.base, "hacked")
    assert not state.is_good_pair(WETH_USDC)
    assert state.blacklisted_assets == {WETH_USDC.base: "hacked"}
    state.unblacklist_asset(WETH_USDC.base)
    assert state.is_good_pair(WETH_USDC)
    state.blacklist_asset(WETH_USDC.quote)
    assert not state.is_good_pair(WETH_USDC)
    assert not State.replay(state.take_events()).is_good_pair(WETH_USDC)
    state.unblacklist_asset(AAVE)


# -- time ranges ------------------------------------------------------------------------------------------------------


def test_backtest_counts_from_where_it_is_ready():
    state = Ledger(days=20).state
    assert state.get_strategy_time_range() == (day(0), day(20))
    state.mark_ready(day(5))
    assert state.get_strategy_time_range() == (day(5), day(20))
    assert state.get_strategy_duration() == timedelta(days=15)


def test_only_a_backtest_can_be_marked_ready():
    state = State(StateCreated(AT, "live", USDC))
    with pytest.raises(BadInput, match="mark_ready is for backtests"):
        state.mark_ready(day(5))


def test_mark_of_readiness_survives_a_cut(tmp_path):
    universe = universe_of({FREE: [100.0] * 8})

    def decide(input):
        if input.cycle == 2:
            input.state.mark_ready(input.timestamp)
        return []

    plan = plan_backtest(
        decide_trades=decide,
        universe=universe,
        parameters={
            "cycle_duration": CycleDuration.cycle_1h,
            "routing": TradeRouting.default,
            "initial_cash": 100,
            "backtest_start": START,
            "backtest_end": START + timedelta(hours=8),
        },
    )
    middle, end = START + timedelta(hours=4), START + timedelta(hours=8)
    windows = [PartitionWindow("a", START, middle), PartitionWindow("b", middle, end)]
    list(PartitionedBacktest(plan, tmp_path, windows).run(["a", "b"]))
    state = PartitionedBacktest(plan, tmp_path, windows).load_result().state
    assert state.get_strategy_time_range()[0] == START + timedelta(hours=1)


def test_trading_range_goes_from_first_to_last_execution():
    assert Ledger().state.get_trading_time_range() == (None, None)
    assert make_five_positions().state.get_trading_time_range() == (day(1), day(11))


def test_state_numbers_the_running_cycle_in_quiet_cycles_too():
    seen = []

    def decide(input):
        seen.append(input.state.cycle)
        return []

    result = run_on(universe_of({FREE: [100.0] * 6}), decide, cycles=5)
    assert seen == [1, 2, 3, 4, 5]
    assert result.state.cycle == 6
    assert result.state.last_cycle_at == START + timedelta(hours=4)


def test_capital_below_the_threshold_is_not_worth_trading_with():
    desk = Desk({FREE: [1.0, 1.0]}, cash="0.15")
    assert desk.state.has_trading_capital()
    desk.treasury.simulate_funding(START, Decimal("-0.01"))
    desk.treasury.sync_treasury(START, desk.state)
    assert not desk.state.has_trading_capital()
    assert desk.state.clock_at() == to_aware(START)
