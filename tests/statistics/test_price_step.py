"""The steps of two prices explain all of their difference, and each step means what it says."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.trade import TradeExecution, TradeFill, TradePlan, TradePricing, TradeType
from trading_dagster.statistics.price_step import STEPS, explain_fill, explain_quote

AT = datetime(2024, 1, 1)
USD = AssetIdentifier(1, "0x01", "USDC", 6)
PAIR = TradingPairIdentifier(AssetIdentifier(1, "0x02", "WETH", 18), USD, "0x03", "0x04", internal_id=1, fee=0.003)
PRICES = st.floats(min_value=1e-9, max_value=1e9)
FRACTIONS = st.floats(min_value=0, max_value=0.5)


def executed(pricing, price, quantity=Decimal(2)):
    quantity = quantity if pricing.side else -quantity
    plan = TradePlan(1, 1, PAIR, TradeType.rebalance, quantity, Decimal(2), pricing, USD)
    trade = TradeExecution(plan, AT)
    trade.started_at = AT
    trade.fill = TradeFill(AT, quantity, Decimal(2), price, 0.0, None)
    return trade


def quote(side, mid, price, fee, tax=None, block=None):
    return TradePricing(price, mid, 0.0, fee, side, AT, token_tax_percent=tax, block_number=block)


@st.composite
def fills(draw):
    pricing = quote(
        draw(st.booleans()),
        draw(PRICES),
        draw(PRICES),
        draw(FRACTIONS),
        draw(st.none() | FRACTIONS),
        draw(st.none() | st.integers(0, 10**9)),
    )
    return executed(pricing, draw(PRICES)), draw(st.none() | PRICES)


@given(fills())
def test_steps_of_a_fill_sum_to_its_price(fill):
    trade, mid_at_fill = fill
    assert explain_quote(trade.price_structure).total == Fraction(trade.planned_price)
    assert explain_fill(trade, mid_at_fill).total == Fraction(trade.executed_price)


@given(fills(), fills())
def test_differences_of_steps_sum_to_the_difference_of_the_prices(live, backtest):
    difference = explain_fill(*live) - explain_fill(*backtest)
    assert sum(getattr(difference, name) for name in STEPS) == difference.total
    assert difference.total == Fraction(live[0].executed_price) - Fraction(backtest[0].executed_price)


@given(fills())
def test_a_trade_differs_from_itself_in_no_step(fill):
    difference = explain_fill(*fill) - explain_fill(*fill)
    assert not any(getattr(difference, name) for name in STEPS)


@pytest.mark.parametrize("is_buy", [True, False])
def test_each_step_of_a_swap_is_what_its_pool_does(is_buy):
    reserve, base, fee, tax = Fraction(1_000_000), Fraction(500), Fraction(3, 1000), Fraction(5, 100)
    mid = reserve / base
    amount = Fraction(30_000) if is_buy else Fraction(20)
    pool_in, pool_out = (reserve, base) if is_buy else (base, reserve)
    arrived = amount if is_buy else amount * (1 - tax)
    got = pool_out * arrived * (1 - fee) / (pool_in + arrived * (1 - fee))
    got = got * (1 - tax) if is_buy else got
    price = amount / got if is_buy else got / amount
    trade = executed(quote(is_buy, float(mid), float(price), float(fee), float(tax), 7), float(price) * 1.001)

    steps = explain_fill(trade, mid_at_fill=float(mid) + 3)

    side = 1 if is_buy else -1
    fair = mid / (1 - fee) if is_buy else mid * (1 - fee)
    moved = (1 + arrived * (1 - fee) / pool_in) ** side
    assert float(steps.data) == float(mid)
    assert float(steps.fee) == pytest.approx(float(fair - mid), rel=1e-9)
    assert float(steps.impact) == pytest.approx(float(fair * moved - fair), rel=1e-9)
    assert float(steps.tax) == pytest.approx(float(side * price * tax / (1 if is_buy else 1 - tax)), rel=1e-9)
    assert float(steps.move) == 3
    assert float(steps.slippage) == pytest.approx(float(price) * 0.001 - 3, rel=1e-9)


def test_a_candle_price_has_fee_and_tax_and_no_impact():
    steps = explain_quote(quote(True, 100.0, 100.0 * (1 + 0.053), 0.053, tax=0.05))
    assert [float(getattr(steps, name)) for name in STEPS] == pytest.approx([100, 0.3, 0, 5, 0, 0])
    assert steps.impact == 0


def test_a_fee_that_replaces_all_others_has_no_tax_in_it():
    steps = explain_quote(quote(False, 100.0, 99.9, 0.001, tax=0.05))
    assert steps.tax == 0
    assert float(steps.fee) == pytest.approx(-0.1)


def test_without_the_mid_price_at_the_fill_its_move_is_slippage():
    trade = executed(quote(True, 100.0, 100.3, 0.003), 101.0)
    assert explain_fill(trade).move == 0
    assert float(explain_fill(trade).slippage) == pytest.approx(0.7)


def test_a_trade_that_was_not_executed_has_no_price_to_explain():
    trade = executed(quote(True, 100.0, 100.3, 0.003), 101.0)
    trade.fill = None
    with pytest.raises(InvalidTrade, match="not executed"):
        explain_fill(trade)


def test_a_quote_whose_fee_is_all_of_it_is_refused():
    with pytest.raises(InvalidTrade, match=r"fee of 1\.0"):
        explain_quote(replace(quote(True, 100.0, 100.3, 1.0), block_number=5))
