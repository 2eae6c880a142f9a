"""Triggers between cycles: stops trail, positions close once, and whatever is busy is left alone."""

from dataclasses import dataclass, replace

import pytest
from live.world import DAY, START, Crash, CrashingStore, Steps, events, fills, hold, load, make_live, never, set_time

from trading_dagster.domain.error import ContractMissing, InvalidTrade, PoolEmpty, TooSmallTrade
from trading_dagster.domain.purse import PAPER, Purse
from trading_dagster.domain.trade import TradeFlag, TradeStatus, TradeType
from trading_dagster.execution.approval import Answer, ManualApproval
from trading_dagster.execution.memory_approval import MemoryApprovalStore
from trading_dagster.live.cycle import CycleStatus, execute_cycle, run_cycle
from trading_dagster.live.paper import PaperVenue
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.storage.lease import strategy_resource

BITCOIN = ("BTC-USD",)
FALLING = START + 26 * DAY


def opens(days, start=START):
    """The opens of BTC on the days from a start."""
    live = make_live(never, at=start + days * DAY)
    universe = Steps(live).universe
    pair = next(p for p in universe.pairs if p.get_ticker() == "BTC-USD")
    frame = universe.data_universe.candles.get_candles_by_pair(pair)["open"]
    return [float(frame.loc[start + n * DAY]) for n in range(days + 1)]


def test_nothing_to_watch_takes_no_lease():
    live = make_live(hold())
    assert check_triggers(live).watched == 0
    assert live.store.head(live.id) == 0
    run_cycle(live)
    live.store.acquire("other", [strategy_resource(live.id)], 60)
    assert check_triggers(live).watched == 0


def test_stop_loss_closes_once_at_the_price_of_now():
    prices = opens(9, FALLING)
    fall = next(n for n, price in enumerate(prices) if price < prices[0])
    live = make_live(hold(BITCOIN, stop_loss_usd=prices[fall] + 0.01), at=FALLING)
    run_cycle(live)
    for day in range(1, fall):
        set_time(live, FALLING + day * DAY)
        assert check_triggers(live).trades == ()
    set_time(live, FALLING + fall * DAY)
    report = check_triggers(live)
    (trade,) = report.trades
    assert (report.watched, trade.trade_type) == (1, TradeType.stop_loss)
    assert TradeFlag.triggered in trade.flags
    assert trade.executed_price == pytest.approx(prices[fall] * 0.999)
    assert report.sample.open_positions == 0
    before = events(live)
    assert check_triggers(live).trades == ()
    assert events(live) == before
    assert load(live).portfolio.closed_positions[1].is_stop_loss()


def test_take_profit_closes():
    prices = opens(9)
    rise = next(n for n, price in enumerate(prices) if price > prices[0] * 1.01)
    live = make_live(hold(BITCOIN, take_profit_pct=1.01))
    run_cycle(live)
    set_time(live, START + rise * DAY)
    (trade,) = check_triggers(live).trades
    assert trade.trade_type is TradeType.take_profit


def test_trailing_stop_follows_the_price_up_and_never_down():
    prices = opens(9)
    live = make_live(hold(BITCOIN, trailing_stop_loss_pct=0.7))
    run_cycle(live)
    levels, moved = [], []
    for day in range(1, 10):
        set_time(live, START + day * DAY)
        moved.append(bool(check_triggers(live).moved))
        assert check_triggers(live).moved == ()
        levels.append(load(live).portfolio.open_positions[1].stop_loss)
    highest = [max(prices[: day + 1]) for day in range(1, 10)]
    assert levels == pytest.approx([price * 0.7 for price in highest])
    assert moved == [price > max(prices[:day]) for day, price in enumerate(prices) if day]
    assert any(moved)
    assert not all(moved)


def decide_with_a_stop_that_fires(change):
    """A decision that changes the only position in some way and sets its stop loss above the price."""

    def decide(input):
        manager = input.get_position_manager()
        (position,) = manager.get_current_portfolio().open_positions.values()
        price = input.pricing_model.get_mid_price(input.timestamp, position.pair)
        manager.update_stop_loss(position, price * 2)
        return change(manager, position)

    return decide


def sell(manager, position):
    return manager.close_position(position)


def buy_more(manager, position):
    return manager.adjust_position(position.pair, 500.0, None, 1.0)


@pytest.mark.parametrize("change", [sell, buy_more])
def test_stop_loss_does_not_wait_until_somebody_approves_a_trade_of_its_position(change):
    live = make_live(hold(BITCOIN))
    run_cycle(live)
    approvals = MemoryApprovalStore()
    next_day = make_live(decide_with_a_stop_that_fires(change), store=live.store, at=START + DAY)
    next_day = replace(next_day, approval=ManualApproval(approvals, live.id, next_day.clock.now, DAY))
    steps = Steps(next_day)
    steps.decide()

    def end_waiting(_: float) -> None:
        raise Crash  # the process that waits for the operator ends

    with pytest.raises(Crash):
        execute_cycle(next_day, steps.universe, steps.at, end_waiting)

    report = check_triggers(next_day)

    (trade,) = report.trades
    assert (report.watched, trade.trade_type) == (1, TradeType.stop_loss)
    position = load(live).portfolio.closed_positions[1]
    (dropped,) = [t for t in position.trades.values() if t.get_status() is TradeStatus.discarded]
    assert dropped.failure == "stop_loss fired before it began"
    (waiting,) = approvals.list_waiting(live.id)
    approvals.answer(live.id, Answer(waiting.request.digest, "ann", next_day.clock.now()))
    steps.execute()
    assert steps.complete().status is CycleStatus.done
    assert [fill[0] for fill in fills(live)] == [1, trade.trade_id]


def test_position_that_is_about_to_be_opened_is_left_alone():
    live = make_live(hold(BITCOIN, stop_loss_pct=0.99))
    steps = Steps(live)
    steps.decide()
    report = check_triggers(live)
    assert (report.watched, report.trades) == (0, ())
    steps.execute()
    assert steps.complete().status is CycleStatus.done
    assert len(fills(live)) == 1


@dataclass(frozen=True)
class Unsellable:
    """Prices of which those of one pair cannot be asked for."""

    prices: object
    method: str
    error: Exception

    def __getattr__(self, name):
        def ask(at, pair, *rest):
            if name == self.method and pair.get_ticker() == "BTC-USD":
                raise self.error
            return getattr(self.prices, name)(at, pair, *rest)

        return ask


@dataclass(frozen=True)
class UnsellableVenue:
    """Paper trading in which one token cannot be priced or sold."""

    method: str
    error: Exception
    lease_resources: tuple[str, ...] = ()
    purse: Purse = PAPER

    def open_desk(self, request):
        desk = PaperVenue(10_000).open_desk(request)
        return replace(desk, pricing=Unsellable(desk.pricing, self.method, self.error))


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("get_sell_price", TooSmallTrade("1e-17 BTC is less than the smallest unit")),
        ("get_sell_price", PoolEmpty("the pool has no liquidity at its price")),
        ("get_mid_price", InvalidTrade("BTC-ETH is quoted in ETH and the universe has no pair of it with USD")),
        ("get_mid_price", ContractMissing("BTC has no code")),
    ],
)
def test_position_that_cannot_be_sold_keeps_no_other_stop_loss_back(method, error):
    live = make_live(hold())
    run_cycle(live)

    def raise_stops(input):
        manager = input.get_position_manager()
        for position in list(manager.get_current_portfolio().open_positions.values()):
            manager.update_stop_loss(position, 2 * input.pricing_model.get_mid_price(input.timestamp, position.pair))
        return []

    run_cycle(make_live(raise_stops, store=live.store, at=START + DAY))
    broken = make_live(store=live.store, at=START + DAY, venue=UnsellableVenue(method, error))

    report = check_triggers(broken)

    assert report.unpriced == (1,)
    assert [trade.pair.get_ticker() for trade in report.trades] == ["ETH-USD", "LTC-USD"]
    portfolio = load(live).portfolio
    assert (list(portfolio.open_positions), list(portfolio.closed_positions)) == ([1], [2, 3])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_crash_while_closing_closes_once(after):
    store = CrashingStore()
    prices = opens(9, FALLING)
    fall = next(n for n, price in enumerate(prices) if price < prices[0])
    live = make_live(hold(BITCOIN, stop_loss_usd=prices[fall] + 0.01), store=store, at=FALLING)
    run_cycle(live)
    set_time(live, FALLING + fall * DAY)
    store.count, store.crash_at, store.after = 0, 1, after
    with pytest.raises(Crash):
        check_triggers(live)
    check_triggers(live)
    assert [fill[0] for fill in fills(live)][-1] == 2
    assert len(fills(live)) == 2
    assert load(live).portfolio.closed_positions[1].is_closed()
