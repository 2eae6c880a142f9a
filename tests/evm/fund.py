"""A vault on the test chain with two investors, managed by the rig's wallet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from evm.deployment import FAST, Market, Rig
from evm.node import CHAIN_ID

from trading_dagster.domain.event import StateCreated
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.transaction import Finished
from trading_dagster.domain.treasury import BalanceUpdate
from trading_dagster.evm.abi import ContractCall, Function
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc20 import approve, transfer
from trading_dagster.evm.erc4626 import VaultDeployment, VaultStatus, VaultTreasury, read_vault

DEPOSIT = Function("deposit", ("uint256", "address"), ("uint256",))
REDEEM = Function("redeem", ("uint256", "address", "address"), ("uint256",))
ALLOW = Function("allow", ("address",))
TAKE_FEE = Function("takeFee", ("uint256",))
SET_MANAGER = Function("setManager", ("address",))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
USD = 10**6
SHARE = 10**18


@dataclass
class Fund:
    """A vault with two investors, managed by the rig's wallet."""

    rig: Rig
    deployment: VaultDeployment
    alice: str
    bob: str

    @property
    def market(self) -> Market:
        return self.rig.market

    def deposit(self, investor: str, amount: int) -> str:
        vault, usd, node = self.deployment.vault, self.market.usd, self.market.node
        node.do(self.market.owner, usd, transfer(usd, investor, amount).data)
        node.do(investor, usd, approve(usd, vault, amount).data)
        return str(node.do(investor, vault, DEPOSIT.encode(amount, investor))["transactionHash"])

    def redeem(self, investor: str, shares: int) -> str:
        call = REDEEM.encode(shares, investor, investor)
        return str(self.market.node.do(investor, self.deployment.vault, call)["transactionHash"])

    def sync(self, state: State, client: EvmClient | None = None, **more: Any) -> list[BalanceUpdate]:
        """Let what happened get deep enough, then sync."""
        self.market.node.mine(FAST.confirmations)
        return list(self.treasury(client, **more).sync_treasury(to_naive(NOW), state))

    def treasury(self, client: EvmClient | None = None, **more: Any) -> VaultTreasury:
        deployment = more.pop("deployment", self.deployment)
        return VaultTreasury(
            client or self.market.client(), deployment, confirmations=FAST.confirmations, now=lambda: NOW, **more
        )

    def state(self) -> State:
        return State(StateCreated(NOW, "fund", AssetIdentifier(CHAIN_ID, self.market.usd, "USD", 6)))

    def run(self, name: str, call: ContractCall) -> Finished:
        """Execute a call as the manager."""
        executor = self.rig.executor(sleep=lambda seconds: self.market.node.mine())
        (record,) = executor.execute([call.to_intent(name, self.rig.account)], timeout_s=20)
        assert isinstance(record, Finished)
        return record

    def status(self) -> VaultStatus:
        client = self.market.client()
        return read_vault(client, self.deployment, client.read_head())

    def report(self, name: str, total: int, shares: int | None = None) -> Finished:
        """Say what everything is worth, by default for the shares that there are."""
        status = self.status()
        supply = int(status.shares * SHARE) if shares is None else shares
        return self.run(name, self.deployment.report_assets(total, supply, status.block.timestamp + 600))
