"""How far a loan trade has come on the chain: what it wants done, and what its transactions moved so far.

A loan trade is a row of transactions, each an intent of the journal. Nothing else is remembered: what the next one is
follows from those that ended, so that a process that is killed anywhere goes on where it stood.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction

from trading_dagster.domain.transaction import Finished, IntentRecord, OutcomeStatus
from trading_dagster.evm.aave_v3 import ALL, explain_revert
from trading_dagster.evm.swap_intent import total_gas_cost
from trading_dagster.evm.token_flow import read_flows
from trading_dagster.evm.trade_part import list_parts, parse_part_id, part_id
from trading_dagster.evm.transaction_journal import TransactionJournal

ACTION = "loan_action"
"""The argument of a step's intent that says what it does to the loan."""
UNDO = "loan_undo"
"""The argument of a step's intent that says that it takes back what earlier ones did."""
BLOCK = "loan_block"
"""The argument of a step's intent that says on which block's state it was decided."""

WHY = "loan_why"
"""The argument of a step's intent that says why the trade turned round."""

STEP = "step"


class LoanAction(Enum):
    """What one transaction does."""

    supply = "supply"
    borrow = "borrow"
    sell = "sell"
    """Borrowed tokens for reserve."""
    withdraw = "withdraw"
    buy = "buy"
    """Owed tokens for reserve."""
    repay = "repay"


@dataclass(frozen=True, slots=True)
class LoanGoal:
    """What a trade wants done, in the tokens' smallest units.

    Attributes:
        reserve: The token lent out and taken as collateral: the strategy's reserve.
        base: The token borrowed; empty for mere lending.
        deposit: Reserve that comes from cash and is supplied, and what borrowed tokens bring with it.
        borrow: Base tokens to borrow and sell.
        repay: Debt to pay back from the collateral; ``ALL`` for everything owed.
        withdraw: Collateral to take out, with what pays for the debt; ``ALL`` for everything supplied.
        price: Reserve units planned for a unit of base.
        slippage: What a swap may be worse than that, a fraction.
        base_in_hand: Base tokens that are there already and nobody's: left over by earlier trades.
        is_new: Whether the position had nothing supplied and owed nothing before.
        is_alone: Whether nothing else of the trader is supplied in the reserve token.
    """

    reserve: str
    base: str = ""
    deposit: int = 0
    borrow: int = 0
    repay: int = 0
    withdraw: int = 0
    price: Fraction = Fraction(0)
    slippage: Fraction = Fraction(0)
    base_in_hand: int = 0
    is_new: bool = False
    is_alone: bool = False

    @property
    def is_reduction(self) -> bool:
        """Tell whether the trade makes the loan smaller."""
        return bool(self.repay or self.withdraw)

    def least_proceeds(self, base: int) -> int:
        """Return what a sale must bring at least."""
        return math.floor(base * self.price * (1 - self.slippage))

    def most_cost(self, base: int) -> int:
        """Return what base tokens may cost at most."""
        return math.ceil(base * self.price * (1 + self.slippage))

    def least_bought(self, reserve: int) -> int:
        """Return how many base tokens reserve must buy at least."""
        return math.floor(reserve / (self.price * (1 + self.slippage)))


@dataclass(frozen=True, slots=True)
class LoanStepEnd:
    """A step that ended: what it was to do, whether it did, and what it moved; flows are signed for the trader."""

    action: LoanAction
    is_undo: bool
    status: OutcomeStatus
    reason: str
    why: str = ""
    is_all: bool = False
    reserve: int = 0
    base: int = 0

    @property
    def is_done(self) -> bool:
        """Tell whether it had its effect."""
        return self.status is OutcomeStatus.confirmed


@dataclass(frozen=True, slots=True)
class LoanProgress:
    """The sums of the steps that ended, in units; all amounts are positive."""

    steps: tuple[LoanStepEnd, ...] = ()

    def _sum(self, action: LoanAction, *, of_base: bool) -> int:
        moved = (abs(step.base if of_base else step.reserve) for step in self.steps if step.action is action)
        return sum(moved)

    @property
    def supplied(self) -> int:
        """Return reserve supplied."""
        return self._sum(LoanAction.supply, of_base=False)

    @property
    def withdrawn(self) -> int:
        """Return reserve taken out."""
        return self._sum(LoanAction.withdraw, of_base=False)

    @property
    def borrowed(self) -> int:
        """Return base tokens borrowed."""
        return self._sum(LoanAction.borrow, of_base=True)

    @property
    def repaid(self) -> int:
        """Return base tokens paid back."""
        return self._sum(LoanAction.repay, of_base=True)

    @property
    def sold(self) -> int:
        """Return base tokens sold."""
        return self._sum(LoanAction.sell, of_base=True)

    @property
    def proceeds(self) -> int:
        """Return reserve that sales brought."""
        return self._sum(LoanAction.sell, of_base=False)

    @property
    def bought(self) -> int:
        """Return base tokens bought."""
        return self._sum(LoanAction.buy, of_base=True)

    @property
    def cost(self) -> int:
        """Return reserve that purchases took."""
        return self._sum(LoanAction.buy, of_base=False)

    def reserve_in_hand(self, goal: LoanGoal) -> int:
        """Return reserve that is neither cash nor supplied: it belongs to the trade until its end."""
        return goal.deposit + sum(step.reserve for step in self.steps)

    def base_in_hand(self, goal: LoanGoal) -> int:
        """Return base tokens that are there, with those of before."""
        return goal.base_in_hand + sum(step.base for step in self.steps)

    @property
    def has_moved(self) -> bool:
        """Tell whether any step had an effect."""
        return any(step.is_done for step in self.steps)

    @property
    def last_done(self) -> LoanAction | None:
        """Return what the newest step with an effect did."""
        return next((step.action for step in reversed(self.steps) if step.is_done), None)

    @property
    def is_collateral_gone(self) -> bool:
        """Tell whether everything supplied was taken out, and nothing supplied since."""
        return self._has_ended(LoanAction.withdraw, LoanAction.supply)

    @property
    def is_debt_gone(self) -> bool:
        """Tell whether everything owed was paid back, and nothing borrowed since."""
        return self._has_ended(LoanAction.repay, LoanAction.borrow)

    def _has_ended(self, ending: LoanAction, beginning: LoanAction) -> bool:
        newest = next((s for s in reversed(self.steps) if s.is_done and s.action in (ending, beginning)), None)
        return newest is not None and newest.action is ending and newest.is_all

    @property
    def is_undoing(self) -> bool:
        """Tell whether the trade turned round."""
        return any(step.is_undo for step in self.steps)

    @property
    def why_undone(self) -> str:
        """Return why the trade turned round, nothing when it did not."""
        return next((step.why for step in self.steps if step.is_undo), "")

    def count_refusals(self) -> int:
        """Return how many steps were refused since one had an effect: none of them was signed."""
        count = 0
        for step in reversed(self.steps):
            if step.status is not OutcomeStatus.refused:
                break
            count += 1
        return count

    @property
    def failure(self) -> str:
        """Return why the newest step had no effect, nothing when it had."""
        last = self.steps[-1] if self.steps else None
        if last is None or last.is_done:
            return ""
        return f"the {last.action.value} was {last.status.value}: {_in_words(last.reason)}"


def _in_words(reason: str) -> str:
    """Return a reason with the pool's number, at its end, in words."""
    head, _, last = reason.rpartition(" ")
    return f"{head} {explain_revert(last)}".strip()


def step_id(trade_intent_id: str, number: int) -> str:
    """Return the id of the intent of a trade's step, from 1."""
    return part_id(trade_intent_id, STEP, number)


def parse_step_id(strategy_id: str, intent_id: str) -> int | None:
    """Return the trade that an intent is a step of, None when it is none of this strategy."""
    return parse_part_id(strategy_id, intent_id, STEP)


def list_steps(journal: TransactionJournal, trade_intent_id: str) -> Iterator[IntentRecord]:
    """Return the steps of a trade that were planned, in order."""
    return list_parts(journal, trade_intent_id, STEP)


def spending_id(trade_intent_id: str, number: int, action: LoanAction) -> str:
    """Return what the approvals of a step are named after.

    The action is in it: what is approved and not planned yet may be decided otherwise.
    """
    return f"{step_id(trade_intent_id, number)}-{action.value}"


def list_gas_payers(journal: TransactionJournal, trade_intent_id: str) -> Iterator[IntentRecord]:
    """Yield what a trade paid gas for: its steps, and all approvals."""
    records = list(list_steps(journal, trade_intent_id))
    yield from records
    for number in range(1, len(records) + 2):
        for action in LoanAction:
            for kind in ("revoke", "approve"):
                approval = journal.find(f"{spending_id(trade_intent_id, number, action)}/{kind}")
                if approval is not None:
                    yield approval


def fold_steps(records: Sequence[IntentRecord], goal: LoanGoal, trader: str) -> LoanProgress:
    """Return what the steps that ended did; their flows are the Transfer events of the trader's address."""
    return LoanProgress(tuple(_end(r, goal, trader) for r in records if isinstance(r, Finished)))


def read_gas_cost(journal: TransactionJournal, trade_intent_id: str) -> Decimal:
    """Return what a trade paid for gas, native tokens."""
    return total_gas_cost(list_gas_payers(journal, trade_intent_id))


def _end(record: Finished, goal: LoanGoal, trader: str) -> LoanStepEnd:
    outcome, arguments = record.outcome, record.intent.arguments
    is_done = outcome.status is OutcomeStatus.confirmed
    flows = read_flows(outcome.logs, trader) if is_done else {}

    def net(token: str) -> int:
        return flows[token].net if token in flows else 0

    return LoanStepEnd(
        action=LoanAction(arguments[ACTION]),
        is_undo=bool(arguments[UNDO]),
        status=outcome.status,
        reason=outcome.reason,
        why=str(arguments[WHY]),
        is_all=arguments.get("amount") == ALL,
        reserve=net(goal.reserve),
        base=net(goal.base) if goal.base else 0,
    )
