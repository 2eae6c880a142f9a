"""The account check: what counts as a difference, what is expected, and the table that says so."""

from datetime import UTC
from decimal import Decimal

import pytest
from ledger import AAVE, AAVE_USDC, CREDIT, VAULT, Ledger, day
from scenario import USDC, WETH, WETH_USDC

from trading_dagster.accounting.account_check import AccountRow, check_accounts, expected_balances
from trading_dagster.domain.error import UnexpectedAccountingCorrectionIssue
from trading_dagster.domain.event import PositionFrozen

EPSILON, FRACTION = Decimal("1e-10"), Decimal("5e-4")


def row(expected, actual):
    return AccountRow(USDC, (), Decimal(expected), Decimal(actual), 0.0, EPSILON, FRACTION)


@pytest.mark.parametrize(
    ("expected", "actual", "differs"),
    [
        ("0", "0", False),
        ("100", "100", False),
        ("1e-10", "0", False),
        ("0", "1e-10", False),
        ("1e-10", "1e-11", False),
        ("1.1e-10", "0", True),
        ("0", "1.1e-10", True),
        ("100", "0", True),
        ("0", "100", True),
        ("100.05", "100", False),
        ("100.0500001", "100", True),
        ("99.95", "100", False),
        ("99.9499999", "100", True),
    ],
)
def test_difference_counts_from_the_fraction_on_and_when_exactly_one_is_nothing(expected, actual, differs):
    assert row(expected, actual).is_mismatch is differs
    assert row(expected, actual).difference == Decimal(actual) - Decimal(expected)


@pytest.fixture
def ledger():
    """Cash 8400, 10 WETH in two positions of which one is frozen, 100 AAVE under way for 500 USD, dust of a share."""
    ledger = Ledger()
    ledger.buy(1, 600, 100)
    frozen = ledger.buy(1, 400, 100)
    ledger.state.record(PositionFrozen(day(1).replace(tzinfo=UTC), frozen, "reverted"))
    ledger.buy(1, 500, 5, pair=AAVE_USDC, outcome="running")
    share = ledger.buy(2, 100, 1, pair=VAULT)
    held = ledger.state.portfolio.open_positions[share]
    ledger.sell(3, share, 1, part=1 - 1e-9)
    assert held.is_closed()
    return ledger


def test_expected_is_cash_with_what_buys_took_positions_and_dust(ledger):
    expected = expected_balances(ledger.state)
    assert {asset.token_symbol: float(held.quantity) for asset, held in expected.items()} == {
        "USDC": pytest.approx(9000),
        "WETH": 10,
        "AAVE": 0,
        "SHARE": pytest.approx(1e-7),
    }
    assert [p.position_id for p in expected[WETH].positions] == [1, 2]
    assert expected[VAULT.base].positions == ()


def test_table_has_a_row_for_everything_expected_and_everything_found(ledger):
    ledger.marks.prices[WETH_USDC] = 110.0
    actual = {asset: held.quantity for asset, held in expected_balances(ledger.state).items()}
    actual[WETH] -= 2
    stranger = CREDIT.base
    actual[stranger] = Decimal(3)
    table = check_accounts(ledger.state, actual, price_of=lambda asset: 7.0 if asset == stranger else None)
    rows = {row.asset.token_symbol: row for row in table.rows}
    assert set(rows) == {"USDC", "WETH", "AAVE", "SHARE", "aUSDC"}
    assert [row.asset.token_symbol for row in table.mismatches] == ["WETH", "aUSDC"]
    assert (rows["WETH"].difference, rows["WETH"].usd_value) == (-2, -220.0)
    assert rows["WETH"].position_ids == (1, 2)
    assert (rows["aUSDC"].expected, rows["aUSDC"].usd_value) == (0, 21.0)
    assert rows["SHARE"].usd_value == 0
    assert not table.is_clean


def test_token_that_was_not_read_counts_as_gone(ledger):
    table = check_accounts(ledger.state, {USDC: Decimal(9000), VAULT.base: Decimal("1e-7")})
    assert [row.asset for row in table.mismatches] == [WETH]
    assert AAVE in [row.asset for row in table.rows]


def test_error_shows_expected_and_actual_and_what_to_do(ledger):
    actual = {asset: held.quantity for asset, held in expected_balances(ledger.state).items()}
    check_accounts(ledger.state, actual).require_clean("before")
    actual[WETH] = Decimal(9)
    with pytest.raises(UnexpectedAccountingCorrectionIssue) as raised:
        check_accounts(ledger.state, actual).require_clean("before the decision")
    head, *lines = str(raised.value).splitlines()
    assert head.startswith("before the decision: 1 of 4 balances")
    wrong = next(line.split() for line in lines if "MISMATCH" in line)
    assert wrong == ["WETH", "#1,", "#2", "10", "9", "-1", "-100.00", "MISMATCH"]
    assert "correct-accounts" in lines[-1]


def test_checking_changes_nothing(ledger):
    before = list(ledger.state.new_events)
    check_accounts(ledger.state, {})
    assert ledger.state.new_events == before
