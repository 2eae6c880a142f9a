"""Runs a loan trade's transactions one after the other, each exactly once, from wherever the journal says it stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from trading_dagster.domain.transaction import Finished, Intent, IntentRecord, Plain
from trading_dagster.evm.allowance import AllowanceKeeper, Spending
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Route
from trading_dagster.evm.loan_planner import LoanEnd, LoanPlanner, LoanStep
from trading_dagster.evm.loan_progress import (
    BLOCK,
    LoanGoal,
    LoanProgress,
    fold_steps,
    list_steps,
    spending_id,
    step_id,
)
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.transaction_journal import TransactionJournal


@dataclass(frozen=True, slots=True)
class LoanJob:
    """A trade's loan to be run.

    Attributes:
        name: The id of the trade's intent, which those of its steps begin with.
        goal: What is to be done; the same whenever the job is run again.
        route: The way its swaps go: from base to reserve tokens when it borrows, the other way when it pays back.
        marks: Arguments that its intents carry for a later look into the journal.
    """

    name: str
    goal: LoanGoal
    route: Route | None
    marks: dict[str, Plain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoanResult:
    """How far a job came; ``end`` is None while it is not known: run it again."""

    progress: LoanProgress
    end: LoanEnd | None
    finished: tuple[Finished, ...]


@dataclass(frozen=True, slots=True)
class LoanRunner:
    """Runs jobs for one trading account.

    Attributes:
        client: Where allowances are read.
        journal: Where steps are found again.
        trader: Who signs for whose tokens.
        planner: What decides the next step.
        execute: Plans intents and returns them as they stand when they are finished, or some seconds are over.
        sleep: Waits some seconds between two tries.
        allowance_multiple: How many times what a trade needs is approved.
        poll_s: How long to wait for a new block, seconds.
        clock: Seconds that pass.
    """

    client: EvmClient
    journal: TransactionJournal
    trader: TradingAccount
    planner: LoanPlanner
    execute: Callable[[Sequence[Intent], float], Sequence[IntentRecord]]
    sleep: Callable[[float], None] = time.sleep
    allowance_multiple: int = 1
    poll_s: float = 1.0
    clock: Callable[[], float] = time.monotonic

    def run(self, job: LoanJob, timeout_s: float, *, is_stale: bool = False) -> LoanResult:
        """Carry a job on until it ends, or time is up.

        ``is_stale`` tells that what it was decided on is too old. Raises NodeError when no node answers; everything
        that was planned is in the journal then.
        """
        until = self.clock() + timeout_s
        while True:
            records = list(list_steps(self.journal, job.name))
            if records and not isinstance(records[-1], Finished):
                self.execute([records[-1].intent], max(0.0, until - self.clock()))
                records = list(list_steps(self.journal, job.name))
            result = self._result(job, records)
            if records and not isinstance(records[-1], Finished):
                return result
            if result.progress.failure and not self._wait_for_block_after(records[-1], until):
                return result
            step = self.planner.next_step(job.goal, result.progress, job.route, is_stale=is_stale)
            if isinstance(step, LoanEnd):
                return LoanResult(result.progress, step, result.finished)
            is_planned = self._plan(job, step, len(records) + 1, until)
            if not is_planned:
                return result

    def _result(self, job: LoanJob, records: Sequence[IntentRecord]) -> LoanResult:
        finished = tuple(record for record in records if isinstance(record, Finished))
        return LoanResult(fold_steps(finished, job.goal, self.trader.address), None, finished)

    def _plan(self, job: LoanJob, step: LoanStep, number: int, until: float) -> bool:
        """Put a step into the journal once what it spends is approved; False when time is up.

        A refused approval is no reason to stop here: the step's own simulation says that it is missing.
        """
        if step.allowance:
            name = spending_id(job.name, number, step.action)
            keeper = AllowanceKeeper(
                self.client,
                self.journal,
                self.trader,
                self.allowance_multiple,
                lambda intents: self.execute(intents, max(0.0, until - self.clock())),
            )
            if name not in keeper.provide([Spending(name, step.token, step.spender, step.allowance)]):
                return False
        call = self.trader.wrap(step.marked_call(**job.marks))
        self.execute([call.to_intent(step_id(job.name, number), self.trader.account)], 0.0)
        return True

    def _wait_for_block_after(self, record: IntentRecord, until: float) -> bool:
        """Wait until there is a newer block than the one a step that failed was decided on; False when time is up."""
        decided = int(str(record.intent.arguments[BLOCK]))
        while self.client.read_head().number <= decided:
            if self.clock() >= until:
                return False
            self.sleep(self.poll_s)
        return True
