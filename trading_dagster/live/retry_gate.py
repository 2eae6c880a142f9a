"""Whether a failed trade could still take effect: asked before it is made again, or counts as never tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from trading_dagster.domain.error import BadInput, NodeError
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.transaction import Finished, OutcomeStatus
from trading_dagster.live.step import LiveStep, open_step
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import load_universe


@runtime_checkable
class RetryGate(Protocol):
    """An execution that knows the ends of its trades for good."""

    def may_retry(self, state: State, trade: TradeExecution) -> str:
        """Return why a failed trade could still take effect, nothing when it never will."""
        ...


@runtime_checkable
class SigningVenue(Protocol):
    """A venue that signs transactions and keeps a journal of them."""

    @property
    def journal(self) -> Any:
        """Return the journal."""
        ...

    def make_executor(self, lease_token: int, check_lease: Callable[[], None]) -> Any:
        """Return what signs under a lease."""
        ...


def find_danger(step: LiveStep, trade: TradeExecution) -> str:
    """Return why a failed trade could still take effect, nothing when it never will; a venue must be able to tell."""
    venue, execution = step.live.venue, step.desk.execution
    if isinstance(execution, RetryGate):
        return execution.may_retry(step.state, trade)
    if isinstance(venue, SigningVenue):
        return _look_into_journal(step, venue, trade)
    return "its venue cannot tell whether it may still take effect"


def release_wallet(live: LiveStrategy, reason: str) -> None:
    """Let a halted wallet sign again, above every nonce used by now: only for those who know who signed.

    Raises:
        BadInput: The strategy trades on paper, or no reason is given.
        ExecutorBusy: Another executor works on the strategy or its wallet.
    """
    venue = live.venue
    if not isinstance(venue, SigningVenue):
        raise BadInput(f"{live.id} signs nothing: it has no wallet that could be halted")
    if not reason.strip():
        raise BadInput(f"Say why the wallet of {live.id} may sign again")
    at = live.now()
    with open_step(live, load_universe(live, at), at, "letting the wallet sign again") as step:
        _make_executor(step, venue).resume(reason.strip())


def _look_into_journal(step: LiveStep, venue: SigningVenue, trade: TradeExecution) -> str:
    from trading_dagster.evm.request_fill import is_given_back  # only this pays for web3
    from trading_dagster.evm.swap_intent import trade_intent_id
    from trading_dagster.evm.trade_book import is_lost

    if is_lost(trade):
        return f"{trade.failure}"
    if is_given_back(trade):
        return ""  # its vault has nothing of it any more, in a block that no reorg reaches
    intent_id = trade_intent_id(step.state.name, trade.trade_id)
    if trade.plan.loan is not None:
        return _look_at_steps(step, venue, intent_id)
    record = venue.journal.find(intent_id)
    if record is None:
        return ""  # no swap of it was ever planned
    if isinstance(record, Finished) and record.outcome.status is OutcomeStatus.confirmed:
        where = f"its transaction {record.outcome.tx_hash} took effect, in block {record.outcome.block_number}"
        return f"{where}: release it all the same (force), then correct the accounts"
    try:
        executor = _make_executor(step, venue)
        is_past = executor.may_replan(intent_id)
        if not is_past and not record.intent.expires_at:
            is_past = executor.is_final(intent_id)  # a vault's call has no deadline: what used its nonce ends it
    except NodeError as error:
        return f"no node tells whether it may still be mined: {error}"
    if is_past:
        return ""
    if not record.intent.expires_at:
        return "its transaction ended in a block that a reorg could still replace: wait some blocks"
    return "its transaction could still be mined: wait until its deadline has passed beyond every reorg"


def _look_at_steps(step: LiveStep, venue: SigningVenue, intent_id: str) -> str:
    """Return why a trade with a loan could still take effect: one of its transactions, or of those that took it back.

    Calls of a lending pool have no deadline: they are past once they ended deep enough.
    """
    from trading_dagster.evm.loan_progress import list_steps  # only this pays for web3

    executor = _make_executor(step, venue)
    try:
        open_steps = [r for r in list_steps(venue.journal, intent_id) if not executor.is_final(r.intent.intent_id)]
    except NodeError as error:
        return f"no node tells whether it may still be mined: {error}"
    if not open_steps:
        return ""
    return f"{open_steps[0].intent.intent_id} ended in a block that a reorg could still replace: wait some blocks"


def _make_executor(step: LiveStep, venue: SigningVenue) -> Any:
    resources = step.live.venue.lease_resources
    return venue.make_executor(step.session.lease_token(resources[0]), step.session.check_lease)
