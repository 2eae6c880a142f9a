"""What a planned trade means on a chain: the intents of its approval and of its swap, and what a settled swap did.

The id of an intent is derived from the trade, so that planning a trade twice plans one swap. The least output comes
from the price the trade was planned at: a price that has moved since is not accepted by asking again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from trading_dagster.domain.error import (
    BadConfiguration,
    IntegrityError,
    IntentConflict,
    PriceImpactToleranceExceeded,
)
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import FLOAT_ROUNDING, from_units, to_units_down
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import MAX_SLIPPAGE_TOLERANCE, TradeExecution
from trading_dagster.domain.transaction import Finished, Intent, Outcome, Plain
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.dex import Dex, Route
from trading_dagster.evm.erc20 import approve
from trading_dagster.evm.token_flow import read_fill
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.vault_dex import LEAST_OUT

NATIVE_DECIMALS = 18
FIRST_ATTEMPT = 1
POSITION = "position_id"
"""The argument of a swap's intent that says which position the trade is of."""
LEDGER = "ledger_created_at"
"""The argument of a swap's intent that says which ledger the trade is of: trades are numbered anew in each."""
PLANNED = "trade_planned_at"
"""The argument of a swap's intent that says when the trade was planned: a restored ledger gives its numbers again."""


RESTORED = (
    "the ledger is an older copy, which does not know what was traded since. Bring the newest copy back; else sell by "
    "hand what the wallet has, and begin under a new strategy id"
)


@dataclass(frozen=True, slots=True)
class SwapLimits:
    """What a swap may accept.

    Attributes:
        max_slippage: The slippage tolerance of a trade that has none, and the most another's may be; a fraction.
        max_price_impact: What a planned price may be worse than mid price and fees because of its size; a fraction.
        deadline_s: How long after it was planned a swap may be mined, seconds of the chain.
        allowance_multiple: How many times what a trade gives is approved, so that the next ones need no approval.
    """

    max_slippage: float = 0.02
    max_price_impact: float = 0.05
    deadline_s: int = 120
    allowance_multiple: int = 1

    def __post_init__(self) -> None:
        """Check."""
        if not 0 <= self.max_slippage <= MAX_SLIPPAGE_TOLERANCE:
            raise BadConfiguration(
                f"max_slippage is {self.max_slippage}: expected a fraction from 0 to {MAX_SLIPPAGE_TOLERANCE}"
            )
        if not 0 < self.max_price_impact < 1:
            raise BadConfiguration(f"max_price_impact is {self.max_price_impact}: expected a fraction above 0, below 1")
        if self.deadline_s <= 0 or self.allowance_multiple < 1:
            raise BadConfiguration(
                f"deadline_s is {self.deadline_s} and allowance_multiple {self.allowance_multiple}: both must be "
                "1 or more"
            )


def trade_intent_id(strategy_id: str, trade_id: int, attempt: int = FIRST_ATTEMPT) -> str:
    """Return the id of the intent that swaps for a trade."""
    return f"trade/{strategy_id}/{trade_id}/{attempt}"


def parse_trade_id(strategy_id: str, intent_id: str) -> int | None:
    """Return the trade that an intent swaps for, None when it is another strategy's or no swap."""
    prefix = f"trade/{strategy_id}/"
    parts = intent_id.removeprefix(prefix).split("/")
    return int(parts[0]) if intent_id.startswith(prefix) and len(parts) == 2 else None


def token_given(trade: TradeExecution) -> AssetIdentifier:
    """Return the token a trade gives."""
    return trade.reserve_currency if trade.is_buy() else trade.pair.base


def amount_given(trade: TradeExecution) -> int:
    """Return what a started trade gives, in the smallest unit of the token."""
    amount = trade.allocated if trade.is_buy() else -trade.planned_quantity
    return to_units_down(amount, token_given(trade).decimals)


def amount_planned(trade: TradeExecution) -> int:
    """Return what a trade that did not start yet is to give, in the smallest unit of the token."""
    amount = trade.planned_reserve if trade.is_buy() else -trade.planned_quantity
    return to_units_down(amount, token_given(trade).decimals)


def least_amount_out(trade: TradeExecution, amount_in: int, max_slippage: float) -> int:
    """Return what a swap must bring at least: its input at the planned price, less the slippage tolerance.

    One unit always: of a token with few decimals rounding would leave nothing, and a swap that may bring nothing will.
    """
    tolerance = trade.slippage_tolerance
    slippage = Fraction(max_slippage if tolerance is None else min(tolerance, max_slippage))
    price = Fraction(trade.planned_price)
    base, reserve = trade.pair.base.decimals, trade.reserve_currency.decimals
    scale = Fraction(10) ** (base - reserve)
    expected = amount_in / price * scale if trade.is_buy() else amount_in * price / scale
    rounding = 1 - Fraction(FLOAT_ROUNDING)  # the planned price is a float
    return max(1, math.floor(expected * (1 - slippage) * rounding))


def require_small_impact(trade: TradeExecution, max_price_impact: float) -> None:
    """Raise PriceImpactToleranceExceeded when a planned price is much worse than mid price, fee and tax explain."""
    pricing = trade.price_structure
    kept = (1 - pricing.pair_fee) * (1 - (pricing.token_tax_percent or 0.0))
    paid, fair = (pricing.mid_price, pricing.price) if trade.is_buy() else (pricing.price, pricing.mid_price)
    impact = 1 - paid / (fair * kept)
    if impact > max_price_impact:
        raise PriceImpactToleranceExceeded(
            f"{trade} has a price impact of {impact:.4%}, allowed are {max_price_impact:.4%}: trade less or allow more"
        )


def plan_swap(
    dex: Dex,
    route: Route,
    trade: TradeExecution,
    state: State,
    trader: TradingAccount,
    head: BlockHeader,
    limits: SwapLimits,
    amount_in: int | None = None,
) -> Intent:
    """Return the intent of a started trade's swap; its deadline counts from the head.

    ``amount_in`` is what it gives, in the smallest unit; None is what the trade says.
    """
    amount_in = amount_given(trade) if amount_in is None else amount_in
    least = least_amount_out(trade, amount_in, limits.max_slippage)
    call = dex.build_swap(route, amount_in, least, trader.address, head.timestamp + limits.deadline_s)
    call = replace(call, arguments={**call.arguments, **mark_trade(state, trade)})
    return trader.wrap(call).to_intent(trade_intent_id(state.name, trade.trade_id), trader.account)


def is_of_ledger(intent: Intent, state: State) -> bool:
    """Tell whether a swap was planned for a trade of this very ledger, not of another with the same name."""
    return intent.arguments.get(LEDGER) == state.created_at.isoformat()


def mark_trade(state: State, trade: TradeExecution) -> dict[str, Plain]:
    """Return the arguments by which an intent says whose it is."""
    return {
        POSITION: trade.position_id,
        LEDGER: state.created_at.isoformat(),
        PLANNED: trade.opened_at.isoformat(),
    }


def require_of_trade(intent: Intent, state: State, trade: TradeExecution) -> None:
    """Raise IntentConflict when an intent that has a trade's id is another trade's."""
    name = intent.intent_id
    if not is_of_ledger(intent, state):
        raise IntentConflict(
            f"The journal has {name} for another ledger than the one begun at {state.created_at}: a ledger that "
            "begins anew needs a new strategy id, or a new wallet and journal"
        )
    mine, marks = mark_trade(state, trade), intent.arguments
    if any(marks.get(key, mine[key]) != mine[key] for key in (POSITION, PLANNED)):
        raise IntentConflict(
            f"The journal has {name} for another trade than {trade}, planned at {trade.opened_at}: {RESTORED}"
        )


def find_trade(state: State, intent: Intent, trade_id: int) -> tuple[TradingPosition, TradeExecution]:
    """Return the trade of this ledger that an intent is of; raises IntentConflict when the ledger does not have it."""
    try:
        position = state.portfolio.get_position_by_id(int(str(intent.arguments[POSITION])))
        trade = position.trades[trade_id]
    except (KeyError, IntegrityError) as error:
        raise IntentConflict(
            f"The journal has {intent.intent_id}, and the ledger of {state.name} no trade #{trade_id}: {RESTORED}"
        ) from error
    require_of_trade(intent, state, trade)
    return position, trade


def plan_approvals(
    token: str, spender: str, intent_id: str, trader: TradingAccount, amount: int, old: int
) -> list[Intent]:
    """Return the intents that approve an amount; what is left of an old allowance is taken back first.

    Some tokens refuse to change an allowance that is not zero. An approval is harmless when it happens twice.
    """
    steps = (("revoke", 0), ("approve", amount)) if old else (("approve", amount),)
    return [
        trader.wrap(approve(token, spender, allowed)).to_intent(f"{intent_id}/{step}", trader.account)
        for step, allowed in steps
    ]


@dataclass(frozen=True, slots=True)
class SwapFill:
    """What a swap did to the trader, in tokens; the quantity of base tokens is signed as in the trade."""

    quantity: Decimal
    reserve: Decimal

    @property
    def is_complete(self) -> bool:
        """Tell whether both tokens moved."""
        return bool(self.quantity) and self.reserve > 0

    @property
    def price(self) -> float:
        """Return reserve per base token."""
        return float(abs(self.reserve / self.quantity))


def read_swap_fill(trade: TradeExecution, outcome: Outcome, trader: str) -> SwapFill:
    """Return the fill of a confirmed swap: the flows of the trader's address in its receipt."""
    base, reserve = trade.pair.base, trade.reserve_currency
    given, got = (reserve, base) if trade.is_buy() else (base, reserve)
    fill = read_fill(outcome.logs, trader, given.address, got.address)
    amount_in, amount_out = from_units(fill.amount_in, given.decimals), from_units(fill.amount_out, got.decimals)
    return SwapFill(amount_out, amount_in) if trade.is_buy() else SwapFill(-amount_in, amount_out)


def describe_shortfall(intent: Intent, trade: TradeExecution, fill: SwapFill) -> str:
    """Say by how much a fill missed a least output that its contract does not hold to; nothing when it did not."""
    if LEAST_OUT not in intent.arguments:
        return ""
    least = int(str(intent.arguments[LEAST_OUT]))
    got, token = (fill.quantity, trade.pair.base) if trade.is_buy() else (fill.reserve, trade.reserve_currency)
    if got >= (wanted := from_units(least, token.decimals)):
        return ""
    return f"it brought {got} {token.token_symbol}, at least {wanted} were asked for when it was signed"


def describe_outcome(outcome: Outcome) -> str:
    """Say what became of an intent, and where."""
    where = f" (transaction {outcome.tx_hash}, block {outcome.block_number})" if outcome.tx_hash else ""
    return f"{outcome.status.value}: {outcome.reason}{where}" if outcome.reason else f"{outcome.status.value}{where}"


def total_gas_cost(records: Iterable[object]) -> Decimal:
    """Return what finished intents paid for gas, in native tokens."""
    wei = sum(record.outcome.gas_cost for record in records if isinstance(record, Finished))
    return from_units(wei, NATIVE_DECIMALS)
