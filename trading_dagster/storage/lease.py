"""Leases: one executor at a time for a strategy and for a wallet, enforced where it writes.

A lease is a row per resource: who holds it, until when by the clock of the database, and a fencing token that grows by
one at each acquisition. Expiry only decides when somebody else may take over. What keeps a process that was paused and
wakes from writing is the token: every write transaction names its tokens and is refused when one is not the newest.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from trading_dagster.domain.error import BadInput, LeaseLost
from trading_dagster.domain.purse import Purse, PurseKind

DEFAULT_LEASE_S = 60.0
"""How long a lease lasts without renewal, seconds: how long a restart waits after its predecessor was killed."""


MAX_LEASE_S = 3600.0
"""No lease is longer. One that seems to last longer was taken while the clock was ahead: it counts as run out, else
nobody could watch a stop loss until the clock gets there."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A resource and the token under which it is held."""

    resource: str
    token: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Resources held together. ``expires_ms`` is unix time in milliseconds by the database's clock."""

    holder: str
    fences: tuple[Fence, ...]
    duration_s: float
    expires_ms: int

    def covers(self, resource: str) -> bool:
        """Tell whether a resource is part of the lease."""
        return any(fence.resource == resource for fence in self.fences)


@dataclass(frozen=True, slots=True)
class LeaseRefused:
    """Somebody else holds a resource; nothing was acquired. ``remaining_s`` seconds are left of its lease."""

    resource: str
    holder: str
    remaining_s: float

    def __str__(self) -> str:
        """Return a line that says what to do."""
        return (
            f"{self.resource} is held by {self.holder} for another {self.remaining_s:.1f} s: "
            "wait until that executor ends or its lease expires"
        )


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who holds a resource. ``remaining_s`` seconds are left of the lease, by the database's clock."""

    resource: str
    holder: str
    remaining_s: float


class LeaseStore(Protocol):
    """Where leases are kept. A lease is acquired as a whole or not at all."""

    def acquire(
        self, holder: str, resources: Sequence[str], duration_s: float = DEFAULT_LEASE_S
    ) -> Lease | LeaseRefused:
        """Take resources that nobody holds, or whose lease expired; ``holder`` must be unique to a process."""
        ...

    def renew(self, lease: Lease) -> Lease:
        """Extend a lease by its duration from now; raises LeaseLost when somebody took over."""
        ...

    def release(self, lease: Lease) -> None:
        """Give resources back at once; does nothing for those that somebody took over."""
        ...

    def check(self, lease: Lease) -> None:
        """Raise LeaseLost when one of the tokens is not the newest: ask right before signing."""
        ...

    def find_holder(self, resource: str) -> LeaseHolder | None:
        """Return who holds a resource now, None when nobody does; takes nothing."""
        ...


def strategy_resource(strategy_id: str) -> str:
    """Return the resource that a strategy's executor holds."""
    return f"strategy:{strategy_id}"


def wallet_resource(address: str) -> str:
    """Return the resource that whoever signs with a wallet holds: one for all chains, as the key is one."""
    return f"wallet:{address.lower()}"


def purse_resources(purse: Purse) -> tuple[str, ...]:
    """Return what whoever counts some money holds: the wallet, on all chains, or the vault; nothing on paper."""
    if purse.kind is PurseKind.wallet:
        return (wallet_resource(purse.address),)
    return (f"vault:{purse.chain_id}:{purse.address}",) if purse.is_real else ()


def unique_holder() -> str:
    """Return a name for this process that no other has had or will have."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"


def sorted_resources(resources: Sequence[str], duration_s: float) -> list[str]:
    """Return resources in the order in which everybody locks them; raises BadInput for none or no time."""
    if not resources or len(set(resources)) != len(resources):
        raise BadInput(f"A lease is for one or more different resources, got {list(resources)}")
    if not 0 < duration_s <= MAX_LEASE_S:
        raise BadInput(f"A lease lasts a positive number of seconds, at most {MAX_LEASE_S:g}, got {duration_s}")
    return sorted(resources)


def is_held(holder: str | None, expires_ms: int, now_ms: int) -> bool:
    """Tell whether a lease keeps others out now."""
    return holder is not None and now_ms < expires_ms <= now_ms + MAX_LEASE_S * 1000


def lease_lost(fence: Fence, holder: str, newest: int, newest_holder: str | None) -> LeaseLost:
    """Return the error of a writer that lost its lease."""
    now = f"{newest_holder} has token {newest}" if newest_holder else f"it was released at token {newest}"
    return LeaseLost(
        f"{holder} holds {fence.resource} no longer (token {fence.token}): {now}. Nothing was written; "
        "acquire the lease again and load the state anew"
    )


@dataclass(slots=True)
class _Row:
    token: int = 0
    holder: str | None = None
    expires_ms: int = 0


class MemoryLeaseStore:
    """Leases in memory, by a clock of one's choice."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin without leases; ``clock`` returns unix time in seconds."""
        self._clock = clock
        self._rows: dict[str, _Row] = {}
        self._lock = threading.RLock()

    def acquire(
        self, holder: str, resources: Sequence[str], duration_s: float = DEFAULT_LEASE_S
    ) -> Lease | LeaseRefused:
        """See LeaseStore."""
        wanted = sorted_resources(resources, duration_s)
        with self._lock:
            now = self._now_ms()
            for resource in wanted:
                row = self._rows.setdefault(resource, _Row())
                if row.holder is not None and is_held(row.holder, row.expires_ms, now):
                    return LeaseRefused(resource, row.holder, (row.expires_ms - now) / 1000)
            expires_ms = now + round(duration_s * 1000)
            for resource in wanted:
                self._rows[resource] = _Row(self._rows[resource].token + 1, holder, expires_ms)
            fences = tuple(Fence(resource, self._rows[resource].token) for resource in wanted)
            return Lease(holder, fences, duration_s, expires_ms)

    def renew(self, lease: Lease) -> Lease:
        """See LeaseStore."""
        with self._lock:
            self.check(lease)
            expires_ms = self._now_ms() + round(lease.duration_s * 1000)
            for fence in lease.fences:
                self._rows[fence.resource].expires_ms = expires_ms
            return replace(lease, expires_ms=expires_ms)

    def release(self, lease: Lease) -> None:
        """See LeaseStore."""
        with self._lock:
            for fence in lease.fences:
                row = self._rows.get(fence.resource)
                if row is not None and (row.token, row.holder) == (fence.token, lease.holder):
                    row.holder, row.expires_ms = None, 0

    def check(self, lease: Lease) -> None:
        """See LeaseStore."""
        with self._lock:
            for fence in lease.fences:
                row = self._rows.get(fence.resource, _Row())
                if (row.token, row.holder) != (fence.token, lease.holder):
                    raise lease_lost(fence, lease.holder, row.token, row.holder)

    def find_holder(self, resource: str) -> LeaseHolder | None:
        """See LeaseStore."""
        with self._lock:
            row, now = self._rows.get(resource, _Row()), self._now_ms()
            if row.holder is None or not is_held(row.holder, row.expires_ms, now):
                return None
            return LeaseHolder(resource, row.holder, (row.expires_ms - now) / 1000)

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)
