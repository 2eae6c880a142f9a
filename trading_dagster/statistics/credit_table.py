"""What lending earned and borrowing cost: by position, and in sum."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta

import pandas as pd

from trading_dagster.domain.loan import YEAR, LoanSide
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause

CREDIT_COLUMNS: dict[str, str] = {
    "position_id": "int64",
    "asset": "str",
    "opened_at": "datetime64[us]",
    "closed_at": "datetime64[us]",
    "days": "float64",
    "amount_usd": "float64",
    "interest_usd": "float64",
    "claimed_usd": "float64",
    "outstanding_usd": "float64",
    "yearly_yield": "float64",
}

INTEREST_COLUMNS: dict[str, str] = {
    "position_id": "int64",
    "pair_ticker": "str",
    "kind": "str",
    "opened_at": "datetime64[us]",
    "closed_at": "datetime64[us]",
    "earned_usd": "float64",
    "claimed_usd": "float64",
    "owed_usd": "float64",
    "repaid_usd": "float64",
    "net_usd": "float64",
}

DAY = timedelta(days=1)


def analyse_credit_yield(state: State) -> pd.DataFrame:
    """Return one row for each position that lent out the reserve, by id.

    Returns:
        ``days`` is how long interest accrued; ``amount_usd`` the balance that earned it, interest included, averaged
        over that time. ``interest_usd`` is all interest, of which ``claimed_usd`` came back to cash and
        ``outstanding_usd`` did not yet. ``yearly_yield`` is interest / (amount x days / 365), a simple rate as a
        fraction; NaN before interest accrued.
    """
    rows = [_credit_row(position) for position in _with_loan(state) if position.is_credit_supply()]
    return pd.DataFrame(rows, columns=list(CREDIT_COLUMNS)).astype(CREDIT_COLUMNS)


def summarise_credit_yield(state: State) -> pd.DataFrame:
    """Return all credit supply in one row.

    Returns:
        ``positions`` and ``days`` are sums, overlapping days counted in each position; ``amount_usd`` is the average
        over those days and ``yearly_yield`` the rate at which it gave ``interest_usd``; both NaN without any.
    """
    table = analyse_credit_yield(state)
    days, interest = math.fsum(table["days"]), math.fsum(table["interest_usd"])
    dollar_days = math.fsum((table["amount_usd"] * table["days"]).fillna(0.0))
    sums = {name: math.fsum(table[name]) for name in ("claimed_usd", "outstanding_usd")}
    return pd.DataFrame(
        [
            {
                "positions": len(table),
                "days": days,
                "amount_usd": dollar_days / days if days else math.nan,
                "interest_usd": interest,
                **sums,
                "yearly_yield": _yearly(interest, dollar_days),
            }
        ],
        index=["all"],
    )


def analyse_loan_interest(state: State) -> pd.DataFrame:
    """Return one row for each position with a loan, credit supply included, by id.

    Returns:
        ``kind`` is "credit" or "short". Interest of the collateral is ``earned_usd``, of which trades ``claimed_usd``;
        interest of the debt is ``owed_usd``, of which trades ``repaid_usd``. Interest is valued when it accrued,
        repaid interest at the price it was repaid at. ``net_usd`` is earned less owed.
    """
    rows = []
    for position in _with_loan(state):
        loan = position.loan
        assert loan is not None
        debt = None if loan.borrowed is None else loan.borrowed.asset
        updates = list(_accruals(position))
        owed = math.fsum(update.usd_value for update in updates if update.asset == debt)
        earned = math.fsum(update.usd_value for update in updates if update.asset != debt)
        rows.append(
            (
                position.position_id,
                position.pair.get_ticker(),
                "credit" if position.is_credit_supply() else "short",
                position.opened_at,
                position.closed_at,
                earned,
                position.get_claimed_interest(),
                owed,
                position.get_repaid_interest(),
                earned - owed,
            )
        )
    return pd.DataFrame(rows, columns=list(INTEREST_COLUMNS)).astype(INTEREST_COLUMNS)


def _with_loan(state: State) -> list[TradingPosition]:
    positions = (p for p in state.portfolio.get_all_positions() if p.loan is not None)
    return sorted(positions, key=lambda position: position.position_id)


def _accruals(position: TradingPosition) -> Iterator[BalanceUpdate]:
    return (u for u in position.balance_updates.values() if u.cause is BalanceUpdateCause.interest)


def _credit_row(position: TradingPosition) -> tuple[object, ...]:
    loan = position.loan
    assert loan is not None
    days, dollar_days = _lent_out(position, loan.collateral)
    interest = math.fsum(update.usd_value for update in _accruals(position))
    return (
        position.position_id,
        position.pair.base.token_symbol,
        position.opened_at,
        position.closed_at,
        days,
        dollar_days / days if days else math.nan,
        interest,
        position.get_claimed_interest(),
        0.0 if position.is_closed() else loan.get_collateral_interest(),
        _yearly(interest, dollar_days),
    )


def _lent_out(position: TradingPosition, side: LoanSide) -> tuple[float, float]:
    """Return the days over which interest accrued, and the sum of balance x days, USD."""
    days, dollar_days = [], []
    since = next((t.executed_at for t in position.get_successful_trades()), None) or position.opened_at
    for update in _accruals(position):
        step = (update.block_mined_at - (update.previous_update_at or since)) / DAY
        days.append(step)
        dollar_days.append(step * float(update.old_balance) * side.last_usd_price)
        since = update.block_mined_at
    return math.fsum(days), math.fsum(dollar_days)


def _yearly(interest: float, dollar_days: float) -> float:
    return interest / dollar_days * (YEAR / DAY) if dollar_days else math.nan
