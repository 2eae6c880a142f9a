"""What lending earned and borrowing cost, by position and in sum."""

from __future__ import annotations

from datetime import datetime

import pytest
from loan_scenario import open_short_and_close, run_credit_flow, run_with_loans

from trading_dagster.domain.treasury import BalanceUpdateCause
from trading_dagster.statistics.credit_table import analyse_credit_yield, analyse_loan_interest, summarise_credit_yield


def lend_twice(input):
    """Lend 5,000 on 1 January and 3,000 more on 11 January; take all back on 21 January."""
    manager = input.get_position_manager()
    if input.timestamp == datetime(2023, 1, 1):
        return manager.open_credit_supply_position_for_reserves(5_000)
    if input.timestamp == datetime(2023, 1, 11):
        return manager.add_cash_to_credit_supply(3_000)
    if input.timestamp == datetime(2023, 1, 21):
        return manager.close_all()
    return []


def decide_nothing(input):
    return []


def test_average_balance_days_and_yield_are_those_by_hand():
    result = run_with_loans(lend_twice, datetime(2023, 1, 25))
    table = analyse_credit_yield(result.state)

    day = 1 + 0.02 / 365
    balance, balances = 5_000.0, []
    for number in range(20):
        balance += 3_000 if number == 10 else 0
        balances.append(balance)
        balance *= day
    row = table.iloc[0]
    assert len(table) == 1
    assert row["days"] == 20
    assert row["opened_at"] == datetime(2023, 1, 1)
    assert row["closed_at"] == datetime(2023, 1, 21)
    assert row["amount_usd"] == pytest.approx(sum(balances) / 20, rel=1e-6)
    assert row["interest_usd"] == pytest.approx(balance - 8_000, abs=1e-3)
    assert row["claimed_usd"] == pytest.approx(row["interest_usd"], abs=1e-3)
    assert row["outstanding_usd"] == 0
    assert row["yearly_yield"] == pytest.approx(0.02, rel=1e-4)


def test_interest_of_an_open_position_is_outstanding():
    result = run_with_loans(lend_twice, datetime(2023, 1, 20))
    row = analyse_credit_yield(result.state).iloc[0]
    position = next(iter(result.state.portfolio.open_positions.values()))
    assert row.isna()["closed_at"]
    assert row["claimed_usd"] == 0
    assert row["outstanding_usd"] == pytest.approx(position.get_accrued_interest())
    assert row["interest_usd"] == pytest.approx(position.get_total_profit_usd())


def test_sum_of_credit_is_weighted_by_amount_and_time():
    result = run_credit_flow()
    table, summary = analyse_credit_yield(result.state), summarise_credit_yield(result.state).loc["all"]
    positions = [p for p in result.state.portfolio.get_all_positions() if p.is_credit_supply()]

    assert summary["positions"] == len(table) == len(positions) > 1
    assert summary["interest_usd"] == pytest.approx(sum(p.get_total_profit_usd() for p in positions), abs=1e-3)
    assert summary["claimed_usd"] == pytest.approx(sum(p.get_claimed_interest() for p in positions))
    assert summary["yearly_yield"] == pytest.approx(0.02, rel=1e-3)
    assert summary["amount_usd"] * summary["days"] == pytest.approx((table["amount_usd"] * table["days"]).sum())


def test_interest_of_a_short_is_earned_and_owed():
    result = run_with_loans(open_short_and_close)
    table = analyse_loan_interest(result.state)
    (position,) = result.state.portfolio.closed_positions.values()

    row = table.iloc[0]
    assert row["kind"] == "short"
    assert row["earned_usd"] == pytest.approx(position.get_claimed_interest(), abs=1e-5)
    assert row["repaid_usd"] == position.get_repaid_interest() > 0
    accrued = [u for u in position.balance_updates.values() if u.cause is BalanceUpdateCause.interest]
    debt = [u for u in accrued if u.asset == position.loan.borrowed.asset]
    assert row["owed_usd"] == pytest.approx(sum(u.usd_value for u in debt))
    assert row["net_usd"] == pytest.approx(row["earned_usd"] - row["owed_usd"])
    # 2x leverage: 20,000 of debt at 5 % and 30,000 of collateral at 2 %, for three days
    assert row["earned_usd"] == pytest.approx(30_000 * 0.02 * 3 / 365, rel=0.01)
    assert row["owed_usd"] == pytest.approx(20_000 * 0.05 * 3 / 365, rel=0.1)


def test_run_without_loans_has_empty_tables():
    result = run_with_loans(decide_nothing)
    assert len(analyse_credit_yield(result.state)) == len(analyse_loan_interest(result.state)) == 0
    summary = summarise_credit_yield(result.state).loc["all"]
    assert summary["interest_usd"] == 0
    assert summary.isna()["yearly_yield"]


def test_result_carries_both_tables():
    result = run_with_loans(lend_twice, datetime(2023, 1, 25))
    assert result.credit_yield.equals(analyse_credit_yield(result.state))
    assert result.loan_interest.equals(analyse_loan_interest(result.state))
    assert list(result.loan_interest["kind"]) == ["credit"]
