"""A State loaded from a snapshot and what came after it equals the replay of the whole ledger, and costs little."""

import random
from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger import AAVE, AAVE_USDC, day, make_five_positions
from random_strategy import (
    PAIRS,
    Parameters,
    decide_by_seed,
    deposit_sometimes,
    describe,
    describe_position,
    make_universe,
)
from scenario import USDC

from trading_dagster.backtest import BacktestRun, plan_backtest
from trading_dagster.domain.archive import ArchivedPositions
from trading_dagster.domain.error import (
    IntegrityError,
    LeaseLost,
    LedgerConflict,
    SerialisationRefused,
    StorageFailed,
)
from trading_dagster.domain.event import (
    BalanceUpdated,
    CycleCompleted,
    FundFeesTaken,
    LedgerBound,
    LedgerEnded,
    PairIntroduced,
    PositionFrozen,
    PositionOpened,
    PositionUnfrozen,
    RedemptionEnded,
    RedemptionRequested,
    SharesCounted,
    StateCreated,
    TradeCharged,
    TradeDiscarded,
    TradeExecuted,
    TradeFailed,
    TradePlanned,
    TradeRepaired,
    TradeStarted,
)
from trading_dagster.domain.fund_fee import FundFeeTake
from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.purse import wallet_purse
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeCharges
from trading_dagster.domain.treasury import (
    BalanceUpdate,
    BalanceUpdateCause,
    BalanceUpdatePositionType,
    ReservePosition,
    Sync,
    Treasury,
)
from trading_dagster.storage.ledger_store import LedgerBatch, MemoryLedgerStore, Sample, StateSnapshot
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.storage.strategy_ledger import StrategyLedger

NAME = "random"
SEEDS = st.integers(min_value=0, max_value=10_000)
SLOW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def all_there_is(state: State) -> dict:
    """Everything that tests compare, with what ``describe`` leaves out."""
    portfolio = state.portfolio
    return describe(state) | {
        "order": (list(portfolio.open_positions), list(portfolio.frozen_positions), list(portfolio.expired_positions)),
        "dust": {asset.get_identifier(): str(quantity) for asset, quantity in portfolio.dust.items()},
        "allocated": [(t.trade_id, str(t.allocated), t.reserve_currency_allocated) for t in portfolio.get_all_trades()],
        "trade_count": portfolio.trade_count,
        "pairs": dict(state.known_pairs),
        "treasury": state.sync.treasury,
        "reserve": state.portfolio.reserve,
        "updates": [u.quantity for u in portfolio.reserve.balance_updates.values()],
        "charges": [trade.charges for trade in portfolio.get_all_trades()],
        "clock": state.clock_at(),
        "binding": state.binding,
        "blacklist": list(state.blacklisted_assets.items()),
        "latest": state.other_data.load_latest("note"),
        "settlements": [*portfolio.settlements.items()],
        "expired_positions": [describe_position(p) for p in portfolio.expired_positions.values()],
        "first": {p: portfolio.get_open_position_for_pair(p) and 1 for p in PAIRS},
    }


def lease_of(store, name=NAME):
    return store.acquire("test", [f"strategy:{name}"], 3600)


def events_of(seed: int) -> list:
    plan = plan_backtest(
        decide_trades=decide_by_seed(seed),
        universe=make_universe(seed),
        parameters=Parameters,
        execution_test_hook=deposit_sometimes,
    )
    run = BacktestRun(plan)
    run.advance(plan.cycle_count)
    return run.take_segment()[0]


def record_in_pieces(store, events, seed: int, *, reload_share: float, name=NAME) -> None:
    """Store events in random pieces, by writers that now and then begin anew from the store."""
    rng = random.Random(seed)
    ledger = StrategyLedger(store, name, lease_of(store, name))
    state = ledger.create(events[0])
    at = 1
    while at < len(events):
        piece = rng.randint(1, 40)
        for event in events[at : at + piece]:
            state.record(event)
        at += piece
        ledger.save()
        if rng.random() < reload_share:
            ledger = StrategyLedger(store, name, ledger.lease)
            state = ledger.load()
            assert isinstance(state.portfolio.closed_positions, ArchivedPositions)


@SLOW
@given(SEEDS)
def test_loaded_state_equals_the_replay_of_everything(seed):
    events = events_of(seed)
    store = MemoryLedgerStore()
    record_in_pieces(store, events, seed, reload_share=0.3)
    whole = State.replay(events)
    loaded = StrategyLedger(store, NAME).load()
    assert all_there_is(loaded) == all_there_is(whole)
    assert all_there_is(StrategyLedger(store, NAME).load(use_snapshot=False)) == all_there_is(whole)


@settings(SLOW, max_examples=4)
@given(SEEDS)
def test_loaded_state_equals_the_replay_in_a_database(tmp_path_factory, seed):
    events = events_of(seed)
    with SqlLedgerStore(tmp_path_factory.mktemp("ledger") / "ledger.db") as store:
        record_in_pieces(store, events, seed, reload_share=0.2)
        whole = State.replay(events)
        assert all_there_is(StrategyLedger(store, NAME).load()) == all_there_is(whole)


@settings(SLOW, max_examples=6)
@given(SEEDS)
def test_closed_positions_are_found_without_loading_all(seed):
    events = events_of(seed)
    store = MemoryLedgerStore()
    record_in_pieces(store, events, seed, reload_share=0.3)
    whole = State.replay(events).portfolio
    for pair in PAIRS:
        portfolio = StrategyLedger(store, NAME).load().portfolio
        found = portfolio.get_closed_positions_for_pair(pair)
        wanted = whole.get_closed_positions_for_pair(pair)
        assert [describe_position(p) for p in found] == [describe_position(p) for p in wanted]
        assert {p.pair for p in portfolio.closed_positions.get_in_memory()} <= {pair}
    portfolio = StrategyLedger(store, NAME).load().portfolio
    last = portfolio.get_last_closed_position()
    assert describe_position(last) == describe_position(whole.get_last_closed_position())
    assert len(portfolio.closed_positions.get_in_memory()) == 1
    some = next(iter(whole.closed_positions))
    assert describe_position(portfolio.get_position_by_id(some)) == describe_position(whole.get_position_by_id(some))
    assert len(portfolio.closed_positions) == len(whole.closed_positions)


def introduced(events) -> list:
    """The events of a ledger written by hand, each pair introduced before its first use."""
    known, found = set(), []
    for event in events:
        pair = event.pair if isinstance(event, PositionOpened) else None
        if pair is not None and pair not in known:
            known.add(pair)
            found.append(PairIntroduced(event.at, pair))
        found.append(event)
    return found


def at(number: float) -> datetime:
    return day(number).replace(tzinfo=UTC)


def settle_failures(ledger) -> None:
    """A failed opening that expires, a failed sell that opens again and is corrected to nothing."""
    state = ledger.state
    for outcome in ("failed", "filled"):
        number = ledger.buy(15, 10, 2, pair=AAVE_USDC, outcome=outcome)
        if outcome == "filled":
            ledger.sell(15, number, 2, outcome="failed")
        failed = state.portfolio.get_position_by_id(number).get_last_trade()
        state.record(PositionFrozen(at(15), number, "reverted"))
        state.record(TradeRepaired(at(15), failed.trade_id, number, "settled"))
        state.record(PositionUnfrozen(at(15), number, "settled"))
    update = BalanceUpdate(
        balance_update_id=state.portfolio.next_balance_update_id,
        cause=BalanceUpdateCause.correction,
        position_type=BalanceUpdatePositionType.open_position,
        asset=AAVE,
        quantity=Decimal(-5),
        old_balance=Decimal(5),
        usd_value=-10.0,
        block_mined_at=day(15),
        strategy_cycle_included_at=day(15),
        position_id=number,
    )
    state.record(BalanceUpdated(at(15), update))
    empty = state.portfolio.next_trade_id
    plan = replace(failed.plan, trade_id=empty, quantity=Decimal(0), reserve=Decimal(0), closing=True)
    state.record(TradePlanned(at(15), plan))
    state.record(TradeStarted(at(15), empty, number))
    state.record(TradeExecuted(at(15), empty, number, Decimal(0), Decimal(0), 2.0, 0.0))
    assert number in state.portfolio.closed_positions


def rich_ledger() -> list:
    """Closed, open, failed, frozen, thawed and dropped positions; kept values; blacklisted tokens; odd cash."""
    ledger = make_five_positions()
    state = ledger.state
    state.record(LedgerBound(at(12), wallet_purse(8453, "0xABC")))
    price, everything = Decimal(100), None
    for attempt in (1, 2):  # a float rounded up asks for more than there is: the buy takes all cash instead
        value = float(state.portfolio.reserve.quantity) * (1 + 1e-13)
        everything = ledger.buy(12, value, 100, outcome="running", position=everything)
        trade = state.portfolio.get_position_by_id(everything).get_last_trade()
        assert trade.allocated < trade.plan.reserve
        filled = TradeExecuted(at(12), trade.trade_id, everything, trade.allocated / price, trade.allocated, 100.0, 0.0)
        state.record(TradeFailed(at(12), trade.trade_id, everything, "reverted") if attempt == 1 else filled)
    ledger.sell(13, everything, 101, part=0.5)
    ledger.flow(13, -20)
    failed = ledger.buy(13, 100, 2, pair=AAVE_USDC, outcome="failed")
    state.record(PositionFrozen(at(13), failed, "reverted"))
    running = ledger.buy(14, 50, 2, pair=AAVE_USDC, outcome="running")
    state.record(PositionFrozen(at(14), running, "stuck"))
    state.record(PositionUnfrozen(at(15), running, "released"))
    ledger.move_stop(15, running, 2, 1.5)
    settle_failures(ledger)
    dropped = state.portfolio.next_position_id
    number = state.portfolio.next_trade_id
    plan = replace(state.portfolio.get_position_by_id(running).get_first_trade().plan, trade_id=number)
    state.record(PositionOpened(at(15), dropped, AAVE_USDC, 1.0))
    state.record(TradePlanned(at(15), replace(plan, position_id=dropped)))
    state.record(TradeDiscarded(at(15), number, dropped, "refused"))
    state.blacklist_asset(USDC, "first")
    state.blacklist_asset(AAVE, "second")
    state.unblacklist_asset(USDC)
    for cycle, name, value in ((1, "note", 1), (1, "b", 2), (3, "note", {"a": 2}), (3, "b", [1.5])):
        state.other_data.save(cycle, name, value)
    take = FundFeeTake(Decimal("1.5"), Decimal("0.5"), 1.5, 0.5, 0.99, 1.02)
    state.record(FundFeesTaken(at(15.5), take))
    state.record(RedemptionRequested(at(15.5), 1, Decimal("12.5"), "0xabc"))
    state.record(RedemptionRequested(at(15.5), 2, Decimal(1), ""))
    state.record(RedemptionEnded(at(15.5), 1, balance_update_id=1))
    state.record(RedemptionRequested(at(15.5), 3, Decimal(2), ""))
    state.record(RedemptionEnded(at(15.5), 3, reason="cancelled"))
    state.record(SharesCounted(at(15.6), Decimal("12345.000000000000000001")))
    state.record(CycleCompleted(at(16), 4))
    ledger.sell(17, everything, 99)
    sold = state.portfolio.get_position_by_id(everything).get_last_trade()
    state.record(TradeCharged(at(17), sold.trade_id, everything, TradeCharges(Decimal(2), 0.1, 0.2, -0.3)))
    state.record(LedgerEnded(at(18), "Ann", "over", (running,)))
    state.blacklist_asset(USDC, "after the end")
    return introduced(state.take_events())


def test_every_kind_of_event_survives_a_restart_after_each_event():
    events = rich_ledger()
    store = MemoryLedgerStore()
    ledger = StrategyLedger(store, NAME, lease_of(store))
    ledger.create(events[0])
    ledger.save()
    for count, event in enumerate(events[1:], 2):
        state = ledger.load()
        state.record(event)
        ledger.save()
        assert all_there_is(StrategyLedger(store, NAME).load()) == all_there_is(State.replay(events[:count]))
    whole = State.replay(events)
    assert whole.portfolio.frozen_positions
    assert whole.portfolio.expired_positions
    assert store.read_allocations(NAME, list(whole.portfolio.closed_positions))


def test_nothing_is_left_out_of_a_snapshot():
    """Whoever adds an attribute decides how it is restored: extend domain/checkpoint.py, then this list."""
    state = State.replay(rich_ledger())
    assert set(vars(state)) == {
        "_at", "_aware", "_clock", "_cycle", "_folds", "_last_cycle_at", "_now", "backtest_data", "binding",
        "blacklisted_assets", "created_at", "decision", "initial_share_price", "known_pairs", "last_decision_at",
        "is_restoring", "last_updated_at", "name", "new_events", "other_data", "portfolio", "ready_at", "stats", "sync",
        "visualisation",
    }  # fmt: skip
    assert set(Portfolio.__slots__) == {
        "_open_by_pair", "closed_positions", "dust", "expired_positions", "frozen_positions", "loan_positions", "marks",
        "next_balance_update_id", "next_position_id", "next_trade_id", "open_positions", "pending_positions", "reserve",
        "settlements", "trade_count",
    }  # fmt: skip
    assert {f.name for f in fields(Treasury)} == {
        "last_updated_at", "last_cycle_at", "last_block_scanned", "balance_update_refs", "pending_redemptions",
        "pending_deposits", "share_count", "applied_chain_keys", "fund_fees", "redemptions", "next_redemption",
    }  # fmt: skip
    assert {f.name for f in fields(Sync)} == {"treasury", "interest_last_sync_at"}
    assert {f.name for f in fields(ReservePosition)} == {
        "asset", "quantity", "reserve_token_price", "last_sync_at", "last_pricing_at", "initial_deposit",
        "initial_deposit_reserve_token_price", "balance_updates",
    }  # fmt: skip


def test_unreadable_or_foreign_snapshot_is_passed_over(tmp_path):
    events = rich_ledger()
    with SqlLedgerStore(tmp_path / "ledger.db") as store:
        ledger = StrategyLedger(store, NAME, lease_of(store))
        state = ledger.create(events[0])
        for event in events[1:]:
            state.record(event)
        ledger.save()
        for snapshot in (StateSnapshot(len(events), 1, "{"), StateSnapshot(len(events), 999, "{}")):
            batch = LedgerBatch(NAME, len(events), (), (), snapshot)
            store.append(batch, ledger.lease)
            assert all_there_is(StrategyLedger(store, NAME).load()) == all_there_is(State.replay(events))


def test_restored_state_passes_the_integrity_check_and_loads_nothing_for_it():
    store = MemoryLedgerStore()
    record_in_pieces(store, rich_ledger(), 1, reload_share=0)
    state = StrategyLedger(store, NAME).load()
    state.perform_integrity_check()
    state.use_marks(state.portfolio.marks)
    assert state.portfolio.closed_positions.get_in_memory() == []
    state.portfolio.next_trade_id = 3
    with pytest.raises(IntegrityError, match="next trade id is 3"):
        state.perform_integrity_check()


def test_stale_writer_is_refused_and_must_load_anew():
    events = rich_ledger()
    store = MemoryLedgerStore()
    first = StrategyLedger(store, NAME, lease_of(store))
    first.create(events[0])
    first.save()
    second = StrategyLedger(store, NAME, first.lease)
    other = second.load()
    mine = first.load()
    mine.other_data.save(1, "note", "mine")
    first.save()
    other.other_data.save(1, "note", "other")
    with pytest.raises(LedgerConflict, match="another event #2"):
        second.save()
    with pytest.raises(LedgerConflict, match="stale"):
        second.save()
    assert second.load().other_data.load_latest("note") == "mine"
    assert StrategyLedger(store, NAME).load().other_data.data == {1: {"note": "mine"}}


def test_ledger_is_not_created_twice_nor_saved_without_a_lease():
    events = rich_ledger()
    store = MemoryLedgerStore()
    ledger = StrategyLedger(store, NAME)
    assert ledger.load() is None
    ledger.create(events[0])
    with pytest.raises(LeaseLost, match="needs a lease"):
        ledger.save()
    ledger = StrategyLedger(store, NAME, lease_of(store))
    ledger.create(events[0])
    assert ledger.save() == 1
    assert ledger.save() == 1
    with pytest.raises(LedgerConflict, match="has a ledger of 1 events"):
        ledger.create(events[0])


class LosesAnswers(MemoryLedgerStore):
    """Stores a batch and then says that it failed; or fails before."""

    mode = ""

    def append(self, batch, lease):
        if self.mode == "before":
            raise StorageFailed("connection lost before")
        head = super().append(batch, lease)
        if self.mode == "after":
            raise StorageFailed("connection lost after")
        return head


@pytest.mark.parametrize("mode", ["before", "after"])
def test_saving_again_after_an_unknown_outcome_stores_once(mode):
    events = rich_ledger()
    store = LosesAnswers()
    ledger = StrategyLedger(store, NAME, lease_of(store))
    state = ledger.create(events[0])
    samples = [Sample(at_us=n, equity=n, cash=1.0, position_equity=2.0, open_positions=0) for n in range(len(events))]
    for n, event in enumerate(events[1:]):
        store.mode = mode if n % 3 else ""
        state.record(event)
        try:
            ledger.save([samples[n]])
        except StorageFailed:
            assert n % 3
    store.mode = ""
    ledger.save()
    assert store.head(NAME) == len(events)
    assert all_there_is(StrategyLedger(store, NAME).load()) == all_there_is(State.replay(events))
    assert list(store.read_samples(NAME)) == samples[:-1]


def test_event_that_would_not_come_back_is_refused_before_anything_is_stored():
    store = MemoryLedgerStore()
    ledger = StrategyLedger(store, NAME, lease_of(store))
    state = ledger.create(StateCreated(at(0), NAME, USDC))
    ledger.save()
    state.record(PositionOpened(at(1), 1, AAVE_USDC, 1.0))  # its pair was never introduced
    with pytest.raises(SerialisationRefused, match="PositionOpened could not be read back"):
        ledger.save()
    assert store.head(NAME) == 1
    assert StrategyLedger(store, NAME).load().portfolio.next_position_id == 1
