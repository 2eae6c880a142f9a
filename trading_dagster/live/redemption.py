"""An operator takes money out: the redemption waits in the ledger until cash covers it, and is paid once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trading_dagster.accounting.account_check import AccountTable
from trading_dagster.accounting.redemption import end_redemption, request_redemption
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.treasury import Redemption
from trading_dagster.live.operation import open_operation, require_no_waiting, require_permission
from trading_dagster.live.step import LiveStep
from trading_dagster.live.strategy import LiveStrategy

CANCELLED = "cancelled by an operator"


@dataclass(frozen=True, slots=True)
class RedemptionReport:
    """What became of what was asked for; ``waiting`` are all redemptions that cash does not cover yet."""

    redemption: Redemption
    is_paid: bool
    waiting: tuple[Redemption, ...]
    accounts: AccountTable


def redeem(live: LiveStrategy, amount: Decimal, recipient: str = "") -> RedemptionReport:
    """Ask for reserve tokens, and pay them when cash covers all of it; else the next cycle that has the cash does.

    Args:
        live: The strategy.
        amount: Reserve tokens.
        recipient: Address that gets them; on paper anything.

    Raises:
        BadInput: The amount or the recipient cannot be, or the money is a vault's, whose investors redeem there.
        TradeError: The kill switch is on.
        UncleanState: Trades of a cycle wait and count on the cash, or an end is not known yet.
        ExecutorBusy: Another executor works on the strategy or its wallet.
    """
    require_permission(live)
    with open_operation(live, "a redemption") as step:
        payer = step.desk.redemptions
        if payer is None:
            raise BadInput(f"{live.id} trades for a vault: its investors redeem their shares there")
        if not amount.is_finite() or amount <= 0:
            raise BadInput(f"A redemption of {amount} cannot be paid: give an amount above 0, in reserve tokens")
        address = payer.check(step.state, amount, recipient)
        require_no_waiting(step)
        redemption = request_redemption(live.clock.now(), step.state, amount, address)
        step.session.save()
        step.pay_redemptions()
        return _report(step, redemption)


def cancel_redemption(live: LiveStrategy, number: int) -> RedemptionReport:
    """Take back a redemption that was not begun to be paid; raises BadInput when there is none, ExecutorBusy."""
    with open_operation(live, "cancelling a redemption") as step:  # what began has ended by now, or this raised
        waiting = step.state.sync.treasury.redemptions
        if number not in waiting:
            listing = ", ".join(map(str, waiting)) or "none"
            raise BadInput(f"{live.id} has no redemption {number} that waits; waiting are: {listing}")
        redemption = waiting[number]
        end_redemption(live.clock.now(), step.state, redemption, CANCELLED)
        step.session.save()
        return _report(step, redemption)


def _report(step: LiveStep, redemption: Redemption) -> RedemptionReport:
    updates = step.state.portfolio.reserve.balance_updates.values()
    is_paid = any((u.notes or "").startswith(f"redemption {redemption.number},") for u in updates)
    if is_paid:
        step.session.save([step.take_sample()])
    waiting = tuple(step.state.sync.treasury.redemptions.values())
    return RedemptionReport(redemption, is_paid, waiting, step.read_accounts())
