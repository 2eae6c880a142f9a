"""What a decision may ask of shorts and credit, what it gets, and what is refused; liquidation in a backtest."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.loan_scenario import LoanParameters, lending_universe, run_with_loans
from tests.scenario import WETH_USDC
from tests.test_scenarios import positions
from trading_dagster.backtest import run_backtest
from trading_dagster.domain.error import InvalidTrade, LiquidationRisked, NotEnoughCashForBuys
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.trade import TradeFlag, TradeType
from trading_dagster.domain.trigger import TriggerCondition


def in_cycle(cycle, ask):
    """Return a decision that asks something in one cycle."""

    def decide(input):
        return ask(input.get_position_manager()) if input.cycle == cycle else []

    return decide


def in_cycles(*asks):
    def decide(input):
        return asks[input.cycle - 1](input.get_position_manager()) if input.cycle <= len(asks) else []

    return decide


def refuse(error, match, ask):
    """Check that a decision's request is refused, and leaves nothing planned."""

    def decide(manager):
        with pytest.raises(error, match=match):
            ask(manager)
        assert manager.get_current_portfolio().next_trade_id == 1
        return []

    run_with_loans(in_cycle(1, decide))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"value": 0}, InvalidTrade, "value above 0"),
        ({"leverage": 0}, InvalidTrade, "Max short leverage for aUSDC is 5.66"),
        ({"leverage": 6}, AssertionError, "Max short leverage for aUSDC is 5.66.*, got 6"),
        ({"leverage": 5.66}, LiquidationRisked, "health factor 0.99"),
        (
            {"leverage": 4, "stop_loss_pct": 0.9},
            InvalidTrade,
            "must be bigger than liquidation distance 0.9375, got 0.9",
        ),
        ({"leverage": 4, "trailing_stop_loss_pct": 0.9}, AssertionError, "trailing_stop_loss_pct must be bigger"),
        ({"stop_loss_pct": 0.9, "trailing_stop_loss_pct": 0.95}, InvalidTrade, "only one of"),
        ({"take_profit_pct": 0.9}, InvalidTrade, "above 1"),
    ],
)
def test_shorts_that_break_a_rule_are_refused(options, error, match):
    refuse(error, match, lambda manager: manager.open_short(WETH_USDC, **{"value": 1_000, **options}))


def test_second_short_on_a_pair_is_refused():
    def again(manager):
        with pytest.raises(InvalidTrade, match="is open already"):
            manager.open_short(WETH_USDC, 100)
        return []

    run_with_loans(in_cycles(lambda manager: manager.open_short(WETH_USDC, 100), again))


def test_close_and_open_in_one_cycle_make_two_positions():
    def turn(manager):
        trades = manager.close_all()
        return trades + manager.open_short(WETH_USDC, 500)

    result = run_with_loans(in_cycles(lambda manager: manager.open_short(WETH_USDC, 100), turn))
    assert [(p.position_id, p.is_closed()) for p in positions(result)] == [(1, True), (2, False)]


def test_adjusting_brings_the_value_to_its_target_at_no_cost():
    seen = []

    def adjust(value):
        def ask(manager):
            position = manager.get_current_short_position()
            seen.append((position.get_value(), position.loan.get_leverage()))
            return manager.adjust_short(position, value)

        return ask

    result = run_with_loans(
        in_cycles(
            lambda manager: manager.open_short(WETH_USDC, 1_000, leverage=2),
            adjust(2_000),
            adjust(700),
            lambda manager: seen.append(manager.get_current_short_position().get_value()) or [],
        )
    )
    bigger, smaller = list(positions(result)[0].trades.values())[1:]
    assert float(bigger.executed_collateral_allocation) == pytest.approx(2_000 - seen[0][0])
    assert float(smaller.executed_collateral_allocation) == pytest.approx(700 - seen[1][0])
    assert (bigger.flags, smaller.flags) == (frozenset({TradeFlag.increase}), frozenset({TradeFlag.reduce}))
    assert bigger.lp_fees_paid == smaller.lp_fees_paid == 0
    assert -float(bigger.executed_quantity) * bigger.executed_price == pytest.approx(
        float(bigger.executed_collateral_allocation) * seen[0][1]
    )


def test_adjusting_by_less_than_the_threshold_or_to_nothing():
    def ask(manager):
        position = manager.get_current_short_position()
        assert manager.adjust_short(position, position.get_value()) == []
        assert manager.adjust_short(position, position.get_value() + 5, minimum_rebalance_trade_threshold=10) == []
        with pytest.raises(InvalidTrade, match="close_position"):
            manager.adjust_short(position, 0)
        trades = manager.adjust_short(position, position.get_value() + 5)
        with pytest.raises(InvalidTrade, match="planned in this cycle"):
            manager.adjust_short(position, 200)
        return trades

    run_with_loans(in_cycles(lambda manager: manager.open_short(WETH_USDC, 100), ask))


def test_part_of_a_debt_is_repaid_from_collateral():
    def repay(manager):
        position = manager.get_current_short_position()
        with pytest.raises(InvalidTrade, match="is owed"):
            manager.close_short(position, quantity=-position.get_quantity() * 2)
        return manager.close_short(position, quantity=-position.get_quantity() / 2)

    result = run_with_loans(in_cycles(lambda manager: manager.open_short(WETH_USDC, 1_000), repay))
    (position,) = positions(result)
    opened, repaid = position.trades.values()
    assert repaid.executed_collateral_allocation == 0
    assert repaid.executed_quantity > 0
    assert not repaid.closing
    assert position.is_open()
    assert result.state.portfolio.get_cash() == 9_000
    assert position.loan.get_health_factor() > 2.5
    assert repaid.profit == pytest.approx(
        (opened.executed_price - repaid.executed_price) * float(repaid.executed_quantity)
    )


def test_credit_adds_up_in_one_position_and_pays_its_interest_out():
    def more(manager):
        return manager.add_cash_to_credit_supply(0.5) + manager.add_cash_to_credit_supply(2_000)

    def less(manager):
        position = manager.get_current_credit_supply_position()
        assert manager.adjust_credit_supply_position(position, delta=ZERO) == []
        return manager.adjust_credit_supply_position(position, new_value=1_000)

    result = run_with_loans(
        in_cycles(
            lambda manager: manager.open_credit_supply_position_for_reserves(1_000),
            more,
            less,
            lambda manager: manager.close_all(),
        )
    )
    (position,) = positions(result)
    assert [t.is_shrinking() for t in position.trades.values()] == [False, False, True, True]
    assert position.is_closed()
    assert result.state.portfolio.get_cash() == pytest.approx(10_000 + position.get_realised_profit_usd(), abs=1e-9)
    assert position.get_claimed_interest() == pytest.approx((1_000 + 3_000 + 1_000) * 0.02 / 365, rel=1e-3)
    assert position.get_realised_profit_percent() == pytest.approx(position.get_realised_profit_usd() / 3_000)


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (lambda manager: manager.open_credit_supply_position_for_reserves(0), "amount above 0"),
        (lambda manager: manager.add_cash_to_credit_supply(-1), "cash above 0"),
        (lambda manager: manager.calculate_credit_flow_needed([], allocation_pct=0.2), "above 0.30"),
    ],
)
def test_credit_that_breaks_a_rule_is_refused(ask, match):
    refuse(InvalidTrade, match, ask)


def test_cash_check_counts_what_shorts_and_credit_need_and_release():
    def ask(manager):
        trades = manager.open_short(WETH_USDC, 6_000) + manager.open_credit_supply_position_for_reserves(5_000)
        with pytest.raises(NotEnoughCashForBuys, match="too little"):
            manager.check_enough_cash(trades)
        manager.check_enough_cash(trades[:1])
        return trades[:1]

    run_with_loans(in_cycle(1, ask))


def rising_universe(start_price=1_000.0, factor=1.04, **options):
    """Return a universe whose price rises by a factor a day."""
    universe = lending_universe(datetime(2023, 1, 30), start_price=start_price, **options)
    for name, values in universe.candles.columns.items():
        if name != "volume":
            values.setflags(write=True)
            values[0] = [start_price * factor**bar for bar in range(len(values[0]))]
    return universe


def test_breached_short_is_liquidated_with_a_penalty():
    """Leverage 5: health 0.85 x 5.985 / 5 is 1.01745 at first; one day of +4 % is too much."""
    result = run_with_loans(
        in_cycle(1, lambda manager: manager.open_short(WETH_USDC, 1_000, leverage=5)), universe=rising_universe()
    )
    (position,) = positions(result)
    opened, liquidated = position.trades.values()
    assert liquidated.trade_type is TradeType.liquidation
    assert liquidated.executed_at == datetime(2023, 1, 2)
    assert liquidated.executed_price == pytest.approx(1_040 * 1.05)
    assert "health factor 0.978" in liquidated.notes
    assert liquidated.other_data["liquidation_penalty_usd"] == pytest.approx(5 * 1_040 * 0.05, rel=1e-3)
    left = float(opened.plan.loan.collateral_change) - 5 * 1_040 * 1.05
    assert result.state.portfolio.get_cash() == pytest.approx(9_000 + left, rel=1e-6)
    assert position.is_closed()


def test_penalty_is_a_parameter_and_takes_no_more_than_there_is():
    result = run_with_loans(
        in_cycle(1, lambda manager: manager.open_short(WETH_USDC, 1_000, leverage=5)),
        universe=rising_universe(factor=1.5),
    )
    assert result.state.portfolio.get_cash() == 9_000
    assert all(quantity >= 0 for quantity in (position.get_quantity() for position in positions(result)))

    class Generous(LoanParameters):
        liquidation_penalty = 0.0

    free = run_backtest(
        decide_trades=in_cycle(1, lambda manager: manager.open_short(WETH_USDC, 1_000, leverage=5)),
        universe=rising_universe(),
        parameters=Generous,
        progress=False,
    )
    trade = list(positions(free)[0].trades.values())[-1]
    assert trade.executed_price == pytest.approx(1_040)


def test_trailing_stop_of_a_short_is_only_lowered():
    result = run_with_loans(
        in_cycle(1, lambda manager: manager.open_short(WETH_USDC, 1_000, trailing_stop_loss_pct=0.9)),
        datetime(2023, 1, 20),
        universe=rising_universe(factor=0.97),
    )
    (position,) = positions(result)
    levels = [update.stop_loss_after for update in position.trigger_updates]
    assert levels[0] == pytest.approx(1_100)
    assert levels == sorted(levels, reverse=True)
    assert len(levels) > 10
    assert position.is_open()


def test_universe_with_fixed_prices_earns_and_owes_by_the_rates_alone():
    result = run_with_loans(
        in_cycle(1, lambda manager: manager.open_short(WETH_USDC, 1_000)),
        datetime(2023, 1, 20),
        universe=rising_universe(factor=1.0),
    )
    (position,) = positions(result)
    loan = position.loan
    days = 18
    assert loan.get_collateral_interest() == pytest.approx(1_997 * ((1 + 0.02 / 365) ** days - 1), rel=1e-9)
    assert loan.get_borrow_interest() == pytest.approx(997 * ((1 + 0.05 / 365) ** days - 1), rel=1e-9)
    assert Decimal(position.get_quantity()) == -loan.borrowed.total
    assert position.get_duration() is None
    assert timedelta(days=days) == loan.borrowed.interest.last_event_at - position.opened_at


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"value": 0}, InvalidTrade, "value above 0"),
        ({"trigger_price": 0}, InvalidTrade, "above 0"),
        ({"leverage": 6}, AssertionError, "Max short leverage for aUSDC is 5.66.*, got 6"),
        ({"leverage": 5.66}, LiquidationRisked, "health factor 0.99"),
        (
            {"leverage": 4, "stop_loss_pct": 0.9},
            InvalidTrade,
            "must be bigger than liquidation distance 0.9375, got 0.9",
        ),
        ({"leverage": 4, "trailing_stop_loss_pct": 0.9}, InvalidTrade, "trailing_stop_loss_pct must be bigger"),
        ({"take_profit_pct": 0.9}, InvalidTrade, "above 1"),
        ({"condition": TriggerCondition.timed_absolute}, InvalidTrade, "cross_above or cross_below"),
        ({"expires_at": datetime(2020, 1, 1)}, InvalidTrade, "could never fire"),
    ],
)
def test_impossible_short_that_waits_is_refused_and_leaves_nothing_behind(options, error, match):
    arguments = {"value": 1_000, "trigger_price": 1_500, **options}
    refuse(error, match, lambda manager: manager.open_short_with_market_limit(WETH_USDC, **arguments))


def test_only_the_opening_of_a_short_can_wait():
    def ask(manager):
        position, (trade,) = manager.open_short_with_market_limit(WETH_USDC, 1_000, 1_500, leverage=2)
        assert (position.get_status(), position.get_pending_quantity()) == ("pending", trade.planned_quantity)
        assert trade.triggers[0].condition is TriggerCondition.cross_below
        assert manager.get_current_position_for_pair(position.pair, pending=True) is position
        assert not manager.is_any_short_position_open()
        assert not manager.get_current_portfolio().loan_positions
        with pytest.raises(InvalidTrade, match="of a short only its opening can wait"):
            manager.close_position(position, pending=True, trigger_price=1_400)
        with pytest.raises(InvalidTrade, match="of a short only its opening can wait"):
            manager.prepare_take_profit_trades(position, [(1_400.0, Decimal(-1), True)])
        with pytest.raises(InvalidTrade, match="gives it up"):
            manager.close_short(position)
        with pytest.raises(InvalidTrade, match="no open short"):
            manager.adjust_short(position, 100)
        manager.update_stop_loss(position, 1_700)
        assert position.stop_loss == 1_700
        with pytest.raises(InvalidTrade, match="shorts opened in it"):
            manager.set_market_limit_trigger([trade], 1_400)
        return []

    def more(manager):
        bigger = manager.adjust_short(manager.get_current_short_position(), 2_000)
        with pytest.raises(InvalidTrade, match="shorts opened in it"):
            manager.set_market_limit_trigger(bigger, 1_400)
        return bigger

    universe = lending_universe(datetime(2023, 1, 30))
    run_with_loans(in_cycles(ask), universe=universe)
    run_with_loans(in_cycles(lambda manager: manager.open_short(WETH_USDC, 500), more), universe=universe)
