"""What the pools would refuse is known before a loan trade begins, and said in words."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from evm.borrower import ETH, PRICE, USD, Borrower

from trading_dagster.domain.error import BadConfiguration, InvalidTrade
from trading_dagster.evm.aave_v3 import ALL
from trading_dagster.evm.loan_check import LoanLimits, count_rounds
from trading_dagster.evm.loan_planner import LoanEnd
from trading_dagster.evm.loan_progress import LoanGoal


def refuse(borrower: Borrower, goal: LoanGoal, words: str) -> None:
    with pytest.raises(InvalidTrade, match=words):
        borrower.check(goal)


def test_what_can_be_done_is_not_refused(borrower: Borrower):
    borrower.check(LoanGoal(borrower.usd, deposit=1_000 * USD))
    borrower.check(borrower.short(8_000 * USD, ETH))
    borrower.run(borrower.short(8_000 * USD, ETH))
    borrower.check(borrower.cover())
    borrower.check(borrower.cover(ETH // 2, 3_000 * USD))
    borrower.check(LoanGoal(borrower.usd, withdraw=1_000 * USD))


@pytest.mark.parametrize(
    ("deposit", "borrow", "words"),
    [(1_000, 3, "health factor would be"), (4_000, Fraction(39, 10), "loan to value"), (400_000, 101, "lends 100.0")],
)
def test_loan_that_is_too_large_is_refused(borrower: Borrower, deposit: int, borrow: Fraction, words: str):
    refuse(borrower, borrower.short(deposit * USD, int(borrow * ETH), slippage=Fraction(1, 4)), words)


def test_loan_that_takes_too_many_rounds_is_refused(borrower: Borrower):
    borrower.limits = replace(borrower.limits, max_rounds=3)
    refuse(borrower, borrower.short(4_000 * USD, 5 * ETH // 2), "more than 3 rounds")


def test_reserve_that_is_paused_or_frozen_is_refused(borrower: Borrower):
    borrower.run(borrower.short(8_000 * USD, ETH))
    lend, short, cover = LoanGoal(borrower.usd, deposit=USD), borrower.short(8_000 * USD, ETH), borrower.cover()
    aave = borrower.aave
    aave.pause(borrower.eth)
    refuse(borrower, short, "ETH cannot be borrowed: the reserve is paused")
    refuse(borrower, cover, "ETH cannot be paid back: the reserve is paused")
    borrower.check(lend)
    aave.pause(borrower.eth, is_paused=False)
    aave.pause(borrower.usd)
    refuse(borrower, lend, "USD cannot be supplied: the reserve is paused")
    refuse(borrower, cover, "USD cannot be withdrawn: the reserve is paused")
    aave.pause(borrower.usd, is_paused=False)
    aave.freeze(borrower.eth)
    aave.freeze(borrower.usd)
    refuse(borrower, short, "ETH cannot be borrowed: the reserve is frozen")
    refuse(borrower, lend, "USD cannot be supplied: the reserve is frozen")
    borrower.check(cover)
    assert borrower.run(cover).end == LoanEnd()


def test_caps_are_refused_with_the_room_they_leave(borrower: Borrower):
    borrower.aave.set_supply_cap(borrower.usd, 100_500)
    refuse(borrower, LoanGoal(borrower.usd, deposit=501 * USD), "cap of 100500 leaves room for 500.0")
    refuse(borrower, borrower.short(400 * USD, ETH // 20), "supply cap")
    borrower.aave.set_borrow_cap(borrower.eth, 1)
    refuse(borrower, borrower.short(40_000 * USD, 2 * ETH), "borrow cap of 1 it lends 1.0")


def test_collateral_that_is_lent_out_cannot_be_taken(borrower: Borrower):
    borrower.run(LoanGoal(borrower.usd, deposit=1_000 * USD))
    borrower.aave.drain(borrower.usd, 100_000 * USD)
    whale = borrower.aave
    whale.lend_out(borrower.usd, 600 * USD)
    refuse(borrower, LoanGoal(borrower.usd, withdraw=ALL), "the pool has 400.0")
    borrower.check(LoanGoal(borrower.usd, withdraw=300 * USD))


def test_price_beyond_the_tolerance_is_refused_either_way(borrower: Borrower):
    refuse(borrower, borrower.short(8_000 * USD, ETH, price=PRICE * 11 / 10), "moved beyond the slippage")
    borrower.run(borrower.short(8_000 * USD, ETH))
    refuse(borrower, borrower.cover(price=PRICE * 9 / 10), "moved beyond the slippage")


def test_collateral_of_a_loan_cannot_be_taken_below_the_floor(borrower: Borrower):
    borrower.run(borrower.short(4_000 * USD, ETH))
    refuse(borrower, LoanGoal(borrower.usd, borrower.eth, withdraw=7_000 * USD), "must stay above 1.05")
    borrower.aave.set_price(borrower.eth, 7_000)
    refuse(borrower, borrower.cover(), "No collateral can be taken out")


def test_rounds_are_counted_as_a_geometric_row():
    assert count_rounds(100, 100, 0.8) == 1
    assert count_rounds(150, 100, 0.8) == 2
    assert count_rounds(490, 100, 0.8) == 18
    assert count_rounds(600, 100, 0.8) == float("inf")
    assert count_rounds(1, 0, 0.8) == float("inf")


@pytest.mark.parametrize(
    "terms", [{"min_health": Fraction(1)}, {"borrow_margin": Fraction(1)}, {"max_rounds": 0}, {"tries": 0}]
)
def test_limits_that_make_no_sense_are_refused(terms: dict[str, object]):
    with pytest.raises(BadConfiguration):
        LoanLimits(**terms)
