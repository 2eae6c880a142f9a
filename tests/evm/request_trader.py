"""A strategy's wallet that trades shares of a vault which settles later, and the keeper who settles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from eth_abi.abi import encode
from evm.deployment import FAST, Market
from evm.node import CHAIN_ID
from evm.trader import Trader

from trading_dagster.accounting.account_check import check_accounts, expected_balances
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.vault import VaultTerms
from trading_dagster.evm.abi import Function
from trading_dagster.evm.erc20 import approve, transfer
from trading_dagster.evm.erc7540 import read_later_sides
from trading_dagster.evm.execution import EvmExecution, SharedParts
from trading_dagster.evm.request_settlement import RequestSettlement, is_disturbed
from trading_dagster.evm.request_vault import open_vault
from trading_dagster.evm.signing import allow_signing
from trading_dagster.evm.trade_route import RouteTable
from trading_dagster.evm.vault_dex import TradedVault, find_reason_to_refuse
from trading_dagster.market.vault import to_vault

SET_LATER = Function("setLater", ("bool", "bool"))
SET_NUMBERED = Function("setNumbered", ("bool",))
SET_CLOSED = Function("setClosed", ("bool",))
SET_PAUSED = Function("setPaused", ("bool",))
SET_DELAY = Function("setDelay", ("uint256",))
SET_ROUNDING = Function("setRounding", ("uint256",))
SET_SHARE = Function("setShare", ("address",))
SEED = Function("seed", ("uint256",))
SETTLE = Function("settle", ("bool", "address", "uint256"))
GIVE_BACK = Function("giveBack", ("bool", "address", "uint256"))
LOSE = Function("lose", ("bool", "address", "uint256"))
PAY = Function("pay", ("bool", "address"))
USD = 10**6
SHARE = 10**18
TERMS = VaultTerms("Later", settlement_delay=timedelta(days=1))


@dataclass
class RequestVault:
    """A vault on the test chain, and its keeper."""

    market: Market
    address: str

    @property
    def pair(self) -> TradingPairIdentifier:
        return self.make_pair(TERMS)

    def make_pair(self, terms: VaultTerms) -> TradingPairIdentifier:
        share = AssetIdentifier(CHAIN_ID, self.address, "LATER", 18)
        usd = AssetIdentifier(CHAIN_ID, self.market.usd, "USD", 6)
        found = TradingPairIdentifier(share, usd, self.address, self.address, 9, fee=0.0, exchange_name="erc4626")
        return to_vault(found, terms)

    def do(self, function: Function, *arguments: Any) -> None:
        self.market.node.do(self.market.owner, self.address, function.encode(*arguments))

    def earn(self, amount: int) -> None:
        """Make shares dearer: sends assets that belong to all shares."""
        self.market.node.do(self.market.owner, self.market.usd, transfer(self.market.usd, self.address, amount).data)


def deploy_request_vault(market: Market, code: str) -> RequestVault:
    vault = RequestVault(market, market.node.deploy(market.owner, code, encode(["address"], [market.usd])).lower())
    amount = 1_000_000 * USD
    market.node.do(market.owner, market.usd, approve(market.usd, vault.address, amount).data)
    vault.do(SEED, amount)
    return vault


@dataclass
class RequestTrader(Trader):
    """A ledger whose strategy may trade one vault that settles later."""

    vault: RequestVault | None = None
    forbidden: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.vault is not None
        self.pairs = replace(self.pairs, others=(self.vault.pair,))
        self.use_vault()

    def use_vault(self) -> None:
        """Look at what the vault settles later, as a step does when it opens a desk."""
        assert self.vault is not None
        later = read_later_sides(self.client, self.vault.address, self.client.read_head())
        self.vault_dex = open_vault(TradedVault(self.vault.address), self.rig.wallet.address, later)
        assert self.dex is not None
        self.routes = RouteTable(self.dex, self.pairs.usd, self.pairs.all, {self.vault.address: self.vault_dex})

    @property
    def shares(self) -> TradingPairIdentifier:
        return self.pairs.others[0]

    @property
    def wallet(self) -> str:
        return self.rig.wallet.address

    def settle(self, function: Function, *arguments: Any) -> None:
        """Let the keeper do something about the wallet's requests, and bury it below confirmations."""
        assert self.vault is not None
        is_deposit, *rest = arguments
        self.vault.do(function, is_deposit, self.wallet, *rest)
        self.rig.market.node.mine(FAST.confirmations)

    def make_requests(self, parts: SharedParts) -> RequestSettlement:
        def forbid(intent: Any) -> str:
            return self.forbidden or allow_signing(intent)

        return RequestSettlement(
            self.client, self.rig.journal, self.account, parts.book, parts.wait, forbid, FAST.replan_depth
        )

    def treasury(self, **more: Any) -> Any:
        disturbed = partial(is_disturbed, self.client, self.rig.journal, self.account)
        return super().treasury(is_disturbed=disturbed, **more)

    def execution(self, **more: Any) -> EvmExecution:
        parts = {
            "refuse_signing": partial(find_reason_to_refuse, self.client),
            "forbid_signing": lambda _: self.forbidden,
            "make_requests": self.make_requests,
        }
        return super().execution(**parts | more)

    def require_books_equal_chain(self) -> None:
        """Fail unless the wallet has what the ledger expects there, to the unit."""
        expected = expected_balances(self.state)
        table = check_accounts(self.state, {asset: self.balance(asset) for asset in expected})
        assert [(row.asset.token_symbol, row.difference) for row in table.rows if row.difference] == []
