"""Kill switches and approvals as rows of a ledger database: how an operator controls a live strategy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from trading_dagster.domain.error import BadInput, LedgerError
from trading_dagster.domain.time import from_unix_us, to_aware, to_naive, to_unix_us
from trading_dagster.execution.approval import (
    Answer,
    Approval,
    ApprovalRequest,
    TradeOffer,
    Verdict,
    answered,
    pick_request,
)
from trading_dagster.storage.database import Database
from trading_dagster.storage.ledger_schema import approvals, kill_switches, strategies

ALL_STRATEGIES = ""
"""The scope of the kill switch that stops every strategy of the database."""


@dataclass(frozen=True, slots=True)
class SwitchPosition:
    """A kill switch as somebody left it. ``scope`` is a strategy's id or ALL_STRATEGIES; ``at`` is aware UTC."""

    scope: str
    is_on: bool
    by: str
    at: datetime
    reason: str

    def __str__(self) -> str:
        """Return a line a person can read."""
        whose = f"of {self.scope}" if self.scope else "of all strategies"
        position = "on" if self.is_on else "off"
        return (
            f"the kill switch {whose} is {position} since {self.at:%Y-%m-%d %H:%M:%S} UTC, by {self.by}: {self.reason}"
        )


class SqlKillSwitch:
    """Kill switches of strategies and of all of them; each turn is a row, the newest of a scope counts."""

    def __init__(self, database: Database) -> None:
        """Keep switches in an open database."""
        self._database = database

    def is_on(self, strategy_id: str) -> str:
        """Return why a strategy may not sign, nothing when it may; a switch that cannot be read is on."""
        try:
            positions = self.read(strategy_id)
        except LedgerError as error:
            return f"the kill switch cannot be read, so nothing is signed ({type(error).__name__}: {error})"
        return "; ".join(str(position) for position in positions if position.is_on)

    def read(self, strategy_id: str) -> Sequence[SwitchPosition]:
        """Return the switches that a strategy obeys, its own first; those never touched are left out."""
        with self._database.read() as connection:
            found: list[Row[Any]] = []
            for scope in dict.fromkeys((strategy_id, ALL_STRATEGIES)):
                found += connection.execute(_switches_of(scope).limit(1)).all()
        return [_position(row) for row in found]

    def list_turns(self, scope: str, limit: int = 100) -> Sequence[SwitchPosition]:
        """Return how a switch was turned, newest first."""
        with self._database.read() as connection:
            return [_position(row) for row in connection.execute(_switches_of(scope).limit(limit))]

    def turn(self, scope: str, *, is_on: bool, by: str, reason: str, at: datetime) -> SwitchPosition:
        """Turn a switch on or off, at once for whoever asks next.

        Args:
            scope: A strategy's id, or ALL_STRATEGIES.
            is_on: On stops everything that signs.
            by: Who turns it.
            reason: Why.
            at: The present, aware UTC.

        Raises:
            BadInput: Nobody or no reason is named, or the database knows no such strategy, so that turning its
                switch would stop nothing.
        """
        if not by.strip() or not reason.strip():
            raise BadInput(f"A kill switch is turned by somebody for a reason: got by {by!r}, reason {reason!r}")
        position = SwitchPosition(scope, is_on, by.strip()[:255], at, reason.strip())
        with self._database.write() as connection:
            if scope != ALL_STRATEGIES:
                _require_known(connection, scope, self._database.place)
            connection.execute(
                insert(kill_switches).values(
                    scope=scope,
                    is_on=int(is_on),
                    switched_by=position.by,
                    at_us=to_unix_us(to_naive(at)),
                    reason=position.reason,
                )
            )
        return position


class SqlApprovalStore:
    """An ApprovalStore in a ledger database. Writes need no lease: an operator writes while the executor holds it."""

    def __init__(self, database: Database) -> None:
        """Keep requests and answers in an open database."""
        self._database = database

    def request(self, request: ApprovalRequest) -> Approval:
        """See ApprovalStore."""
        dialect = sqlite if self._database.is_sqlite else postgresql
        row = {
            "strategy_id": request.strategy_id,
            "digest": request.digest,
            "cycle": request.cycle,
            "decision_us": _us(request.decision_at),
            "first_trade_id": min(request.trade_ids),
            "last_trade_id": max(request.trade_ids),
            "trades": json.dumps([asdict(trade) for trade in request.trades], separators=(",", ":")),
            "requested_us": _us(request.requested_at),
            "deadline_us": _us(request.deadline),
            "verdict": Verdict.waiting.value,
            "approved_ids": "[]",
            "answered_by": "",
            "comment": "",
        }
        with self._database.write() as connection:
            connection.execute(dialect.insert(approvals).values(row).on_conflict_do_nothing())
            return self._locked(connection, request.strategy_id, request.digest)

    def find_covering(self, strategy_id: str, trade_ids: Sequence[int]) -> Sequence[Approval]:
        """See ApprovalStore."""
        query = _approvals_of(strategy_id).where(
            approvals.c.first_trade_id <= min(trade_ids), approvals.c.last_trade_id >= max(trade_ids)
        )
        # Ids grow, so the requests that reach as far as these trades are the newest: an index leads to them.
        with self._database.read() as connection:
            found = [_approval(row) for row in connection.execute(query.order_by(approvals.c.approval_key.desc()))]
        return [approval for approval in found if set(trade_ids) <= set(approval.request.trade_ids)]

    def list_waiting(self, strategy_id: str) -> Sequence[Approval]:
        """See ApprovalStore."""
        query = _approvals_of(strategy_id).where(approvals.c.verdict == Verdict.waiting.value)
        with self._database.read() as connection:
            return [_approval(row) for row in connection.execute(query.order_by(approvals.c.approval_key.desc()))]

    def answer(self, strategy_id: str, answer: Answer) -> Approval:
        """See ApprovalStore."""
        query = _approvals_of(strategy_id).where(approvals.c.digest.startswith(answer.digest, autoescape=True))
        with self._database.write() as connection:
            found = [_approval(row) for row in connection.execute(query.limit(3).with_for_update())]
            approval = answered(pick_request(strategy_id, answer.digest, found), answer)
            return self._settle(connection, approval)

    def expire(self, strategy_id: str, digest: str, at: datetime) -> Approval:
        """See ApprovalStore."""
        with self._database.write() as connection:
            approval = self._locked(connection, strategy_id, digest)
            if approval.verdict is not Verdict.waiting:
                return approval
            return self._settle(connection, Approval(approval.request, Verdict.expired, answered_at=at))

    def _locked(self, connection: Connection, strategy_id: str, digest: str) -> Approval:
        query = _approvals_of(strategy_id).where(approvals.c.digest == digest).with_for_update()
        return _approval(connection.execute(query).one())

    def _settle(self, connection: Connection, approval: Approval) -> Approval:
        request = approval.request
        assert approval.answered_at is not None
        connection.execute(
            update(approvals)
            .where(approvals.c.strategy_id == request.strategy_id, approvals.c.digest == request.digest)
            .values(
                verdict=approval.verdict.value,
                approved_ids=json.dumps(list(approval.approved_ids)),
                answered_by=approval.answered_by,
                answered_us=_us(approval.answered_at),
                comment=approval.comment,
            )
        )
        return approval


def _require_known(connection: Connection, strategy_id: str, place: str) -> None:
    query = select(strategies.c.strategy_id)
    if connection.execute(query.where(strategies.c.strategy_id == strategy_id)).first() is None:
        known = ", ".join(connection.execute(query.order_by(strategies.c.strategy_id).limit(20)).scalars()) or "none"
        raise BadInput(
            f"{place} has no strategy {strategy_id!r}, so that its kill switch would stop nothing; it has: {known}. "
            "To stop everything, turn the switch of all strategies"
        )


def _switches_of(scope: str) -> Select[Any]:
    return select(kill_switches).where(kill_switches.c.scope == scope).order_by(kill_switches.c.switch_key.desc())


def _approvals_of(strategy_id: str) -> Select[Any]:
    return select(approvals).where(approvals.c.strategy_id == strategy_id)


def _position(row: Row[Any]) -> SwitchPosition:
    return SwitchPosition(row.scope, bool(row.is_on), row.switched_by, _at(row.at_us), row.reason)


def _approval(row: Row[Any]) -> Approval:
    request = ApprovalRequest(
        strategy_id=row.strategy_id,
        cycle=row.cycle,
        decision_at=_at(row.decision_us),
        trades=tuple(TradeOffer(**fields) for fields in json.loads(row.trades)),
        requested_at=_at(row.requested_us),
        deadline=_at(row.deadline_us),
    )
    return Approval(
        request,
        Verdict(row.verdict),
        tuple(json.loads(row.approved_ids)),
        row.answered_by,
        None if row.answered_us is None else _at(row.answered_us),
        row.comment,
    )


def _us(at: datetime) -> int:
    return to_unix_us(to_naive(at))


def _at(us: int) -> datetime:
    return to_aware(from_unix_us(us))
