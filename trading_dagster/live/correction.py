"""An operator brings the ledger to what is really held: by events, all of them or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from trading_dagster.accounting.account_check import AccountRow, AccountTable, check_accounts, expected_balances
from trading_dagster.accounting.simulated_treasury import share_price
from trading_dagster.domain.error import BadInput, DataUnavailable, UncleanState
from trading_dagster.domain.event import (
    BalanceUpdated,
    PairIntroduced,
    PositionOpened,
    TradeExecuted,
    TradePlanned,
    TradeStarted,
)
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.loan import LoanChange
from trading_dagster.domain.money import DUST, ZERO, from_units, to_units_down
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import TradeFlag, TradePlan, TradePricing, TradeType
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.live.operation import open_operation, require_no_waiting
from trading_dagster.live.step import LiveStep
from trading_dagster.live.strategy import LiveStrategy

IGNORED_BELOW_USD = 0.1
"""Tokens that the ledger never had and that are worth less are left alone."""
OPENING = frozenset({TradeFlag.open, TradeFlag.missing_position_repair})
CLOSING = frozenset({TradeFlag.close})
RESERVE_CAUSES = (BalanceUpdateCause.correction, BalanceUpdateCause.deposit, BalanceUpdateCause.redemption)
NOTES = "corrected by an operator"


class CorrectionKind(Enum):
    """What is done about a difference."""

    reserve = "change cash"
    position = "change position"
    close = "close position"
    open = "open position"
    ignore = "ignore"


@dataclass(frozen=True, slots=True)
class Correction:
    """What is done about one asset or position. Quantity is signed, in tokens; ``price`` is USD per token."""

    kind: CorrectionKind
    asset: AssetIdentifier
    quantity: Decimal
    price: float
    position: TradingPosition | None = None
    pair: TradingPairIdentifier | None = None
    reason: str = ""

    def __str__(self) -> str:
        """Return a line a person can read."""
        which = "" if self.position is None else f" #{self.position.position_id}"
        reason = f" ({self.reason})" if self.reason else ""
        worth = float(self.quantity) * self.price
        return f"{self.kind.value}{which}: {self.quantity:+f} {self.asset.token_symbol}, {worth:+,.2f} USD{reason}"


@dataclass(frozen=True, slots=True)
class CorrectionReport:
    """What differed and what was, or would be, done; ``after`` is None when nothing was recorded."""

    before: AccountTable
    corrections: tuple[Correction, ...]
    after: AccountTable | None = None

    @property
    def is_needed(self) -> bool:
        """Tell whether there is anything to record."""
        return any(correction.kind is not CorrectionKind.ignore for correction in self.corrections)

    def __str__(self) -> str:
        """Return the table and what is done about it."""
        lines = [str(self.before), "", *(str(correction) for correction in self.corrections)]
        return "\n".join(lines if self.corrections else [str(self.before), "", "Nothing is to be corrected."])


def correct_accounts(
    live: LiveStrategy,
    confirm: Callable[[CorrectionReport], bool],
    *,
    reserve_cause: BalanceUpdateCause | None = None,
    dry_run: bool = False,
) -> CorrectionReport:
    """Record what brings the ledger to the real balances, once it is confirmed.

    Cash and positions change by balance updates. A position of which nothing is left is closed by an empty trade. A
    token that no position accounts for opens one at the price of now, paid by a correction of cash, so that cash stays
    what it is; tokens worth less than 0.1 USD that the ledger never had are ignored.

    Args:
        live: The strategy.
        confirm: Shown what would be recorded; False leaves the ledger as it is. Not asked when nothing is to be done.
        reserve_cause: What a difference in cash is: correction, deposit or redemption. Needed when there is one.
        dry_run: Only say what would be recorded.

    Raises:
        BadInput: Cash differs and its cause is not given, or has the other sign.
        UncleanState: Positions are frozen, the end of a trade is unknown, or trades of a cycle wait.
        ExecutorBusy: Another executor works on the strategy or its wallet.
    """
    with open_operation(live, "correcting accounts") as step:
        _require_settled(step)
        before = _compare(step)
        corrections = [made for row in before.mismatches for made in _plan(step, row)]
        report = CorrectionReport(before, tuple(corrections))
        if dry_run:
            return report
        _check_cause(corrections, reserve_cause)
        if not report.is_needed or not confirm(report):
            return report
        for correction in sorted(corrections, key=_is_of_reserve):  # shares have the price that is right by then
            _RECORDERS[correction.kind](step, correction, reserve_cause)
        step.state.perform_integrity_check()
        step.session.save([step.take_sample()])
        return CorrectionReport(before, tuple(corrections), step.read_accounts())


def _is_of_reserve(correction: Correction) -> bool:
    return correction.kind is CorrectionKind.reserve


def _require_settled(step: LiveStep) -> None:
    require_no_waiting(step)
    frozen = step.state.portfolio.frozen_positions
    if frozen:
        listing = "\n".join(f"  {position}" for position in frozen.values())
        raise UncleanState(
            f"{step.live.id}: accounts are not corrected while positions are frozen:\n{listing}\n"
            "Release them first, with repair or retry"
        )


def _compare(step: LiveStep) -> AccountTable:
    """Compare the ledger with what is held, of all tokens that the universe has."""
    step.read_interest()
    expected = expected_balances(step.state)
    assets = {**expected, **dict.fromkeys(pair.base for pair in step.universe.pairs if _is_held(pair))}
    actual = step.desk.balances.read_balances(list(assets))
    return check_accounts(step.state, actual, price_of=lambda asset: _price(step, asset))


def _price(step: LiveStep, asset: AssetIdentifier) -> float | None:
    pair = _find_pair(step, asset)
    try:
        return None if pair is None else step.desk.pricing.get_mid_price(step.clock.timestamp, pair)
    except DataUnavailable:
        return None


def _is_held(pair: TradingPairIdentifier) -> bool:
    """Tell whether a position on a pair holds its base token."""
    return pair.is_spot() or pair.is_vault()


def _find_pair(step: LiveStep, asset: AssetIdentifier) -> TradingPairIdentifier | None:
    reserve = step.state.portfolio.reserve.asset
    found = (p for p in step.universe.pairs if _is_held(p) and p.base == asset and p.quote == reserve)
    return next(found, None)


# -- planning ---------------------------------------------------------------------------------------------------------


def _plan(step: LiveStep, row: AccountRow) -> list[Correction]:
    reserve = step.state.portfolio.reserve
    if row.asset == reserve.asset:
        return [Correction(CorrectionKind.reserve, row.asset, row.difference, reserve.reserve_token_price)]
    positions = [step.state.portfolio.get_position_by_id(number) for number in row.position_ids]
    if positions:
        return _plan_positions(row, positions)
    price, pair = _price(step, row.asset), _find_pair(step, row.asset)
    if price is None or pair is None:
        reason = "the universe has no pair of it" if pair is None else "it has no price now"
        return [Correction(CorrectionKind.ignore, row.asset, row.difference, 0.0, reason=reason)]
    is_known = row.asset in expected_balances(step.state)  # left-overs of a closed position: the check looks at them
    if not is_known and float(row.difference) * price < IGNORED_BELOW_USD:
        reason = f"worth less than {IGNORED_BELOW_USD} USD"
        return [Correction(CorrectionKind.ignore, row.asset, row.difference, price, reason=reason)]
    return [Correction(CorrectionKind.open, row.asset, row.difference, price, pair=pair)]


def _plan_positions(row: AccountRow, positions: list[TradingPosition]) -> list[Correction]:
    """Share a difference among the positions that hold an asset, by what they hold; of a loan one side has it."""
    holdings = [dict(position.get_token_balances())[row.asset] for position in positions]
    held = sum(holdings, ZERO)
    wanted = max(row.actual - (row.expected - held), ZERO)
    corrections, left = [], wanted - held
    for position, quantity in zip(positions, holdings, strict=True):
        price = _price_in(position, row.asset)
        if wanted <= DUST.close_epsilon(position.pair.kind) and position.loan is None:
            change, kind = -quantity, CorrectionKind.close
        else:
            share = quantity / held if held else ZERO
            change = left if position is positions[-1] else (wanted - held) * share
            kind, left = CorrectionKind.position, left - change
        corrections.append(Correction(kind, row.asset, change, price, position))
    return corrections


def _price_in(position: TradingPosition, asset: AssetIdentifier) -> float:
    """Return what a token that belongs to a position is worth, USD: collateral is lent out reserve."""
    loan = position.loan
    if loan is not None and asset == loan.collateral.asset:
        return loan.collateral.last_usd_price
    return position.last_token_price


def _check_cause(corrections: list[Correction], cause: BalanceUpdateCause | None) -> None:
    change = next((c.quantity for c in corrections if c.kind is CorrectionKind.reserve), None)
    if change is None:
        return
    names = ", ".join(known.value for known in RESERVE_CAUSES)
    if cause not in RESERVE_CAUSES:
        raise BadInput(f"Cash differs by {change:+f}: say what it is, one of {names}")
    if (cause is BalanceUpdateCause.deposit and change < 0) or (cause is BalanceUpdateCause.redemption and change > 0):
        raise BadInput(f"Cash differs by {change:+f}, which is no {cause.value}: say what it is, one of {names}")


# -- recording --------------------------------------------------------------------------------------------------------


def _record_reserve(step: LiveStep, correction: Correction, cause: BalanceUpdateCause | None) -> None:
    assert cause is not None  # checked before anything is recorded
    _change_cash(step, correction.quantity, cause, NOTES)


def _record_position(step: LiveStep, correction: Correction, _cause: BalanceUpdateCause | None) -> None:
    position = correction.position
    assert position is not None
    _change(
        step,
        BalanceUpdateCause.correction,
        correction.asset,
        correction.quantity,
        old_balance=dict(position.get_token_balances())[correction.asset],
        usd_value=float(correction.quantity) * correction.price,
        position=position,
        notes=NOTES,
    )
    if position.loan is not None and position.can_be_closed():
        _trade(step, position, ZERO, ZERO, correction.price, CLOSING)


def _record_close(step: LiveStep, correction: Correction, cause: BalanceUpdateCause | None) -> None:
    _record_position(step, correction, cause)
    position = correction.position
    assert position is not None
    _trade(step, position, ZERO, ZERO, correction.price, CLOSING)


def _record_open(step: LiveStep, correction: Correction, _cause: BalanceUpdateCause | None) -> None:
    pair, state = correction.pair, step.state
    assert pair is not None
    at, portfolio = step.live.clock.now(), state.portfolio
    asset = portfolio.reserve.asset
    worth = correction.quantity * Decimal(correction.price)
    cost = from_units(to_units_down(worth, asset.decimals), asset.decimals)
    equity = portfolio.calculate_total_equity()
    if cost:
        what = f"{correction.quantity:f} {correction.asset.token_symbol} that no position accounted for"
        _change_cash(step, cost, BalanceUpdateCause.correction, f"{NOTES}: the value of {what}")
    if pair.get_identifier() not in state.known_pairs:
        state.record(PairIntroduced(at, pair))
    position_id = portfolio.next_position_id
    state.record(PositionOpened(at, position_id, pair, equity, NOTES))
    _trade(step, portfolio.open_positions[position_id], correction.quantity, cost, correction.price, OPENING)


def _record_nothing(step: LiveStep, correction: Correction, cause: BalanceUpdateCause | None) -> None:
    del step, correction, cause


_RECORDERS: Mapping[CorrectionKind, Callable[[LiveStep, Correction, BalanceUpdateCause | None], None]] = {
    CorrectionKind.reserve: _record_reserve,
    CorrectionKind.position: _record_position,
    CorrectionKind.close: _record_close,
    CorrectionKind.open: _record_open,
    CorrectionKind.ignore: _record_nothing,
}


def _change_cash(step: LiveStep, quantity: Decimal, cause: BalanceUpdateCause, notes: str) -> None:
    reserve = step.state.portfolio.reserve
    usd_value = float(quantity) * reserve.reserve_token_price
    _change(step, cause, reserve.asset, quantity, old_balance=reserve.quantity, usd_value=usd_value, notes=notes)


def _change(
    step: LiveStep,
    cause: BalanceUpdateCause,
    asset: AssetIdentifier,
    quantity: Decimal,
    *,
    old_balance: Decimal,
    usd_value: float,
    notes: str,
    position: TradingPosition | None = None,
) -> None:
    state = step.state
    is_reserve = position is None
    is_flow = is_reserve and cause is not BalanceUpdateCause.correction
    if is_flow:
        step.fund_fees.before_flow(step.clock.timestamp, state)
    kind = BalanceUpdatePositionType.reserve if is_reserve else BalanceUpdatePositionType.open_position
    update = BalanceUpdate(
        balance_update_id=state.portfolio.next_balance_update_id,
        cause=cause,
        position_type=kind,
        asset=asset,
        quantity=quantity,
        old_balance=old_balance,
        usd_value=usd_value,
        block_mined_at=step.live.now(),
        strategy_cycle_included_at=step.clock.timestamp,
        previous_update_at=state.portfolio.reserve.last_sync_at if is_reserve else None,
        position_id=None if position is None else position.position_id,
        notes=notes,
    )
    state.record(BalanceUpdated(step.live.clock.now(), update, share_price(state) if is_flow else None))


def _trade(
    step: LiveStep,
    position: TradingPosition,
    quantity: Decimal,
    reserve: Decimal,
    price: float,
    flags: frozenset[TradeFlag],
) -> None:
    """Record a trade that no venue made."""
    state, at = step.state, step.live.clock.now()
    trade_id, position_id = state.portfolio.next_trade_id, position.position_id
    loan = None if position.loan is None else LoanChange()
    plan = TradePlan(
        trade_id,
        position_id,
        position.pair,
        TradeType.accounting_correction,
        quantity,
        reserve,
        TradePricing(price, price, 0.0, 0.0, quantity > 0, step.live.now()),
        position.reserve_currency,
        closing=TradeFlag.close in flags,
        flags=flags,
        notes=NOTES,
        loan=loan,
    )
    state.record(TradePlanned(at, plan))
    state.record(TradeStarted(at, trade_id, position_id))
    state.record(TradeExecuted(at, trade_id, position_id, quantity, reserve, price, 0.0, loan=loan))
