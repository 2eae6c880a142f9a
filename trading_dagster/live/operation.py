"""What every operator action that trades or changes the ledger begins and ends with, beside the cycles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from trading_dagster.accounting.account_check import AccountTable
from trading_dagster.domain.error import TradeError, UncleanState
from trading_dagster.domain.trade import RUNNING, TradeExecution, TradeStatus
from trading_dagster.live.message import freeze_messages
from trading_dagster.live.step import LiveStep, find_trades, open_step
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import load_universe
from trading_dagster.storage.ledger_store import Sample


@dataclass(frozen=True, slots=True)
class TradingResult:
    """What came of an operator's trades.

    ``notes`` say in words what was refused or is not known yet. ``accounts`` is None while the end of a trade is not
    known: balances say nothing then.
    """

    trades: tuple[TradeExecution, ...] = ()
    notes: tuple[str, ...] = ()
    accounts: AccountTable | None = None
    sample: Sample | None = None

    @property
    def is_complete(self) -> bool:
        """Tell whether every trade executed."""
        return all(trade.is_success() for trade in self.trades)


@contextmanager
def open_operation(live: LiveStrategy, name: str) -> Iterator[LiveStep]:
    """Open a step at the present in which nothing is unfinished; ``name`` is what messages call it.

    Raises:
        ExecutorBusy: Another executor works on the strategy or its wallet.
        UncleanState: The end of an earlier trade is still unknown.
    """
    at = live.now()
    with open_step(live, load_universe(live, at), at, name) as step:
        step.require_finished()
        step.read_interest()
        yield step


def require_permission(live: LiveStrategy) -> None:
    """Raise TradeError when the kill switch is on."""
    reason = live.forbid_trading()
    if reason:
        raise TradeError(f"{live.id}: nothing is traded: {reason}. Turn it off first, with resume")


def list_waiting(step: LiveStep) -> list[TradeExecution]:
    """Return the trades of the cycle in progress that are planned and did not begin."""
    decision = step.state.decision
    return [] if decision is None else find_trades(step.state, decision, TradeStatus.planned)


def require_no_waiting(step: LiveStep) -> None:
    """Raise UncleanState while trades of a cycle wait for their execution: they count on what is held now."""
    waiting = list_waiting(step)
    if waiting and step.state.decision is not None:
        listing = "\n".join(f"  {trade}" for trade in waiting)
        raise UncleanState(
            f"{step.live.id}: the cycle of {step.state.decision.decision_at} is in progress and {len(waiting)} of its "
            f"trades did not begin:\n{listing}\nLet it end, or wait for the next cycle, which drops them"
        )


def run_trades(step: LiveStep, planned: Sequence[TradeExecution], notes: Sequence[str] = ()) -> TradingResult:
    """Hold planned trades to the limits, execute them and look at the accounts; what was planned is saved first."""
    trades, refused = step.review(planned)
    step.session.save()
    if trades:
        step.desk.execution.execute_trades(step.clock.timestamp, step.state, trades)
    sample = step.take_sample() if trades else None
    step.session.save([] if sample is None else [sample])
    for message in freeze_messages(step.live.id, trades, step.live.clock.now()):
        step.live.reporter.report(message)
    unfinished = [trade for trade in trades if trade.get_status() in RUNNING]
    told = [*notes, *refused]
    told += [f"{trade}: its end is not known yet, the next step looks it up" for trade in unfinished]
    settling = (trade for trade in trades if trade.get_status() is TradeStatus.vault_settlement_pending)
    told += [f"{trade}: its vault settles it later, and the steps after that claim it" for trade in settling]
    told += [f"{trade}: it did not begin; run this again" for trade in trades if trade.is_planned()]
    told += [f"{trade}: {trade.failure}" for trade in trades if trade.failure]
    accounts = None if unfinished else step.read_accounts()
    return TradingResult(tuple(trades), tuple(told), accounts, sample)
