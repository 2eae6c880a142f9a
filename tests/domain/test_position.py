"""Position arithmetic by the average-price method, calculated by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from decimal import Decimal

import pytest
from ledger import CREDIT, VAULT, Ledger, day
from scenario import WETH_USDC
from tape import WETH_USDC as FREE
from tape import Desk, Opens, pair_of, token

from trading_dagster.domain.error import LedgerError, TooSmallTrade
from trading_dagster.domain.event import (
    BalanceUpdated,
    DustKept,
    PositionFrozen,
    PositionUnfrozen,
    TradeDiscarded,
    TradeExecuted,
    TradePlanned,
    TradeRepaired,
    TradeStarted,
)
from trading_dagster.domain.trade import TradeType
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType

PRICES: Opens = [100.0, 100.0, 100.0]


def test_partial_sells_by_the_average_price_method():
    """Buy 10 @ 100 and 10 @ 200 (average 150), sell 5 @ 180, then 10 @ 120 (average sell 140), price now 110."""
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    ledger.buy(2, 2000, 200, position=number)
    position = ledger.state.portfolio.open_positions[number]
    assert position.get_average_buy() == 150
    assert position.get_realised_profit_usd() is None
    assert position.get_realised_profit_percent() == 0

    ledger.sell(3, number, 180, part=0.25)
    assert position.get_realised_profit_usd() == pytest.approx((180 - 150) * 5)
    assert position.get_unrealised_profit_usd() == pytest.approx((180 - 150) * 15)
    assert position.get_total_profit_usd() == pytest.approx(600)
    assert position.get_realised_profit_percent() == pytest.approx(900 / (3000 * 0.25) - 1)

    ledger.trade(4, number, WETH_USDC, -10, 1200, 120, position.get_last_trade().trade_type, "filled", {})
    ledger.marks.prices[WETH_USDC] = 110.0
    assert position.get_quantity() == 5
    assert position.get_average_sell() == pytest.approx(2100 / 15)
    assert position.get_realised_profit_usd() == pytest.approx((140 - 150) * 15)
    assert position.get_unrealised_profit_usd() == pytest.approx((110 - 150) * 5)
    assert position.get_realised_profit_percent() == pytest.approx(2100 / (3000 * 0.75) - 1)
    assert position.get_unrealised_and_realised_profit_percent() == pytest.approx((2100 + 550 - 3000) / 3000)
    assert [t.profit for t in position.trades.values()] == [
        None,
        None,
        pytest.approx(5 * (180 - 150)),
        pytest.approx(10 * (120 - 150)),
    ]


def test_closed_position_is_worth_nothing_and_keeps_its_prices():
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    ledger.sell(3, number, 130)
    position = ledger.state.portfolio.closed_positions[number]
    ledger.marks.prices[WETH_USDC] = 7.0
    assert position.get_value() == 0
    assert position.get_unrealised_profit_usd() == 0
    assert (position.get_opening_price(), position.get_closing_price(), position.last_token_price) == (100, 130, 130)
    assert position.get_total_profit_usd() == pytest.approx(300)
    assert position.get_unrealised_and_realised_profit_percent() == pytest.approx(0.3)
    assert (position.opened_at, position.closed_at) == (day(1), day(3))
    assert position.is_closed()
    assert not position.is_open()


def test_size_relative_profit_is_the_percent_times_capital_tied_at_open():
    ledger = Ledger(cash=10_000)
    number = ledger.round_trip(1, 2, profit=250, value=2500)
    position = ledger.state.portfolio.closed_positions[number]
    assert position.portfolio_value_at_open == 10_000
    assert position.get_capital_tied_at_open_pct() == 0.25
    assert position.get_size_relative_realised_profit_percent() == pytest.approx(0.1 * 0.25)


def test_loss_risk_is_measured_from_the_first_stop_loss():
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    position = ledger.state.portfolio.open_positions[number]
    assert position.get_loss_risk_at_open() is None
    assert position.get_loss_risk_at_open_pct() is None
    ledger.move_stop(1, number, 100, 90)
    ledger.move_stop(2, number, 120, 110)
    assert position.get_original_stop_loss() == 90
    assert position.get_loss_risk_at_open() == pytest.approx(10 * 10)
    assert position.get_loss_risk_at_open_pct() == pytest.approx(100 / 10_000)


def test_planned_sells_reduce_what_is_available_until_they_fail():
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    position = ledger.state.portfolio.open_positions[number]
    ledger.sell(2, number, 100, part=0.25, outcome="running")
    assert (position.get_quantity(), position.get_available_trading_quantity()) == (10, Decimal("7.5"))
    ledger.sell(2, number, 100, part=0.5, outcome="failed")
    assert position.get_available_trading_quantity() == Decimal("7.5")


def test_planned_buy_does_not_raise_what_is_available():
    desk = Desk({FREE: PRICES})
    desk.execute(desk.manager.open_spot(FREE, 1000))
    position = desk.manager.get_current_position()
    desk.manager.adjust_position(FREE, 500, None, 0.1)
    assert position.get_available_trading_quantity() == 10


@pytest.mark.parametrize(
    ("left", "closes"), [("1e-10", True), ("1.1e-10", False), ("5e-11", True), ("0", True), ("0.1", False)]
)
def test_position_closes_when_what_is_left_is_dust(left, closes):
    desk = Desk({FREE: PRICES})
    desk.execute(desk.manager.open_spot(FREE, 1000))
    position = desk.manager.get_current_position()
    desk.execute(desk.manager.adjust_position(FREE, -1.0, Decimal(left) - 10, 0.0))
    assert position.is_closed() == closes
    assert (position.position_id in desk.portfolio.open_positions) == (not closes)
    assert desk.manager.is_any_open() != closes


@pytest.mark.parametrize(
    ("pair", "left", "closes"),
    [(VAULT, 9e-7, True), (VAULT, 2e-6, False), (CREDIT, 0.0029, True), (CREDIT, 0.0031, False)],
)
def test_dust_of_vaults_and_credit_is_larger(pair, left, closes):
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100, pair=pair)
    ledger.sell(2, number, 100, part=1 - left / 10)
    assert ledger.state.portfolio.get_position_by_id(number).is_closed() == closes


def test_dust_left_behind_many_times_is_still_accounted_for():
    desk = Desk({FREE: PRICES})
    for _ in range(5):
        desk.execute(desk.manager.open_spot(FREE, 1000))
        desk.execute(desk.manager.adjust_position(FREE, -1.0, Decimal("5e-11") - 10, 0.0))
    assert len(desk.portfolio.closed_positions) == 5
    assert desk.wallet.get_balance(FREE.base) == Decimal("2.5e-10")


def test_dust_that_a_trade_leaves_is_kept_until_another_uses_it_up():
    state, at = Ledger().state, day(1).replace(tzinfo=UTC)
    state.record(DustKept(at, 1, 1, FREE.base, Decimal("0.5")))
    assert state.portfolio.dust == {FREE.base: Decimal("0.5")}
    state.record(DustKept(at, 2, 1, FREE.base, Decimal("-0.5")))
    assert state.portfolio.dust == {}


@pytest.mark.parametrize("value", [1e-9, 0.99e-8])
def test_trade_of_dust_is_refused_and_leaves_nothing_behind(value):
    desk = Desk({FREE: PRICES})
    with pytest.raises(TooSmallTrade, match="not above the dust limit 1E-10: skip it"):
        desk.manager.open_spot(FREE, value)
    assert not desk.manager.is_any_open()
    assert desk.portfolio.next_position_id == 1


def test_quantity_within_1e_18_of_zero_is_zero():
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    position = ledger.state.portfolio.open_positions[number]
    move_tokens(ledger, 2, number, BalanceUpdateCause.correction, Decimal("-9.999999999999999999"))
    assert position.quantity == Decimal("1e-18")
    assert position.get_quantity() == 0


def test_interest_and_corrections_change_the_quantity_but_not_the_cost():
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    move_tokens(ledger, 2, number, BalanceUpdateCause.correction, Decimal(-4))
    position = ledger.state.portfolio.open_positions[number]
    assert position.get_quantity() == 6
    assert position.get_unrealised_and_realised_profit_percent() == pytest.approx(-0.4)


def test_redemption_in_kind_takes_its_part_of_the_cost_with_it():
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    move_tokens(ledger, 2, number, BalanceUpdateCause.redemption, Decimal(-4))
    position = ledger.state.portfolio.open_positions[number]
    ledger.marks.prices[WETH_USDC] = 120.0
    assert position.get_quantity() == 6
    assert position.get_average_buy() == 100
    assert position.get_unrealised_profit_usd() == pytest.approx(120)
    assert position.get_unrealised_and_realised_profit_percent() == pytest.approx(0.2)
    ledger.sell(3, number, 120)
    assert position.get_realised_profit_usd() == pytest.approx(120)
    assert position.get_realised_profit_percent() == pytest.approx(0.2)


def move_tokens(ledger: Ledger, at: float, number: int, cause: BalanceUpdateCause, quantity: Decimal) -> None:
    update = BalanceUpdate(
        balance_update_id=ledger.state.portfolio.next_balance_update_id,
        cause=cause,
        position_type=BalanceUpdatePositionType.open_position,
        asset=WETH_USDC.base,
        quantity=quantity,
        old_balance=Decimal(10),
        usd_value=float(quantity) * 100,
        block_mined_at=day(at),
        strategy_cycle_included_at=day(at),
        position_id=number,
    )
    ledger.state.record(BalanceUpdated(day(at).replace(tzinfo=UTC), update))


def test_frozen_position_counts_in_net_asset_value_but_not_in_equity():
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    portfolio = ledger.state.portfolio
    at = day(2).replace(tzinfo=UTC)
    ledger.state.record(PositionFrozen(at, number, "sell reverted"))
    position = portfolio.frozen_positions[number]
    assert (portfolio.calculate_total_equity(), portfolio.get_net_asset_value()) == (9000, 10_000)
    assert (position.is_frozen(), position.is_open(), position.notes) == (True, False, "sell reverted")
    assert portfolio.get_open_position_for_pair(WETH_USDC) is None
    ledger.state.record(PositionUnfrozen(at, number, "checked"))
    assert portfolio.calculate_total_equity() == 10_000
    assert portfolio.get_open_position_for_pair(WETH_USDC) is position
    assert (position.frozen_at, position.unfrozen_at, position.is_open()) == (day(2), day(2), True)


def freeze(ledger, number):
    ledger.state.record(PositionFrozen(AT_2, number, "reverted"))
    return ledger.state.portfolio.frozen_positions[number]


def release(ledger, position):
    for trade in list(position.trades.values()):
        if trade.is_failed():
            ledger.state.record(TradeRepaired(AT_2, trade.trade_id, position.position_id, "settled"))
    ledger.state.record(PositionUnfrozen(AT_2, position.position_id, "settled"))


AT_2 = day(2).replace(tzinfo=UTC)


def test_failed_buy_that_is_settled_leaves_its_capital_in_cash_once_and_no_position():
    ledger = Ledger()
    position = freeze(ledger, ledger.buy(1, 1000, 100, outcome="failed"))
    portfolio = ledger.state.portfolio
    assert portfolio.get_cash() == 10_000
    release(ledger, position)
    assert portfolio.get_cash() == 10_000
    assert not portfolio.open_positions
    assert not portfolio.frozen_positions
    assert list(portfolio.expired_positions) == [position.position_id]
    assert portfolio.get_open_position_for_pair(WETH_USDC) is None
    assert not position.is_frozen()
    ledger.state.perform_integrity_check()


def test_failed_sell_that_is_settled_gives_the_position_back():
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    ledger.sell(2, number, 110, outcome="failed")
    position = freeze(ledger, number)
    release(ledger, position)
    assert list(ledger.state.portfolio.open_positions) == [number]
    assert position.get_quantity() == 10
    assert ledger.state.portfolio.get_cash() == 9000


def test_released_position_with_nothing_left_is_closed():
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    position = freeze(ledger, number)
    move_tokens(ledger, 1.5, number, BalanceUpdateCause.correction, Decimal(-10))
    release(ledger, position)
    portfolio = ledger.state.portfolio
    assert (list(portfolio.closed_positions), list(portfolio.open_positions)) == ([number], [])
    assert position.closed_at == day(2)


def test_position_that_is_not_frozen_is_not_released():
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    with pytest.raises(LedgerError, match="not frozen"):
        ledger.state.record(PositionUnfrozen(AT_2, number, "checked"))


def test_retry_that_never_began_leaves_no_empty_position():
    ledger = Ledger()
    position = freeze(ledger, ledger.buy(1, 1000, 100, outcome="failed"))
    number, failed = position.position_id, position.get_last_trade()
    again = ledger.state.portfolio.next_trade_id
    ledger.state.record(TradeRepaired(AT_2, failed.trade_id, number, "tried again"))
    ledger.state.record(TradePlanned(AT_2, replace(failed.plan, trade_id=again)))
    ledger.state.record(PositionUnfrozen(AT_2, number, "tried again"))
    assert list(ledger.state.portfolio.open_positions) == [number]
    ledger.state.record(TradeDiscarded(AT_2, again, number, "never began"))
    assert not ledger.state.portfolio.open_positions
    assert list(ledger.state.portfolio.expired_positions) == [number]


def test_trade_is_settled_once_and_only_after_it_failed():
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    with pytest.raises(LedgerError, match="only a failed trade"):
        ledger.state.record(TradeRepaired(AT_2, 1, number, "settled"))
    failed = ledger.buy(1, 1000, 100, outcome="failed")
    ledger.state.record(TradeRepaired(AT_2, 2, failed, "settled"))
    with pytest.raises(LedgerError, match="only once"):
        ledger.state.record(TradeRepaired(AT_2, 2, failed, "settled"))


def test_empty_trade_closes_a_position_that_a_correction_emptied():
    ledger = Ledger()
    number = ledger.buy(1, 1000, 100)
    position = ledger.state.portfolio.open_positions[number]
    move_tokens(ledger, 1.5, number, BalanceUpdateCause.correction, Decimal(-10))
    assert position.is_open()
    plan = replace(
        position.get_last_trade().plan,
        trade_id=2,
        trade_type=TradeType.accounting_correction,
        quantity=Decimal(0),
        reserve=Decimal(0),
        closing=True,
    )
    ledger.state.record(TradePlanned(AT_2, plan))
    ledger.state.record(TradeStarted(AT_2, 2, number))
    ledger.state.record(TradeExecuted(AT_2, 2, number, Decimal(0), Decimal(0), 90.0, 0.0))
    assert list(ledger.state.portfolio.closed_positions) == [number]
    assert position.get_closing_price() == 90
    assert position.get_total_profit_usd() == 0
    assert ledger.state.portfolio.get_cash() == 9000


def test_portfolio_value_at_open_is_the_equity_before_the_first_trade():
    desk = Desk({FREE: [100.0, 150.0], pair_of(2, token(3, "AAVE"), FREE.quote, fee=0.0): [10.0, 10.0]})
    desk.execute(desk.manager.open_spot(FREE, 5000))
    (second,) = desk.at(1).manager.open_spot(desk.universe.pairs[1], 1000)
    position = desk.portfolio.open_positions[second.position_id]
    assert position.portfolio_value_at_open == 5000 + 50 * 150
