"""Leases as rows of a ledger database, by its clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from trading_dagster.storage.database import Database
from trading_dagster.storage.lease import (
    DEFAULT_LEASE_S,
    Fence,
    Lease,
    LeaseHolder,
    LeaseRefused,
    is_held,
    lease_lost,
    sorted_resources,
)
from trading_dagster.storage.ledger_schema import leases


class SqlLeaseStore:
    """Leases in a ledger database."""

    def __init__(self, database: Database) -> None:
        """Keep leases in an open database."""
        self.database = database

    def acquire(
        self, holder: str, resources: Sequence[str], duration_s: float = DEFAULT_LEASE_S
    ) -> Lease | LeaseRefused:
        """See LeaseStore."""
        wanted = sorted_resources(resources, duration_s)
        with self.database.write() as connection:
            insert = sqlite.insert if self.database.is_sqlite else postgresql.insert
            for resource in wanted:
                free = {"resource": resource, "token": 0, "holder": None, "expires_ms": 0}
                connection.execute(insert(leases).values(free).on_conflict_do_nothing())
            rows = lock_leases(connection, wanted)
            now = self.database.now_ms(connection)
            for resource in wanted:
                _, other, expires_ms = rows[resource]
                if other is not None and is_held(other, expires_ms, now):
                    return LeaseRefused(resource, other, (expires_ms - now) / 1000)
            expires_ms = now + round(duration_s * 1000)
            connection.execute(
                update(leases)
                .where(leases.c.resource.in_(wanted))
                .values(token=leases.c.token + 1, holder=holder, expires_ms=expires_ms)
            )
            fences = tuple(Fence(resource, rows[resource][0] + 1) for resource in wanted)
        return Lease(holder, fences, duration_s, expires_ms)

    def renew(self, lease: Lease) -> Lease:
        """See LeaseStore."""
        with self.database.write() as connection:
            require_newest(connection, lease)
            expires_ms = self.database.now_ms(connection) + round(lease.duration_s * 1000)
            resources = [fence.resource for fence in lease.fences]
            connection.execute(update(leases).where(leases.c.resource.in_(resources)).values(expires_ms=expires_ms))
        return replace(lease, expires_ms=expires_ms)

    def release(self, lease: Lease) -> None:
        """See LeaseStore."""
        with self.database.write() as connection:
            for fence in lease.fences:
                connection.execute(
                    update(leases)
                    .where(
                        leases.c.resource == fence.resource,
                        leases.c.token == fence.token,
                        leases.c.holder == lease.holder,
                    )
                    .values(holder=None, expires_ms=0)
                )

    def check(self, lease: Lease) -> None:
        """See LeaseStore."""
        with self.database.write() as connection:
            require_newest(connection, lease)

    def find_holder(self, resource: str) -> LeaseHolder | None:
        """See LeaseStore."""
        with self.database.read() as connection:
            query = select(leases.c.holder, leases.c.expires_ms).where(leases.c.resource == resource)
            row, now = connection.execute(query).one_or_none(), self.database.now_ms(connection)
        if row is None or row.holder is None or not is_held(row.holder, row.expires_ms, now):
            return None
        return LeaseHolder(resource, row.holder, (row.expires_ms - now) / 1000)


def lock_leases(connection: Connection, resources: Sequence[str]) -> Mapping[str, tuple[int, str | None, int]]:
    """Return (token, holder, expires_ms) by resource; the rows stay as they are until the transaction ends."""
    query = (
        select(leases.c.resource, leases.c.token, leases.c.holder, leases.c.expires_ms)
        .where(leases.c.resource.in_(resources))
        .order_by(leases.c.resource)
        .with_for_update()
    )
    return {resource: (token, holder, expires) for resource, token, holder, expires in connection.execute(query)}


def require_newest(connection: Connection, lease: Lease) -> None:
    """Raise LeaseLost unless every token of a lease is the newest; nobody can take over before the transaction ends."""
    rows = lock_leases(connection, [fence.resource for fence in lease.fences])
    for fence in lease.fences:
        token, holder, _ = rows.get(fence.resource, (0, None, 0))
        if (token, holder) != (fence.token, lease.holder):
            raise lease_lost(fence, lease.holder, token, holder)
