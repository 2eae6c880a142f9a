"""Deploys tokens and Uniswap v2 pools to a test node, and builds clients and executors for it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from evm.node import CHAIN_ID, Anvil, compile_own, read_artefact

from trading_dagster.domain.transaction import Account
from trading_dagster.evm.abi import Function
from trading_dagster.evm.alarm import Alarm
from trading_dagster.evm.client import ClientSetting, EvmClient
from trading_dagster.evm.endpoint import HttpEndpoint
from trading_dagster.evm.erc20 import approve, transfer
from trading_dagster.evm.gas import GWEI, GasPolicy
from trading_dagster.evm.transaction import ExecutionSetting, TransactionExecutor
from trading_dagster.evm.transaction_journal import MemoryTransactionJournal
from trading_dagster.evm.uniswap_v2 import UniswapV2Deployment
from trading_dagster.evm.wallet import HotWallet

KEY = "0x" + "5e" * 31 + "a7"
KEY_VARIABLE = "TRADING_DAGSTER_TEST_KEY"
SUPPLY = 10**30
FOREVER = 2**64
ADD_LIQUIDITY = Function(
    "addLiquidity",
    ("address", "address", "uint256", "uint256", "uint256", "uint256", "address", "uint256"),
    ("uint256", "uint256", "uint256"),
)
PATIENT = ClientSetting(retries=4, backoff_s=0.01, health_check_s=1.0)
FAST = ExecutionSetting(confirmations=3, replan_depth=10, audit_blocks=40, max_in_flight=4, poll_s=0.01)
GAS = GasPolicy(max_fee_cap=200 * GWEI, bump_after_blocks=4)


@dataclass
class Market:
    """What was deployed: USD 6 decimals, ETH 18, BTC 8, and a token that taxes transfers by 5 %."""

    node: Anvil
    owner: str
    usd: str
    eth: str
    btc: str
    tax: str
    aggregator: str
    uniswap: UniswapV2Deployment

    def fund(self, wallet: str, amount: int = 10**12) -> None:
        """Give a wallet gas and USD, approved to the router."""
        self.node.rpc("anvil_setBalance", wallet, hex(100 * 10**18))
        self.node.do(self.owner, self.usd, transfer(self.usd, wallet, amount).data)
        self.node.rpc("anvil_impersonateAccount", wallet)
        self.node.do(wallet, self.usd, approve(self.usd, self.uniswap.router, 2**256 - 1).data)
        self.node.rpc("anvil_stopImpersonatingAccount", wallet)

    def client(self, *urls: str, **more: Any) -> EvmClient:
        endpoints = [HttpEndpoint(url, timeout_s=5.0) for url in urls or (self.node.url,)]
        return EvmClient(endpoints, CHAIN_ID, more.pop("setting", PATIENT), **more)


def deploy_market(node: Anvil, packages: Path) -> Market:
    owner = node.accounts[0]
    own = compile_own(packages)

    def token(symbol: str, decimals: int, tax: int = 0) -> str:
        return node.deploy(
            owner, own["Token"], encode(["string", "uint8", "uint256", "uint256"], [symbol, decimals, tax, SUPPLY])
        )

    usd, eth, btc, tax = token("USD", 6), token("ETH", 18), token("BTC", 8), token("TAX", 18, 500)
    factory = node.deploy(owner, read_artefact(packages, "v2-core", "UniswapV2Factory"), encode(["address"], [owner]))
    weth = node.deploy(owner, read_artefact(packages, "v2-periphery", "WETH9"))
    router = node.deploy(
        owner,
        read_artefact(packages, "v2-periphery", "UniswapV2Router02"),
        encode(["address", "address"], [factory, weth]),
    )
    aggregator = node.deploy(owner, own["Aggregator"])
    for name in (usd, eth, btc, tax):
        node.do(owner, name, approve(name, router, 2**256 - 1).data)
    for a, b, amount_a, amount_b in (
        (usd, eth, 4_000_000 * 10**6, 1_000 * 10**18),
        (eth, btc, 1_000 * 10**18, 40 * 10**8),
        (usd, tax, 1_000_000 * 10**6, 1_000_000 * 10**18),
    ):
        node.do(owner, router, ADD_LIQUIDITY.encode(a, b, amount_a, amount_b, 0, 0, owner, FOREVER))
    return Market(node, owner, usd, eth, btc, tax, aggregator, UniswapV2Deployment(factory, router))


class OpenLease:
    """A lease that is never lost."""

    def __init__(self, token: int = 1) -> None:
        self.token = token

    def check(self) -> None:
        pass


@dataclass
class Rig:
    """An executor with all its parts in memory."""

    market: Market
    wallet: HotWallet
    journal: Any = field(default_factory=MemoryTransactionJournal)
    alarms: list[Alarm] = field(default_factory=list)
    numbers: Any = field(default_factory=itertools.count)

    @property
    def account(self) -> Account:
        return Account(CHAIN_ID, self.wallet.address)

    def executor(self, cls: type[TransactionExecutor] = TransactionExecutor, **more: Any) -> TransactionExecutor:
        parts: dict[str, Any] = {
            "client": self.market.client(),
            "lease": OpenLease(),
            "alarm": self.alarms.append,
            "gas": GAS,
            "setting": FAST,
        } | more
        client, lease = parts.pop("client"), parts.pop("lease")
        return cls(client, self.wallet, self.journal, lease, **parts)
