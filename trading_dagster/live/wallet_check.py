"""What a deployment can trade with: the balances of its wallet now, and the gas to move them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from trading_dagster.accounting.account_check import expected_balances
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.live.step import LiveStep, open_step
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import load_universe
from trading_dagster.market.lending import LendingReserve


@runtime_checkable
class CheckedVenue(Protocol):
    """A venue that can be checked before it is traded on."""

    def preflight(
        self,
        assets: Sequence[AssetIdentifier],
        reserves: Sequence[LendingReserve] = (),
        vaults: Sequence[TradingPairIdentifier] = (),
    ) -> Any:
        """Check nodes, contracts, tokens and gas, the reserve first; returns head, address, gas balance and vault."""
        ...

    def read_held(self, assets: Sequence[AssetIdentifier]) -> Mapping[AssetIdentifier, Decimal]:
        """Return what the wallet, or its vault, has, in tokens; also what the ledger does not know yet."""
        ...


@dataclass(frozen=True, slots=True)
class WalletBalance:
    """A token in the wallet."""

    token: str
    address: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class WalletReport:
    """A wallet as it is now. ``gas`` is native tokens; address, block and gas are None on paper.

    Balances are those of ``vault`` when the wallet trades for one.
    """

    strategy_id: str
    address: str | None
    block: int | None
    gas: Decimal | None
    balances: tuple[WalletBalance, ...]
    vault: str | None = None


def check_wallet(live: LiveStrategy) -> WalletReport:
    """Connect and read the balances of cash, of what is held and of the universe's tokens.

    Raises:
        ExecutorBusy: Another executor works on the strategy or its wallet.
        EvmError: The chain, a node or the wallet is not as it must be; the message says what to do.
    """
    at = live.now()
    with open_step(live, load_universe(live, at), at, "the wallet check") as step:
        return _report(step)


def begin_ledger(live: LiveStrategy) -> WalletReport:
    """Begin the strategy's ledger, if it has none, after its wallet was checked; errors as check_wallet."""
    at = live.now()
    with open_step(live, load_universe(live, at), at, "init") as step:
        report = _report(step)
        step.session.save()
        return report


def _report(step: LiveStep) -> WalletReport:
    venue = step.live.venue
    tokens = dict.fromkeys([step.universe.get_reserve_asset(), *expected_balances(step.state)])
    tokens |= dict.fromkeys(pair.base for pair in step.universe.pairs if pair.is_spot() or pair.is_vault())
    if isinstance(venue, CheckedVenue):
        lending = step.universe.lending
        reserves = () if lending is None else lending.reserves
        vaults = [pair for pair in step.universe.pairs if pair.is_vault()]
        found, balances = venue.preflight(list(tokens), reserves, vaults), venue.read_held(list(tokens))
    else:
        found, balances = None, step.desk.balances.read_balances(list(tokens))
    return WalletReport(
        step.live.id,
        None if found is None else found.address,
        None if found is None else found.head.number,
        None if found is None else found.gas_balance,
        tuple(WalletBalance(asset.token_symbol, asset.address, balances.get(asset, Decimal(0))) for asset in tokens),
        None if found is None else found.vault,
    )
