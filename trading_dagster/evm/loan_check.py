"""Whether the pools would do all of a loan trade now: asked before it begins, so that little fails midway."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from trading_dagster.domain.error import BadConfiguration, InvalidTrade
from trading_dagster.evm.aave_v3 import ALL, SECONDS_PER_YEAR
from trading_dagster.evm.loan_progress import LoanGoal, LoanProgress
from trading_dagster.evm.loan_view import (
    LendingSide,
    LoanView,
    require_borrowing,
    require_repayment,
    require_supply,
    require_withdrawal,
)


@dataclass(frozen=True, slots=True)
class LoanLimits:
    """How near its limits a loan may come.

    Attributes:
        min_health: What the account's health factor must stay above after each borrowing and withdrawal.
        borrow_margin: What is left of the pool's loan to value unused, a fraction: prices move until it is mined.
        max_rounds: In how many rounds of borrowing or paying back a trade must be done.
        tries: How often a step that is refused before it is signed is decided anew.
        interest_ahead_s: How many seconds of interest are bought beyond what is owed when all is paid back.
    """

    min_health: Fraction = Fraction(105, 100)
    borrow_margin: Fraction = Fraction(5, 1000)
    max_rounds: int = 20
    tries: int = 3
    interest_ahead_s: int = 3_600

    def __post_init__(self) -> None:
        """Check."""
        if not self.min_health > 1 or not 0 <= self.borrow_margin < 1:
            raise BadConfiguration(
                f"min_health is {float(self.min_health)} and borrow_margin {float(self.borrow_margin)}: expected more "
                "than 1, and a fraction"
            )
        if self.max_rounds < 1 or self.tries < 1 or self.interest_ahead_s < 0:
            raise BadConfiguration("max_rounds and tries of a loan must be 1 or more, interest_ahead_s 0 or more")


DEFAULT_LOAN_LIMITS = LoanLimits()


@dataclass(frozen=True, slots=True)
class LoanCheck:
    """A goal against a view; ``symbols`` are of reserve and base tokens."""

    goal: LoanGoal
    view: LoanView
    limits: LoanLimits
    symbols: tuple[str, str]

    def require_enlargement(self, proceeds: int) -> None:
        """Raise InvalidTrade when a loan cannot become as much larger; ``proceeds`` is what a sale would bring now."""
        goal, debt = self.goal, self.view.debt
        if goal.borrow and debt is not None:
            require_borrowing(debt, goal.borrow, self.symbols[1])
            least = goal.least_proceeds(goal.borrow)
            if proceeds < least:
                raise InvalidTrade(
                    f"What is borrowed would bring {proceeds} units of {self.symbols[0]}, at least {least} are asked "
                    "for: the price moved beyond the slippage tolerance"
                )
            self._require_carried(debt, proceeds)
        require_supply(self.view.collateral, goal.deposit + proceeds, self.symbols[0])

    def require_reduction(self, needed: int, cost: int) -> None:
        """Raise InvalidTrade when a loan cannot become as much smaller.

        ``needed`` base tokens must be bought, which would ``cost`` that much reserve now.
        """
        goal, view, floor = self.goal, self.view, self.limits.min_health
        side, health = view.collateral, float(view.account.health_factor or 0)
        wanted = side.supplied if goal.withdraw == ALL else min(goal.withdraw, side.supplied)
        if goal.repay and view.debt is not None and view.debt.owed:
            require_repayment(view.debt, self.symbols[1])
            most = goal.most_cost(needed)
            if cost > most:
                raise InvalidTrade(
                    f"What is owed would cost {cost} units of {self.symbols[0]}, at most {most} are allowed: the price "
                    "moved beyond the slippage tolerance"
                )
            if needed and not view.withdrawable(floor, pays_back=True):
                require_withdrawal(side, 1, self.symbols[0])
                raise InvalidTrade(
                    "No collateral can be taken out to pay back with: the account's health factor is "
                    f"{health:.4f}; pay back from elsewhere, or supply more"
                )
        elif not goal.repay and wanted > view.withdrawable(floor):
            require_withdrawal(side, wanted, self.symbols[0])
            raise InvalidTrade(
                f"{wanted} units of {self.symbols[0]} cannot be taken out: the account's health factor, {health:.4f}, "
                f"must stay above {float(floor)}; pay back debt first"
            )
        require_withdrawal(side, wanted, self.symbols[0])

    def _require_carried(self, debt: LendingSide, proceeds: int) -> None:
        """Check health and loan to value at the end, and the number of rounds."""
        goal, view, limits = self.goal, self.view, self.limits
        side, account = view.collateral, view.account
        added, borrowed = (goal.deposit + proceeds) * side.unit_usd, goal.borrow * debt.unit_usd
        owed = account.debt_usd + borrowed
        health = (view.weighted_usd + added * side.reserve.liquidation_threshold) / owed
        if health < limits.min_health:
            raise InvalidTrade(
                f"The account's health factor would be {float(health):.4f}, at least {float(limits.min_health)} is "
                "kept: use less leverage"
            )
        ratio = side.reserve.loan_to_value * (1 - limits.borrow_margin)
        before = account.collateral_usd * account.loan_to_value * (1 - limits.borrow_margin)
        if owed > before + added * ratio:
            raise InvalidTrade(
                f"{float(owed):,.2f} USD would be owed, the collateral carries {float(before + added * ratio):,.2f} at "
                "the pool's loan to value: use less leverage"
            )
        free = float(before - account.debt_usd + goal.deposit * side.unit_usd * ratio)
        rounds = count_rounds(float(borrowed), free, float(proceeds * side.unit_usd * ratio / borrowed))
        if rounds > limits.max_rounds:
            raise InvalidTrade(
                f"It takes more than {limits.max_rounds} rounds of borrowing and selling to get there: use less "
                "leverage"
            )


def count_rounds(wanted: float, free: float, growth: float) -> float:
    """Return how many times must be borrowed to get ``wanted``: each part carries ``growth`` of itself more."""
    rounds = 0
    while wanted > 0:
        part = min(wanted, free)
        if part <= wanted * 1e-6:
            return math.inf
        wanted, free, rounds = wanted - part, free - part + part * growth, rounds + 1
    return rounds


def missing_base(goal: LoanGoal, progress: LoanProgress, debt: LendingSide, limits: LoanLimits) -> int:
    """Return how many base tokens must be bought to pay the rest, with interest until that is mined."""
    if goal.repay != ALL:
        return min(debt.owed, goal.repay - progress.repaid) - progress.base_in_hand(goal)
    rate = Fraction(debt.reserve.borrow_apr) / 100 / SECONDS_PER_YEAR
    ahead = math.ceil(debt.owed * rate * limits.interest_ahead_s) + 1
    return debt.owed + ahead - progress.base_in_hand(goal)
