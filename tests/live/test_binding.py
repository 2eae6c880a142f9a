"""A live ledger counts one purse's money, no two ledgers the same, and moves on by one recorded word only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live.world import (
    DAY,
    NAME,
    START,
    Crash,
    CrashingStore,
    Steps,
    WalletVenue,
    events,
    hold,
    load,
    make_live,
    never,
    run_days,
    set_time,
)
from sqlalchemy import text

from trading_dagster.domain.error import BadConfiguration, BadInput, ExecutorBusy, UncleanState
from trading_dagster.domain.event import LedgerBound, RedemptionRequested, TradeStarted
from trading_dagster.domain.purse import PAPER, Purse, vault_purse, wallet_purse
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.live.binding import bind_ledger, end_ledger, find_funder, require_same_purse
from trading_dagster.live.closing import close_all
from trading_dagster.live.correction import correct_accounts
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.inspection import show_status, show_valuation
from trading_dagster.live.revaluation import check_live_accounts, revalue
from trading_dagster.live.session import open_session
from trading_dagster.live.step import open_step
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.live.universe import load_universe
from trading_dagster.live.wallet_check import begin_ledger, check_wallet
from trading_dagster.storage.ledger_store import MemoryLedgerStore
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.storage.strategy_ledger import StrategyLedger

OLD_LEDGER = Path(__file__).parent / "ledger_before_binding.sql"
AT = START.replace(tzinfo=UTC)
WALLET = wallet_purse(8453, "0xAb01")
OTHERS = [PAPER, wallet_purse(8453, "0xAb02"), wallet_purse(1, "0xAb01"), vault_purse(8453, "0xAb01")]


@dataclass
class Closed:
    """A venue of a purse that must not be opened."""

    purse: Purse
    lease_resources: tuple[str, ...] = ()

    def open_desk(self, request):
        raise AssertionError("the venue was opened")


def wallet_live(purse: Purse = WALLET, *, name: str = NAME, decide=never, **more):
    """A strategy that trades a purse's money, as far as its ledger knows."""
    lease = () if purse == PAPER else (f"wallet:{purse.address}",)
    live = make_live(decide, venue=WalletVenue(purse=purse, lease_resources=lease), **more)
    return replace(live, id=name)


def end(live, **more):
    return end_ledger(live.store, live.id, by="Ann", reason="over", at=live.clock.now(), **more)


# -- binding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [run_cycle, begin_ledger, revalue, check_triggers, close_all])
def test_first_step_binds_the_ledger_and_later_ones_add_nothing(step):
    live = wallet_live()
    step(live)
    for later in (check_triggers, check_wallet, revalue, close_all):
        later(live)
    if events(live):
        assert events(live)[:2] == ["StateCreated", "LedgerBound"]
        assert events(live, "LedgerBound") == ["LedgerBound"]
        assert load(live).binding.purse == WALLET


def test_looking_at_a_wallet_begins_no_ledger():
    live = wallet_live()
    check_wallet(live)
    assert live.store.head(live.id) == 0


def test_paper_is_bound_to_paper_and_says_so():
    live = make_live(never)
    run_cycle(live)
    assert load(live).binding.purse == PAPER
    assert show_status(live).money == "paper, no real money"


def correct(live):
    return correct_accounts(live, lambda report: True)


STEPS = (run_cycle, check_triggers, revalue, close_all, check_wallet, begin_ledger, check_live_accounts, correct)


@pytest.mark.parametrize("began", [WALLET, *OTHERS], ids=str)
def test_step_with_other_money_is_refused_before_anything(began):
    live = wallet_live(began, decide=hold(("BTC-USD",), stop_loss_pct=0.5))
    run_cycle(live)
    before = list(live.store.read(live.id))
    set_time(live, START + DAY)
    for number, purse in enumerate([other for other in (WALLET, *OTHERS) if other != began]):
        told = f"counts the money of {began}, but its deployment now trades {purse}: go back to {began} .*new id"
        for step in STEPS[number::4]:
            with pytest.raises(BadConfiguration, match=told):
                step(replace(live, venue=Closed(purse)))
    assert list(live.store.read(live.id)) == before
    assert run_cycle(live).sample.open_positions == 1


def test_refusal_is_told_to_the_operator():
    live = make_live(never)
    run_cycle(live)
    told = []
    reporter = type("Reporter", (), {"report": lambda self, message: told.append(message.text)})()
    with pytest.raises(BadConfiguration):
        revalue(replace(live, venue=Closed(WALLET), reporter=reporter))
    assert len(told) == 1
    assert "counts the money of paper" in told[0]


def test_other_reserve_and_other_money_are_told_as_other_money_and_bind_nothing():
    """A wallet on a chain has another token than the sample: what is said first is that the money is another."""
    live = make_live(never)
    run_cycle(live)
    universe = load_universe(live, START)
    universe = replace(universe, reserve_assets=[replace(universe.get_reserve_asset(), address="0x" + "1" * 40)])
    with (
        pytest.raises(BadConfiguration, match="counts the money of paper"),
        open_step(replace(live, venue=Closed(WALLET)), universe, START),
    ):
        pass


# -- ledgers of earlier versions --------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path):
    """A paper ledger that the version before bindings wrote."""
    with SqlLedgerStore(tmp_path / "ledger.sqlite") as store:
        with store.database.write() as connection:
            for line in OLD_LEDGER.read_text(encoding="utf-8").splitlines():
                connection.execute(text(line.replace(":", r"\:")))
        live = make_live(hold(("BTC-USD",), stop_loss_pct=0.5), store=store, at=START + 2 * DAY)
        yield live


@pytest.mark.parametrize("use_snapshot", [True, False])
def test_old_ledger_loads_and_is_not_bound(old, use_snapshot):
    state = StrategyLedger(old.store, old.id).load(use_snapshot=use_snapshot)
    assert (state.binding.purse, state.portfolio.get_cash(), len(state.portfolio.open_positions)) == (None, 9_000, 1)
    assert show_status(old).money == "paper, no real money"


@pytest.mark.parametrize("step", [run_cycle, check_wallet])
def test_old_ledger_is_bound_by_its_next_step(old, step):
    before = events(old)
    step(old)
    assert events(old)[: len(before) + 1] == [*before, "LedgerBound"]
    for use_snapshot in (True, False):
        assert StrategyLedger(old.store, old.id).load(use_snapshot=use_snapshot).binding.purse == PAPER
    set_time(old, START + 3 * DAY)
    assert run_cycle(old).sample.open_positions == 1
    assert events(old, "LedgerBound") == ["LedgerBound"]


def test_old_paper_ledger_is_not_continued_with_a_wallet(old):
    before = events(old)
    with pytest.raises(BadConfiguration, match=r"money of paper, no real money, but .* now trades wallet 0xab01"):
        run_cycle(replace(old, venue=Closed(WALLET)))
    assert events(old) == before


def flow(**more) -> BalanceUpdate:
    asset = load_universe(make_live(never), START).get_reserve_asset()
    fields = {
        "balance_update_id": 1,
        "cause": BalanceUpdateCause.deposit,
        "position_type": BalanceUpdatePositionType.reserve,
        "asset": replace(asset, chain_id=8453),
        "quantity": Decimal(5),
        "old_balance": Decimal(0),
        "usd_value": 5.0,
        "block_mined_at": START,
        "strategy_cycle_included_at": START,
    }
    return BalanceUpdate(**fields | more)


VAULT = "0x" + "Ab" * 20


@pytest.mark.parametrize(
    ("more", "purse"),
    [
        ({}, PAPER),
        ({"owner_address": "0xAb01", "notes": "seen in block 5 0xaa"}, WALLET),
        (
            {"owner_address": "0x9", "tx_hash": "0x1", "log_index": 2, "notes": f"vault {VAULT}, block 5"},
            vault_purse(8453, VAULT),
        ),
        ({"notes": "corrected by Ann"}, None),
        ({"tx_hash": "0x1", "log_index": 2}, None),
        ({"cause": BalanceUpdateCause.redemption}, None),
        ({"position_type": BalanceUpdatePositionType.open_position}, None),
    ],
)
def test_first_deposit_tells_whose_money_an_old_ledger_counts(more, purse):
    assert find_funder([flow(**more)]) == purse
    later = flow(owner_address="0xffff", notes="seen in block 6 0xbb")
    first_counts = flow(**more).cause is BalanceUpdateCause.deposit and "position_type" not in more
    assert find_funder([flow(**more), later]) == (purse if first_counts else wallet_purse(8453, "0xffff"))


# -- two ledgers and one purse ----------------------------------------------------------------------------------------


def test_second_ledger_of_a_wallet_is_refused_and_named():
    first = wallet_live(name="first")
    run_cycle(first)
    second = wallet_live(name="second", store=first.store)
    told = r"second would trade wallet 0xab01 on chain 8453, whose money the ledger of first counts.*end-ledger first"
    for step in (run_cycle, begin_ledger, check_wallet):
        with pytest.raises(BadConfiguration, match=told):
            step(second)
    assert second.store.head("second") == 0
    assert run_days(first, 2)[-1].sample is not None


def test_ledgers_of_different_money_and_on_paper_do_not_mind_each_other():
    store = MemoryLedgerStore()
    for number, purse in enumerate([WALLET, PAPER, *OTHERS]):
        run_cycle(wallet_live(purse, name=f"ledger_{number}", store=store))
    assert len(store.list_strategies()) == 6


def unbound(live, monkeypatch):
    """Run a cycle as an earlier version did: without a binding, its deposit seen in a wallet."""
    with monkeypatch.context() as patched:
        patched.setattr("trading_dagster.live.step.bind_ledger", lambda *_: None)
        patched.setattr("trading_dagster.live.step.require_same_purse", lambda *_: None)
        run_cycle(live)
    assert "LedgerBound" not in events(live)


def test_old_ledger_counts_against_a_new_one_and_not_against_another_old_one(monkeypatch):
    """The upgrade stops no running deployment over a ledger that was left long ago; the first to go on is bound."""
    store = MemoryLedgerStore()
    left, running = (wallet_live(name=name, store=store) for name in ("left", "running"))
    for live in (left, running):
        unbound(live, monkeypatch)
    monkeypatch.setattr("trading_dagster.live.binding.find_funder", lambda updates: WALLET if list(updates) else None)
    new = wallet_live(name="new", store=store)
    with pytest.raises(BadConfiguration, match="the ledger of left counts"):
        begin_ledger(new)
    set_time(running, START + DAY)
    run_cycle(running)
    set_time(left, START + DAY)
    with pytest.raises(BadConfiguration, match="the ledger of running counts"):
        run_cycle(left)


# -- ending -----------------------------------------------------------------------------------------------------------


def test_ended_ledger_gives_its_wallet_to_a_new_one_and_never_trades_again():
    old = wallet_live(name="old")
    run_cycle(old)
    binding = end(old)
    assert (binding.purse, binding.ended_at, binding.end_reason) == (WALLET, START, "Ann: over")
    new = wallet_live(name="new", store=old.store)
    run_cycle(new)
    set_time(old, START + DAY)
    for step in (run_cycle, revalue, close_all, check_wallet, begin_ledger, check_live_accounts, correct):
        with pytest.raises(BadConfiguration, match=r"old was ended at 2018-04-10 00:00:00 UTC \(Ann: over\).*new id"):
            step(old)
    assert show_status(old).ended == "2018-04-10 00:00:00 UTC, Ann: over"
    assert show_valuation(old).cash == 10_000
    assert len(run_days(new, 2)) == 2


def test_ending_again_does_nothing_and_keeps_what_was_said():
    live = wallet_live()
    run_cycle(live)
    end(live)
    before = events(live)
    set_time(live, START + DAY)
    assert end_ledger(live.store, live.id, by="Bob", reason="again", at=live.clock.now()).end_reason == "Ann: over"
    assert events(live) == before


def test_ledger_with_positions_is_not_ended():
    live = wallet_live(decide=hold(("BTC-USD",)))
    run_cycle(live)
    with pytest.raises(UncleanState, match=r"(?s)is not over, it has.*BTC.*close-all"):
        end(live)
    close_all(live)
    end(live)


def test_positions_that_cannot_be_closed_are_given_up_by_force():
    live = wallet_live(decide=hold(("BTC-USD", "ETH-USD")))
    run_cycle(live)
    end(live, force=True)
    (row,) = [row for row in live.store.read(live.id) if row.type == "LedgerEnded"]
    assert '"given_up":{"$tuple":[1,2]}' in row.body
    assert len(load(live).portfolio.open_positions) == 2
    run_cycle(wallet_live(name="new", store=live.store))


def test_trade_under_way_keeps_a_ledger_from_its_end_even_by_force():
    live = wallet_live(decide=hold(("BTC-USD",)))
    Steps(live).decide()
    with open_step(live, load_universe(live, START), START) as step:
        step.state.record(TradeStarted(AT, 1, 1))
        step.session.save()
    with pytest.raises(UncleanState, match=r"is not over.*\n.*BTC"):
        end(live, force=True)
    assert "LedgerEnded" not in events(live)


def test_ledger_with_a_redemption_that_waits_is_not_ended():
    live = wallet_live()
    run_cycle(live)
    with open_step(live, load_universe(live, START), START) as step:
        step.state.record(RedemptionRequested(AT, 1, Decimal(20_000), "0xabc"))
        step.session.save()
    with pytest.raises(UncleanState, match="redemption 1 of 20000 to 0xabc"):
        end(live, force=True)


def test_pending_and_frozen_positions_keep_a_ledger_from_its_end():
    def wait(input):
        manager, pair = input.get_position_manager(), input.strategy_universe.pairs[0]
        if input.cycle == 1:
            manager.open_spot_with_market_limit(pair, 1.0, 100.0)
        return []

    live = wallet_live(decide=wait)
    run_cycle(live)
    assert load(live).portfolio.pending_positions
    with pytest.raises(UncleanState, match="is not over"):
        end(live)


def test_ending_waits_for_whoever_works_with_the_wallet():
    live = wallet_live()
    run_cycle(live)
    live.store.acquire("somebody", [f"wallet:{WALLET.address}"], 60)
    with pytest.raises(ExecutorBusy, match="wallet:0xab01 is held by somebody"):
        end(live)
    assert "LedgerEnded" not in events(live)


@pytest.mark.parametrize(
    ("name", "by", "reason", "told"),
    [
        ("nobody", "Ann", "over", "no ledger of nobody in this database; it has those of three_pairs"),
        (NAME, " ", "over", "who ends"),
        (NAME, "Ann", "", "and why"),
    ],
)
def test_what_cannot_be_ended_is_told(name, by, reason, told):
    live = wallet_live()
    run_cycle(live)
    with pytest.raises(BadInput, match=told):
        end_ledger(live.store, name, by=by, reason=reason, at=AT)


@pytest.mark.parametrize("after", [False, True])
def test_ending_that_is_killed_is_run_again(after):
    store = CrashingStore()
    live = wallet_live(store=store)
    run_cycle(live)
    store.crash_at, store.after = store.count + 1, after
    with pytest.raises(Crash):
        end(live)
    store.crash_at = None
    end(live)
    assert events(live, "LedgerEnded") == ["LedgerEnded"]
    run_cycle(wallet_live(name="new", store=store))


@pytest.mark.parametrize("after", [False, True])
def test_first_step_that_is_killed_binds_once(after):
    store = CrashingStore()
    live = wallet_live(store=store, decide=hold(("BTC-USD",)))
    store.crash_at, store.after = 1, after
    with pytest.raises(Crash):
        run_cycle(live)
    store.crash_at = None
    assert run_cycle(live).sample.open_positions == 1
    assert events(live, "LedgerBound") == ["LedgerBound"]


NAMES, PURSES = ("a", "b", "c"), (WALLET, OTHERS[1], PAPER)
ACTS = st.lists(
    st.tuples(st.sampled_from(["step", "look", "crash", "end"]), st.sampled_from(NAMES), st.sampled_from(PURSES)),
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(ACTS)
def test_no_two_ledgers_ever_trade_one_purse(acts):
    """Whatever is begun, changed, killed and ended: whoever may step is the only one of its purse, and was before."""
    store, reserve = CrashingStore(), load_universe(make_live(never), START).get_reserve_asset()
    for number, (act, name, purse) in enumerate(acts):
        if act == "crash":
            store.crash_at, store.after = store.count + 1, bool(number % 2)
        if act == "end":
            try:
                end_ledger(store, name, by="Ann", reason="over", at=AT)
            except BadInput:
                assert store.head(name) == 0
            except Crash:
                store.crash_at = None
            continue
        before = StrategyLedger(store, name).load()
        try:
            with open_session(store, name, reserve_asset=reserve, created_at=AT) as session:
                require_same_purse(session.state, purse)
                bind_ledger(session, purse, AT)
                may = {n: s.binding for n in store.list_strategies() if (s := StrategyLedger(store, n).load())}
                rivals = [n for n, b in may.items() if n != name and b.purse == purse and b.ended_at is None]
                assert not rivals or purse == PAPER
                assert before is None or (before.binding.purse == purse and before.binding.ended_at is None)
                if act != "look":
                    session.save()
        except Crash:
            store.crash_at = None
        except BadConfiguration:
            now = StrategyLedger(store, name).load()
            assert (now and now.binding) == (before and before.binding)
    for name in store.list_strategies():
        bound = [row for row in store.read(name) if row.type == LedgerBound.__name__]
        assert len(bound) == 1
