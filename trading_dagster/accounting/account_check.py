"""Account check: what the ledger expects to be held against what really is, asset by asset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from trading_dagster.domain.error import UnexpectedAccountingCorrectionIssue
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import DUST, ZERO
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State

DEFAULT_RELATIVE_EPSILON = Decimal("5e-4")


@dataclass(frozen=True, slots=True)
class ExpectedBalance:
    """What a ledger says is held of an asset, in tokens, and which positions hold it (none for reserves and dust)."""

    asset: AssetIdentifier
    quantity: Decimal
    positions: tuple[TradingPosition, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One asset of an account check; quantities in tokens.

    ``usd_value`` is the difference (actual less expected) at the last known price, 0 where none is known.
    """

    asset: AssetIdentifier
    position_ids: tuple[int, ...]
    expected: Decimal
    actual: Decimal
    usd_value: float
    dust_epsilon: Decimal
    relative_epsilon: Decimal

    @property
    def difference(self) -> Decimal:
        """Return how many tokens there are beyond the expected ones."""
        return self.actual - self.expected

    @property
    def is_mismatch(self) -> bool:
        """Tell whether the difference matters: exactly one is nothing, or they differ by more than the fraction."""
        has_expected, has_actual = self.expected > self.dust_epsilon, self.actual > self.dust_epsilon
        if not has_expected and not has_actual:
            return False
        return has_expected != has_actual or abs(self.difference) > self.actual * self.relative_epsilon


@dataclass(frozen=True, slots=True)
class AccountTable:
    """The result of an account check."""

    rows: tuple[AccountRow, ...]

    @property
    def mismatches(self) -> tuple[AccountRow, ...]:
        """Return the rows that do not agree."""
        return tuple(row for row in self.rows if row.is_mismatch)

    @property
    def is_clean(self) -> bool:
        """Tell whether everything agrees."""
        return not self.mismatches

    def require_clean(self, what: str) -> None:
        """Raise UnexpectedAccountingCorrectionIssue with a table of expected and actual when anything differs."""
        if not self.is_clean:
            raise UnexpectedAccountingCorrectionIssue(
                f"{what}: {len(self.mismatches)} of {len(self.rows)} balances are not what the ledger says, so nothing "
                f"is traded.\n{self}\nFind out where the difference comes from; if it is right, record it with "
                "correct-accounts"
            )

    def __str__(self) -> str:
        """Return a table in text."""
        head = ("asset", "positions", "expected", "actual", "difference", "USD", "")
        lines = [
            (
                row.asset.token_symbol,
                ", ".join(f"#{position_id}" for position_id in row.position_ids) or "-",
                f"{row.expected:f}",
                f"{row.actual:f}",
                f"{row.difference:+f}",
                f"{row.usd_value:+,.2f}",
                "MISMATCH" if row.is_mismatch else "ok",
            )
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in (head, *lines)
        )


def expected_balances(state: State) -> dict[AssetIdentifier, ExpectedBalance]:
    """Return what a ledger says is held: cash, the tokens of open and frozen positions, and dust of closed ones.

    Reserve that was taken out of cash by a buy that has not ended is still expected to be there, unless a vault has it;
    so are shares, unless they left with the request of a redemption.
    """
    portfolio = state.portfolio
    reserve = portfolio.reserve
    quantities: dict[AssetIdentifier, Decimal] = {reserve.asset: reserve.quantity}
    holders: dict[AssetIdentifier, list[TradingPosition]] = {}
    for position in portfolio.get_open_and_frozen_positions():
        quantities[reserve.asset] += position.allocated
        for asset, quantity in position.get_token_balances():
            quantities[asset] = quantities.get(asset, ZERO) + quantity
            holders.setdefault(asset, []).append(position)
    for asset, quantity in portfolio.dust.items():
        quantities[asset] = quantities.get(asset, ZERO) + quantity
    quantities[reserve.asset] -= portfolio.get_reserve_at_vaults()
    quantities[reserve.asset] += portfolio.get_reserve_settling()
    for trade in portfolio.get_settling_trades():
        if trade.settlement_move is not None:
            quantities[trade.pair.base] = quantities.get(trade.pair.base, ZERO) + trade.settlement_move.quantity
    return {
        asset: ExpectedBalance(asset, quantity, tuple(holders.get(asset, ()))) for asset, quantity in quantities.items()
    }


def check_accounts(
    state: State,
    actual: Mapping[AssetIdentifier, Decimal],
    *,
    price_of: Callable[[AssetIdentifier], float | None] | None = None,
    relative_epsilon: Decimal = DEFAULT_RELATIVE_EPSILON,
) -> AccountTable:
    """Compare a ledger with real balances in tokens; reads only.

    Args:
        state: What the ledger adds up to.
        actual: Balances of all assets that are expected, and of any others that may be there.
        price_of: USD per token of assets without an open position.
        relative_epsilon: Fraction of the actual balance that may differ.
    """
    expected = expected_balances(state)
    rows = []
    for asset in {**expected, **dict.fromkeys(actual)}:
        known = expected.get(asset, ExpectedBalance(asset, ZERO))
        found = actual.get(asset, ZERO)
        price = _price_of(state, known, price_of)
        rows.append(
            AccountRow(
                asset=asset,
                position_ids=tuple(position.position_id for position in known.positions),
                expected=known.quantity,
                actual=found,
                usd_value=float(found - known.quantity) * price,
                dust_epsilon=_dust_epsilon(known),
                relative_epsilon=relative_epsilon,
            )
        )
    return AccountTable(tuple(rows))


def _dust_epsilon(expected: ExpectedBalance) -> Decimal:
    return max((DUST.close_epsilon(position.pair.kind) for position in expected.positions), default=DUST.token)


def _price_of(
    state: State, expected: ExpectedBalance, price_of: Callable[[AssetIdentifier], float | None] | None
) -> float:
    reserve = state.portfolio.reserve
    if reserve.asset in {expected.asset, expected.asset.underlying}:  # collateral is lent out reserve
        return reserve.reserve_token_price
    if expected.positions:
        return expected.positions[0].last_token_price
    price = None if price_of is None else price_of(expected.asset)
    return price or 0.0
