"""Steps beside the cycle that do not trade: revaluation, treasury sync, account check."""

from __future__ import annotations

from collections.abc import Sequence

from trading_dagster.accounting.account_check import AccountTable
from trading_dagster.domain.treasury import BalanceUpdate
from trading_dagster.live.operation import list_waiting
from trading_dagster.live.step import open_step
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import load_universe
from trading_dagster.storage.ledger_store import Sample


def revalue(live: LiveStrategy) -> Sample:
    """Value the portfolio now and keep the sample; raises ExecutorBusy."""
    at = live.now()
    with open_step(live, load_universe(live, at), at, "the revaluation") as step:
        step.read_interest()
        sample = step.take_sample()
        step.session.save([sample])
        return sample


def sync_treasury(live: LiveStrategy) -> Sequence[BalanceUpdate]:
    """Record deposits and redemptions that are not in the ledger yet, and pay those that wait; raises ExecutorBusy."""
    at = live.now()
    with open_step(live, load_universe(live, at), at, "the treasury sync") as step:
        unfinished = step.resume_trades()
        before = len(step.state.portfolio.reserve.balance_updates)
        step.desk.treasury.sync_treasury(at, step.state)
        step.session.save()
        if not unfinished and not list_waiting(step):  # trades under way count on the cash
            step.pay_redemptions()
        return [*step.state.portfolio.reserve.balance_updates.values()][before:]


def check_live_accounts(live: LiveStrategy) -> AccountTable:
    """Compare the ledger with what is really held; books nothing but interest. Raises ExecutorBusy."""
    at = live.now()
    with open_step(live, load_universe(live, at), at, "the account check") as step:
        return step.read_accounts()
