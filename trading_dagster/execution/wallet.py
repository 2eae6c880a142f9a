"""The simulated wallet: one exact balance per token that can never go negative."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from trading_dagster.domain.error import AccountingMismatch, OutOfSimulatedBalance
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import DUST, QUANTITY_ZERO_EPSILON, RELATIVE_ACCOUNTING_EPSILON, ZERO
from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.state import State


class SimulatedWallet:
    """Token balances of a backtest."""

    __slots__ = ("balances",)

    def __init__(self, balances: Mapping[AssetIdentifier, Decimal] | None = None) -> None:
        """Begin with the given balances."""
        self.balances: dict[AssetIdentifier, Decimal] = dict(balances or {})

    def get_balance(self, asset: AssetIdentifier) -> Decimal:
        """Return how many tokens there are."""
        return self.balances.get(asset, ZERO)

    def add(self, asset: AssetIdentifier, quantity: Decimal) -> None:
        """Change a balance by a signed quantity; raises OutOfSimulatedBalance below zero.

        Ledger and wallet add up in another order: what is missing by their last digit only is not.
        """
        old = self.balances.get(asset, ZERO)
        new = old + quantity
        if new < 0:
            if -new > QUANTITY_ZERO_EPSILON:
                raise OutOfSimulatedBalance(
                    f"The wallet has {old} {asset.token_symbol} and cannot give {-quantity}: {-new} are missing"
                )
            new = ZERO
        self.balances[asset] = new


def check_wallet(state: State, wallet: SimulatedWallet, assets: set[AssetIdentifier] | None = None) -> None:
    """Raise AccountingMismatch when ledger and wallet differ for one of the assets, all held ones by default.

    They agree to 1e-9 relative, or within the dust epsilon.
    """
    expected = _count_ledger(state.portfolio, assets)
    if assets is None:
        expected = {**dict.fromkeys(wallet.balances, ZERO), **expected}
    for asset, quantity in expected.items():
        actual = wallet.balances.get(asset, ZERO)
        difference = abs(quantity - actual)
        if difference > DUST.token and difference > abs(actual) * RELATIVE_ACCOUNTING_EPSILON:
            raise AccountingMismatch(
                f"The ledger has {quantity} {asset.token_symbol} but the wallet has {actual}, "
                f"a difference of {quantity - actual}: this is an error of the engine, please report it"
            )


def _count_ledger(portfolio: Portfolio, assets: set[AssetIdentifier] | None) -> dict[AssetIdentifier, Decimal]:
    """Return how many tokens cash, positions and dust have together, of the given assets or of all that are held."""
    dust, reserve = portfolio.dust, portfolio.reserve
    counted = dict(dust) if assets is None else dict.fromkeys(assets, ZERO)
    if dust and assets is not None:
        counted.update((asset, dust[asset]) for asset in assets if asset in dust)

    def count(asset: AssetIdentifier, quantity: Decimal) -> None:
        known = counted.get(asset)
        if known is not None:
            counted[asset] = known + quantity
        elif assets is None:
            counted[asset] = quantity

    count(reserve.asset, reserve.quantity)
    for positions in (portfolio.open_positions, portfolio.frozen_positions):
        for position in positions.values():
            if not position.pair.has_loan:
                count(position.pair.base, position.quantity)
                continue
            for asset, quantity in position.get_token_balances():
                count(asset, quantity)
    return counted
