"""What must be true of a chain before a strategy may trade on it; each failure says what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from trading_dagster.domain.error import BadConfiguration, ContractMissing, GasMissing, WrongChain
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import from_units
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Dex
from trading_dagster.evm.erc20 import DECIMALS
from trading_dagster.evm.erc4626 import VaultDeployment, require_managed
from trading_dagster.evm.multicall import Multicall, Read
from trading_dagster.evm.swap_intent import NATIVE_DECIMALS


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found: the head, the wallet and its gas in native tokens; the vault it trades for, if it does."""

    head: BlockHeader
    address: str
    gas_balance: Decimal
    vault: str | None = None


def check_chain(
    client: EvmClient,
    dex: Dex,
    multicall: Multicall,
    address: str,
    assets: Sequence[AssetIdentifier],
    min_gas: Decimal,
    vault: VaultDeployment | None = None,
) -> Preflight:
    """Check a chain, its contracts, a wallet and the vault that it trades for, if it does.

    The first of ``assets`` is the reserve.

    Raises:
        WrongChain: A node or a token is of another chain.
        ContractMissing: The exchange or a token has no code.
        BadConfiguration: A token has other decimals than the universe says; the vault's asset is not the reserve, or
            its asset manager is not the wallet.
        GasMissing: The wallet has less than ``min_gas`` native tokens.
        NodeError: No node answers.
    """
    head = client.connect()
    for contract in dex.contracts:
        if not client.has_code(contract, head):
            raise ContractMissing(
                f"{dex.name} has no code at {contract} on chain {client.chain_id}: correct the exchange's addresses"
            )
    for asset in assets:
        if asset.chain_id != client.chain_id:
            raise WrongChain(
                f"{asset} of the universe is on chain {asset.chain_id}, the venue trades on {client.chain_id}: use "
                "pairs of that chain"
            )
    answers = multicall.read([Read(asset.address, DECIMALS) for asset in assets], head)
    for asset, (decimals,) in zip(assets, answers, strict=True):
        if decimals != asset.decimals:
            raise BadConfiguration(
                f"{asset} has {decimals} decimals on chain {client.chain_id}, the universe says {asset.decimals}: "
                "correct the universe, else amounts are wrong by powers of ten"
            )
    gas_balance = from_units(client.read_balance(address, head), NATIVE_DECIMALS)
    if gas_balance < min_gas:
        raise GasMissing(
            f"Wallet {address} has {gas_balance.normalize():f} native tokens for gas on chain {client.chain_id}, "
            f"at least {min_gas} are needed: send it some"
        )
    if vault is not None:
        require_managed(client, vault, assets[0], address, head)
    return Preflight(head, address, gas_balance, None if vault is None else vault.vault)
