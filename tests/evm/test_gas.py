"""Fees under a cap, and replacements that nodes accept."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.evm.gas import GWEI, Fee, FeeAboveCap, GasPolicy

POLICY = GasPolicy(max_fee_cap=100 * GWEI, priority_fee_cap=5 * GWEI, priority_fee_floor=GWEI)
FEES = st.integers(min_value=0, max_value=1000 * GWEI)


def test_offer_is_twice_the_base_fee_and_the_advice():
    assert POLICY.offer(10 * GWEI, 2 * GWEI) == Fee(22 * GWEI, 2 * GWEI)


def test_advice_is_cut_to_floor_and_cap():
    assert POLICY.offer(10 * GWEI, 0) == Fee(21 * GWEI, GWEI)
    assert POLICY.offer(10 * GWEI, 90 * GWEI) == Fee(25 * GWEI, 5 * GWEI)


def test_market_above_the_cap_is_a_value():
    assert POLICY.offer(99 * GWEI, 2 * GWEI) == FeeAboveCap(101 * GWEI, 100 * GWEI)
    assert str(FeeAboveCap(101 * GWEI, 100 * GWEI)) == "gas needs 101.000 gwei, the cap is 100.000 gwei"


def test_limit_is_padded_by_thirty_percent_and_rounded_up():
    assert POLICY.pad(145_001) == 188_502
    assert POLICY.pad(10**9) == POLICY.limit_cap


@given(base=FEES, advice=FEES)
def test_offer_pays_the_block_and_stays_below_the_cap(base: int, advice: int):
    fee = POLICY.offer(base, advice)
    if isinstance(fee, Fee):
        assert base + fee.priority_fee <= fee.max_fee <= POLICY.max_fee_cap


@given(base=FEES, advice=FEES, old=st.integers(min_value=1, max_value=100 * GWEI))
def test_replacement_raises_both_fees_by_more_than_nodes_ask(base: int, advice: int, old: int):
    fee = POLICY.replace(Fee(old, old), base, advice)
    if isinstance(fee, Fee):
        assert fee.max_fee >= old * Fraction(110, 100)
        assert fee.priority_fee >= old * Fraction(110, 100)
        assert fee.priority_fee <= fee.max_fee <= POLICY.max_fee_cap
