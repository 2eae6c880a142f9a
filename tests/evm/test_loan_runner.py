"""Loans on Aave's own contracts, transaction by transaction: opened, closed, refused, taken back."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from evm.borrower import ETH, PRICE, USD, Borrower

from trading_dagster.evm.aave_v3 import ALL, AaveBalance
from trading_dagster.evm.loan_planner import LoanEnd
from trading_dagster.evm.loan_progress import LoanAction, LoanGoal


def actions(result) -> list[str]:
    return [step.action.value for step in result.progress.steps]


def test_lending_supplies_and_takes_everything_back_with_its_interest(borrower: Borrower):
    before = borrower.balance(borrower.usd)
    result = borrower.run(LoanGoal(borrower.usd, deposit=1_000 * USD, is_new=True))
    assert (result.end, actions(result)) == (LoanEnd(), ["supply"])
    assert borrower.balance(borrower.usd) == before - 1_000 * USD
    assert borrower.loan(borrower.usd).supplied in (1_000 * USD, 1_000 * USD - 1)

    result = borrower.run(LoanGoal(borrower.usd, withdraw=ALL))

    assert (result.end, actions(result)) == (LoanEnd(), ["withdraw"])
    assert borrower.loan(borrower.usd) == AaveBalance(0, 0)
    assert borrower.balance(borrower.usd) == before - 1_000 * USD + result.progress.withdrawn


def test_short_within_the_loan_to_value_takes_one_round(borrower: Borrower):
    before = borrower.balance(borrower.usd)
    result = borrower.run(borrower.short(8_000 * USD, ETH))
    progress = result.progress
    assert (result.end, actions(result)) == (LoanEnd(), ["supply", "borrow", "sell", "supply"])
    assert (progress.borrowed, progress.sold) == (ETH, ETH)
    assert progress.supplied == 8_000 * USD + progress.proceeds
    assert progress.proceeds / USD == pytest.approx(4000 * 0.997, rel=2e-3)
    assert borrower.balance(borrower.usd) == before - 8_000 * USD
    assert borrower.loan(borrower.eth).owed == pytest.approx(ETH, rel=1e-6)
    assert borrower.loan(borrower.usd).supplied == pytest.approx(progress.supplied, rel=1e-8)
    assert borrower.health() == pytest.approx((8_000 + 3_984) * 0.85 / 4_000, rel=1e-3)


def test_leveraged_short_takes_rounds_and_is_closed_without_other_capital(borrower: Borrower):
    before = borrower.balance(borrower.usd)
    result = borrower.run(borrower.short(4_000 * USD, 5 * ETH // 2))
    assert result.end == LoanEnd()
    assert actions(result).count("borrow") > 3
    assert result.progress.sold == 5 * ETH // 2
    assert borrower.health() == pytest.approx((4_000 + 9_960) * 0.85 / 10_000, rel=5e-3)
    idle = borrower.balance(borrower.usd)
    assert idle == before - 4_000 * USD

    result = borrower.run(borrower.cover())

    progress = result.progress
    assert result.end == LoanEnd()
    assert actions(result)[:3] == ["withdraw", "buy", "repay"]
    assert borrower.loan(borrower.eth) == AaveBalance(0, 0)
    assert borrower.loan(borrower.usd) == AaveBalance(0, 0)
    assert borrower.balance(borrower.usd) == idle + progress.withdrawn - progress.cost
    left = borrower.balance(borrower.eth)
    assert left == progress.bought - progress.repaid
    assert 0 < left < 10**-5 * ETH


def test_what_was_left_over_pays_for_the_next(borrower: Borrower):
    borrower.run(borrower.short(8_000 * USD, ETH))
    borrower.run(borrower.cover())
    left = borrower.balance(borrower.eth)
    borrower.run(borrower.short(8_000 * USD, ETH, base_in_hand=left))
    assert borrower.balance(borrower.eth) == left

    result = borrower.run(borrower.cover(base_in_hand=left))

    assert result.end == LoanEnd()
    assert borrower.balance(borrower.eth) == left + result.progress.bought - result.progress.repaid
    assert borrower.balance(borrower.eth) < 2 * left


def test_part_of_a_short_is_paid_back_and_part_of_its_collateral_comes_out(borrower: Borrower):
    borrower.run(borrower.short(8_000 * USD, ETH))
    before = borrower.balance(borrower.usd)

    result = borrower.run(borrower.cover(repay=ETH // 2, withdraw=4_000 * USD))

    assert result.end == LoanEnd()
    assert result.progress.repaid == ETH // 2
    assert result.progress.withdrawn == 4_000 * USD
    assert borrower.balance(borrower.usd) == before + 4_000 * USD - result.progress.cost
    assert borrower.balance(borrower.eth) == 0
    assert borrower.loan(borrower.eth).owed == pytest.approx(ETH // 2, rel=1e-6)


def test_job_goes_on_where_it_stood_after_every_step(borrower: Borrower):
    """Each run has time for one look only, as if the process were new every time."""
    goal = borrower.short(4_000 * USD, ETH)
    result = borrower.runner().run(borrower.job(goal, 1), 0.0)
    count = 0
    while result.end is None:
        borrower.mine()
        result = borrower.runner().run(borrower.job(goal, 1), 0.0)
        count += 1
        assert count < 100
    assert result.end == LoanEnd()
    assert result.progress.sold == ETH
    again = borrower.runner().run(borrower.job(goal, 1), 0.0)
    assert again.end == LoanEnd()
    assert again.progress == result.progress


def test_price_beyond_the_tolerance_turns_a_short_round_and_the_deposit_stays_as_collateral_of_the_dust(
    borrower: Borrower,
):
    before = borrower.balance(borrower.usd)
    high = borrower.short(8_000 * USD, ETH, price=PRICE * 2)

    result = borrower.run(high)

    assert result.end is not None
    assert "INSUFFICIENT_OUTPUT_AMOUNT" in result.end.failure
    assert actions(result)[:2] == ["supply", "borrow"]
    assert actions(result)[-1] == "repay"
    assert borrower.balance(borrower.eth) == 0
    assert borrower.loan(borrower.eth).owed < ETH / 10**6
    assert borrower.balance(borrower.usd) == before - 8_000 * USD


def test_borrowing_that_leads_nowhere_brings_the_deposit_back(borrower: Borrower):
    before = borrower.balance(borrower.usd)
    borrower.aave.set_borrow_cap(borrower.eth, 1)
    borrower.aave.drain(borrower.eth, 99_990 * ETH // 1000)

    result = borrower.run(borrower.short(40_000 * USD, 2 * ETH, is_alone=True))

    assert result.end is not None
    assert "are still to be borrowed and the collateral carries 10000000000000000" in result.end.failure
    assert actions(result) == ["supply", "withdraw"]
    assert borrower.loan(borrower.usd) == AaveBalance(0, 0)
    assert borrower.balance(borrower.usd) >= before - 1


def test_stale_job_is_not_made_larger(borrower: Borrower):
    goal = borrower.short(8_000 * USD, ETH)
    runner = borrower.runner()
    result = runner.run(borrower.job(goal, 1), 0.0)
    while len(result.finished) < 2:
        borrower.mine()
        result = runner.run(borrower.job(goal, 1), 0.0)
    result = runner.run(borrower.job(goal, 1), 20.0, is_stale=True)
    assert result.end is not None
    assert result.end.failure == "the decision became too old before all of it was done", result
    assert borrower.balance(borrower.eth) == 0


def test_health_stays_above_half_of_what_it_was_while_a_loan_near_its_floor_is_closed(borrower: Borrower):
    borrower.limits = replace(borrower.limits, min_health=Fraction(12, 10))
    borrower.run(borrower.short(4_000 * USD, 9 * ETH // 5))
    result = borrower.run(borrower.cover())
    assert result.end == LoanEnd()
    client, pool = borrower.rig.market.client(), borrower.aave.deployment
    for record in result.finished:
        block = client.read_block(record.outcome.block_number)
        health = pool.read_account(client, borrower.wallet, block).health_factor
        assert health is None or health >= Fraction(110, 100)
    assert [s.action for s in result.progress.steps].count(LoanAction.withdraw) > 1
