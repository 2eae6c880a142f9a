"""Loan arithmetic: against Aave v3's own formulas in integers, and what changes of a loan must keep."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import AssetIdentifier, AssetType, TradingPairIdentifier, TradingPairKind
from trading_dagster.domain.loan import (
    Loan,
    LoanChange,
    collateral_for_leverage,
    estimate_interest,
    liquidation_threshold_of,
    max_short_leverage,
)

AT = datetime(2022, 1, 1)
USDC = AssetIdentifier(1, "0x01", "USDC", 6)
WETH = AssetIdentifier(1, "0x02", "WETH", 18)
AUSDC = AssetIdentifier(1, "0x03", "aUSDC", 6, underlying=USDC, type=AssetType.collateral, liquidation_threshold=0.85)
VWETH = AssetIdentifier(1, "0x04", "vWETH", 18, underlying=WETH, type=AssetType.borrowed)
SPOT = TradingPairIdentifier(WETH, USDC, "0x11", "0x10", internal_id=1, fee=0.003)
SHORT = TradingPairIdentifier(
    VWETH, AUSDC, "0x11", "0x10", kind=TradingPairKind.lending_protocol_short, underlying_spot_pair=SPOT
)

amounts = st.decimals(min_value="0.001", max_value="1000000", places=6)
interest = st.decimals(min_value=0, max_value="1000", places=6)
prices = st.floats(min_value=0.01, max_value=100_000)


def loan_of(collateral, debt, *, earned=Decimal(0), owed=Decimal(0), price=1_000.0):
    change = LoanChange(collateral_allocation=Decimal(collateral))
    loan = Loan.begin(SHORT, change, -Decimal(debt), AT)
    return loan.accrue(AUSDC, earned, AT).accrue(VWETH, owed, AT).at_price(price)


@given(amounts, amounts, interest, interest, prices)
def test_health_is_what_aave_calculates(collateral, debt, earned, owed, price):
    """GenericLogic.calculateUserAccountData and WadRayMath, in integers: USD with 8 decimals, factors with 18."""
    loan = loan_of(collateral, debt, earned=earned, owed=owed, price=price)
    oracle = round(price * 10**8)
    collateral_base = int((collateral + earned) * 10**6) * 10**8 // 10**6
    debt_base = -(-int((debt + owed) * 10**18) * oracle // 10**18)
    if debt_base < 10**6 or collateral_base < 10**6 or oracle < 10**6:
        return  # less than a cent: Aave's own rounding is all there is
    covered = collateral_base * 8_500 // 10_000
    health = (covered * 10**18 + debt_base // 2) // debt_base
    assert loan.get_health_factor() == pytest.approx(health / 10**18, rel=1e-5, abs=1e-12)
    assert loan.get_liquidation_price() == pytest.approx(
        float(collateral + earned) * 0.85 / float(debt + owed), rel=1e-12
    )
    assert (loan.get_health_factor() <= 1) == (price >= loan.get_liquidation_price()) or loan.get_health_factor() == (
        pytest.approx(1, rel=1e-9)
    )


@given(amounts, amounts, interest, interest, prices)
def test_value_is_collateral_less_debt_with_their_interest(collateral, debt, earned, owed, price):
    loan = loan_of(collateral, debt, earned=earned, owed=owed, price=price)
    expected = float(collateral + earned) - float(debt + owed) * price
    scale = float(collateral + earned) + float(debt + owed) * price
    assert loan.get_net_asset_value() == pytest.approx(expected, abs=1e-9 * scale)
    assert loan.get_net_interest() == pytest.approx(float(earned) - float(owed) * price, abs=1e-9 * scale)
    assert loan.get_net_asset_value(include_interest=False) == pytest.approx(
        float(collateral) - float(debt) * price, abs=1e-9 * scale
    )


@given(amounts, amounts, interest, interest, st.floats(min_value=0.01, max_value=0.99))
def test_paying_everything_back_leaves_nothing(collateral, debt, earned, owed, share):
    loan = loan_of(collateral, debt, earned=earned, owed=owed)
    part = debt * Decimal(share)
    loan = loan.apply(LoanChange(collateral_consumption=-collateral * Decimal(share)), part)
    assert loan.borrowed.total == pytest.approx(debt + owed - part)
    left = loan.apply(
        LoanChange(
            collateral_allocation=-loan.collateral.total,
            claimed_interest=loan.collateral.interest.outstanding,
            repaid_interest=loan.borrowed.interest.outstanding,
        ),
        loan.borrowed.total,
    )
    assert abs(left.collateral.quantity) + abs(left.borrowed.quantity) < Decimal("1e-18")
    assert left.collateral.interest.outstanding == left.borrowed.interest.outstanding == 0
    assert left.collateral.interest.settled == earned


@given(amounts, st.floats(min_value=0.1, max_value=5))
def test_collateral_for_a_leverage_gives_that_leverage(debt, leverage):
    collateral = loan_of(1, debt).calculate_collateral_for_target_leverage(leverage, debt)
    assert loan_of(collateral, debt).get_leverage() == pytest.approx(leverage, rel=1e-6)
    at_ratio = loan_of(1, debt).calculate_collateral_for_target_ltv(0.5, debt)
    assert loan_of(at_ratio, debt).get_loan_to_value() == pytest.approx(0.5)


def test_loan_without_debt_is_healthy():
    loan = loan_of(100, 0)
    assert loan.get_health_factor() == math.inf
    assert loan.get_liquidation_price() is None
    assert loan.get_leverage() == loan.get_loan_to_value() == 0


def test_loan_that_is_worth_nothing_has_no_finite_leverage():
    assert loan_of(100, 1, price=200.0).get_leverage() == math.inf


def test_compound_interest_over_parts_of_a_year():
    assert estimate_interest(AT, AT + timedelta(days=365), Decimal(100), 1.05) == pytest.approx(Decimal(105))
    assert estimate_interest(AT, AT, Decimal(100), 1.05) == 100
    with pytest.raises(BadInput, match=r"1.05 means 5 %"):
        estimate_interest(AT, AT + timedelta(days=1), Decimal(100), 0.05)
    with pytest.raises(BadInput, match="end lies before"):
        estimate_interest(AT, AT - timedelta(days=1), Decimal(100), 1.05)


def test_thresholds_and_leverage_that_make_no_sense_are_refused():
    assert max_short_leverage(AUSDC) == pytest.approx(5.666667)
    with pytest.raises(BadInput, match="set liquidation_threshold"):
        liquidation_threshold_of(USDC)
    with pytest.raises(BadInput, match="must be above 0"):
        collateral_for_leverage(Decimal(1), 0)
    with pytest.raises(BadInput, match="between 0 and 1"):
        loan_of(1, 1).calculate_collateral_for_target_ltv(1.5, Decimal(1))
    with pytest.raises(BadInput, match="does not belong"):
        loan_of(1, 1).accrue(WETH, Decimal(1), AT)
