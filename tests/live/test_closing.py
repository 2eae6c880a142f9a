"""An operator closes positions, makes test trades and forbids tokens: on the same path as any trade."""

import pytest
from live.world import (
    DAY,
    START,
    Crash,
    CrashingStore,
    Steps,
    WalletVenue,
    events,
    fills,
    hold,
    load,
    make_live,
    run_days,
    set_time,
)

from trading_dagster.domain.error import (
    BadInput,
    ExecutorBusy,
    InvalidTrade,
    TradeError,
    UncleanState,
    UnexpectedAccountingCorrectionIssue,
)
from trading_dagster.domain.trade import TradeFlag
from trading_dagster.live.blacklist import allow_token, blacklist_token, read_blacklist
from trading_dagster.live.closing import close_all, close_position
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.test_trade import perform_test_trade
from trading_dagster.storage.lease import strategy_resource


@pytest.fixture
def held():
    live = make_live(hold())
    run_days(live, 1)
    return live


def test_close_all_closes_each_position_once(held):
    result = close_all(held, "going home")
    assert result.is_complete
    assert len(result.trades) == 3
    assert result.accounts.is_clean
    assert result.sample.open_positions == 0
    assert all(trade.notes == "going home" for trade in result.trades)
    before = events(held)
    assert close_all(held).trades == ()
    assert events(held) == before


def test_close_position_closes_one_and_knows_what_is_closed(held):
    assert len(close_position(held, 2).trades) == 1
    assert list(load(held).portfolio.open_positions) == [1, 3]
    assert "closed already" in close_position(held, 2).notes[0]
    with pytest.raises(BadInput, match="no open position #9; open are: #1, #3"):
        close_position(held, 9)


def test_close_all_drops_what_a_cycle_was_about_to_buy():
    live = make_live(hold())
    steps = Steps(live)
    steps.decide()
    result = close_all(live)
    assert len(result.notes) == 3
    steps.execute()
    assert steps.complete().status is CycleStatus.done
    assert fills(live) == []


def test_position_that_cannot_be_sold_stays_and_the_others_close():
    venue = WalletVenue()
    live = make_live(hold(), venue=venue)
    run_days(live, 1)
    venue.take(load(live), "ETH-USD")
    result = close_all(live)
    assert len([trade for trade in result.trades if trade.is_success()]) == 2
    assert list(load(live).portfolio.frozen_positions) == [2]
    assert any("cannot give" in note for note in result.notes)
    assert "#2" in close_all(live).notes[0]


def test_closing_honours_lease_and_kill_switch(held):
    lease = held.store.acquire("other", [strategy_resource(held.id)], 60)
    with pytest.raises(ExecutorBusy):
        close_all(held)
    held.store.release(lease)
    stopped = make_live(hold(), store=held.store, forbid_trading=lambda: "hands off")
    with pytest.raises(TradeError, match="hands off"):
        close_all(stopped)
    with pytest.raises(TradeError, match="hands off"):
        close_position(stopped, 1)
    assert len(load(held).portfolio.open_positions) == 3


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("save", [1, 2])
def test_crash_while_closing_closes_once(save, after):
    store = CrashingStore()
    live = make_live(hold(), store=store)
    run_days(live, 1)
    store.count, store.crash_at, store.after = 0, save, after
    with pytest.raises(Crash):
        close_all(live)
    close_all(live)
    portfolio = load(live).portfolio
    assert len(portfolio.closed_positions) == 3
    assert [len([t for t in p.trades.values() if t.is_success()]) for p in portfolio.closed_positions.values()] == [
        2
    ] * 3


def test_test_trade_buys_and_sells_and_is_recorded_as_a_test():
    venue = WalletVenue()
    live = make_live(hold(("BTC-USD",)), venue=venue)
    report = perform_test_trade(live, "ETH/USD", 5)
    assert report.is_complete
    assert report.cost == pytest.approx(5 * 0.002, rel=0.01)
    assert all(TradeFlag.test_trade in trade.flags for trade in report.trades)
    assert report.accounts.is_clean
    (position,) = load(live).portfolio.closed_positions.values()
    assert position.is_test()
    assert run_cycle(live).status is CycleStatus.done


def test_test_trade_beside_an_open_position_leaves_that_alone(held):
    quantity = load(held).portfolio.open_positions[2].quantity
    report = perform_test_trade(held, "ETH/USD")
    assert report.is_complete
    assert load(held).portfolio.open_positions[2].quantity == quantity
    assert len(load(held).portfolio.open_positions) == 3


def test_interrupted_test_trade_is_sold_by_the_next():
    store = CrashingStore()
    live = make_live(hold(), store=store)
    perform_test_trade(live, "ETH/USD")
    store.count, store.crash_at = 0, 3  # the buy is stored, the plan of the sell is not
    with pytest.raises(Crash):
        perform_test_trade(live, "ETH/USD")
    assert len(load(live).portfolio.open_positions) == 1
    assert perform_test_trade(live, "ETH/USD").is_complete
    assert len(load(live).portfolio.closed_positions) == 3
    assert not load(live).portfolio.open_positions


def test_test_trade_names_the_pairs_there_are(held):
    with pytest.raises(BadInput, match="no pair was named: the universe has BTC/USD, ETH/USD, LTC/USD"):
        perform_test_trade(held)
    with pytest.raises(BadInput, match="DOGE/USD names 0 pairs"):
        perform_test_trade(held, "DOGE/USD")
    with pytest.raises(BadInput, match="above 0 USD, got -1"):
        perform_test_trade(held, "BTC/USD", -1)


def test_test_trade_is_refused_on_wrong_accounts_and_in_a_cycle():
    venue = WalletVenue()
    live = make_live(hold(), venue=venue)
    run_days(live, 1)
    asset, taken = venue.take(load(live), "LTC-USD")
    with pytest.raises(UnexpectedAccountingCorrectionIssue, match="before the test trade"):
        perform_test_trade(live, "ETH/USD")
    venue.wallet.add(asset, taken)
    set_time(live, START + DAY)
    flipping = make_live(store=live.store, venue=venue, at=START + DAY)
    Steps(flipping).decide()
    with pytest.raises(UncleanState, match="did not begin"):
        perform_test_trade(flipping, "ETH/USD")


def test_blacklisted_token_is_not_bought_until_it_is_allowed_again():
    live = make_live(hold())
    asset = blacklist_token(live, "eth", "delisted")
    assert blacklist_token(live, asset.address, "again") == asset
    assert read_blacklist(live) == {asset: "delisted"}
    assert events(live).count("AssetBlacklisted") == 1
    with pytest.raises(InvalidTrade, match="ETH-USD is blacklisted"):
        perform_test_trade(live, "ETH/USD")
    allow_token(live, "ETH")
    allow_token(live, "ETH")
    assert read_blacklist(live) == {}
    assert events(live).count("AssetAllowed") == 1
    assert perform_test_trade(live, "ETH/USD").is_complete


def test_blacklist_needs_a_known_token_and_a_reason():
    live = make_live(hold())
    with pytest.raises(BadInput, match="'DOGE' names 0 tokens"):
        blacklist_token(live, "DOGE", "x")
    with pytest.raises(BadInput, match="Say why"):
        blacklist_token(live, "ETH", " ")
    assert events(live) == []
