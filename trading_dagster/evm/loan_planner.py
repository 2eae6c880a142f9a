"""Decides the next transaction of a loan trade, from what the earlier ones moved and what the pool says now.

::

    larger    supply ─► borrow what the collateral carries ─► sell it ─► supply what it brought ─► borrow ...
    smaller   withdraw what health allows ─► buy what is owed ─► pay back ─► withdraw ... ─► withdraw the rest

No capital is needed beside the loan's own, and no contract: a loan near its limits takes more rounds. A trade that
cannot go on turns round once: borrowed tokens in hand pay back, a deposit that secures nothing comes out again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from trading_dagster.domain.error import ContractMissing, InvalidTrade, PoolEmpty
from trading_dagster.domain.transaction import Plain
from trading_dagster.evm.aave_v3 import ALL, AaveV3Deployment
from trading_dagster.evm.abi import ContractCall
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import OutputDex, Route
from trading_dagster.evm.loan_check import DEFAULT_LOAN_LIMITS, LoanCheck, LoanLimits, missing_base
from trading_dagster.evm.loan_progress import ACTION, BLOCK, UNDO, WHY, LoanAction, LoanGoal, LoanProgress
from trading_dagster.evm.loan_view import LendingSide, LoanReader, LoanView

LEAST_PART = 50
"""A round of borrowing below this part of what is still to be borrowed leads nowhere."""
LEAST_PART_OUT = 1_000
"""A withdrawal below this part of what is still owed leads nowhere; getting out may be slow."""


@dataclass(frozen=True, slots=True)
class LoanStep:
    """The next transaction. ``spender`` must be allowed ``allowance`` units of ``token`` first; empty for none.

    ``why`` says what made the trade turn round, in steps that take back.
    """

    action: LoanAction
    call: ContractCall
    is_undo: bool
    block: BlockHeader
    token: str = ""
    spender: str = ""
    allowance: int = 0
    why: str = ""

    def marked_call(self, **marks: Plain) -> ContractCall:
        """Return the call with what a later look into the journal must know."""
        told: dict[str, Plain] = {
            ACTION: self.action.value,
            UNDO: self.is_undo,
            BLOCK: self.block.number,
            WHY: self.why,
        }
        return replace(self.call, arguments={**self.call.arguments, **told, **marks})


@dataclass(frozen=True, slots=True)
class LoanEnd:
    """Nothing more is to be done; ``failure`` says why the goal was not reached, nothing when it was."""

    failure: str = ""


class LoanPlanner:
    """Plans the steps of one account's loans at one pool, with swaps on one exchange."""

    def __init__(
        self,
        client: EvmClient,
        reader: LoanReader,
        dex: OutputDex,
        *,
        limits: LoanLimits = DEFAULT_LOAN_LIMITS,
        deadline_s: int = 120,
    ) -> None:
        """Take the parts; swaps must be mined within ``deadline_s`` seconds of the chain after they were planned."""
        self._client = client
        self._reader = reader
        self._dex = dex
        self._limits = limits
        self._deadline_s = deadline_s

    @property
    def pool(self) -> AaveV3Deployment:
        """Return where the loans are."""
        return self._reader.pool

    def view(self, goal: LoanGoal) -> LoanView:
        """Return the account as it is at the head."""
        return self._reader.read(goal.reserve, goal.base or None, self._client.read_head())

    def require_feasible(self, goal: LoanGoal, route: Route | None, symbols: tuple[str, str]) -> None:
        """Raise InvalidTrade when the pools would not do all of a trade as they are now; see ``LoanCheck``."""
        view = self.view(goal)
        check = LoanCheck(goal, view, self._limits, symbols)
        try:
            if not goal.is_reduction:
                is_sold = goal.borrow and route is not None
                check.require_enlargement(
                    self._dex.quote(self._client, route, goal.borrow, view.block).amount_out if is_sold and route else 0
                )
                return
            debt = view.debt if goal.repay else None
            is_owed = debt is not None and debt.owed > 0
            needed = max(0, missing_base(goal, LoanProgress(), debt, self._limits)) if debt and is_owed else 0
            cost = self._dex.quote_output(self._client, route, needed, view.block) if needed and route else 0
        except PoolEmpty as error:
            raise InvalidTrade(str(error)) from error
        check.require_reduction(needed, cost)

    # Steps

    def next_step(
        self, goal: LoanGoal, progress: LoanProgress, route: Route | None, *, is_stale: bool
    ) -> LoanStep | LoanEnd:
        """Return what comes after the steps that ended.

        ``is_stale`` tells that the decision became too old to be carried on: a loan is not made larger any more. Raises
        NodeError.
        """
        view = self.view(goal)
        if progress.is_undoing:
            why, failure = progress.why_undone, progress.failure
            step = None if failure else self._undo(goal, progress, view, why)
            return step or LoanEnd(f"{why}; taking it back failed, too: {failure}" if failure else why)
        refusals, failure = progress.count_refusals(), progress.failure
        if not failure or 0 < refusals < self._limits.tries:
            try:
                return self._go_on(goal, progress, route, view, is_stale=is_stale)
            except (InvalidTrade, PoolEmpty, ContractMissing) as error:
                failure = str(error)
        return self._undo(goal, progress, view, failure) or LoanEnd(failure)

    def _go_on(
        self, goal: LoanGoal, progress: LoanProgress, route: Route | None, view: LoanView, *, is_stale: bool
    ) -> LoanStep | LoanEnd:
        if goal.is_reduction:
            return self._reduce(goal, progress, route, view)
        spare = progress.base_in_hand(goal) - goal.base_in_hand
        in_hand = progress.reserve_in_hand(goal)
        if spare > 0:
            _require_fresh(is_stale)
            return self._sell(goal, progress, route, view, spare)
        if in_hand > 0:
            to_come = goal.most_cost(goal.borrow - progress.sold) if goal.borrow else 0
            return self._supply(goal, view, in_hand, in_hand + to_come)
        missing = goal.borrow - progress.borrowed
        if missing <= 0:
            return LoanEnd()
        _require_fresh(is_stale)
        amount = min(missing, view.borrowable(self._limits.min_health, self._limits.borrow_margin))
        rounds = sum(step.action is LoanAction.borrow for step in progress.steps)
        if amount * LEAST_PART < missing or rounds > 2 * self._limits.max_rounds:
            raise InvalidTrade(
                f"{missing} units are still to be borrowed and the collateral carries {amount}: the account's health "
                f"factor is {float(view.account.health_factor or 0):.4f}"
            )
        owner = self._reader.owner
        return LoanStep(LoanAction.borrow, self.pool.borrow(goal.base, amount, owner), False, view.block)

    def _reduce(
        self, goal: LoanGoal, progress: LoanProgress, route: Route | None, view: LoanView
    ) -> LoanStep | LoanEnd:
        debt = view.debt
        owed = 0
        if debt is not None and goal.repay:
            owed = debt.owed if goal.repay == ALL else min(debt.owed, goal.repay - progress.repaid)
        if debt is not None and owed > 0:
            in_hand = progress.base_in_hand(goal)
            if progress.last_done is LoanAction.buy or in_hand >= owed:
                return self._repay(goal, view, in_hand, owed, is_all=goal.repay == ALL)
            return self._pay_for(goal, progress, route, view, debt)
        is_all = goal.withdraw == ALL
        rest = view.collateral.supplied if is_all else goal.withdraw - progress.withdrawn
        if rest <= 0:
            return LoanEnd()
        allowed = view.withdrawable(self._limits.min_health)
        if allowed < rest:
            rounding = 1  # aTokens are rounded to units
            if not is_all and allowed and rest - allowed <= rounding:
                rest = allowed
            else:
                raise InvalidTrade(
                    f"{rest} units of collateral are to be taken out, {allowed} can be: the pool has "
                    f"{view.collateral.liquidity}, the health factor is {float(view.account.health_factor or 0):.4f}"
                )
        return self._withdraw(goal, view, ALL if is_all else rest)

    def _pay_for(
        self, goal: LoanGoal, progress: LoanProgress, route: Route | None, view: LoanView, debt: LendingSide
    ) -> LoanStep | LoanEnd:
        """Get the base tokens that are still missing: collateral first, then a swap of it."""
        assert route is not None, "what is owed is bought along a route"
        needed = missing_base(goal, progress, debt, self._limits)
        cost = self._dex.quote_output(self._client, route, needed, view.block)
        most = goal.most_cost(progress.bought + needed) - progress.cost
        if cost > most:
            raise InvalidTrade(
                f"{needed} units that are owed cost {cost}, at most {most} are allowed: the price moved beyond the "
                "slippage tolerance"
            )
        wanted = max(1, min(most, math.ceil(cost * (1 + goal.slippage))))
        in_hand = progress.reserve_in_hand(goal)
        is_taken_out = progress.last_done is LoanAction.withdraw
        if in_hand >= (max(1, cost) if is_taken_out else wanted):
            return self._buy_exactly(goal, route, view, needed, min(in_hand, most))
        if is_taken_out:
            return self._buy_for(goal, progress, route, view, in_hand)
        amount = min(wanted - in_hand, view.withdrawable(self._limits.min_health, pays_back=True))
        rounds = sum(step.action is LoanAction.withdraw for step in progress.steps)
        if amount * LEAST_PART_OUT < wanted - in_hand or rounds > 2 * self._limits.max_rounds:
            raise InvalidTrade(
                f"{wanted - in_hand} units of collateral are needed to pay back, {max(0, amount)} can be taken out: "
                f"the pool has {view.collateral.liquidity}, the health factor is "
                f"{float(view.account.health_factor or 0):.4f}"
            )
        return self._withdraw(goal, view, amount)

    def _undo(self, goal: LoanGoal, progress: LoanProgress, view: LoanView, why: str) -> LoanStep | None:
        """Return the next step that takes back what was begun, None when nothing can or need be."""
        owed = 0 if view.debt is None else view.debt.owed
        spare = progress.base_in_hand(goal) - goal.base_in_hand
        in_hand, rest = progress.reserve_in_hand(goal), progress.supplied - progress.withdrawn
        step = None
        if spare > 0 and owed:
            step = self._repay(goal, view, spare, owed, is_all=False)
        elif in_hand > 0 and owed and progress.has_moved:
            step = self._supply(goal, view, in_hand, in_hand)
        elif goal.is_new and not owed and rest > 0:
            amount = min(rest, view.withdrawable(self._limits.min_health))
            step = self._withdraw(goal, view, ALL if goal.is_alone else amount) if amount else None
        return None if step is None else replace(step, is_undo=True, why=why)

    # Calls

    def _supply(self, goal: LoanGoal, view: LoanView, amount: int, allowance: int) -> LoanStep:
        call = self.pool.supply(goal.reserve, amount, self._reader.owner)
        return LoanStep(LoanAction.supply, call, False, view.block, goal.reserve, self.pool.spender, allowance)

    def _withdraw(self, goal: LoanGoal, view: LoanView, amount: int) -> LoanStep:
        call = self.pool.withdraw(goal.reserve, amount, self._reader.owner)
        return LoanStep(LoanAction.withdraw, call, False, view.block)

    def _repay(self, goal: LoanGoal, view: LoanView, in_hand: int, owed: int, *, is_all: bool) -> LoanStep:
        amount = ALL if is_all and in_hand >= owed else min(in_hand, owed)
        call = self.pool.repay(goal.base, amount, self._reader.owner)
        return LoanStep(LoanAction.repay, call, False, view.block, goal.base, self.pool.spender, in_hand)

    def _sell(
        self, goal: LoanGoal, progress: LoanProgress, route: Route | None, view: LoanView, amount: int
    ) -> LoanStep:
        assert route is not None, "what is borrowed is sold along a route"
        least = max(1, goal.least_proceeds(progress.sold + amount) - progress.proceeds)
        call = self._dex.build_swap(route, amount, least, self._reader.owner, self._deadline(view))
        return self._swap(LoanAction.sell, call, view, goal.base, goal.borrow - progress.sold)

    def _buy_exactly(self, goal: LoanGoal, route: Route, view: LoanView, amount: int, most: int) -> LoanStep:
        call = self._dex.build_output_swap(route, amount, most, self._reader.owner, self._deadline(view))
        return self._swap(LoanAction.buy, call, view, goal.reserve, most)

    def _buy_for(self, goal: LoanGoal, progress: LoanProgress, route: Route, view: LoanView, amount: int) -> LoanStep:
        least = max(1, goal.least_bought(progress.cost + amount) - progress.bought)
        call = self._dex.build_swap(route, amount, least, self._reader.owner, self._deadline(view))
        debt = view.debt
        rest = amount if debt is None else max(amount, goal.most_cost(debt.owed))
        return self._swap(LoanAction.buy, call, view, goal.reserve, rest)

    def _swap(self, action: LoanAction, call: ContractCall, view: LoanView, token: str, allowance: int) -> LoanStep:
        return LoanStep(action, call, False, view.block, token, self._dex.spender, allowance)

    def _deadline(self, view: LoanView) -> int:
        return view.block.timestamp + self._deadline_s


def _require_fresh(is_stale: bool) -> None:
    if is_stale:
        raise InvalidTrade("the decision became too old before all of it was done")
