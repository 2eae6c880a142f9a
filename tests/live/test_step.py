"""What a live step begins with: the lease, what an interrupted step left behind, and the ledger as it is."""

from dataclasses import replace

import pytest
from live.world import DAY, START, Steps, WalletVenue, events, hold, load, make_live, run_days, set_time

from trading_dagster.accounting.account_check import expected_balances
from trading_dagster.domain.error import BadConfiguration, ExecutorBusy, UncleanState
from trading_dagster.domain.event import TradeBroadcasted, TradeExecuted, TradeStarted
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.live.closing import close_all
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.desk import Desk
from trading_dagster.live.paper import PaperVenue
from trading_dagster.live.step import LEFT_OVER, open_step
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.live.universe import load_universe


class SlowExecution:
    """Sends trades and learns their ends only when ``is_settled`` is true, as a chain may."""

    def __init__(self, venue, request):
        self.venue, self.request = venue, request

    def execute_trades(self, timestamp, state, trades, triggered=False):
        for trade in trades:
            at = self.venue.clock.now()
            state.record(TradeStarted(at, trade.trade_id, trade.position_id))
            self.request.save()
            self.venue.sent.append(trade.trade_id)
            state.record(TradeBroadcasted(at, trade.trade_id, trade.position_id))
            self.request.save()
        self.resume(timestamp, state)

    def resume(self, timestamp, state):
        running = [
            trade
            for position in state.portfolio.get_open_and_frozen_positions()
            for trade in position.trades.values()
            if trade.get_status() is TradeStatus.broadcasted
        ]
        if not self.venue.is_settled:
            return running
        for trade in running:
            plan = trade.plan
            reserve = plan.reserve if plan.quantity < 0 else trade.allocated
            state.record(
                TradeExecuted(
                    self.venue.clock.now(),
                    plan.trade_id,
                    plan.position_id,
                    plan.quantity,
                    reserve,
                    plan.pricing.price,
                    plan.pricing.lp_fee,
                )
            )
        return []


class LedgerBalances:
    """What the ledger says at the moment it is asked."""

    def __init__(self, state):
        self.state = state

    def read_balances(self, assets):
        held = expected_balances(self.state)
        return {asset: held[asset].quantity for asset in assets}


class SlowVenue(PaperVenue):
    """Paper whose trades stay under way until a test says so."""

    def open_desk(self, request) -> Desk:
        desk = super().open_desk(request)
        return replace(desk, execution=SlowExecution(self, request), balances=LedgerBalances(request.state))


@pytest.fixture
def slow():
    live = make_live(hold(stop_loss_pct=0.99))
    venue = SlowVenue(10_000)
    for name, value in {"is_settled": False, "sent": [], "clock": live.clock}.items():
        object.__setattr__(venue, name, value)
    return replace(live, venue=venue), venue


def settle(venue, is_settled=True):
    object.__setattr__(venue, "is_settled", is_settled)


def test_cycle_with_trades_under_way_waits_for_their_end_and_sends_nothing_twice(slow):
    live, venue = slow
    steps = Steps(live)
    steps.decide()
    for _ in range(2):
        steps.execute()
        with pytest.raises(UncleanState, match="the end of 3 trades is not known yet"):
            steps.complete()
    set_time(live, START + DAY)
    with pytest.raises(UncleanState):
        run_cycle(live)
    assert venue.sent == [1, 2, 3]
    assert load(live).last_decision_at == START
    settle(venue)
    assert run_cycle(live).status is CycleStatus.done
    assert venue.sent == [1, 2, 3]
    assert len(load(live).portfolio.open_positions) == 3
    assert events(live).count("CycleCompleted") == 2


def test_capital_of_a_trade_under_way_is_neither_lost_nor_counted_twice(slow):
    live, _ = slow
    steps = Steps(live)
    steps.decide()
    steps.execute()
    portfolio = load(live).portfolio
    assert portfolio.get_cash() == 7000
    assert portfolio.calculate_total_equity() == 10_000
    with open_step(live, steps.universe, START) as step:
        assert step.read_accounts().is_clean


def test_trigger_check_leaves_a_position_whose_trade_is_under_way_alone(slow):
    live, venue = slow
    steps = Steps(live)
    steps.decide()
    steps.execute()
    later = START + 15 * DAY
    set_time(live, later)
    report = check_triggers(live)
    assert len(report.unfinished) == 3
    assert (report.watched, report.trades) == (0, ())
    assert venue.sent == [1, 2, 3]


def test_trade_planned_beside_a_cycle_and_never_begun_is_dropped():
    live = make_live(hold(("BTC-USD",)))
    run_days(live, 1)
    with open_step(live, load_universe(live, START), START) as step:
        manager = step.make_position_manager(step.universe)
        manager.close_all()
        pair = next(p for p in step.universe.pairs if p.get_ticker() == "ETH-USD")
        manager.open_spot(pair, value=100)
        step.session.save()
    check_triggers(live)
    set_time(live, START + DAY)
    run_cycle(live)
    portfolio = load(live).portfolio
    assert [p.pair.get_ticker() for p in portfolio.open_positions.values()] == ["BTC-USD"]
    dropped = [t for p in portfolio.get_positions_in_memory() for t in p.trades.values() if t.failure]
    dropped += [t for p in portfolio.expired_positions.values() for t in p.trades.values() if t not in dropped]
    assert {trade.failure for trade in dropped} == {LEFT_OVER}
    assert len(dropped) == 2


def test_trades_of_the_cycle_in_progress_survive_a_step_beside_it():
    live = make_live(hold(stop_loss_pct=0.9))
    steps = Steps(live)
    steps.decide()
    check_triggers(live)
    with open_step(live, steps.universe, START) as step:
        step.resume_trades()
    steps.execute()
    assert len(load(live).portfolio.open_positions) == 3


def test_what_was_not_saved_is_forgotten():
    live = make_live(hold())
    run_days(live, 1)
    before = events(live)

    def plan_and_fail():
        with open_step(live, load_universe(live, START), START) as step:
            step.make_position_manager(step.universe).close_all()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        plan_and_fail()
    assert events(live) == before
    assert live.store.find_holder(f"strategy:{live.id}") is None


def test_wallet_is_leased_with_the_strategy_and_its_token_is_handed_on():
    venue = WalletVenue(lease_resources=("wallet:0x1",))
    tokens = []
    opened = venue.open_desk
    venue.open_desk = lambda request: (tokens.append(request.lease_token), opened(request))[1]
    live = make_live(hold(), venue=venue)
    run_days(live, 1)
    assert tokens == [1, 2, 3]
    live.store.acquire("other", ["wallet:0x1"], 60)
    set_time(live, START + DAY)
    with pytest.raises(ExecutorBusy, match="wallet:0x1 is held by other"):
        run_cycle(live)


def with_reserve(live, **change):
    """The strategy with its file edited: its universe has another reserve."""
    module = live.strategy

    def create_trading_universe(input):
        universe = module.create_trading_universe(input)
        return replace(universe, reserve_assets=(replace(universe.get_reserve_asset(), **change),))

    return replace(live, strategy=replace(module, create_trading_universe=create_trading_universe))


@pytest.mark.parametrize("change", [{"address": "0x" + "12" * 20, "token_symbol": "EUR"}, {"decimals": 2}])
def test_ledger_does_not_go_on_in_another_reserve(change):
    live = make_live(hold())
    run_cycle(live)
    before = events(live)
    edited = with_reserve(make_live(hold(), store=live.store, at=START + DAY), **change)
    for act in (run_cycle, close_all):
        with pytest.raises(BadConfiguration, match="go back to that reserve"):
            act(edited)
    assert events(live) == before
    assert run_cycle(make_live(hold(), store=live.store, at=START + DAY)).status is CycleStatus.done
