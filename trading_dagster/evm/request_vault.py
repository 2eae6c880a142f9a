"""An ERC-7540 vault as an exchange: what it settles later is requested at the share price of now, and claimed later.

Its previews revert by the standard, and its limits say what can be claimed. So a request is priced by what shares are
worth now, without the vault's fees; the price that counts is that of the settlement, whatever it will be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.transaction import require_address
from trading_dagster.evm.abi import ContractCall
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Route, RouteQuote
from trading_dagster.evm.erc7540 import REQUEST_DEPOSIT, REQUEST_REDEEM, LaterSides
from trading_dagster.evm.vault_dex import LEAST_OUT, SIGN_UNTIL, TradedVault, VaultDex

BOTH = LaterSides(deposits=True, redemptions=True)


@dataclass(frozen=True, slots=True)
class RequestVaultDex(VaultDex):
    """One vault that settles deposits, redemptions or both later; the other side trades as ever."""

    later: LaterSides = BOTH

    @property
    def later_sides(self) -> LaterSides:
        """Return what it settles later."""
        return self.later

    def quote(self, client: EvmClient, route: Route, amount_in: int, block: BlockHeader) -> RouteQuote:
        """Return what an order is worth at a block's share price; a side that settles at once is previewed."""
        if not self._is_later(route):
            return VaultDex.quote(self, client, route, amount_in, block)
        mid, fee = amount_in * self.read_mid_price(client, route, block), route.hops[0].fee or Fraction(0)
        return RouteQuote(block, route, amount_in, int(mid * (1 - fee)), mid, fee, Fraction(0))

    def build_swap(
        self, route: Route, amount_in: int, min_amount_out: int, recipient: str, deadline: int
    ) -> ContractCall:
        """Return the request; what it is worth must be ``min_amount_out`` when it is signed, by the share price."""
        if not self._is_later(route):
            return VaultDex.build_swap(self, route, amount_in, min_amount_out, recipient, deadline)
        if amount_in <= 0:
            raise BadInput(f"amount_in is {amount_in}: it must be positive, in the token's smallest unit")
        to = require_address(recipient, "recipient")
        call = (REQUEST_DEPOSIT if self.is_deposit(route) else REQUEST_REDEEM).call(self.vault, (amount_in, to, to))
        return replace(call, arguments={**call.arguments, LEAST_OUT: min_amount_out, SIGN_UNTIL: deadline})

    def read_max_deposit(self, client: EvmClient, block: BlockHeader) -> int | None:
        """Return None where deposits are requested: ``maxDeposit`` says what can be claimed then."""
        return None if self.later.deposits else VaultDex.read_max_deposit(self, client, block)

    def read_max_redemption(self, client: EvmClient, block: BlockHeader) -> int | None:
        """Return None where redemptions are requested: ``maxRedeem`` says what can be claimed then."""
        return None if self.later.redemptions else VaultDex.read_max_redemption(self, client, block)

    def _is_later(self, route: Route) -> bool:
        return self.later.deposits if self.is_deposit(route) else self.later.redemptions


def open_vault(vault: TradedVault, holder: str, later: LaterSides) -> VaultDex:
    """Return a vault as an exchange for a holder, by what it settles later."""
    if not later.is_any:
        return VaultDex.of(vault, holder)
    locks_shares = vault.locks_shares or later.redemptions
    return RequestVaultDex(vault.address, holder, vault.tells_limits, locks_shares, later=later)
