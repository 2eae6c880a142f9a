"""An operator adds money to trade with on paper; where money is real, it is sent to the wallet and found there."""

from __future__ import annotations

from decimal import Decimal

from trading_dagster.accounting.account_check import AccountTable
from trading_dagster.domain.error import BadInput
from trading_dagster.live.operation import open_operation
from trading_dagster.live.paper import PaperTreasury
from trading_dagster.live.strategy import LiveStrategy


def deposit(live: LiveStrategy, amount: Decimal) -> AccountTable:
    """Add money on paper, at the share price of now; returns the accounts after it.

    Raises:
        BadInput: The amount cannot be, or money is real: what comes into a wallet or vault is booked by itself.
        ExecutorBusy: Another executor works on the strategy.
    """
    with open_operation(live, "a deposit") as step:
        treasury = step.desk.treasury
        if not isinstance(treasury, PaperTreasury):
            raise BadInput(
                f"{live.id} has real money: send reserve tokens to its wallet, which are booked by themselves"
            )
        if not amount.is_finite() or amount <= 0:
            raise BadInput(f"A deposit of {amount} cannot be made: give an amount above 0, in reserve tokens")
        treasury.deposit(step.clock.timestamp, step.state, amount)
        step.session.save([step.take_sample()])
        return step.read_accounts()
