"""Executors with one step of the protocol removed: what tests the tests."""

from __future__ import annotations

from trading_dagster.domain.transaction import Attempt, InFlight, Outcome, OutcomeStatus
from trading_dagster.evm.alarm import Step
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.transaction import TransactionExecutor


class SendThenSave(TransactionExecutor):
    """Without step 2: sends before it persists."""

    def _persist(self, attempt: Attempt) -> None:
        self._client.broadcast(attempt.raw)
        self._observe(Step.sent, attempt.intent_id)
        super()._persist(attempt)


class NoReceiptMeansFailed(TransactionExecutor):
    """Without step 5: a used nonce without a receipt counts as failed."""

    def _settle_lost_nonce(self, record: InFlight, head: BlockHeader) -> None:
        self._finish(Outcome(record.intent.intent_id, OutcomeStatus.released, "no receipt"))


class NoAudit(TransactionExecutor):
    """Without step 6: what was settled once is never looked at again."""

    def audit(self, head: BlockHeader) -> None:
        pass


EXECUTORS: dict[str, type[TransactionExecutor]] = {
    cls.__name__: cls for cls in (TransactionExecutor, SendThenSave, NoReceiptMeansFailed, NoAudit)
}
