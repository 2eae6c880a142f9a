"""Deploys Aave v3 beside a market, from its own compiled contracts: two reserves, USD and ETH, with prices we set."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from evm.deployment import Market
from evm.node import Anvil

from trading_dagster.evm.aave_v3 import RAY, AaveV3Deployment
from trading_dagster.evm.abi import Function
from trading_dagster.evm.erc20 import approve

PACKAGES_AAVE = ("@aave/core-v3@1.19.3",)
"""Under the Business Source License until January 2023, and the MIT licence since; installed for tests only."""

LOGIC = "protocol/libraries/logic"
GET_POOL = Function("getPool", (), ("address",))
GET_CONFIGURATOR = Function("getPoolConfigurator", (), ("address",))
INIT_RESERVES = Function(
    "initReserves",
    (
        "(address,address,address,uint8,address,address,address,address,string,string,string,string,string,string,bytes)[]",
    ),
)
CONFIGURE = Function("configureReserveAsCollateral", ("address", "uint256", "uint256", "uint256"))
ENABLE_BORROWING = Function("setReserveBorrowing", ("address", "bool"))
SET_SUPPLY_CAP = Function("setSupplyCap", ("address", "uint256"))
SET_BORROW_CAP = Function("setBorrowCap", ("address", "uint256"))
SET_PAUSE = Function("setReservePause", ("address", "bool"))
SET_FREEZE = Function("setReserveFreeze", ("address", "bool"))
SET_SOURCES = Function("setAssetSources", ("address[]", "address[]"))
NOBODY = "0x" + "0" * 40
LTV, THRESHOLD, BONUS = 8_000, 8_500, 10_500
PRICE_UNIT = 10**8


class Artefacts:
    """Compiled contracts, linked with the libraries deployed so far."""

    def __init__(self, node: Anvil, owner: str, packages: Path) -> None:
        self._node = node
        self._owner = owner
        self._folder = packages / "@aave" / "core-v3" / "artifacts" / "contracts"
        self._libraries: dict[str, str] = {}

    def deploy(self, path: str, types: list[str] | None = None, values: list[Any] | None = None) -> str:
        name = path.rsplit("/", 1)[1]
        body = json.loads((self._folder / f"{path}.sol" / f"{name}.json").read_text(encoding="utf-8"))
        code = body["bytecode"].removeprefix("0x")
        for libraries in body["linkReferences"].values():
            for library, places in libraries.items():
                for place in places:
                    start, end = 2 * place["start"], 2 * (place["start"] + place["length"])
                    code = code[:start] + self._libraries[library][2:] + code[end:]
        self._libraries[name] = self._node.deploy(self._owner, code, encode(types or [], values or []))
        return self._libraries[name]


@dataclass
class Aave:
    """A market of Aave v3; 100,000 USD and 100 ETH are there to be borrowed."""

    market: Market
    deployment: AaveV3Deployment
    configurator: str
    oracle: str
    artefacts: Artefacts

    def set_price(self, asset: str, usd: int) -> None:
        source = self.artefacts.deploy("mocks/oracle/CLAggregators/MockAggregator", ["int256"], [usd * PRICE_UNIT])
        self.market.node.do(self.market.owner, self.oracle, SET_SOURCES.encode([asset], [source]))

    def pause(self, asset: str, *, is_paused: bool = True) -> None:
        self.market.node.do(self.market.owner, self.configurator, SET_PAUSE.encode(asset, is_paused))

    def freeze(self, asset: str) -> None:
        self.market.node.do(self.market.owner, self.configurator, SET_FREEZE.encode(asset, True))

    def set_borrow_cap(self, asset: str, tokens: int) -> None:
        self.market.node.do(self.market.owner, self.configurator, SET_BORROW_CAP.encode(asset, tokens))

    def drain(self, asset: str, amount: int) -> None:
        """Take out what the owner lent, so that so much less can be withdrawn or borrowed."""
        owner = self.market.owner
        self.market.node.do(owner, self.deployment.pool, self.deployment.withdraw(asset, amount, owner).data)

    def lend_out(self, asset: str, amount: int) -> None:
        """Let the owner borrow, against what it lent of the other token."""
        owner = self.market.owner
        self.market.node.do(owner, self.deployment.pool, self.deployment.borrow(asset, amount, owner).data)

    def set_supply_cap(self, asset: str, tokens: int) -> None:
        self.market.node.do(self.market.owner, self.configurator, SET_SUPPLY_CAP.encode(asset, tokens))


def deploy_aave(market: Market, packages: Path) -> Aave:
    node, owner = market.node, market.owner
    artefacts = Artefacts(node, owner, packages)

    def tell(target: str, name: str, *addresses: str) -> None:
        node.do(owner, target, Function(name, ("address",) * len(addresses)).encode(*addresses))

    for library in ("Borrow", "Supply", "Liquidation", "EMode", "FlashLoan", "Bridge", "Pool", "Configurator"):
        artefacts.deploy(f"{LOGIC}/{library}Logic")
    provider = artefacts.deploy("protocol/configuration/PoolAddressesProvider", ["string", "address"], ["test", owner])
    tell(provider, "setACLAdmin", owner)
    rights = artefacts.deploy("protocol/configuration/ACLManager", ["address"], [provider])
    tell(provider, "setACLManager", rights)
    tell(rights, "addPoolAdmin", owner)
    oracle = artefacts.deploy(
        "misc/AaveOracle",
        ["address", "address[]", "address[]", "address", "address", "uint256"],
        [provider, [], [], NOBODY, NOBODY, PRICE_UNIT],
    )
    tell(provider, "setPriceOracle", oracle)
    tell(provider, "setPoolImpl", artefacts.deploy("protocol/pool/Pool", ["address"], [provider]))
    tell(provider, "setPoolConfiguratorImpl", artefacts.deploy("protocol/pool/PoolConfigurator"))
    client = market.client()
    head = client.connect()
    (pool,) = client.call(provider, GET_POOL, (), head)
    (configurator,) = client.call(provider, GET_CONFIGURATOR, (), head)
    aave = Aave(market, AaveV3Deployment(pool), configurator, oracle, artefacts)
    tokens = [
        artefacts.deploy(f"protocol/tokenization/{name}", ["address"], [pool])
        for name in ("AToken", "StableDebtToken", "VariableDebtToken")
    ]
    curve = [x * RAY // 100 for x in (80, 0, 4, 75, 0, 0, 1, 0, 0)]
    rates = artefacts.deploy(
        "protocol/pool/DefaultReserveInterestRateStrategy", ["address"] + ["uint256"] * 9, [provider, *curve]
    )
    for asset, decimals, symbol, price in ((market.usd, 6, "USD", 1), (market.eth, 18, "ETH", 4000)):
        names = [f"{kind} {symbol}" for kind in ("a", "a", "v", "v", "s", "s")]
        terms = (*tokens, decimals, rates, asset, owner, NOBODY, *names, b"")
        node.do(owner, configurator, INIT_RESERVES.encode([terms]))
        node.do(owner, configurator, CONFIGURE.encode(asset, LTV, THRESHOLD, BONUS))
        node.do(owner, configurator, ENABLE_BORROWING.encode(asset, True))
        aave.set_price(asset, price)
    for asset, amount in ((market.usd, 100_000 * 10**6), (market.eth, 100 * 10**18)):
        node.do(owner, asset, approve(asset, pool, amount).data)
        node.do(owner, pool, aave.deployment.supply(asset, amount, owner).data)
    return aave
