"""A ledger and its money: bound by its first step, kept apart from other ledgers, given up by an operator's word.

Each ledger counts the money of one purse. A purse that another ledger of the database counts is refused until that one
is ended; an ended ledger is never stepped again. Whoever binds or ends holds the lease of ledger and purse, so at no
time can two ledgers trade the same money.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from trading_dagster.domain.binding import Binding
from trading_dagster.domain.error import BadConfiguration, BadInput, UncleanState
from trading_dagster.domain.event import BalanceUpdated, Event, LedgerBound, LedgerEnded
from trading_dagster.domain.purse import PAPER, Purse, vault_purse, wallet_purse
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import RUNNING
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.live.session import LiveSession, open_session
from trading_dagster.storage.event_codec import EventDecoder
from trading_dagster.storage.lease import DEFAULT_LEASE_S, purse_resources
from trading_dagster.storage.ledger_store import LedgerStore
from trading_dagster.storage.strategy_ledger import BINDING, FLOW, StrategyLedger

_VAULT_NOTE = re.compile(r"vault (0x[0-9a-fA-F]{40}), ")


def require_same_purse(state: State, purse: Purse) -> None:
    """Raise BadConfiguration when a ledger was ended, or counts other money; before a step does anything.

    What a ledger of an earlier version counts is told by its first deposit.
    """
    name, binding = state.name, state.binding
    if binding.ended_at is not None:
        raise BadConfiguration(
            f"The ledger of {name} was ended at {binding.ended_at} UTC ({binding.end_reason}), nothing is traded "
            "by it any more: begin a ledger under a new id, and remove the deployment's file"
        )
    counted = find_purse(state)
    if counted is not None and counted != purse:
        raise BadConfiguration(
            f"The ledger of {name} counts the money of {counted}, but its deployment now trades {purse}: go back to "
            f"{counted} (mode, chain, wallet and vault of the file, and what the key's variable holds). To trade other "
            "money close all positions there and begin a ledger under a new id"
        )


def bind_ledger(session: LiveSession, purse: Purse, at: datetime) -> None:
    """Bind a ledger to its money, once.

    The event is stored at once where there is a ledger, else with the first thing that is: who only looks at a wallet
    begins no ledger.

    Raises:
        BadConfiguration: Another ledger counts this money.
    """
    state = session.state
    if state.binding.purse is None:
        _require_unclaimed(session.ledger, purse)
        state.record(LedgerBound(at, purse))
        if session.ledger.is_stored:
            session.save()


def end_ledger(
    store: LedgerStore,
    strategy_id: str,
    *,
    by: str,
    reason: str,
    at: datetime,
    force: bool = False,
    lease_s: float = DEFAULT_LEASE_S,
    wait_s: float = 0.0,
) -> Binding:
    """End a ledger, for good; its money may then be counted by a new one.

    Nothing is sold, sent or asked of a node. Its cash stays what it ended with. Once more does nothing.

    Args:
        store: Where it is kept.
        strategy_id: Whose ledger it is.
        by: Who ends it.
        reason: Why.
        at: When, aware UTC.
        force: Give up positions that cannot be closed, because what they say is not so any more.
        lease_s: How long the lease lasts without renewal, seconds.
        wait_s: How long to wait for another executor to finish, seconds.

    Raises:
        BadInput: There is no such ledger, or it is not said who ends it and why.
        UncleanState: It has positions, trades that began and did not end, or redemptions that wait.
        ExecutorBusy: Somebody works on the strategy, its wallet or its vault.
    """
    if not by.strip() or not reason.strip():
        raise BadInput(f"Say who ends the ledger of {strategy_id}, and why")
    known = StrategyLedger(store, strategy_id).load()
    if known is None:
        listing = ", ".join(store.list_strategies()) or "none"
        raise BadInput(f"There is no ledger of {strategy_id} in this database; it has those of {listing}")
    purse = find_purse(known)
    with open_session(
        store,
        strategy_id,
        reserve_asset=known.portfolio.reserve.asset,
        created_at=at,
        resources=() if purse is None else purse_resources(purse),
        lease_s=lease_s,
        wait_s=wait_s,
    ) as session:
        state = session.state
        if state.binding.ended_at is None:
            given_up = _require_over(state, force=force)
            state.record(LedgerEnded(at, by.strip(), reason.strip(), given_up))
            session.save()
        return state.binding


def find_funder(updates: Iterable[BalanceUpdate]) -> Purse | None:
    """Return whose money the first deposit came to, None when there is none or it was booked by hand."""
    first = next((update for update in updates if _is_deposit(update)), None)
    if first is None:
        return None
    chain_id, owner, notes = first.asset.chain_id, first.owner_address, first.notes
    if first.tx_hash is not None:
        found = _VAULT_NOTE.match(notes or "")
        return None if found is None else vault_purse(chain_id, found[1])
    if owner is not None:
        return wallet_purse(chain_id, owner)
    return PAPER if notes is None else None


def find_purse(state: State) -> Purse | None:
    """Return whose money a ledger counts: by its binding, else by its first deposit; None when nothing tells."""
    return state.binding.purse or find_funder(state.portfolio.reserve.balance_updates.values())


def _is_deposit(update: BalanceUpdate) -> bool:
    is_reserve = update.position_type is BalanceUpdatePositionType.reserve
    return is_reserve and update.cause is BalanceUpdateCause.deposit


def _require_unclaimed(ledger: StrategyLedger, purse: Purse) -> None:
    """Raise BadConfiguration when a ledger that was not ended counts the same money.

    A ledger of an earlier version that no step has bound yet counts only against a new one: of two old ones the first
    that goes on is bound, so that an upgrade stops nobody over a ledger that was left long ago.
    """
    if not purse.is_real:
        return
    for other in ledger.store.list_strategies():
        if other == ledger.strategy_id:
            continue
        binding = _read_binding(ledger.store, other, with_unbound=not ledger.is_stored)
        if binding.purse == purse and binding.ended_at is None:
            raise BadConfiguration(
                f"{ledger.strategy_id} would trade {purse}, whose money the ledger of {other} counts: each would take "
                f"the other's cash for its own deposit. Give one of them another wallet; or, when {other} is over, "
                f"close its positions (live close-all {other}) and end it: trading-dagster live end-ledger {other}"
            )


def _read_binding(store: LedgerStore, strategy_id: str, *, with_unbound: bool) -> Binding:
    """Return what a ledger is bound to; with_unbound tells from its first deposit where no step said it."""
    binding = Binding()
    for event in _read_topic(store, strategy_id, BINDING):
        if isinstance(event, LedgerBound):
            binding.bind(event)
        elif isinstance(event, LedgerEnded):
            binding.end(event)
    if binding.purse is None and with_unbound:
        flows = _read_topic(store, strategy_id, FLOW)
        binding.purse = find_funder(event.update for event in flows if isinstance(event, BalanceUpdated))
    return binding


def _read_topic(store: LedgerStore, strategy_id: str, topic: str) -> list[Event]:
    rows = store.read_some(strategy_id, store.head(strategy_id), topics=(topic,))
    return EventDecoder().decode_all(row.body for row in rows)


def _require_over(state: State, *, force: bool) -> tuple[int, ...]:
    """Return the positions that are given up, none unless forced; raises UncleanState."""
    portfolio = state.portfolio
    held = [*portfolio.get_open_and_frozen_positions(), *portfolio.pending_positions.values()]
    running = [t for position in held for t in position.trades.values() if t.get_status() in RUNNING]
    waiting = state.sync.treasury.redemptions.values()
    left = [*running, *waiting, *(() if force else held)]
    if left:
        listing = "\n".join(f"  {each}" for each in left)
        raise UncleanState(
            f"The ledger of {state.name} is not over, it has\n{listing}\nClose its positions (live close-all; repair "
            "those that are frozen, correct the accounts of those that are gone), let trades end, cancel redemptions, "
            "then end it. Positions that cannot be closed any more are given up with --force"
        )
    return tuple(sorted(position.position_id for position in held))
