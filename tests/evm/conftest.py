"""A node with Uniswap v2 and four tokens, shared by the tests of evm; each test gets the chain as deployed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_abi.abi import encode
from evm.borrower import Borrower
from evm.deployment import KEY, KEY_VARIABLE, Market, Rig, deploy_market
from evm.deployment_aave import PACKAGES_AAVE, Aave, deploy_aave
from evm.fund import ALLOW, Fund
from evm.node import Anvil, compile_own, install_packages, run_anvil
from evm.request_trader import RequestTrader, RequestVault, deploy_request_vault
from evm.request_vault_contract import REQUEST_VAULT_SOURCE
from evm.share_trader import ShareTrader, ShareVault, deploy_share_vault
from evm.share_vault_contract import SHARE_VAULT_SOURCE
from evm.vault_contract import VAULT_SOURCE

from trading_dagster.evm.erc4626 import VaultDeployment
from trading_dagster.evm.wallet import HotWallet


@pytest.fixture(scope="session")
def evm_packages() -> Path:
    return install_packages()


@pytest.fixture(scope="session")
def deployed(evm_packages: Path) -> Iterator[Market]:
    with run_anvil(evm_packages) as node:
        yield deploy_market(node, evm_packages)


@pytest.fixture(scope="session")
def deployed_aave(deployed: Market) -> Aave:
    return deploy_aave(deployed, install_packages(PACKAGES_AAVE, "evm-test-aave-1"))


@pytest.fixture
def market(deployed: Market) -> Iterator[Market]:
    """Give the chain as deployed, and put it back afterwards: its clock too, which a revert leaves where it is.

    Each test begins at a block of its own: a node forgets the states of blocks that are some thousand older.
    """
    deployed.node.mine()
    snapshot = deployed.node.rpc("evm_snapshot")
    yield deployed
    assert deployed.node.rpc("evm_revert", snapshot)
    deployed.node.rpc("anvil_setBlockTimestampInterval", 1)  # as the node was started
    deployed.node.rpc("evm_setTime", max(int(time.time()), deployed.node.timestamp() + 1))


@pytest.fixture
def node(market: Market) -> Anvil:
    return market.node


@pytest.fixture
def rig(market: Market, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    rig = Rig(market, HotWallet.from_environment(KEY_VARIABLE))
    market.fund(rig.wallet.address)
    return rig


@pytest.fixture
def borrower(deployed_aave: Aave, rig: Rig) -> Borrower:
    return Borrower(deployed_aave, rig)


@pytest.fixture(scope="session")
def vault_code(evm_packages: Path) -> str:
    return compile_own(evm_packages, VAULT_SOURCE)["Vault"]


@pytest.fixture(scope="session")
def share_vault_code(evm_packages: Path) -> str:
    return compile_own(evm_packages, SHARE_VAULT_SOURCE)["ShareVault"]


@pytest.fixture
def share_vault(market: Market, share_vault_code: str) -> ShareVault:
    return deploy_share_vault(market, share_vault_code)


@pytest.fixture
def share_trader(rig: Rig, share_vault: ShareVault) -> ShareTrader:
    trader = ShareTrader(rig, vault=share_vault)
    trader.fund()
    return trader


@pytest.fixture(scope="session")
def request_vault_code(evm_packages: Path) -> str:
    return compile_own(evm_packages, REQUEST_VAULT_SOURCE)["RequestVault"]


@pytest.fixture
def request_vault(market: Market, request_vault_code: str) -> RequestVault:
    return deploy_request_vault(market, request_vault_code)


@pytest.fixture
def request_trader(rig: Rig, request_vault: RequestVault) -> RequestTrader:
    trader = RequestTrader(rig, vault=request_vault)
    trader.fund()
    return trader


@pytest.fixture
def fund(rig: Rig, vault_code: str) -> Fund:
    market = rig.market
    node, owner = market.node, market.owner
    start = node.head()
    vault = node.deploy(owner, vault_code, encode(["address", "address"], [market.usd, rig.wallet.address]))
    node.do(owner, vault, ALLOW.encode(market.uniswap.router))
    return Fund(rig, VaultDeployment(vault, start), node.accounts[1], node.accounts[2])
