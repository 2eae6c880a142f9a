"""Numbers become Decimals exactly, or are refused."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import TradingPairKind
from trading_dagster.domain.money import DUST, exact, from_units, to_units, to_units_down


def test_float_becomes_its_exact_binary_value():
    assert exact(0.1) == Decimal("0.1000000000000000055511151231257827021181583404541015625")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, Decimal(3)),
        (Decimal("0.1"), Decimal("0.1")),
        (np.float64(0.5), Decimal("0.5")),
        (np.float32(0.1), Decimal("0.100000001490116119384765625")),
        (np.int64(2**60 + 1), Decimal(2**60 + 1)),
    ],
)
def test_every_kind_of_number_is_taken(value, expected):
    made = exact(value)
    assert made == expected
    assert type(made) is Decimal


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity"), np.float64("nan")])
def test_number_that_is_not_finite_is_refused(value):
    with pytest.raises(BadInput, match=r"The value is .*a finite number is needed"):
        exact(value, "value")


@pytest.mark.parametrize("value", ["100", None, [1]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(BadInput, match="a number is needed"):
        exact(value, "value")


def test_dust_depends_on_the_kind_of_position():
    table = {
        "spot_market_hold": "1e-10",
        "vault": "1e-6",
        "credit_supply": "0.003",
        "lending_protocol_short": "1e-4",
    }
    assert {kind: DUST.close_epsilon(TradingPairKind(kind)) for kind in table} == {
        kind: Decimal(epsilon) for kind, epsilon in table.items()
    }


@given(units=st.integers(min_value=0, max_value=2**256 - 1), decimals=st.integers(min_value=0, max_value=36))
def test_units_come_back_from_tokens_exactly(units: int, decimals: int):
    tokens = from_units(units, decimals)
    assert to_units(tokens, decimals) == to_units_down(tokens, decimals) == units
    assert from_units(-units, decimals) == -tokens


@pytest.mark.parametrize("amount", [Decimal("1.2345678"), Decimal(-1), exact(0.1)])
def test_what_is_no_whole_number_of_units_is_refused(amount: Decimal):
    with pytest.raises(BadInput, match="no whole number of units"):
        to_units(amount, 6)


def test_rounding_to_units_is_always_down():
    assert to_units_down(Decimal("1.2345679999"), 6) == 1_234_567
    assert to_units_down(Decimal("0.0000009"), 6) == 0
    with pytest.raises(BadInput, match="negative"):
        to_units_down(Decimal("-0.1"), 6)
