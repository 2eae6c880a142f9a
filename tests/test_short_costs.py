"""What shorts cost: each cost by hand and once, its side right, and all of them what money is missing."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from backtest.test_short_entries import play
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_loans import decide_loans_by_seed, make_lending_universe
from random_strategy import Parameters, deposit_sometimes
from tape import AAVE_USDC, START
from test_costs import COSTS, IMPACT, TAPE_START
from test_fold import run_whole

import trading_dagster as td
from trading_dagster.backtest import plan_backtest
from trading_dagster.domain.error import BacktestExecutionFailed, PriceImpactToleranceExceeded
from trading_dagster.domain.trade import TradeType
from trading_dagster.statistics.price_step import explain_fill

assert START == TAPE_START
HOUR = timedelta(hours=1)
FLAT = [100] * 17
ALL = (IMPACT, td.Slippage(bps=10), td.GasPerTrade(usd=2))


def short(*later, value=1000, leverage=2, **arguments):
    """Return a decision that shorts in the first cycle and does something in each later one."""

    def decide(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            return pm.open_short(AAVE_USDC, value, leverage=leverage, **arguments)
        act = later[input.cycle - 2] if input.cycle - 2 < len(later) else None
        return act(pm, pm.get_current_short_position()) if act else []

    return decide


def close(pm, position):
    return pm.close_position(position)


def costs_of(result):
    return [trade.charges for trade in result.state.portfolio.get_all_trades()]


def run(decide, costs=ALL, opens=FLAT, **more):
    """Run at a 0.3 % fee and without interest."""
    return play(opens, decide, pair=AAVE_USDC, costs=costs, aprs={"supply": 0, "variable": 0}, **more)


def test_each_cost_of_a_short_by_hand():
    """20 tokens at 100, fee 0.3 %, half the pool is 500,000 USD: a trade of 2000 has i = 0.004; 10 bps; 2 USD gas."""
    result = run(short(close))
    sold, bought = result.state.portfolio.get_all_trades()

    quoted = 100 * 0.997 / 1.004
    assert sold.planned_price == pytest.approx(quoted, rel=1e-12)
    assert sold.executed_price == pytest.approx(quoted * 0.999, rel=1e-12)
    assert float(sold.executed_collateral_consumption) == pytest.approx(20 * quoted * 0.999, rel=1e-12)
    assert sold.executed_collateral_allocation == 998
    assert sold.lp_fees_paid == pytest.approx(2000 * 0.003, rel=1e-12)
    assert sold.charges.impact == pytest.approx(2000 * 0.997 * (1 - 1 / 1.004), rel=1e-12)
    assert sold.charges.slippage == pytest.approx(20 * quoted * 0.001, rel=1e-12)

    cost = 20 * 100 / 0.997 * 1.004
    assert bought.executed_price == pytest.approx(100 * 1.003 * 1.004 * 1.001, rel=1e-12)
    assert -float(bought.executed_collateral_consumption) == pytest.approx(cost * 1.001, rel=1e-12)
    assert bought.lp_fees_paid == pytest.approx(cost * 0.003, rel=1e-12)
    assert bought.charges.impact == pytest.approx(2000 * 0.004, rel=1e-12)
    assert bought.charges.slippage == pytest.approx(cost * 0.001, rel=1e-12)

    assert [t.charges.gas for t in (sold, bought)] == [2, 2]
    assert float(sold.charges.delay) == float(bought.charges.delay) == 0
    table = result.cost_summary["usd"]
    assert result.state.portfolio.get_cash() == pytest.approx(10_000 - table["total"], rel=1e-12)
    assert table["total"] == pytest.approx(sum(table[["fee", "tax", "impact", "slippage", "gas", "delay"]]))
    assert result.trades["slippage"].sum() == pytest.approx(table["slippage"])
    assert result.trades["impact"].sum() == pytest.approx(table["impact"])


def test_changes_of_a_short_pay_impact_slippage_and_gas_and_no_fee():
    """At 99.7, the bid its debt is valued at: 500 USD more, then 500 less; then a part is repaid, with fee."""

    def more(pm, position):
        return pm.adjust_short(position, position.get_value() + 500)

    def less(pm, position):
        return pm.adjust_short(position, position.get_value() - 500)

    def repay(pm, position):
        return pm.close_short(position, quantity=5)

    result = run(short(more, less, repay))
    bigger, smaller, part = result.state.portfolio.get_all_trades()[1:]
    tokens = -float(bigger.planned_quantity)
    i = tokens * 100 / 500_000
    assert i > 0.001
    assert bigger.charges.impact == pytest.approx(tokens * 99.7 * (1 - 1 / (1 + i)), rel=1e-9)
    assert bigger.charges.slippage == pytest.approx(tokens * 99.7 / (1 + i) * 0.001, rel=1e-9)
    brought = float(bigger.executed_collateral_consumption)
    assert tokens * 99.7 - brought == pytest.approx(bigger.charges.impact + bigger.charges.slippage, rel=1e-9)
    tokens = float(smaller.planned_quantity)
    i = tokens * 100 / 500_000
    assert smaller.charges.impact == pytest.approx(tokens * 99.7 * i, rel=1e-9)
    taken = -float(smaller.executed_collateral_consumption)
    assert taken - tokens * 99.7 == pytest.approx(smaller.charges.impact + smaller.charges.slippage, rel=1e-9)
    assert bigger.lp_fees_paid == smaller.lp_fees_paid == 0
    assert part.charges.impact == pytest.approx(500 * 500 / 500_000, rel=1e-9)
    assert part.charges.slippage == pytest.approx(500 * 1.001 / 0.997 * 0.001, rel=1e-9)
    assert [c.gas for c in costs_of(result)] == [2] * 4


def test_waiting_entries_and_triggered_exits_pay_as_decided_ones():
    def decide(input):
        if input.cycle == 1:
            pm = input.get_position_manager()
            pm.open_short_with_market_limit(AAVE_USDC, 1000, 95, leverage=2, stop_loss_pct=0.95)
        return []

    entry, stop = run(decide, opens=[100, 95, 96, 100, 100], costs=ALL).state.portfolio.get_all_trades()
    assert (entry.trade_type, stop.trade_type) == (TradeType.market_limit, TradeType.stop_loss)
    quantity = 2000 / 95
    assert entry.charges.slippage == pytest.approx(quantity * 95 * 0.997 / 1.004 * 0.001, rel=1e-9)
    value = quantity * 100
    assert stop.charges.impact == pytest.approx(value * value / 500_000, rel=1e-9)
    assert stop.charges.slippage == pytest.approx(value * (1 + value / 500_000) / 0.997 * 0.001, rel=1e-9)


def test_liquidator_bears_his_own_costs():
    result = run(short(leverage=4), opens=[100, 100, 110, 110, 110])
    liquidation = result.state.portfolio.get_all_trades()[-1]
    assert liquidation.is_liquidation()
    assert (liquidation.charges.gas, liquidation.charges.impact, liquidation.charges.slippage) == (0, 0, 0)
    assert liquidation.executed_price == pytest.approx(110 * 1.05)


@pytest.mark.parametrize(
    ("costs", "error", "match"),
    [
        ([td.Slippage(bps=200)], BacktestExecutionFailed, "tolerates a slippage of 1.70%"),
        ([td.ConstantProductImpact(missing_tvl_usd=30_000)], PriceImpactToleranceExceeded, "loses 11.76%"),
        ([td.GasPerTrade(usd=1000)], BacktestExecutionFailed, "gas alone takes"),
    ],
)
def test_costs_that_make_a_short_senseless_are_refused(costs, error, match):
    with pytest.raises(error, match=match):
        run(short(close), costs)


def test_impact_of_a_larger_short_is_refused_as_that_of_a_new_one():
    def much_more(pm, position):
        return pm.adjust_short(position, position.get_value() + 3000)

    with pytest.raises(PriceImpactToleranceExceeded, match="price impact"):
        run(short(much_more, leverage=1), [td.ConstantProductImpact(missing_tvl_usd=30_000)])


def test_delayed_short_keeps_its_tokens_and_gets_the_price_of_its_fill():
    """Decided at 100 and sold at 90 an hour later; bought back at 80, decided at 85."""
    opens = [100, 90, 90, 90, 85, 80, 80, 80, 80]
    result = run(short(close), [td.ExecutionDelay(by=HOUR)], opens)
    sold, bought = result.state.portfolio.get_all_trades()
    assert (float(sold.executed_quantity), sold.executed_price) == pytest.approx((-20, 90 * 0.997))
    assert float(sold.executed_collateral_consumption) == pytest.approx(20 * 90 * 0.997)
    assert sold.charges.delay == pytest.approx(200)
    assert sold.lp_fees_paid == pytest.approx(1800 * 0.003)
    assert -float(bought.executed_collateral_consumption) == pytest.approx(20 * 80 / 0.997)
    assert bought.charges.delay == pytest.approx(-100)
    lost = result.cost_summary["usd"]["total"] - 20 * (100 - 85)  # what the decisions meant to gain
    assert result.state.portfolio.get_cash() == pytest.approx(10_000 - lost)


def test_delayed_change_of_a_short_moves_with_the_market_and_one_without_a_candle_is_dropped():
    def less(pm, position):
        return pm.adjust_short(position, position.get_value() * 0.5)

    opens = [100, 100, 100, 100, 100, 80, *[80] * 3]
    smaller = run(short(less), [td.ExecutionDelay(by=HOUR)], opens).state.portfolio.get_all_trades()[1]
    assert smaller.executed_price == pytest.approx(80 * 0.997)
    assert smaller.charges.delay == pytest.approx(-20 * float(smaller.executed_quantity))


def test_delayed_exit_that_collateral_cannot_pay_leaves_nothing_and_cash_alone():
    opens = [100, 100, 100, 100, 100, 190, *[190] * 3]
    result = run(short(close), [td.ExecutionDelay(by=HOUR), td.Slippage(bps=10)], opens)
    bought = result.state.portfolio.get_all_trades()[1]
    assert result.state.portfolio.get_cash() == pytest.approx(9_000)
    assert bought.executed_collateral_allocation == 0
    assert bought.charges.slippage == 0
    (position,) = result.state.portfolio.closed_positions.values()
    assert position.loan.collateral.total == 0
    held = float(result.state.portfolio.get_all_trades()[0].executed_collateral_consumption) + 1000
    fee = bought.lp_fees_paid
    assert bought.charges.delay + fee == pytest.approx(held - 2000, rel=0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: td.Slippage(bps=100 * x),
        lambda x: td.GasPerTrade(usd=5 * x),
        lambda x: td.PairFee(0.02 * x),
        lambda x: td.TokenTax(buy=0.02 * x, sell=0.02 * x),
        lambda x: td.ConstantProductImpact(missing_tvl_usd=2e5 / (x + 1e-6)),
    ],
    ids=["slippage", "gas", "fee", "tax", "constant product"],
)
@settings(max_examples=4, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_more_of_a_cost_never_leaves_a_short_more_money(make, one, other):
    less, more = sorted((one, other))

    def shrink(pm, position):
        return pm.close_short(position, quantity=5)

    def grow(pm, position):
        return pm.adjust_short(position, position.get_value() * 1.3)

    left = [run(short(shrink, grow, close), [make(x)]).state.portfolio.get_cash() for x in (less, more)]
    assert left[0] >= left[1] - 1e-9


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), COSTS)
def test_what_is_charged_explains_every_swap_of_a_short(seed, costs):
    """Between its tokens at the mid price of the decision and what collateral got or gave: nothing else is missing."""
    plan = plan_backtest(
        decide_trades=decide_loans_by_seed(seed),
        universe=make_lending_universe(seed),
        parameters=type("Later", (Parameters,), {"backtest_start": Parameters.backtest_start + timedelta(days=1)}),
        costs=costs,
        execution_test_hook=deposit_sometimes,
    )
    try:
        state = run_whole(plan)[0].state
    except BacktestExecutionFailed as error:  # chance wanted a trade that is smaller than its gas
        assume("gas alone takes" not in str(error))
        raise
    swaps = 0
    for trade in state.portfolio.get_all_trades():
        if trade.fill is None or not trade.is_short() or trade.is_liquidation():
            continue
        charges, quantity = trade.charges, abs(float(trade.executed_quantity))
        side = 1 if trade.is_buy() else -1
        moved = abs(float(trade.executed_collateral_consumption))
        pricing = trade.price_structure
        fair = pricing.mid_price
        if not pricing.path:  # at the price its debt was last valued at
            fair = pricing.price - side * trade.other_data.get("price_impact_usd", 0.0) / (quantity or 1)
        explained = (trade.lp_fees_paid or 0.0) + charges.impact + charges.slippage + charges.delay
        if pricing.path:
            assert side * (moved - fair * quantity) == pytest.approx(explained, rel=1e-7, abs=1e-7)
        elif quantity:
            delay = side * fair * quantity * (charges.delay * side / quantity / pricing.mid_price)
            explained += delay - charges.delay  # the price it was valued at moves as the mid price does
            assert side * (moved - fair * quantity) == pytest.approx(explained, rel=1e-6, abs=1e-5)
        assert min(charges.gas, charges.impact, charges.slippage, trade.token_tax_paid) >= 0
        assert trade.token_tax_paid <= (trade.lp_fees_paid or 0.0) * (1 + 1e-12)
        steps = explain_fill(trade)
        assert steps.total == Fraction(trade.executed_price)
        if not pricing.path and not charges.delay:
            assert float(steps.impact * side) * quantity == pytest.approx(charges.impact, rel=1e-9, abs=1e-9)
            assert float(steps.slippage * side) * quantity == pytest.approx(charges.slippage, rel=1e-6, abs=1e-6)
        swaps += 1
    assert swaps > 10
    cash = sum((u.quantity for u in state.portfolio.reserve.balance_updates.values()), Decimal(0))
    for trade in state.portfolio.get_all_trades():
        if trade.fill is not None:
            cash -= trade.charges.gas
            change = trade.executed_loan_update
            cash -= change.collateral_allocation if change else trade.executed_reserve * (1 if trade.is_buy() else -1)
    assert abs(cash - state.portfolio.reserve.quantity) < Decimal("1e-18")
