"""A strategy's ledger opened for one step: the lease is held and renewed, the state loaded, what happens saved."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from trading_dagster.domain.error import ExecutorBusy, LeaseLost, StorageFailed
from trading_dagster.domain.event import StateCreated
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.position import Marks
from trading_dagster.domain.state import State
from trading_dagster.storage.lease import DEFAULT_LEASE_S, Lease, LeaseRefused, strategy_resource, unique_holder
from trading_dagster.storage.ledger_store import LedgerStore, Sample
from trading_dagster.storage.strategy_ledger import StrategyLedger

logger = logging.getLogger(__name__)

RETRY_S = 0.5
RENEWALS_PER_LEASE = 4


class LiveSession:
    """The state of a strategy, for as long as its lease is held."""

    def __init__(self, ledger: StrategyLedger, state: State, keeper: LeaseKeeper) -> None:
        """Take a loaded ledger and what keeps its lease."""
        self.ledger = ledger
        self.state = state
        self._keeper = keeper

    def save(self, samples: Sequence[Sample] = (), *, shown_at: datetime | None = None) -> None:
        """Store what happened since the last save, in one transaction; arguments as in StrategyLedger.save.

        Raises:
            LeaseLost, LedgerConflict: Another executor took over; nothing was stored.
            StorageFailed: It is not known whether it was stored: end this session, the next one finds out.
        """
        self._keeper.check()
        self.ledger.save(samples, shown_at=shown_at)

    def check_lease(self) -> None:
        """Raise LeaseLost when somebody took over; asks the store."""
        self._keeper.check()
        self.ledger.store.check(self._keeper.lease)

    def lease_token(self, resource: str) -> int:
        """Return the fencing token under which a resource is held, 0 when it is not part of the lease."""
        return next((fence.token for fence in self._keeper.lease.fences if fence.resource == resource), 0)


class LeaseKeeper:
    """Renews a lease in the background until it is told to stop."""

    def __init__(self, store: LedgerStore, lease: Lease) -> None:
        """Begin to renew."""
        self.lease = lease
        self._store = store
        self._lost: LeaseLost | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease keeper", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise LeaseLost when a renewal was refused."""
        if self._lost is not None:
            raise self._lost

    def stop(self) -> None:
        """End renewing and give the lease back."""
        self._stop.set()
        self._thread.join()
        try:
            self._store.release(self.lease)
        except (LeaseLost, StorageFailed) as error:
            logger.warning("The lease of %s was not given back, it runs out by itself: %s", self.lease.holder, error)

    def _renew(self) -> None:
        while not self._stop.wait(self.lease.duration_s / RENEWALS_PER_LEASE):
            try:
                self._store.renew(self.lease)
            except LeaseLost as error:
                self._lost = error
                return
            except StorageFailed as error:
                logger.warning("The lease of %s could not be renewed, trying again: %s", self.lease.holder, error)


@contextmanager
def open_session(
    store: LedgerStore,
    strategy_id: str,
    *,
    reserve_asset: AssetIdentifier,
    created_at: datetime,
    resources: Sequence[str] = (),
    known_pairs: Sequence[TradingPairIdentifier] = (),
    marks: Marks | None = None,
    lease_s: float = DEFAULT_LEASE_S,
    wait_s: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[LiveSession]:
    """Hold a strategy's lease, load its state or begin it, and give the lease back at the end.

    What was recorded and not saved when the block is left by an error is forgotten: the next session begins from what
    the ledger says.

    Args:
        store: Where ledgers are kept.
        strategy_id: Whose ledger it is.
        reserve_asset: The token a new ledger counts in.
        created_at: When a new ledger begins, aware UTC.
        resources: What else must be held, such as the wallet.
        known_pairs: Pairs of the running universe, which the state then refers to.
        marks: Prices to value positions with.
        lease_s: How long the lease lasts without renewal, seconds.
        wait_s: How long to wait for another executor to finish, seconds.
        clock: Monotonic seconds.

    Raises:
        ExecutorBusy: Another executor holds the strategy or its wallet.
    """
    lease = _acquire(store, [strategy_resource(strategy_id), *resources], lease_s, clock() + wait_s, clock)
    keeper = LeaseKeeper(store, lease)
    try:
        ledger = StrategyLedger(store, strategy_id, lease)
        state = ledger.load(known_pairs, marks)
        if state is None:
            state = ledger.create(StateCreated(created_at, strategy_id, reserve_asset), marks)
        yield LiveSession(ledger, state, keeper)
    finally:
        keeper.stop()


def _acquire(
    store: LedgerStore, resources: Sequence[str], lease_s: float, deadline: float, clock: Callable[[], float]
) -> Lease:
    holder = unique_holder()
    while True:
        lease = store.acquire(holder, resources, lease_s)
        if not isinstance(lease, LeaseRefused):
            return lease
        if clock() >= deadline:
            raise ExecutorBusy(str(lease))
        time.sleep(RETRY_S)
