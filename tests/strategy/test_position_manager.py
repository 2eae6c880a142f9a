"""PositionManager: what each spot action plans, and what it refuses."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tape import AAVE_USDC, START, USDC, WETH_USDC, Desk, pair_of, token

from trading_dagster.domain.error import (
    BadInput,
    InvalidTrade,
    NaiveDatetimeRequired,
    NoSingleOpenPositionException,
    NotEnoughCashForBuys,
    TooSmallTrade,
    UnknownPair,
)
from trading_dagster.domain.identifier import ChainId, TradingPairKind
from trading_dagster.domain.trade import TradeFlag, TradeType
from trading_dagster.strategy.position_manager import PositionManager

CLOSE_TO_10_000 = pytest.approx(10_000)


@pytest.fixture
def desk() -> Desk:
    """Stand at bar 0 of WETH at 100, 110, 120 (no fee) and AAVE at 50 (0.3 %), with 10,000 USDC."""
    return Desk({WETH_USDC: [100.0, 110.0, 120.0, 80.0], AAVE_USDC: [50.0] * 4})


def refused(action, *parts: str) -> None:
    """Assert that an action is refused in words that have all the parts."""
    with pytest.raises(InvalidTrade) as error:
        action()
    for part in parts:
        assert part in str(error.value)
    assert isinstance(error.value, AssertionError)


def hold(desk: Desk, value: float = 1000, pair=WETH_USDC, **triggers):
    desk.execute(desk.manager.open_spot(pair, value, **triggers))
    return desk.portfolio.open_positions[max(desk.portfolio.open_positions)]


# -- questions --------------------------------------------------------------------------------------------------------


def test_portfolio_and_cash(desk):
    assert desk.manager.get_current_portfolio() is desk.state.portfolio
    assert desk.manager.get_current_cash() == 10_000
    assert type(desk.manager.get_current_cash()) is float
    hold(desk)
    assert desk.manager.get_current_cash() == 9000
    assert (desk.manager.timestamp, desk.manager.universe) == (START, desk.universe)


def test_open_positions_are_counted_by_side(desk):
    manager = desk.manager
    asked = ("is_any_open", "is_any_long_position_open")
    never = ("is_any_short_position_open", "is_any_credit_supply_position_open")
    assert [getattr(manager, name)() for name in asked + never] == [False] * 4
    position = hold(desk)
    assert [getattr(manager, name)() for name in asked + never] == [True, True, False, False]
    desk.execute(manager.close_position(position))
    assert [getattr(manager, name)() for name in asked + never] == [False] * 4


def test_planned_position_counts_as_open_before_it_is_executed(desk):
    (trade,) = desk.manager.open_spot(WETH_USDC, 100)
    assert desk.manager.is_any_open()
    assert desk.manager.get_current_position().position_id == trade.position_id


@pytest.mark.parametrize("side", ["", "_long", "_short", "_credit_supply"])
def test_single_position_is_refused_when_there_is_none(desk, side):
    with pytest.raises(NoSingleOpenPositionException, match=r"there are 0.*check is_any_open\(\) first"):
        getattr(desk.manager, f"get_current{side}_position")()


def test_single_position_is_refused_when_there_are_two(desk):
    position = hold(desk)
    assert desk.manager.get_current_position() is position
    assert desk.manager.get_current_long_position() is position
    hold(desk, pair=AAVE_USDC)
    with pytest.raises(NoSingleOpenPositionException, match=r"there are 2.*WETH-USDC.*AAVE-USDC"):
        desk.manager.get_current_position()
    with pytest.raises(NoSingleOpenPositionException, match="open long"):
        desk.manager.get_current_long_position()


def test_position_of_a_pair_is_found_by_pair_and_description(desk):
    position = hold(desk)
    assert desk.manager.get_current_position_for_pair(WETH_USDC) is position
    assert desk.manager.get_current_position_for_pair((ChainId.ethereum, "my-dex", "WETH", "USDC")) is position
    assert desk.manager.get_current_position_for_pair(AAVE_USDC) is None
    assert desk.manager.get_current_position_for_pair(AAVE_USDC, pending=True) is None


def test_closed_positions_of_a_pair_are_listed_oldest_first_without_test_trades(desk):
    manager = desk.manager
    assert manager.get_last_closed_position() is None
    first = hold(desk)
    desk.execute(manager.close_all())
    desk.at(1)
    tested = hold(desk, flags={TradeFlag.test_trade})
    desk.execute(manager.close_all())
    other = hold(desk, pair=AAVE_USDC)
    desk.execute(manager.close_all())
    assert manager.get_closed_positions_for_pair(WETH_USDC) == [first]
    assert manager.get_closed_positions_for_pair(WETH_USDC, include_test_position=True) == [first, tested]
    assert manager.get_last_closed_position() is other  # both closed at bar 1: the larger id
    assert desk.at(3).manager.get_duration_since_last_close() == timedelta(hours=2)


def test_last_closed_position_is_the_last_by_time_not_by_id(desk):
    first, second = hold(desk), hold(desk, pair=AAVE_USDC)
    desk.execute(desk.at(1).manager.close_position(second))
    desk.execute(desk.at(2).manager.close_position(first))
    assert desk.manager.get_last_closed_position() is first


@pytest.mark.parametrize(
    "named",
    [1, np.int64(1), (ChainId.ethereum, "my-dex", "WETH", "USDC"), (ChainId.ethereum, None, "WETH", "USDC", 0.0)],
    ids=repr,
)
def test_pair_is_found_by_id_and_description(desk, named):
    assert desk.manager.get_trading_pair(named) == WETH_USDC


@pytest.mark.parametrize("named", [99, (ChainId.ethereum, None, "NOPE", "USDC")])
def test_unknown_pair_is_refused(desk, named):
    with pytest.raises(UnknownPair):
        desk.manager.get_trading_pair(named)


def test_fee_of_a_pair_is_a_fraction_or_unknown(desk):
    assert desk.manager.get_pair_fee(AAVE_USDC) == 0.003
    assert desk.manager.get_pair_fee(AAVE_USDC, "sell") == 0.003
    with pytest.raises(BadInput, match="2 pairs, not one"):
        desk.manager.get_pair_fee()
    without = Desk({pair_of(1, WETH_USDC.base, USDC): [100.0]})
    assert without.manager.get_pair_fee() is None


def test_blacklisted_pair_is_a_problem(desk):
    assert not desk.manager.is_problematic_pair(WETH_USDC)
    desk.state.blacklist_asset(WETH_USDC.base, "hacked")
    assert desk.manager.is_problematic_pair(WETH_USDC)


@pytest.mark.parametrize("usd", [250.0, -250.0])
def test_quantity_is_estimated_at_mid_with_its_sign(desk, usd):
    assert desk.manager.estimate_asset_quantity(AAVE_USDC, usd) == usd / 50


def test_quantity_for_nothing_is_refused(desk):
    refused(lambda: desk.manager.estimate_asset_quantity(AAVE_USDC, 0), "AAVE-USDC", "0 USD")


def test_pending_redemptions_are_zero_when_unknown(desk):
    desk.state.sync.treasury.pending_redemptions = None
    assert desk.manager.get_pending_redemptions() == 0
    desk.state.sync.treasury.pending_redemptions = 12.5
    assert desk.manager.get_pending_redemptions() == 12.5


def test_log_goes_to_the_logger_and_to_the_messages(desk, caplog):
    with caplog.at_level(logging.WARNING):
        desk.manager.log("rates are odd", level=logging.WARNING)
    assert "2022-01-03 00:00:00: rates are odd" in caplog.text
    assert desk.state.visualisation.messages == {START: ["rates are odd"]}


def test_manager_at_a_zone_aware_time_is_refused(desk):
    with pytest.raises(NaiveDatetimeRequired):
        PositionManager(datetime(2022, 1, 3, tzinfo=UTC), desk.universe, desk.state, desk.pricing)


def test_manager_can_stand_at_a_given_time(desk):
    manager = PositionManager(START, desk.universe, desk.state, desk.pricing)
    (trade,) = manager.open_spot(WETH_USDC, 100)
    assert trade.opened_at == START


# -- open_spot --------------------------------------------------------------------------------------------------------


def test_open_spot_plans_one_buy_at_the_ask(desk):
    (trade,) = desk.manager.open_spot(AAVE_USDC, 1000, notes="because")
    ask = 50 * 1.003
    assert trade.is_planned()
    assert trade.planned_price == ask
    assert trade.planned_mid_price == 50
    assert trade.planned_reserve == 1000
    assert trade.planned_quantity == Decimal(1000) / Decimal(ask)
    assert trade.lp_fees_estimated == pytest.approx(3)
    assert trade.flags == {TradeFlag.open, TradeFlag.increase}
    assert trade.trade_type is TradeType.rebalance
    assert (trade.notes, trade.slippage_tolerance, trade.closing) == ("because", 0.017, False)
    position = desk.portfolio.open_positions[trade.position_id]
    assert (position.notes, position.opened_at, position.portfolio_value_at_open) == ("because", START, 10_000)
    assert desk.manager.get_current_cash() == 10_000


@pytest.mark.parametrize("value", [0, -1, float("nan"), Decimal(0), -0.0])
def test_open_spot_for_nothing_is_refused(desk, value):
    refused(lambda: desk.manager.open_spot(WETH_USDC, value), "WETH-USDC", "above 0", str(value))
    assert not desk.manager.is_any_open()


def test_open_spot_for_infinity_is_refused_and_leaves_nothing_behind(desk):
    with pytest.raises(BadInput, match="value is inf"):
        desk.manager.open_spot(WETH_USDC, float("inf"))
    assert not desk.manager.is_any_open()


def test_open_spot_of_a_blacklisted_pair_is_refused(desk):
    desk.state.blacklist_asset(WETH_USDC.base, "hacked")
    refused(lambda: desk.manager.open_spot(WETH_USDC, 10), "WETH-USDC is blacklisted", "is_problematic_pair()")
    refused(lambda: desk.manager.adjust_position(WETH_USDC, 10, None, 0.1), "WETH-USDC is blacklisted")


def test_blacklisted_position_can_be_reduced_and_closed(desk):
    position = hold(desk)
    desk.state.blacklist_asset(WETH_USDC.base, "hacked")
    desk.execute(desk.manager.adjust_position(WETH_USDC, -100, -1, 0.05))
    desk.execute(desk.manager.close_position(position))
    assert position.is_closed()


def test_open_spot_beside_an_open_position_is_refused(desk):
    hold(desk)
    refused(
        lambda: desk.manager.open_spot(WETH_USDC, 10), "WETH-USDC has an open position already", "adjust_position()"
    )


def test_open_spot_twice_in_one_cycle_is_refused(desk):
    desk.manager.open_spot(WETH_USDC, 10)
    refused(lambda: desk.manager.open_spot(WETH_USDC, 10), "open position already")


def test_ignore_open_forces_a_second_position(desk):
    first = hold(desk)
    second = hold(desk, flags={TradeFlag.ignore_open})
    assert first is not second
    assert len(desk.portfolio.open_positions) == 2
    assert TradeFlag.ignore_open in second.get_first_trade().flags
    assert desk.manager.get_current_position_for_pair(WETH_USDC) is first


def test_adjust_with_ignore_open_opens_a_second_position(desk):
    first = hold(desk)
    (trade,) = desk.execute(desk.manager.adjust_position(WETH_USDC, 10, None, 0.1, flags={TradeFlag.ignore_open}))
    assert trade.position_id != first.position_id
    assert TradeFlag.open in trade.flags


def test_pair_of_another_universe_is_refused_even_with_a_known_id(desk):
    foreign = pair_of(1, token(9, "FAKE"), USDC, fee=0.0)
    for plan in (
        lambda: desk.manager.open_spot(foreign, 10),
        lambda: desk.manager.adjust_position(foreign, 10, None, 0.1),
    ):
        with pytest.raises(UnknownPair, match="FAKE-USDC"):
            plan()
    assert not desk.manager.is_any_open()


def test_equal_pair_with_another_id_is_priced_by_the_universe_s_own(desk):
    elsewhere = pair_of(2, WETH_USDC.base, USDC, fee=0.0)  # id 2 is AAVE here
    (trade,) = desk.manager.open_spot(elsewhere, 100)
    assert trade.planned_mid_price == 100
    assert trade.pair.internal_id == 1


def test_pair_that_is_no_market_is_refused_by_open_spot():
    short = pair_of(
        2, token(8, "vWETH"), USDC, kind=TradingPairKind.lending_protocol_short, underlying_spot_pair=WETH_USDC, fee=0.0
    )
    desk = Desk({WETH_USDC: [100.0], short: [100.0]})
    refused(lambda: desk.manager.open_spot(short, 10), "vWETH-USDC", "spot pair")


@pytest.mark.parametrize("old_name", ["open_1x_long"])
def test_open_spot_has_its_old_name(desk, old_name):
    (trade,) = getattr(desk.manager, old_name)(WETH_USDC, value=100, stop_loss_pct=0.9)
    assert trade.is_buy()
    assert desk.manager.get_current_position().stop_loss == 90


# -- levels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("triggers", "stop", "profit", "trailing"),
    [
        ({}, None, None, None),
        ({"stop_loss_pct": 0.95}, 47.5, None, None),
        ({"stop_loss_usd": 40.0}, 40.0, None, None),
        ({"trailing_stop_loss_pct": 0.9}, 45.0, None, 0.9),
        ({"take_profit_pct": 1.5}, None, 75.0, None),
        ({"take_profit_usd": 60.0}, None, 60.0, None),
        ({"stop_loss_pct": 0.95, "take_profit_pct": 1.5}, 47.5, 75.0, None),
    ],
)
def test_levels_refer_to_the_mid_price_not_to_the_price_paid(desk, triggers, stop, profit, trailing):
    position = hold(desk, pair=AAVE_USDC, **triggers)
    assert (position.stop_loss, position.take_profit, position.trailing_stop_loss_pct) == (stop, profit, trailing)
    assert position.has_trigger() == bool(triggers)
    if triggers:
        (update,) = position.trigger_updates
        assert (update.timestamp, update.mid_price) == (START, 50)
        assert (update.stop_loss_before, update.take_profit_before) == (None, None)
        assert (update.stop_loss_after, update.take_profit_after) == (stop, profit)


@pytest.mark.parametrize(
    ("triggers", "parts"),
    [
        ({"stop_loss_pct": 0.9, "stop_loss_usd": 90}, ("only one of", "stop_loss_pct", "stop_loss_usd")),
        ({"stop_loss_pct": 0.9, "trailing_stop_loss_pct": 0.9}, ("only one of", "trailing_stop_loss_pct")),
        ({"stop_loss_usd": 90, "trailing_stop_loss_pct": 0.9}, ("only one of", "trailing_stop_loss_pct")),
        ({"take_profit_pct": 1.1, "take_profit_usd": 110}, ("only one of", "take_profit_usd")),
        ({"stop_loss_pct": 1.0}, ("stop_loss_pct is 1.0", "0.95 stops 5 % below")),
        ({"stop_loss_pct": 5}, ("stop_loss_pct is 5", "0.95 stops 5 % below")),
        ({"stop_loss_pct": 0}, ("stop_loss_pct is 0", "0.95")),
        ({"stop_loss_pct": float("nan")}, ("stop_loss_pct is nan",)),
        ({"trailing_stop_loss_pct": 1.05}, ("trailing_stop_loss_pct is 1.05", "0.95")),
        ({"take_profit_pct": 1.0}, ("take_profit_pct is 1.0", "1.05 takes profit 5 % above")),
        ({"take_profit_pct": 0.05}, ("take_profit_pct is 0.05",)),
        ({"take_profit_pct": float("nan")}, ("take_profit_pct is nan",)),
        ({"stop_loss_usd": 100.0}, ("stop_loss_usd is 100.0", "mid price is 100.0", "wrong side")),
        ({"stop_loss_usd": 150}, ("stop_loss_usd is 150", "wrong side")),
        ({"take_profit_usd": 100.0}, ("take_profit_usd is 100.0", "wrong side")),
        ({"take_profit_usd": 50}, ("take_profit_usd is 50", "wrong side")),
    ],
)
def test_impossible_levels_are_refused_and_leave_nothing_behind(desk, triggers, parts):
    refused(lambda: desk.manager.open_spot(WETH_USDC, 10, **triggers), *parts)
    assert not desk.manager.is_any_open()
    assert desk.portfolio.next_trade_id == 1


@pytest.mark.parametrize("level", [0, -5, float("nan"), float("inf")])
def test_stop_loss_that_is_no_price_is_refused_and_the_old_one_stays(desk, level):
    position = hold(desk, stop_loss_pct=0.9)
    refused(lambda: desk.manager.update_stop_loss(position, level), "needs a price above 0", str(level))
    refused(lambda: desk.manager.update_stop_loss(position, level, trailing=True), "needs a price above 0")
    assert position.stop_loss == 90


def test_update_stop_loss_sets_the_level_and_records_it(desk):
    position = hold(desk, stop_loss_pct=0.9, take_profit_pct=1.5)
    desk.at(1).manager.update_stop_loss(position, 85.0)
    assert (position.stop_loss, position.take_profit) == (85, 150)
    update = position.trigger_updates[-1]
    assert (update.timestamp, update.mid_price) == (START + timedelta(hours=1), 110)
    assert (update.stop_loss_before, update.stop_loss_after) == (90, 85)
    assert (update.take_profit_before, update.take_profit_after) == (150, 150)


def test_update_that_changes_nothing_is_not_recorded(desk):
    position = hold(desk, stop_loss_pct=0.9)
    desk.manager.update_stop_loss(position, 90.0)
    desk.manager.update_stop_loss(position, 90.0, trailing=True)
    assert len(position.trigger_updates) == 1


def test_trailing_update_moves_only_upward(desk):
    position = hold(desk, stop_loss_pct=0.9)
    desk.manager.update_stop_loss(position, 80.0, trailing=True)
    assert position.stop_loss == 90
    desk.manager.update_stop_loss(position, 95.0, trailing=True)
    assert position.stop_loss == 95
    assert len(position.trigger_updates) == 2
    assert position.trailing_stop_loss_pct is None


def test_trailing_update_sets_the_first_level(desk):
    position = hold(desk)
    desk.manager.update_stop_loss(position, 80.0, trailing=True)
    assert position.stop_loss == 80


def test_stop_loss_of_a_closed_position_cannot_be_moved(desk):
    position = hold(desk, stop_loss_pct=0.9)
    desk.execute(desk.manager.close_all())
    refused(lambda: desk.manager.update_stop_loss(position, 95.0), "is not open", "is_open()")


# -- adjust_position --------------------------------------------------------------------------------------------------


def test_adjust_up_opens_then_increases(desk):
    (opened,) = desk.execute(desk.manager.adjust_position(AAVE_USDC, 500, None, 0.05))
    assert opened.flags == {TradeFlag.open, TradeFlag.increase}
    (increased,) = desk.execute(desk.manager.adjust_position(AAVE_USDC, 500.0, None, 0.1, other_data={"why": 1}))
    assert increased.flags == {TradeFlag.increase}
    assert increased.position_id == opened.position_id
    assert increased.planned_price == 50 * 1.003
    assert increased.other_data == {"why": 1}
    assert desk.manager.get_current_position().get_buy_value() == pytest.approx(1000)


def test_adjust_up_in_the_cycle_of_the_opening_increases_the_planned_position(desk):
    (opened,) = desk.manager.open_spot(WETH_USDC, 100)
    (increased,) = desk.manager.adjust_position(WETH_USDC, 50, None, 0.1)
    assert increased.position_id == opened.position_id
    assert TradeFlag.open not in increased.flags


def test_adjust_down_sells_the_quantity_at_the_bid(desk):
    position = hold(desk, pair=AAVE_USDC)
    (trade,) = desk.execute(desk.manager.adjust_position(AAVE_USDC, -100, Decimal(-2), 0.05, notes="less"))
    assert trade.executed_quantity == -2
    assert trade.executed_price == pytest.approx(50 * 0.997)
    assert trade.executed_reserve == 2 * Decimal(50 * 0.997)
    assert trade.flags == {TradeFlag.reduce}
    assert (trade.closing, trade.is_reduce(), trade.notes) == (False, True, "less")
    assert position.is_open()


def test_adjust_down_by_everything_closes_the_position(desk):
    position = hold(desk)
    desk.execute(desk.manager.adjust_position(WETH_USDC, -1000, -position.get_quantity(), 0))
    assert position.is_closed()


@given(st.floats(min_value=1e-6, max_value=1e6), st.floats(min_value=1, max_value=9999))
def test_position_can_be_sold_whole_by_its_quantity_as_float(price, value):
    desk = Desk({WETH_USDC: [price]})
    desk.execute(desk.manager.open_spot(WETH_USDC, value))
    position = desk.manager.get_current_position()
    desk.execute(desk.manager.adjust_position(WETH_USDC, -value, -float(position.get_quantity()), 0))
    assert abs(position.quantity) <= Decimal("1e-12") * position.get_buy_quantity()


@given(st.floats(min_value=0.01, max_value=100), st.floats(min_value=1, max_value=9999), st.integers(1, 7))
def test_all_cash_can_be_spent_by_its_value_as_float(price, value, parts):
    pairs = [pair_of(n, token(n + 1, f"T{n}"), USDC, fee=0.0) for n in range(1, 9)]
    desk = Desk({pair: [1.0, price] for pair in pairs})
    desk.execute(desk.manager.open_spot(pairs[7], value))
    desk.execute(desk.at(1).manager.close_all())
    cash = desk.manager.get_current_cash()
    desk.execute([t for pair in pairs[:parts] for t in desk.manager.open_spot(pair, cash / parts)])
    assert 0 <= desk.portfolio.reserve.quantity <= Decimal(cash) * Decimal("1e-12")
    assert desk.portfolio.calculate_total_equity() == pytest.approx(cash)


@pytest.mark.parametrize("delta", [0, 0.0, float("nan")])
def test_adjust_by_nothing_is_refused(desk, delta):
    refused(lambda: desk.manager.adjust_position(WETH_USDC, delta, None, 0.1), "WETH-USDC", f"other than {delta}")


@pytest.mark.parametrize("weight", [-0.01, 1.01, float("nan")])
def test_adjust_to_an_impossible_weight_is_refused(desk, weight):
    refused(lambda: desk.manager.adjust_position(WETH_USDC, 10, None, weight), "0 <= weight <= 1", str(weight))


@pytest.mark.parametrize("weight", [0, 1])
def test_adjust_to_weights_at_the_bounds(desk, weight):
    assert len(desk.manager.adjust_position(WETH_USDC, 10, None, weight)) == 1


@pytest.mark.parametrize("quantity", [None, 0, 1, float("nan")])
def test_adjust_down_needs_a_negative_quantity(desk, quantity):
    hold(desk)
    refused(
        lambda: desk.manager.adjust_position(WETH_USDC, -10, quantity, 0.1),
        "give quantity_delta as a negative number of tokens",
        f"got {quantity}",
    )


def test_adjust_down_without_a_position_is_refused(desk):
    refused(
        lambda: desk.manager.adjust_position(WETH_USDC, -10, -1, 0.1), "no open position", "get_current_position_for"
    )


def test_adjust_down_by_more_than_there_is_is_refused(desk):
    hold(desk)
    refused(lambda: desk.manager.adjust_position(WETH_USDC, -10, -10.001, 0.1), "10.00", "10 is available")


def test_adjust_down_twice_in_a_cycle_is_limited_by_what_is_left(desk):
    hold(desk)
    desk.manager.adjust_position(WETH_USDC, -600, -6, 0.1)
    refused(lambda: desk.manager.adjust_position(WETH_USDC, -600, -6, 0.1), "4 is available")


def test_adjust_of_a_given_position_must_be_an_open_one_on_the_pair(desk):
    other, closed = hold(desk, pair=AAVE_USDC), hold(desk)
    desk.execute(desk.manager.close_position(closed))
    for position in (other, closed):
        refused(
            lambda p=position: desk.manager.adjust_position(WETH_USDC, 10, None, 0.1, position=p), "give an open one"
        )
    assert desk.portfolio.calculate_total_equity() == pytest.approx(10_000, rel=1e-3)


def test_adjust_can_be_told_which_of_two_positions_to_change(desk):
    hold(desk)
    second = hold(desk, flags={TradeFlag.ignore_open})
    (trade,) = desk.manager.adjust_position(WETH_USDC, 10, None, 0.1, position=second)
    assert trade.position_id == second.position_id
    assert TradeFlag.open not in trade.flags


def test_adjust_sets_the_stop_loss_only_when_there_is_none_or_when_told(desk):
    manager = desk.manager
    desk.execute(manager.adjust_position(WETH_USDC, 100, None, 0.1, stop_loss=0.9))
    position = manager.get_current_position()
    assert position.stop_loss == 90
    desk.at(1).execute(manager.adjust_position(WETH_USDC, 100, None, 0.1, stop_loss=0.95))
    assert position.stop_loss == 90
    desk.execute(manager.adjust_position(WETH_USDC, 100, None, 0.1, stop_loss=0.5, override_stop_loss=True))
    assert position.stop_loss == 55


def test_adjust_always_sets_take_profit_and_trailing_when_given(desk):
    manager = desk.manager
    desk.execute(manager.adjust_position(WETH_USDC, 100, None, 0.1, take_profit=1.5, trailing_stop_loss=0.8))
    position = manager.get_current_position()
    assert (position.take_profit, position.trailing_stop_loss_pct) == (150, 0.8)
    assert position.stop_loss is None  # the first trigger check sets it
    desk.at(1).execute(manager.adjust_position(WETH_USDC, -10, -0.1, 0.1, take_profit=1.2, trailing_stop_loss=0.9))
    assert (position.take_profit, position.trailing_stop_loss_pct) == (132, 0.9)
    desk.execute(manager.adjust_position(WETH_USDC, 100, None, 0.1))
    assert (position.take_profit, position.trailing_stop_loss_pct) == (132, 0.9)


def test_adjust_takes_a_stop_loss_and_a_trailing_one_together(desk):
    desk.execute(desk.manager.adjust_position(WETH_USDC, 100, None, 0.1, stop_loss=0.95, trailing_stop_loss=0.9))
    position = desk.manager.get_current_position()
    assert (position.stop_loss, position.trailing_stop_loss_pct) == (95, 0.9)


@pytest.mark.parametrize("trigger", [{"stop_loss": 1.2}, {"take_profit": 0.9}, {"trailing_stop_loss": 90}])
def test_adjust_with_impossible_levels_leaves_nothing_behind(desk, trigger):
    refused(lambda: desk.manager.adjust_position(WETH_USDC, 100, None, 0.1, **trigger), str(*trigger.values()))
    assert not desk.manager.is_any_open()
    assert desk.portfolio.next_trade_id == 1


def test_adjust_by_dust_leaves_nothing_behind(desk):
    with pytest.raises(TooSmallTrade, match="skip it"):
        desk.manager.adjust_position(WETH_USDC, 1e-9, None, 0.1)
    assert not desk.manager.is_any_open()
    position = hold(desk)
    with pytest.raises(TooSmallTrade, match="skip it"):
        desk.manager.adjust_position(WETH_USDC, -1e-9, -1e-11, 0.1)
    assert len(position.trades) == 1


# -- closing ----------------------------------------------------------------------------------------------------------


def test_close_sells_everything_at_the_bid(desk):
    position = hold(desk, pair=AAVE_USDC)
    quantity = position.get_quantity()
    (trade,) = desk.manager.close_position(position, notes="enough")
    assert trade.planned_quantity == -quantity
    assert trade.planned_price == 50 * 0.997
    assert trade.planned_reserve == quantity * Decimal(50 * 0.997)
    assert (trade.flags, trade.closing, trade.notes) == ({TradeFlag.close}, True, "enough")
    assert trade.trade_type is TradeType.rebalance
    desk.execute([trade])
    assert position.is_closed()
    assert desk.manager.get_current_cash() == pytest.approx(9000 + 1000 * 0.997 / 1.003)


def test_close_takes_a_type_and_flags(desk):
    (trade,) = desk.manager.close_position(hold(desk), TradeType.stop_loss, flags={TradeFlag.triggered})
    assert trade.trade_type is TradeType.stop_loss
    assert trade.flags == {TradeFlag.close, TradeFlag.triggered}


def test_close_of_what_is_planned_to_be_sold_gives_nothing_and_warns(desk, caplog):
    position = hold(desk)
    assert len(desk.manager.close_position(position)) == 1
    with caplog.at_level(logging.WARNING):
        assert desk.manager.close_position(position) == []
    assert "Nothing is left to sell" in caplog.text


def test_close_after_a_planned_reduction_sells_the_rest(desk):
    position = hold(desk)
    reduced = desk.manager.adjust_position(WETH_USDC, -400, -4, 0.05)
    (closed,) = desk.manager.close_position(position)
    assert closed.planned_quantity == -6
    desk.execute([*reduced, closed])
    assert position.is_closed()
    assert desk.manager.get_current_cash() == CLOSE_TO_10_000


def test_close_of_a_closed_position_is_refused(desk):
    position = hold(desk)
    desk.execute(desk.manager.close_position(position))
    refused(lambda: desk.manager.close_position(position), "it is not open", "is_open()")
    refused(lambda: desk.manager.close_spot_position(position), "it is not open")


def test_close_of_a_part_is_a_reduction(desk):
    position = hold(desk)
    (trade,) = desk.manager.close_spot_position(position, quantity=Decimal(4))
    assert trade.planned_quantity == -4
    assert (trade.closing, trade.flags, trade.is_reduce()) == (False, {TradeFlag.reduce}, True)
    (rest,) = desk.manager.close_spot_position(position, quantity=Decimal(6))
    assert (rest.closing, rest.flags) == (True, {TradeFlag.close})


@pytest.mark.parametrize("quantity", [0, -1, Decimal("10.1")])
def test_close_of_an_impossible_part_is_refused(desk, quantity):
    position = hold(desk)
    refused(lambda: desk.manager.close_spot_position(position, quantity=quantity), "10 is available")


def test_close_all_closes_every_position(desk):
    hold(desk)
    hold(desk, pair=AAVE_USDC)
    trades = desk.execute(desk.manager.close_all())
    assert [t.pair.get_ticker() for t in trades] == ["WETH-USDC", "AAVE-USDC"]
    assert not desk.manager.is_any_open()


def test_close_all_without_positions_is_refused(desk):
    refused(desk.manager.close_all, "no position is open", "is_any_open()")
    hold(desk)
    desk.execute(desk.manager.close_all())
    refused(desk.manager.close_all, "no position is open")


def test_close_all_of_everything_but_credit_closes_spot(desk):
    hold(desk)
    assert len(desk.manager.close_all(credit_supply=False)) == 1


def test_close_and_open_in_one_cycle_make_two_positions(desk):
    first = hold(desk)
    trades = desk.manager.close_position(first) + desk.manager.open_spot(WETH_USDC, 10_000, stop_loss_pct=0.9)
    desk.execute(trades)
    second = desk.manager.get_current_position()
    assert (first.is_closed(), second.position_id) == (True, 2)
    assert second.stop_loss == 90
    assert desk.manager.get_current_cash() == 0


def test_close_and_adjust_up_in_one_cycle_make_two_positions(desk):
    first = hold(desk)
    trades = desk.manager.close_position(first) + desk.manager.adjust_position(WETH_USDC, 500, None, 0.05)
    assert TradeFlag.open in trades[1].flags
    desk.execute(trades)
    assert desk.manager.get_current_position().position_id == 2


def test_third_position_after_close_and_open_in_one_cycle_is_refused(desk):
    first = hold(desk)
    desk.manager.close_position(first)
    (second,) = desk.manager.open_spot(WETH_USDC, 100)
    refused(lambda: desk.manager.open_spot(WETH_USDC, 100), "open position already")
    (increase,) = desk.manager.adjust_position(WETH_USDC, 100, None, 0.1)
    assert increase.position_id == second.position_id


# -- slippage and cash ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [0, 0.02, 0.329])
def test_slippage_tolerance_is_recorded(desk, tolerance):
    (trade,) = desk.manager.open_spot(WETH_USDC, 10, slippage_tolerance=tolerance)
    assert trade.slippage_tolerance == tolerance


@pytest.mark.parametrize("tolerance", [0.33, 2, -0.01, float("nan")])
def test_slippage_tolerance_beyond_its_limits_is_refused(desk, tolerance):
    parts = (f"slippage_tolerance is {tolerance}", "below 0.33", "0.02 allows 2 %")
    refused(lambda: desk.manager.open_spot(WETH_USDC, 10, slippage_tolerance=tolerance), *parts)
    assert not desk.manager.is_any_open()
    position = hold(desk)
    refused(lambda: desk.manager.close_position(position, slippage_tolerance=tolerance), *parts)
    refused(lambda: PositionManager(START, desk.universe, desk.state, desk.pricing, tolerance), *parts)


def test_enough_cash_counts_cash_and_sells(desk):
    position = hold(desk, 9000)
    sell = desk.manager.close_position(position)
    desk.manager.check_enough_cash(sell + desk.manager.open_spot(AAVE_USDC, 10_000))


def test_too_little_cash_is_broken_down(desk):
    position = hold(desk, 9000)
    sell = desk.manager.adjust_position(WETH_USDC, -1000, -10, 0.8)
    buy = desk.manager.open_spot(AAVE_USDC, 2001)
    with pytest.raises(NotEnoughCashForBuys) as error:
        desk.manager.check_enough_cash(sell + buy)
    for part in ("Buys need 2001", "cash 1000", "sells bring 1000", "1 too little", "buy", "sell 10 WETH", "AAVE"):
        assert part in str(error.value)
    assert position.is_open()
    with pytest.raises(NotEnoughCashForBuys):
        desk.manager.check_enough_cash(buy)


@given(st.floats(min_value=0.01, max_value=100), st.floats(min_value=1, max_value=9999))
def test_check_of_cash_forgives_the_rounding_of_a_float(price, value):
    desk = Desk({WETH_USDC: [1.0, price]})
    desk.execute(desk.manager.open_spot(WETH_USDC, value))
    desk.execute(desk.at(1).manager.close_all())
    desk.manager.check_enough_cash(desk.manager.open_spot(WETH_USDC, desk.manager.get_current_cash()))
