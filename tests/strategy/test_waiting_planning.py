"""Planning trades that wait for a trigger: what is refused, what is planned, and what cancelling does."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest
from tape import AAVE_USDC, START, WETH_USDC, Desk, run_on, universe_of

from trading_dagster.domain.error import InvalidTrade, NaiveDatetimeRequired, StrategyFailed
from trading_dagster.domain.trade import TradeFlag, TradeStatus, TradeType
from trading_dagster.domain.trigger import Trigger, TriggerCondition, TriggerType

HOUR = timedelta(hours=1)


@pytest.fixture
def desk() -> Desk:
    return Desk({WETH_USDC: [100, 110, 120], AAVE_USDC: [50, 50, 50]})


def hold(desk: Desk):
    desk.execute(desk.manager.open_spot(WETH_USDC, 1000))
    return desk.manager.get_current_position_for_pair(WETH_USDC)


def test_market_limit_entry_is_planned_as_asked(desk):
    position, (trade,) = desk.manager.open_spot_with_market_limit(
        WETH_USDC, 1000, 105, expires_at=pd.Timestamp(START + 5 * HOUR), notes="breakout"
    )
    assert trade.triggers == (
        Trigger(TriggerType.market_limit, TriggerCondition.cross_above, price=105.0, expires_at=START + 5 * HOUR),
    )
    assert type(trade.triggers[0].expires_at) is datetime
    assert (trade.trade_type, trade.notes, position.notes) == (TradeType.market_limit, "breakout", "breakout")
    assert TradeFlag.open in trade.flags
    assert position.get_pending_quantity() == 10
    manager = desk.manager
    assert manager.get_current_position_for_pair(WETH_USDC) is None
    assert manager.get_current_position_for_pair(WETH_USDC, pending=True) is position
    assert not manager.is_any_open()
    assert not manager.is_any_long_position_open()


def test_open_position_can_be_made_to_wait_after_it_was_planned(desk):
    trades = desk.manager.open_spot(WETH_USDC, 1000, stop_loss_pct=0.9)
    assert desk.manager.set_market_limit_trigger(trades, price=105, expires_at=None) is None
    (position,) = desk.portfolio.pending_positions.values()
    assert (position.stop_loss, list(position.pending_trades)) == (90, [1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trigger_price": 0}, "above 0"),
        ({"trigger_price": float("nan")}, "above 0"),
        ({"trigger_price": 105, "expires_at": START - HOUR}, "could never fire"),
        ({"trigger_price": 105, "condition": TriggerCondition.timed_absolute}, "cross_above or cross_below"),
        ({"trigger_price": 105, "stop_loss_pct": 1.1}, "stop_loss_pct"),
    ],
)
def test_impossible_entry_is_refused_and_leaves_nothing_behind(desk, arguments, message):
    with pytest.raises(InvalidTrade, match=message):
        desk.manager.open_spot_with_market_limit(WETH_USDC, 1000, **arguments)
    assert not desk.portfolio.pending_positions
    assert not desk.portfolio.open_positions


def test_zone_aware_expiry_is_refused(desk):
    with pytest.raises(NaiveDatetimeRequired, match="expires_at"):
        desk.manager.open_spot_with_market_limit(WETH_USDC, 1000, 105, expires_at=pd.Timestamp(START, tz="UTC"))


def test_only_planned_buys_can_be_made_to_wait(desk):
    position = hold(desk)
    with pytest.raises(InvalidTrade, match="buys planned in this cycle"):
        desk.manager.set_market_limit_trigger(list(position.trades.values()), 105)
    sells = desk.manager.close_position(position)
    with pytest.raises(InvalidTrade, match="buys planned in this cycle"):
        desk.manager.set_market_limit_trigger(sells, 105)
    _, waiting = desk.manager.open_spot_with_market_limit(AAVE_USDC, 100, 60)
    with pytest.raises(InvalidTrade, match="buys planned in this cycle"):
        desk.manager.set_market_limit_trigger(waiting, 70)


def test_take_profits_have_the_triggers_asked_for(desk):
    position = hold(desk)
    trades = desk.manager.prepare_take_profit_trades(
        position,
        [
            (110.0, Decimal(-4), False),
            (pd.Timedelta(hours=2), Decimal(-3), False),
            (START + 5 * HOUR, Decimal(-9), True),
        ],
    )
    kind = TriggerType.take_profit_partial
    assert [t.triggers[0] for t in trades] == [
        Trigger(kind, TriggerCondition.cross_above, price=110.0),
        Trigger(kind, TriggerCondition.timed_relative_to_open, triggering_at_delta=2 * HOUR),
        Trigger(kind, TriggerCondition.timed_absolute, triggering_at=START + 5 * HOUR),
    ]
    assert [type(t.triggers[0].triggering_at_delta) for t in trades] == [type(None), timedelta, type(None)]
    assert [t.trade_type for t in trades] == [TradeType.flexible_trigger] * 3
    assert [t.closing for t in trades] == [False, False, True]
    assert [t.is_partial_take_profit() for t in trades] == [True] * 3
    assert list(position.pending_trades.values()) == trades
    assert [t.get_status() for t in trades] == [TradeStatus.planned] * 3
    assert position.get_available_trading_quantity() == 10


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ((110.0, Decimal(4), False), "negative Decimal"),
        ((110.0, Decimal(0), True), "negative Decimal"),
        ((110.0, Decimal(-11), False), "will have, 10"),
        ((-1.0, Decimal(-1), False), "above 0"),
        (("soon", Decimal(-1), False), "datetime or a timedelta"),
        ((True, Decimal(-1), False), "datetime or a timedelta"),
        ((timedelta(0), Decimal(-1), False), "above 0"),
        ((110.0, Decimal(-1)), "price, datetime or timedelta; quantity; close"),
        ((110.0, Decimal(-1), 1), "price, datetime or timedelta; quantity; close"),
    ],
)
def test_impossible_take_profit_is_refused_and_none_of_its_fellows_is_planned(desk, level, message):
    position = hold(desk)
    with pytest.raises(InvalidTrade, match=message):
        desk.manager.prepare_take_profit_trades(position, [(120.0, Decimal(-1), False), level])
    assert not position.pending_trades


def test_closed_position_takes_no_more_profits(desk):
    position = hold(desk)
    desk.execute(desk.manager.close_position(position))
    with pytest.raises(InvalidTrade, match="open or pending position"):
        desk.manager.prepare_take_profit_trades(position, [(120.0, Decimal(-1), False)])


def test_adjust_position_waits_when_asked(desk):
    position = hold(desk)
    (sell,) = desk.manager.adjust_position(WETH_USDC, -400, Decimal(-4), 0.5, pending=True, trigger_price=120)
    (buy,) = desk.manager.adjust_position(WETH_USDC, 500, None, 0.5, pending=True, trigger_price=130)
    (entry,) = desk.manager.adjust_position(AAVE_USDC, 100, None, 0.5, pending=True, trigger_price=60)
    assert list(position.pending_trades.values()) == [sell, buy]
    assert sell.flags >= {TradeFlag.reduce, TradeFlag.partial_take_profit, TradeFlag.triggered}
    assert (sell.triggers[0].type, buy.triggers[0].type) == (
        TriggerType.take_profit_partial,
        TriggerType.market_limit,
    )
    assert desk.manager.get_current_position_for_pair(WETH_USDC) is position
    assert desk.manager.get_current_position_for_pair(AAVE_USDC) is None
    pending = desk.manager.get_current_position_for_pair(AAVE_USDC, pending=True)
    assert list(pending.pending_trades.values()) == [entry]
    (more,) = desk.manager.adjust_position(
        AAVE_USDC, 50, None, 0.5, pending=True, trigger_price=70, position=pending, stop_loss=0.9
    )
    assert list(pending.pending_trades.values()) == [entry, more]
    assert pending.stop_loss == 45


@pytest.mark.parametrize("arguments", [{"pending": True}, {"trigger_price": 120.0}])
def test_half_of_what_a_waiting_trade_needs_is_refused(desk, arguments):
    with pytest.raises(InvalidTrade, match="both pending=True and a trigger_price"):
        desk.manager.adjust_position(WETH_USDC, 10, None, 0.1, **arguments)


def test_pending_position_is_not_changed_at_once(desk):
    position, _ = desk.manager.open_spot_with_market_limit(WETH_USDC, 1000, 105)
    with pytest.raises(InvalidTrade, match="give an open one"):
        desk.manager.adjust_position(WETH_USDC, 10, None, 0.1, position=position)
    with pytest.raises(InvalidTrade, match="gives it up"):
        desk.manager.close_position(position)


def test_closing_a_pending_position_gives_it_up(desk):
    position, (trade,) = desk.manager.open_spot_with_market_limit(WETH_USDC, 1000, 105)
    (profit,) = desk.manager.prepare_take_profit_trades(position, [(120.0, Decimal(-1), True)])
    assert desk.manager.close_position(position, pending=True) == []
    assert list(desk.portfolio.expired_positions.values()) == [position]
    assert (trade.failure, profit.get_status()) == ("cancelled by the strategy", TradeStatus.expired)


def test_close_can_wait_for_a_price(desk):
    position = hold(desk)
    (trade,) = desk.manager.close_position(position, pending=True, trigger_price=120, notes="enough")
    assert trade.triggers == (Trigger(TriggerType.take_profit_full, TriggerCondition.cross_above, price=120.0),)
    assert (trade.closing, trade.planned_quantity, trade.notes) == (True, -10, "enough")
    for arguments, message in (({"pending": True}, "needs a trigger_price"), ({"trigger_price": 120}, "pending=True")):
        with pytest.raises(InvalidTrade, match=message):
            desk.manager.close_position(position, **arguments)


def test_single_waiting_trades_are_cancelled(desk):
    position = hold(desk)
    levels = [(110.0, Decimal(-4), False), (120.0, Decimal(-4), False)]
    first, second = desk.manager.prepare_take_profit_trades(position, levels)
    desk.manager.cancel_waiting_trades(position, [first])
    assert (list(position.pending_trades.values()), list(position.expired_trades.values())) == ([second], [first])
    desk.manager.cancel_waiting_trades(position, [first])
    with pytest.raises(InvalidTrade, match="does not wait"):
        desk.manager.cancel_waiting_trades(position, list(position.trades.values()))
    desk.manager.cancel_waiting_trades(position)
    assert not position.pending_trades
    assert position.is_open()


def test_stop_of_a_pending_position_can_be_moved(desk):
    position, _ = desk.manager.open_spot_with_market_limit(WETH_USDC, 1000, 105, stop_loss_pct=0.9)
    desk.manager.update_stop_loss(position, 99)
    assert position.stop_loss == 99


def test_waiting_trade_that_is_returned_is_refused():
    def decide(input):
        return input.get_position_manager().open_spot_with_market_limit(WETH_USDC, 1000, 105)[1]

    universe = universe_of({WETH_USDC: [100] * 5}, feed={WETH_USDC: [100] * 5})
    with pytest.raises(StrategyFailed, match="they wait for a trigger and are not executed now"):
        run_on(universe, decide, cycles=2)


def test_order_that_is_cancelled_in_the_cycle_it_was_planned_in_is_no_missing_trade():
    def decide(input):
        pm = input.get_position_manager()
        position, _ = pm.open_spot_with_market_limit(WETH_USDC, 1000, 105)
        pm.cancel_waiting_trades(position)
        return []

    universe = universe_of({WETH_USDC: [100] * 5}, feed={WETH_USDC: [100] * 5})
    result = run_on(universe, decide, cycles=2)
    assert len(result.state.portfolio.expired_positions) == 2


def test_position_whose_opening_is_not_returned_takes_its_take_profits_with_it():
    def decide(input):
        pm = input.get_position_manager()
        if input.cycle > 1:
            return []
        pm.open_spot(WETH_USDC, 1000)
        position = pm.get_current_position_for_pair(WETH_USDC)
        pm.prepare_take_profit_trades(position, [(110.0, Decimal(-1), True)])
        return pm.open_spot(AAVE_USDC, 1000)

    table = [100] * 5
    universe = universe_of({WETH_USDC: table, AAVE_USDC: table}, feed={WETH_USDC: table, AAVE_USDC: table})
    portfolio = run_on(universe, decide, cycles=2).state.portfolio
    (expired,) = portfolio.expired_positions.values()
    assert (list(expired.trades), list(expired.expired_trades)) == ([1], [2])
    assert [p.pair for p in portfolio.open_positions.values()] == [AAVE_USDC]
