"""Shorts that wait for a price, live on paper: what a backtest does, once, whatever is interrupted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
from live.order_run import crash_at_every_save, fire_without_beginning, require_same_as_backtest, run_on_paper
from live.three_pairs import create_trading_universe
from live.world import DAY, START, events, fills, load, make_live, set_time

import trading_dagster as td
from trading_dagster.domain.trade import TradeStatus, TradeType
from trading_dagster.execution.limit import TradeLimits
from trading_dagster.execution.limit_guard import LimitGuard
from trading_dagster.live.closing import close_all
from trading_dagster.live.cycle import run_cycle
from trading_dagster.live.inspection import show_positions
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.storage.strategy_ledger import StrategyLedger

ANY_PRICE = 10.0**9


def create_lending_universe(input):
    universe = create_trading_universe(input)
    tokens = dict.fromkeys(token for pair in universe.pairs for token in (pair.quote, pair.base))
    reserves = [td.synthetic.generate_lending_reserve(token, number) for number, token in enumerate(tokens, 1)]
    start, end = universe.candles.start_at, universe.candles.end_at + DAY
    rates = td.synthetic.generate_lending_universe(
        td.TimeBucket.d1, start, end, reserves, {"supply": 2.0, "variable": 8.0}
    )
    return replace(universe, lending=rates)


def decide_with_shorts(input):
    """Keep a waiting short or an open one on each pair: breakdowns of 2 %, rises of 1 %, or a market sale, in turn."""
    manager, universe = input.get_position_manager(), input.strategy_universe
    trades = []
    for number, pair in enumerate(universe.pairs):
        short = manager.get_current_position_for_pair(universe.get_shorting_pair(pair), pending=True)
        turn = (input.cycle + number) % 3
        if short is not None:
            if turn == 0 and short.is_pending():
                manager.close_position(short, pending=True)
            elif turn == 2 and short.is_open() and short.opened_at < input.timestamp - 4 * DAY:
                trades += manager.close_position(short)
            continue
        mid, expires_at = input.pricing_model.get_mid_price(input.timestamp, pair), input.timestamp + 3 * DAY
        if turn == 0:
            manager.open_short_with_market_limit(
                pair, 3_500, mid * 0.98, expires_at, leverage=1.5, stop_loss_pct=0.93, take_profit_pct=1.1
            )
        elif turn == 1:
            manager.open_short_with_market_limit(
                pair, 2_000, mid * 1.01, expires_at, leverage=0.8, condition=td.TriggerCondition.cross_above
            )
        elif manager.get_current_cash() > 3_000:
            trades += manager.open_short(pair, 1_000, trailing_stop_loss_pct=0.9)
    return trades


def make(decide, **fields):
    live = make_live(decide, **fields)
    return replace(live, strategy=replace(live.strategy, create_trading_universe=create_lending_universe))


def place(price=ANY_PRICE, value=1_000, **options):
    """A decision that places one short, which fires at the first check."""

    def decide(input):
        if input.cycle == 1:
            input.get_position_manager().open_short_with_market_limit(
                input.strategy_universe.pairs[0], value, price, **options
            )
        return []

    return decide


@pytest.fixture(scope="module")
def undisturbed():
    live = make(decide_with_shorts)
    run_on_paper(live)
    return live


def test_live_shorts_do_what_the_backtest_does(undisturbed):
    state = require_same_as_backtest(undisturbed, "loan_positions")
    tested = state.portfolio
    assert Counter(t.trade_type for t in tested.get_all_trades() if t.is_success())[TradeType.market_limit] >= 3
    assert tested.pending_positions or tested.expired_positions


def test_snapshot_and_replay_give_the_same_shorts(undisturbed):
    def shorts(state):
        positions = [*state.portfolio.get_all_positions(pending=True), *state.portfolio.expired_positions.values()]
        return sorted(
            (p.position_id, repr(p), p.opened_at, p.loan, [(t.plan, t.triggers, t.failure) for t in p._any_trades()])
            for p in positions
        )

    restored = shorts(load(undisturbed))
    replayed = shorts(StrategyLedger(undisturbed.store, undisturbed.id).load(use_snapshot=False))
    assert restored == replayed


def test_crash_at_every_save_makes_each_short_once():
    saves = crash_at_every_save(partial(make, decide_with_shorts), 4, lambda number: bool(number % 2))
    assert saves > 12


def test_waiting_short_is_made_by_the_first_check_that_reaches_it_and_only_once():
    live = make(place(leverage=2))
    assert run_cycle(live).trades == ()
    (row,) = show_positions(live)
    assert (row.status, row.value, row.trades) == ("pending", 0, 0)
    assert load(live).portfolio.get_cash() == 10_000
    (trade,) = check_triggers(live).trades
    assert (trade.trade_type, trade.get_status()) == (TradeType.market_limit, TradeStatus.success)
    assert check_triggers(live).trades == ()
    (short,) = load(live).portfolio.loan_positions.values()
    assert short.loan.get_leverage() == pytest.approx(2, rel=0.01)
    assert load(live).portfolio.get_cash() == 9_000


def test_short_that_fired_and_was_not_begun_waits_again_and_is_made_once():
    live = make(place())
    fire_without_beginning(live)
    assert load(live).portfolio.loan_positions
    set_time(live, START + DAY)
    (trade,) = check_triggers(live).trades
    assert trade.executed_at == START + DAY
    assert events(live).count("TradeWaits") == 2
    assert len(fills(live)) == 1


def test_refused_late_and_given_up_shorts():
    limited = make(place(), guard=LimitGuard(TradeLimits(max_trade_usd=500), None))
    run_cycle(limited)
    assert "max_trade_usd" in check_triggers(limited).notes[0]
    assert list(load(limited).portfolio.expired_positions) == [1]

    poor = make(place(value=20_000))
    run_cycle(poor)
    (trade,) = check_triggers(poor).expired
    assert "it is secured with 20000 USD but cash is 10000" in trade.failure

    late = make(place(price=1.0, expires_at=START + DAY))
    run_cycle(late)
    set_time(late, START + 2 * DAY)
    assert [t.failure for t in check_triggers(late).expired] == ["it did not fire in time"]

    closed = make(place(price=1.0))
    run_cycle(closed)
    assert "is given up" in close_all(closed, "the end").notes[0]
    assert list(load(closed).portfolio.expired_positions) == [1]
