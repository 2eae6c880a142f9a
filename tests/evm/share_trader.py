"""A strategy's wallet that trades shares of a vault on the test chain, where another investor is in it already."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from eth_abi.abi import encode
from evm.deployment import Market
from evm.node import CHAIN_ID
from evm.trader import Trader

from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.vault import VaultTerms
from trading_dagster.evm.abi import Function
from trading_dagster.evm.dex import Route
from trading_dagster.evm.erc20 import approve, transfer
from trading_dagster.evm.execution import EvmExecution
from trading_dagster.evm.trade_route import RouteTable
from trading_dagster.evm.vault_dex import DEPOSIT, VaultDex, find_reason_to_refuse
from trading_dagster.market.vault import to_vault

SET_CAPS = Function("setCaps", ("uint256", "uint256"))
SET_FEE = Function("setFee", ("uint256",))
SET_SLIP = Function("setSlip", ("uint256",))
SET_CLOSED = Function("setClosed", ("bool",))
SET_ASYNC = Function("setAsync", ("bool",))
LOSE = Function("lose", ("uint256",))
USD = 10**6
SHARE = 10**18
OPEN = 2**256 - 1


@dataclass
class ShareVault:
    """A vault on the test chain, and what its keeper and other investors do."""

    market: Market
    address: str
    first_block: int = 0

    @property
    def pair(self) -> TradingPairIdentifier:
        share = AssetIdentifier(CHAIN_ID, self.address, "SHARE", 18)
        usd = AssetIdentifier(CHAIN_ID, self.market.usd, "USD", 6)
        found = TradingPairIdentifier(share, usd, self.address, self.address, 9, fee=0.0, exchange_name="erc4626")
        return to_vault(found, VaultTerms("Shares"))

    def dex(self, holder: str) -> VaultDex:
        return VaultDex(self.address, holder)

    def do(self, function: Function, *arguments: Any) -> None:
        self.market.node.do(self.market.owner, self.address, function.encode(*arguments))

    def invest(self, amount: int) -> None:
        """Deposit as another investor."""
        owner, node = self.market.owner, self.market.node
        node.do(owner, self.market.usd, approve(self.market.usd, self.address, amount).data)
        node.do(owner, self.address, DEPOSIT.encode(amount, owner))

    def earn(self, amount: int) -> None:
        """Make shares dearer: sends assets that belong to all shares."""
        self.market.node.do(self.market.owner, self.market.usd, transfer(self.market.usd, self.address, amount).data)


def deploy_share_vault(market: Market, code: str, invested: int = 1_000_000 * USD) -> ShareVault:
    before, arguments = market.node.head(), encode(["address"], [market.usd])
    vault = ShareVault(market, market.node.deploy(market.owner, code, arguments).lower(), before)
    if invested:
        vault.invest(invested)
    return vault


@dataclass
class ShareTrader(Trader):
    """A ledger whose strategy may trade one vault."""

    vault: ShareVault | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.vault is not None
        self.pairs = replace(self.pairs, others=(self.vault.pair,))
        self.vault_dex = self.vault.dex(self.rig.wallet.address)
        assert self.dex is not None
        self.routes = RouteTable(self.dex, self.pairs.usd, self.pairs.all, {self.vault.address: self.vault_dex})

    @property
    def shares(self) -> TradingPairIdentifier:
        return self.pairs.others[0]

    def route(self, is_buy: bool = True) -> Route:
        return self.routes.route_of(self.shares, is_buy)

    def execution(self, **more: Any) -> EvmExecution:
        return super().execution(**{"refuse_signing": partial(find_reason_to_refuse, self.client), **more})
