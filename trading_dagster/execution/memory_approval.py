"""Approvals in memory; see ApprovalStore."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from trading_dagster.execution.approval import Answer, Approval, ApprovalRequest, Verdict, answered, pick_request


class MemoryApprovalStore:
    """Requests and answers of one process."""

    def __init__(self) -> None:
        """Begin without requests."""
        self._approvals: dict[tuple[str, str], Approval] = {}
        self._lock = threading.Lock()

    def request(self, request: ApprovalRequest) -> Approval:
        """See ApprovalStore."""
        with self._lock:
            return self._approvals.setdefault((request.strategy_id, request.digest), Approval(request))

    def find_covering(self, strategy_id: str, trade_ids: Sequence[int]) -> Sequence[Approval]:
        """See ApprovalStore."""
        return [a for a in self._newest_first(strategy_id) if set(trade_ids) <= set(a.request.trade_ids)]

    def list_waiting(self, strategy_id: str) -> Sequence[Approval]:
        """See ApprovalStore."""
        return [a for a in self._newest_first(strategy_id) if a.verdict is Verdict.waiting]

    def answer(self, strategy_id: str, answer: Answer) -> Approval:
        """See ApprovalStore."""
        with self._lock:
            found = [a for a in self._newest_first(strategy_id) if a.request.digest.startswith(answer.digest)]
            approval = answered(pick_request(strategy_id, answer.digest, found), answer)
            self._approvals[strategy_id, approval.request.digest] = approval
            return approval

    def expire(self, strategy_id: str, digest: str, at: datetime) -> Approval:
        """See ApprovalStore."""
        with self._lock:
            approval = self._approvals[strategy_id, digest]
            if approval.verdict is Verdict.waiting:
                approval = replace(approval, verdict=Verdict.expired, answered_at=at)
                self._approvals[strategy_id, digest] = approval
            return approval

    def _newest_first(self, strategy_id: str) -> list[Approval]:
        return [a for (owner, _), a in reversed(self._approvals.items()) if owner == strategy_id]
